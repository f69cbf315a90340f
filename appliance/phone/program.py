"""Where the baresip program is: the host's, or the one in the Debian root that Asterisk runs from."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.phone.errors import PhoneProgramError

_HOST_MODULES = ("usr/lib/baresip/modules", "usr/lib/*-linux-gnu/baresip/modules", "usr/local/lib/baresip/modules")
_NEEDED = ("aufile.so", "mixausrc.so", "sndfile.so", "ctrl_tcp.so", "g711.so", "menu.so", "account.so")


@dataclass(frozen=True, slots=True)
class PhoneProgram:
    command: tuple[str, ...]
    """How to start it; its own arguments follow."""
    modules: Path
    """Folder of its modules."""


def find_program(roots: Sequence[Path] = (Path("/"),)) -> PhoneProgram:
    """The first baresip found in `roots`.

    A program of a root other than `/` is started through that root's own dynamic loader, which needs neither
    privileges nor a changed root, so that it reads and writes the host's files.

    Raises:
        PhoneProgramError: there is none with the modules that test calls need.
    """
    for root in roots:
        program = root / "usr/bin/baresip"
        if not program.exists():
            continue
        for pattern in _HOST_MODULES:
            for modules in sorted(root.glob(pattern)):
                if all((modules / name).exists() for name in _NEEDED):
                    return PhoneProgram(_command(root, program), modules)
    tried = ", ".join(str(root / "usr/bin/baresip") for root in roots)
    raise PhoneProgramError(f"baresip is missing or lacks modules; looked for {tried}", hint="make setup")


def _command(root: Path, program: Path) -> tuple[str, ...]:
    if root == Path("/"):
        return (str(program),)
    loaders = [*root.glob("lib64/ld-linux-*.so.*"), *root.glob("usr/lib64/ld-linux-*.so.*"), *root.glob("usr/lib/*/ld-linux-*.so.*")]
    libraries = sorted(root.glob("usr/lib/*-linux-gnu"))
    if not loaders or not libraries:
        raise PhoneProgramError(f"{root} has no dynamic loader for {program}")
    return (str(loaders[0]), "--library-path", ":".join(str(folder) for folder in libraries), str(program))


def version(program: PhoneProgram) -> str:
    """Its version number, `unknown` when it does not say."""
    if shutil.which(program.command[0]) is None:
        return "unknown"
    done = subprocess.run([*program.command, "-h"], capture_output=True, text=True, timeout=10, check=False)
    words = (done.stdout + done.stderr).split()
    return words[1].removeprefix("v") if words[:1] == ["baresip"] and len(words) > 1 else "unknown"
