"""What a host needs before a stack can run on it, and the one command that puts it there."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from appliance.stack import apt, asterisk_module, root
from appliance.stack.errors import NotInstalled
from appliance.stack.programs import SEARCH_PATH, Programs

MIN_ASTERISK = (22, 10)
"""First with every fix of `chan_websocket` that calls rely on; see docs/adr."""
HOST_PROGRAMS = {"asterisk": "asterisk", "redis-server": "redis-server", "baresip": "baresip-core", "sipp": "sip-tester"}
"""Program and Debian package, where Asterisk comes from the host's own distribution."""
ENTER_PROGRAMS = {"unshare": "util-linux"}
SPEECH = {"espeak-ng": "espeak-ng"}
FIRST_DEBIAN = 14
"""First Debian release with such an Asterisk."""
SETUP_COMMAND = f"sudo make -C {Path(__file__).parents[2]} setup"
AS_ROOT_COMMAND = f"sudo make -C {Path(__file__).parents[2]} demo"
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Missing:
    """Packages the host lacks, and whether the Debian root, or the module for the host's own Asterisk, has still to be made."""

    packages: tuple[str, ...]
    needs_root_folder: bool
    needs_module: bool = False

    def __bool__(self) -> bool:
        return bool(self.packages) or self.needs_root_folder or self.needs_module

    def __str__(self) -> str:
        made = {"the Debian 14 root for Asterisk": self.needs_root_folder, "Asterisk's module func_unnumbered": self.needs_module}
        return ", ".join([*self.packages, *(name for name, needed in made.items() if needed)])


def upstream_version(package_version: str) -> tuple[int, ...]:
    """Numbers of a Debian version: `1:22.10.1~dfsg+~cs6.15-1` is (22, 10, 1)."""
    match = re.match(r"(?:\d+:)?(\d+(?:\.\d+)*)", package_version)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def host_has_asterisk() -> bool:
    """Whether the host's distribution offers (or the host has) an Asterisk that is new enough."""
    version = apt.candidate("asterisk")
    if version is None and os.geteuid() == 0 and apt.debian_release() >= FIRST_DEBIAN:
        apt.refresh()  # a machine as fresh as this has never read its package lists
        version = apt.candidate("asterisk")
    return version is not None and upstream_version(version) >= MIN_ASTERISK


def missing(*, from_host: bool) -> Missing:
    """What is not there yet; nothing is changed.

    Args:
        from_host: Asterisk and its like come from the host's distribution, not from the Debian root.
    """
    build_root = not from_host and not root.is_built()
    wanted = {**SPEECH, **(HOST_PROGRAMS if from_host else ENTER_PROGRAMS), **(root.HOST_TOOLS if build_root else {})}
    packages = [package for program, package in wanted.items() if shutil.which(program, path=SEARCH_PATH) is None]
    if build_root and not root.KEYRING.exists():
        packages.append("debian-archive-keyring")
    compile_module = from_host and not asterisk_module.is_compiled(Path("/"))
    if compile_module:
        packages += [package for package, file in asterisk_module.PACKAGES.items() if not Path(file).exists()]
    return Missing(tuple(packages), build_root, compile_module)


def programs(progress: Progress) -> Programs:
    """The telephone programs, installed if they have to be.

    Args:
        progress: called with one line of text at each step.

    Raises:
        NotInstalled: something is missing and this user may not install it, or its installation failed.
    """
    from_host = host_has_asterisk()
    lacking = missing(from_host=from_host)
    if os.geteuid() != 0:
        if not from_host:  # installing alone would not help: only root may enter what it makes, and its cache is root's own
            what = f"not installed: {lacking}" if lacking else "Asterisk runs from a Debian 14 root here, which only root may enter"
            raise NotInstalled(what, hint=f"as root it does all that is needed: {AS_ROOT_COMMAND}")
        if lacking:
            raise NotInstalled(f"not installed: {lacking}", hint=f"to install it, run: {SETUP_COMMAND}")
    if lacking.packages:
        progress(f"installing {', '.join(lacking.packages)}")
        apt.install(lacking.packages)
    if lacking.needs_module:
        progress("compiling Asterisk's module")
        asterisk_module.compile_module(Path("/"))
    return Programs(None) if from_host else Programs(root.build(progress))


def main() -> int:
    """`python -m appliance.stack.install`: everything a stack needs beside Python packages."""
    try:
        programs(lambda line: print(line, flush=True))  # noqa: T201
    except NotInstalled as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
