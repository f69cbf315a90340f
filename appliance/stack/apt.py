"""What the host's apt knows: its mirror, its proxies, which versions it could install."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

DEFAULT_MIRROR = "http://deb.debian.org/debian"
SOURCES = Path("/etc/apt")
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
    found = subprocess.run(  # noqa: S603
        ["apt-config", "dump", "--no-empty", "--format", _OUTPUT_FORMAT, *sections], capture_output=True, text=True, check=False  # noqa: S607
    )
    lines = [line for line in found.stdout.splitlines() if not _NOT_ELSEWHERE.search(line)]
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
    shown = subprocess.run(["apt-cache", "policy", package], capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})  # noqa: S603, S607
    match = re.search(r"^\s*Candidate:\s*(\S+)", shown.stdout, re.MULTILINE)
    return None if match is None or match[1] == "(none)" else match[1]
