"""What a fresh server has on its disk before anybody installs anything: a minimal Debian with systemd, SSH and Python.

Made once with debootstrap and kept in the cache folder; nodes lay their own layer over it and never write to it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from appliance.stack import apt
from appliance.stack.root import CA_FOLDER, cache_folder
from lab.commands import LabError

RECIPE = "1"
SUITES = {"14": "forky", "13": "trixie"}
"""Debian release and its name."""
PACKAGES = (
    "ca-certificates", "dbus", "iproute2", "libpam-systemd", "netbase", "openssh-server", "procps", "python3", "sudo", "systemd",
    "systemd-sysv",
)  # fmt: skip
_MASKED = ("systemd-networkd-wait-online.service",)
_DPKG_OPTIONS = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
"""
"""Nobody reads manuals in a lab node, and one that loses its disk is made anew."""


def image(release: str = "14") -> Path:
    """The root of a fresh server of this Debian release, made when there is none; about 40 s.

    Raises:
        LabError: it could not be made; the message names the log.
    """
    suite = SUITES[release]
    recipe = "\n".join([suite, RECIPE, *PACKAGES, *_MASKED, _DPKG_OPTIONS])
    target = cache_folder() / f"node-{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished, log = target.with_suffix(".part"), target.with_suffix(".log")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    started = time.monotonic()
    print(f"making the image of a fresh Debian {release} server", flush=True)
    _bootstrap(suite, unfinished, log)
    unfinished.rename(target)
    print(f"image ready after {time.monotonic() - started:.0f} s", flush=True)
    return target


def _bootstrap(suite: str, root: Path, log: Path) -> None:
    mirror, settings = apt.debian_mirror(), apt.transport_settings()
    scripts = Path("/usr/share/debootstrap/scripts")
    script = scripts / suite if (scripts / suite).exists() else scripts / "sid"  # an older debootstrap does not know the suite
    environment = {**apt.download_environment(settings), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    include = f"--include={','.join(PACKAGES)}"
    with log.open("w") as output:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", include, suite, str(root), mirror, str(script)],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise LabError(f"debootstrap ended with {done.returncode}; see {log}")
    (root / "etc/apt/sources.list").write_text(f"deb {mirror} {suite} main\n")
    options = settings + 'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\n'
    (root / "etc/apt/apt.conf.d/90host").write_text(options)
    (root / "etc/dpkg/dpkg.cfg.d/90small").write_text(_DPKG_OPTIONS)
    for name in _MASKED:
        (root / "etc/systemd/system" / name).symlink_to("/dev/null")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    networkd = wants / "systemd-networkd.service"
    if not networkd.is_symlink():
        networkd.symlink_to("/usr/lib/systemd/system/systemd-networkd.service")
    for name in ("etc/machine-id", "etc/hostname", "etc/resolv.conf"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").write_text("")  # systemd makes one at the first boot
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()  # each node gets its own
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()


def site_certificates() -> list[Path]:
    """Certificates of this machine's site that a node needs too, to read from the package mirrors over TLS."""
    return sorted(CA_FOLDER.glob("*.crt"))


def package_caches() -> dict[Path, str]:
    """Folder of the host and the node's folder it stands for, so that the next node need not download again."""
    if os.environ.get("SETU_LAB_NO_CACHE"):
        return {}
    caches = {cache_folder() / "lab-apt": "/var/cache/apt/archives", cache_folder() / "lab-pip": "/root/.cache/pip"}
    for folder in caches:
        (folder / "partial").mkdir(parents=True, exist_ok=True)
    return caches
