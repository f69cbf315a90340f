"""The telephone program, baresip: the host's, or the one in the Debian root that Asterisk runs from."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from appliance.phone.errors import PhoneProgramError
from appliance.stack.errors import NotInstalled
from appliance.stack.programs import Programs

_MODULE_FOLDERS = ("usr/lib/baresip/modules", "usr/lib/*-linux-gnu/baresip/modules", "usr/local/lib/baresip/modules")
_MODULES = ("aufile.so", "mixausrc.so", "sndfile.so", "ctrl_tcp.so", "g711.so", "menu.so", "account.so")


@dataclass(frozen=True, slots=True)
class PhoneProgram:
    programs: Programs
    modules: Path
    """Folder of its modules, as the program sees it."""

    def command(self, folder: Path) -> list[str]:
        """What starts it with the configuration in `folder`, which it may write to."""
        return self.programs.command("baresip", "-4", "-f", str(folder.resolve()), visible=[folder.parent.parent])

    def version(self) -> str:
        """Its version number, `unknown` when it does not say."""
        done = subprocess.run(self.programs.command("baresip", "-h"), capture_output=True, text=True, timeout=10, check=False)
        words = (done.stdout + done.stderr).split()
        return words[1].removeprefix("v") if words[:1] == ["baresip"] and len(words) > 1 else "unknown"


def find_program(programs: Programs) -> PhoneProgram:
    """baresip with the modules that test calls need.

    Raises:
        PhoneProgramError: it is not installed, or lacks modules.
    """
    try:
        programs.command("baresip")
    except NotInstalled as error:
        raise PhoneProgramError(error.message, hint="make setup") from error
    top = programs.path("/")
    for pattern in _MODULE_FOLDERS:
        for modules in sorted(top.glob(pattern)):
            if all((modules / name).exists() for name in _MODULES):
                return PhoneProgram(programs, Path("/") / modules.relative_to(top))
    raise PhoneProgramError(f"baresip has no folder with the modules {', '.join(_MODULES)} in {top}", hint="make setup")


def work_folder() -> Path:
    """A new folder for the telephones of one call, in a place with a short name: baresip cuts names of recordings at 127 bytes.

    They all lie in one folder, since each folder a program inside the Debian root is shown leaves an empty one there.
    """
    parent = Path(tempfile.gettempdir()).resolve() / f"setu-phones-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent))
