"""A Debian 14 root with the telephone programs, made once with debootstrap, for hosts whose own distribution has no new enough Asterisk.

It lies in the cache folder (`$SETU_CACHE`, else `~/.cache/appliance`) under a name that changes with its recipe. It is
built beside its final place and renamed, so a root that exists is complete; a lock lets two builds wait for each other.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from appliance.stack import apt, asterisk_module
from appliance.stack.errors import NotInstalled

SUITE = "forky"
RECIPE = "1"
"""Goes into the name of the root: raise it when the steps below change what comes out."""
PACKAGES = ("asterisk", "asterisk-modules", "redis-server", "baresip-core", "sip-tester", *asterisk_module.PACKAGES)
HOST_TOOLS = {"debootstrap": "debootstrap"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
CA_FOLDER = Path("/usr/local/share/ca-certificates")
DOWNLOAD_TRIES = 3
Progress = Callable[[str], None]

_DPKG_OPTIONS = """\
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
"""
"""The root is thrown away when its build is interrupted, so dpkg need not wait for the disk; nobody reads manuals in it."""

_STEPS = {
    "I: Retrieving": "downloading the base system",
    "I: Extracting": "unpacking the base system",
    "I: Configuring": "setting up the base system",
}


def cache_folder() -> Path:
    """Where roots are kept between runs."""
    named = os.environ.get("SETU_CACHE")
    return Path(named).resolve() if named else Path.home() / ".cache" / "appliance"


def root_folder() -> Path:
    """Where the root of this recipe is, or will be."""
    recipe = "\n".join([SUITE, RECIPE, *PACKAGES, _DPKG_OPTIONS, asterisk_module.source_hash()])
    return cache_folder() / f"root-{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"


def is_built() -> bool:
    return root_folder().is_dir()


def build(progress: Progress) -> Path:
    """Makes the root unless it is there; about a minute and a half and 200 MB of packages. Needs root and debootstrap.

    Args:
        progress: called with one line of text at each step.

    Raises:
        NotInstalled: a step failed; the message has the end of its output and names the log.
    """
    target = root_folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.with_suffix(".lock"), progress):
        if target.is_dir():
            return target
        unfinished = target.with_suffix(".part")
        _remove(unfinished)
        started = time.monotonic()
        _bootstrap(unfinished, target.with_suffix(".log"), lambda step: progress(f"Debian 14 root: {step}"))
        unfinished.rename(target)
        progress(f"Debian 14 root: ready after {time.monotonic() - started:.0f} s")
    return target


def _bootstrap(root: Path, log: Path, progress: Progress) -> None:
    mirror = apt.debian_mirror()
    settings = apt.transport_settings()
    script = Path("/usr/share/debootstrap/scripts") / SUITE
    # An older debootstrap does not know the suite; sid's script does the same steps.
    script = script if script.exists() else script.with_name("sid")
    environment = apt.download_environment(settings)
    log.write_text("")
    bootstrap = ["debootstrap", "--variant=minbase", "--include=ca-certificates", SUITE, str(root), mirror, str(script)]
    _run(bootstrap, log, environment, progress)
    _write(root / "etc/apt/sources.list", f"deb {mirror} {SUITE} main\n")
    _write(root / "etc/apt/apt.conf.d/90host", settings + 'Acquire::Check-Valid-Until "false";\nAcquire::Languages "none";\n')
    _write(root / "etc/dpkg/dpkg.cfg.d/90small", _DPKG_OPTIONS)
    _write(root / "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n").chmod(0o755)  # packages must not start their services
    for certificate in sorted(CA_FOLDER.glob("*.crt")):
        shutil.copy(certificate, root / str(CA_FOLDER).lstrip("/"))
    enter = ["chroot", str(root), "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    _run([*enter, "update-ca-certificates"], log, environment, progress)
    progress(f"installing {', '.join(PACKAGES)}")
    _run([*enter, "apt-get", "-q", "update"], log, environment, progress, tries=DOWNLOAD_TRIES)
    install = [*enter, "apt-get", "-q", "-y", "--no-install-recommends", "install", *PACKAGES]
    _run(install, log, environment, progress, tries=DOWNLOAD_TRIES)
    _run([*enter, "apt-get", "clean"], log, environment, progress)
    version = subprocess.run([*enter, "asterisk", "-V"], capture_output=True, text=True, check=False)
    if version.returncode != 0:
        raise NotInstalled(f"asterisk does not run in the new root {root}: {version.stderr.strip()}", hint=f"see {log}")
    progress("compiling Asterisk's module")
    asterisk_module.compile_module(root, enter)
    for path in (root / "var/lib/apt/lists").iterdir():
        _remove(path)


def _run(command: list[str], log: Path, environment: Mapping[str, str], progress: Progress, *, tries: int = 1) -> None:
    for attempt in range(1, tries + 1):
        last_step = ""
        with log.open("a") as log_file:
            log_file.write(f"+ {' '.join(command)}\n")
            process = subprocess.Popen(
                command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            with process:
                for line in process.stdout or ():
                    log_file.write(line)
                    step = next((text for start, text in _STEPS.items() if line.startswith(start)), "")
                    if step and step != last_step:
                        progress(step)
                        last_step = step
        if process.returncode == 0:
            return
        if attempt < tries:
            progress(f"trying again: {' '.join(command)} ended with {process.returncode}")
            time.sleep(2.0 * attempt)
    tail = " | ".join(log.read_text().strip().splitlines()[-3:])
    what = f"{command[0]} ended with {process.returncode} while the Debian 14 root was made: {tail}"
    raise NotInstalled(what, hint=f"log: {log}; SETU_DEBIAN_MIRROR names another Debian mirror")


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("Debian 14 root: waiting for another run that makes it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _remove(path: Path) -> None:
    # A build that was killed can leave /proc mounted in it, and deleting through a mount would reach the host.
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((point for point in mounted if Path(point).is_relative_to(path)), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=True)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
