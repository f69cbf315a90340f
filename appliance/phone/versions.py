"""Versions of the programs and packages a call goes through."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib import metadata

from appliance import __version__
from appliance.phone.program import PhoneProgram
from appliance.stack.errors import NotInstalled
from appliance.stack.programs import Programs

_PACKAGES = ("ctranslate2", "faster-whisper", "onnxruntime", "litestar", "uvicorn", "redis", "numpy")
_PROGRAMS = {"asterisk": ("asterisk", "-V"), "redis-server": ("redis-server", "--version")}
_NUMBER = re.compile(r"\d+\.\d+(?:\.\d+)?")


def versions(programs: Programs, phone: PhoneProgram) -> dict[str, str]:
    """By name; `unknown` for what does not tell, nothing for what is not installed."""
    found = {"appliance": __version__, "python": platform.python_version(), "system": platform.platform(terse=True)}
    for name, command in _PROGRAMS.items():
        try:
            done = subprocess.run(programs.command(*command), capture_output=True, text=True, timeout=10, check=False)
        except NotInstalled:
            continue
        number = _NUMBER.search(done.stdout)
        found[name] = number.group() if number else "unknown"
    found["baresip"] = phone.version()
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
