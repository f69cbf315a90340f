"""A release as it was committed: the files of a tag or commit, apart from whatever lies in the working tree now."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from appliance.bundle.errors import BundleError

NEEDED = ("scripts/release_archive.py", "requirements.lock")
"""What makes a tree a release that can be packed."""


def export(repository: Path, revision: str, folder: Path) -> Path:
    """Write the files of `revision` to `folder`.

    Returns:
        `folder`.

    Raises:
        BundleError: no such revision, or none that can be bundled.
    """
    name = _git(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if name is None:
        raise BundleError(f"{repository} has no release {revision}", hint="a tag or a commit: git -C PATH tag")
    packed = folder.with_suffix(".tar")
    if _git(repository, "archive", "--format=tar", f"--output={packed}", name) is None:
        raise BundleError(f"the files of {revision} cannot be read from {repository}")
    with tarfile.open(packed) as archive:
        archive.extractall(folder, filter="data")
    packed.unlink()
    missing = [path for path in NEEDED if not (folder / path).is_file()]
    if missing:
        raise BundleError(f"{revision} cannot be bundled: it has no {missing[0]}")
    return folder


def _git(repository: Path, *words: str) -> str | None:
    """What git says; None when it refuses."""
    try:
        done = subprocess.run(["git", "-C", str(repository), *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise BundleError("git is not installed, so only the working tree can be bundled") from None
    return done.stdout.strip() if done.returncode == 0 else None
