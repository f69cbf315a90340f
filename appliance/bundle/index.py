"""The index that makes a folder of Debian packages a repository for apt."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from appliance.bundle.errors import BundleError

READ_BYTES = 1 << 20


def checksum(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def packages_index(folder: Path) -> str:
    """Text of the file `Packages` for the `*.deb` in `folder`.

    Raises:
        BundleError: one of them is no Debian package.
    """
    return "\n".join(_entry(deb) for deb in sorted(folder.glob("*.deb")))


def _entry(deb: Path) -> str:
    done = subprocess.run(["dpkg-deb", "--field", str(deb)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BundleError(f"{deb} is no Debian package: {done.stderr.strip()}")
    return f"{done.stdout.rstrip()}\nFilename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {checksum(deb)}\n"
