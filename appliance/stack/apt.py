"""The host's apt: its mirror, its proxies, which versions it could install, and installing them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from appliance.stack.errors import NotInstalled

DEFAULT_MIRROR = "http://deb.debian.org/debian"
SOURCES = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
START_POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by package scripts before they start a service; 101 forbids it."""
LOCK_WAIT_S = 300
"""An update in the background may hold apt's lock."""
SERVICES = {"asterisk": "asterisk.service", "redis-server": "redis-server.service"}
_OUTPUT_FORMAT = '%F "%v";%n'
_NOT_ELSEWHERE = re.compile(r"Auto-?Detect|::Dl-Limit|Pipeline", re.IGNORECASE)
"""Settings that name a program of the host or make no sense in another root."""


def debian_mirror() -> str:
    """`$SETU_DEBIAN_MIRROR`, else the mirror the host takes Debian from, else the public one."""
    named = os.environ.get("SETU_DEBIAN_MIRROR")
    if named:
        return named
    files = [SOURCES / "sources.list", *sorted((SOURCES / "sources.list.d").glob("*"))]
    texts = [path.read_text() for path in files if path.is_file() and path.suffix in (".list", ".sources")]
    return mirror_in("\n".join(texts)) or DEFAULT_MIRROR


def mirror_in(sources: str) -> str | None:
    """First http(s) address of a Debian main archive in text of `sources.list` or deb822 form."""
    for line in sources.splitlines():
        line = line.split("#", 1)[0]
        if not re.match(r"\s*(deb\s|URIs\s*:)", line):
            continue
        for address in re.findall(r"https?://[^\s\]]+", line):
            if re.search(r"/debian/?$", address):
                return str(address).rstrip("/")
    return None


def transport_settings() -> str:
    """The host's `Acquire::http`, `::https` and `::Retries` settings (proxies, certificates) as text of an apt.conf."""
    sections = ("Acquire::http", "Acquire::https", "Acquire::Retries")
    found = _output("apt-config", "dump", "--no-empty", "--format", _OUTPUT_FORMAT, *sections)
    lines = [line for line in found.splitlines() if not _NOT_ELSEWHERE.search(line)]
    return "".join(f"{line}\n" for line in lines if re.match(r'[\w:.-]+ ".*";$', line))


def download_environment(settings: str) -> dict[str, str]:
    """The environment for debootstrap, which asks no apt configuration: the host's own, with apt's proxies added."""
    environment = dict(os.environ)
    for scheme in ("http", "https"):
        proxy = re.search(rf'^Acquire::{scheme}::Proxy "(.*)";$', settings, re.MULTILINE | re.IGNORECASE)
        if proxy and proxy[1] and proxy[1] != "DIRECT":
            environment.setdefault(f"{scheme}_proxy", proxy[1])
    return environment


def candidate(package: str) -> str | None:
    """Version of `package` that the host has or could install; None when it knows none."""
    match = re.search(r"^\s*Candidate:\s*(\S+)", _output("apt-cache", "policy", package), re.MULTILINE)
    return None if match is None or match[1] == "(none)" else match[1]


def debian_release() -> float:
    """Number of the host's Debian release; infinite for testing and unstable, which may have none, 0 elsewhere."""
    fields = dict(re.findall(r"""^(\w+)=["']?(.*?)["']?$""", OS_RELEASE.read_text(), re.MULTILINE)) if OS_RELEASE.exists() else {}
    if fields.get("ID") != "debian":
        return 0.0
    return float(fields.get("VERSION_ID") or "inf")


def refresh() -> None:
    """Reads the package lists anew; a mirror that does not answer shows when something is installed."""
    _output("apt-get", "-q", "update")


def install(packages: Sequence[str]) -> None:
    """Installs Debian packages; services among them are neither started nor enabled.

    Raises:
        NotInstalled: apt failed.
    """
    command = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", f"DPkg::Lock::Timeout={LOCK_WAIT_S}", "install", *packages]
    with _services_stay_off():
        done = _run(*command)
        if done.returncode != 0:
            refresh()
            done = _run(*command)
    if done.returncode != 0:
        tail = " | ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise NotInstalled(f"apt-get could not install {', '.join(packages)}: {tail}", hint=f"run: {' '.join(command)}")
    services = [SERVICES[package] for package in packages if package in SERVICES]
    if services and Path("/run/systemd/system").is_dir():
        _run("systemctl", "disable", "--now", *services)  # at the next boot they would take the ports of a stack


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, stdin=subprocess.DEVNULL)


def _output(*command: str) -> str:
    try:
        return _run(*command).stdout
    except FileNotFoundError:
        return ""  # not a Debian


@contextmanager
def _services_stay_off() -> Iterator[None]:
    if os.geteuid() != 0 or START_POLICY.exists():
        yield
        return
    START_POLICY.write_text("#!/bin/sh\nexit 101\n")
    START_POLICY.chmod(0o755)
    try:
        yield
    finally:
        START_POLICY.unlink(missing_ok=True)
