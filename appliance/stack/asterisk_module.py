"""Asterisk's module of our own, compiled for the Asterisk that will load it.

What it mends is in its source, `asterisk/module/func_unnumbered.c`. The role `asterisk` does the same on a node.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from appliance.stack.errors import NotInstalled

SOURCE = Path(__file__).parents[2] / "asterisk" / "module" / "func_unnumbered.c"
PACKAGES = {"gcc": "/usr/bin/gcc", "libc6-dev": "/usr/include/stdlib.h", "asterisk-dev": "/usr/include/asterisk.h"}
"""What compiling it takes, and how to see that it is there."""
MODULE_FOLDERS = ("usr/lib/*-linux-*/asterisk/modules", "usr/lib/asterisk/modules")


def module_folder(top: Path) -> Path | None:
    """Asterisk's module folder below `top`, if there is an Asterisk with `chan_websocket`."""
    found = (folder for pattern in MODULE_FOLDERS for folder in sorted(top.glob(pattern)) if (folder / "chan_websocket.so").exists())
    return next(found, None)


def source_hash() -> str:
    """Eight characters that change with the source."""
    return hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:8]


def is_compiled(top: Path) -> bool:
    """Whether the module is there, and not older than its source and the Asterisk it was compiled for."""
    folder = module_folder(top)
    if folder is None or not (module := folder / f"{SOURCE.stem}.so").exists():
        return False
    return module.stat().st_mtime >= max(SOURCE.stat().st_mtime, (folder / "chan_websocket.so").stat().st_ctime)


def compile_module(top: Path, enter: Sequence[str] = ()) -> None:
    """Compile the module into Asterisk's module folder.

    Args:
        top: what is `/` to Asterisk.
        enter: command that enters it, in front of the compiler's.

    Raises:
        NotInstalled: there is no such folder, or the compiler failed; with what it said.
    """
    folder = module_folder(top)
    if folder is None:
        raise NotInstalled(f"Asterisk in {top} has no chan_websocket module", hint="Asterisk 22.10 or newer is needed")
    name = SOURCE.stem
    unfinished = folder / f"{name}.part"
    command = [*enter, "gcc", "-O2", "-Wall", "-fPIC", "-shared", "-D_GNU_SOURCE", f'-DAST_MODULE="{name}"']
    command += [f"-DAST_MODULE_SELF_SYM=__internal_{name}_self", "-x", "c", "-o", f"/{unfinished.relative_to(top)}", "-"]
    done = subprocess.run(command, input=SOURCE.read_text(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        unfinished.unlink(missing_ok=True)
        raise NotInstalled(f"{SOURCE.name} could not be compiled: {done.stderr.strip()[-500:]}")
    unfinished.rename(folder / f"{name}.so")
