#!/usr/bin/env python3
"""`open_bundle.py BUNDLE PUBLIC_KEY FOLDER`: verifies a bundle, unpacks it, prints its manifest with the folder's paths.

Needs Python and openssl, for it runs on an Ansible controller. Nothing of a bundle that is not as it was signed is used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
FORMAT = 1


def main(bundle: Path, key: Path, folder: Path) -> dict[str, object]:
    mark = folder / ".opened"
    stamp = f"{bundle.stat().st_size} {bundle.stat().st_mtime_ns} {hashlib.sha256(key.read_bytes()).hexdigest()}"
    if not (mark.exists() and mark.read_text() == stamp):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with tarfile.open(bundle) as archive:
            archive.extractall(folder, filter="data")
        verify(folder, key)
        for name in ("debs", "wheels"):
            with tarfile.open(folder / f"{name}.tar", "w") as archive:
                archive.add(folder / name, name)
        mark.write_text(stamp)
    manifest = json.loads((folder / MANIFEST).read_text())
    release = manifest["release"]
    for name in ("archive", "models_archive"):
        release[name] = str(folder / "release" / release[name])
    identity = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()[:16]
    return {**{key: value for key, value in manifest.items() if key != "files"}, "folder": str(folder), "identity": identity}


def verify(folder: Path, key: Path) -> None:
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", str(key)]
    done = subprocess.run([*command, "-in", str(folder / MANIFEST), "-sigfile", str(folder / SIGNATURE)], capture_output=True, check=False)
    if done.returncode != 0:
        fail(folder, "its signature is not of this key")
    manifest = json.loads((folder / MANIFEST).read_text())
    if manifest["format"] != FORMAT:
        fail(folder, f"its format is {manifest['format']}, known is {FORMAT}")
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {MANIFEST, SIGNATURE}
    if there != set(manifest["files"]):
        fail(folder, f"it has other files than its manifest: {sorted(there ^ set(manifest['files']))[:5]}")
    for name, expected in manifest["files"].items():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                fail(folder, f"{name} is not what was signed")


def fail(folder: Path, why: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    raise SystemExit(f"error: the bundle cannot be used: {why}")


if __name__ == "__main__":
    print(json.dumps(main(*map(Path, sys.argv[1:4]))))
