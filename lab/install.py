"""Programs of the host that the lab needs."""

from __future__ import annotations

import shutil
from pathlib import Path

from appliance.stack import apt
from appliance.stack.errors import NotInstalled
from lab.commands import LabError

PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
    "rsync": "rsync",
    "openssl": "openssl",
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def install_programs() -> None:
    """Installs the Debian packages that are missing."""
    lacking = [package for program, package in PROGRAMS.items() if shutil.which(program, path=_PATH) is None]
    if not Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists():
        lacking.append("debian-archive-keyring")
    if not lacking:
        return
    print(f"installing {', '.join(lacking)}", flush=True)
    try:
        apt.install(lacking)
    except NotInstalled as error:
        raise LabError(str(error)) from error
