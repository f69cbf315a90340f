"""Looks at what a machine must reach, and at who must reach it: host names, a Redis elsewhere, the administrator's way in."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: preflight_reach
short_description: Every problem with a machine's way to others and theirs to it at once, changing nothing
description: Returns C(problems), a list of mappings with C(check), C(found) and C(mend). Always succeeds.
options:
  names:
    description: Host names that must resolve.
    type: list
    elements: str
    default: []
  addresses:
    description: Addresses (URL) by the variable that has them; their hosts must resolve. Empty ones are left out.
    type: dict
    default: {}
  mirrors:
    description: Whether the hosts of apt's sources must resolve.
    type: bool
    default: false
  redis:
    description: URL of a Redis on another machine; empty when there is none.
    type: str
    default: ""
  wait_s:
    description: Seconds to wait for an answer of that Redis.
    type: float
    default: 3
  firewall:
    description: Whether a firewall will let in nobody but C(networks) to C(ssh_port).
    type: bool
    default: false
  networks:
    description: Networks that may reach SSH; empty allows every address.
    type: list
    elements: str
    default: []
  ssh_port:
    description: Port of SSH that the firewall will open.
    type: int
    default: 22
"""
EXAMPLES = "- preflight_reach:\n    names: [sip.example.net]\n"
RETURN = "problems:\n  description: What was found, empty when all is well.\n  type: list\n  returned: always\n"

Problem = dict[str, str]
APT = Path("/etc/apt")
FETCHED_BY_NAME = ("http", "https", "ftp", "mirror")
"""Ways of apt's sources that go to a host; the others read files, or ask somebody else for names."""
_SSH = re.compile(rb"(?:^|\0)SSH_CONNECTION=([^ \0]+) \d+ ([^ \0]+) (\d+)")


def problem(check: str, found: str, mend: str) -> Problem:
    return {"check": check, "found": found, "mend": mend}


# Names


def wanted_hosts(names: list[str], addresses: dict[str, str], mirrors: dict[str, str]) -> dict[str, str]:
    """Where each host is written, by host.

    Args:
        addresses: URL by variable.
        mirrors: file of apt's sources by URL.
    """
    wanted = dict.fromkeys(names, "preflight_names or site_trunks")
    if not (addresses or mirrors):
        return wanted
    settings = apt_settings()
    for url, file in mirrors.items():
        host, said = asked(url, settings)
        if host:
            wanted.setdefault(host, said or file)
    for variable, url in addresses.items():
        host, said = asked(url, {})
        if host:
            wanted.setdefault(host, said or variable)
    return wanted


def apt_sources(folder: Path) -> dict[str, str]:
    """File by address of everything that apt would fetch from another machine."""
    found: dict[str, str] = {}
    for file in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        if file.suffix not in (".list", ".sources") or not file.is_file():
            continue
        text = re.sub(r"^\s*#.*\n?", "", file.read_text(errors="replace"), flags=re.MULTILINE)
        for address in one_line_sources(text) if file.suffix == ".list" else deb822_sources(text):
            found.setdefault(address, str(file))
    return found


def one_line_sources(text: str) -> list[str]:
    return re.findall(r"^\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?(\S+)", text, re.MULTILINE)


def deb822_sources(text: str) -> list[str]:
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        # A line that begins with a space goes on with the one before.
        fields = dict(re.findall(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", paragraph, re.MULTILINE))
        fields = {name.lower(): value for name, value in fields.items()}
        if fields.get("enabled", "yes").strip().lower() not in ("no", "false", "0", "off", "without", "disable"):
            found += fields.get("uris", "").split()
    return found


def apt_settings() -> dict[str, str]:
    """Apt's settings of proxies, names in small letters."""
    command = ["apt-config", "dump", "--no-empty", "--format", '%F "%v";%n', "Acquire::http", "Acquire::https"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {name.lower(): value for name, value in re.findall(r'^(\S+) "(.*)";$', done.stdout, re.MULTILINE)}


def asked(url: str, settings: dict[str, str]) -> tuple[str, str]:
    """The host whose name the machine itself looks up for this address, and who names it where that is not the address: a proxy.

    Both are empty where no name is looked up, or where only a program of the site's knows the proxy.
    """
    try:
        scheme, host = urlsplit(url).scheme.split("+")[-1], urlsplit(url).hostname or ""
    except ValueError:
        return url, ""
    if not host or url.startswith("tor+") or scheme not in FETCHED_BY_NAME:
        return "", ""
    if any(re.search(r"::proxy-?auto-?detect$", name) for name in settings):
        return "", ""
    scheme = "https" if scheme == "https" else "http"
    proxy, said = "", ""
    for kind in (scheme, "http"):  # apt's https takes what is set for http where it has nothing of its own
        for name in (f"acquire::{kind}::proxy::{host}", f"acquire::{kind}::proxy"):
            if not proxy and name in settings:
                proxy, said = settings[name], "apt's proxy"
    if not proxy and not spared(host, os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""):
        proxy, said = os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme.upper()}_PROXY") or "", f"{scheme}_proxy"
    if not proxy or proxy.upper() == "DIRECT":
        return host, ""
    return urlsplit(proxy if "//" in proxy else f"//{proxy}").hostname or "", said


def spared(host: str, no_proxy: str) -> bool:
    """Whether the environment says that this host is asked without the proxy."""
    ends = [part.strip().lstrip("*.") for part in no_proxy.split(",") if part.strip()]
    return no_proxy.strip() == "*" or any(host == end or host.endswith(f".{end}") for end in ends)


def why_not(name: str) -> str:
    """Why a name does not resolve; empty when it does. Nothing is connected to."""
    try:
        socket.getaddrinfo(name, None)
    except (OSError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def name_problems(wanted: dict[str, str]) -> list[Problem]:
    """Asked all at once: without a DNS server each one takes half a minute."""
    with ThreadPoolExecutor(max_workers=max(1, len(wanted))) as pool:
        reasons = dict(zip(wanted, pool.map(why_not, wanted), strict=True))
    mend = "or the DNS server in the machine's /etc/resolv.conf"
    failed = [(name, reason) for name, reason in reasons.items() if reason]
    return [problem("name", f"{name} does not resolve: {reason}", f"correct it in {wanted[name]}, {mend}") for name, reason in failed]


# Redis


def redis_problems(url: str, wait_s: float) -> list[Problem]:
    """A Redis elsewhere that does not answer as one, or does not take the password. Over TLS only that somebody listens.

    Certificates of the site's own are not on the machine yet.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 6379
    except ValueError as error:
        return [problem("redis", f"site_redis_url cannot be read: {error}", "write it as redis://HOST:PORT/0")]
    if parts.scheme not in ("redis", "rediss") or not host:
        return []
    mend = "start it, or correct site_redis_url, the route to it or the firewalls between"
    try:
        with socket.create_connection((host, port), wait_s) as connection:
            reply = "+PONG" if parts.scheme == "rediss" else ping(connection, parts.username, parts.password)
    except OSError as error:
        return [problem("redis", f"no Redis answers at {host} port {port}: {error.strerror or error}", mend)]
    if reply.startswith("+PONG"):
        return []
    if reply.startswith(("-NOAUTH", "-WRONGPASS", "-ERR AUTH", "-ERR invalid password")):
        return [problem("redis", f"the Redis at {host} port {port} does not take the password", "correct it in site_redis_url")]
    if reply.startswith("-"):
        return [problem("redis", f"the Redis at {host} port {port} answers: {reply[1:100]}", "see its log and its settings")]
    return [problem("redis", f"what answers at {host} port {port} is no Redis", mend)]


def ping(connection: socket.socket, user: str | None, password: str | None) -> str:
    """The answer to PING, or to the password where it is refused."""
    if password:
        reply = ask(connection, "AUTH", *([unquote(user)] if user else []), unquote(password))
        if not reply.startswith("+OK"):
            return reply
    return ask(connection, "PING")


def ask(connection: socket.socket, *words: str) -> str:
    parts = [word.encode() for word in words]
    connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
    reply = b""
    while not reply.endswith(b"\r\n") and len(reply) < 1000:
        got = connection.recv(1000)
        if not got:
            break
        reply += got
    return reply.decode("utf-8", "replace").strip()


# The administrator


def ssh_session(process: int) -> tuple[str, str, int] | None:
    """Address of the client, own address and own port of the SSH session that a process runs in.

    Sudo takes them out of the environment, so the processes above are looked at too.
    """
    while process > 1:
        try:
            match = _SSH.search(Path(f"/proc/{process}/environ").read_bytes())
            if match:
                client, own = (part.decode().split("%")[0] for part in match.group(1, 2))
                return client, own, int(match[3])
            process = int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            return None
    return None


def admin_problems(networks: list[str], ssh_port: int, session: tuple[str, str, int] | None) -> list[Problem]:
    """A firewall that would shut out whoever is installing, and networks it could not be told."""
    known, found = [], []
    for network in networks:
        try:
            known.append(ipaddress.ip_network(network, strict=False))
        except ValueError:
            mend = "write it as 192.0.2.0/24 or 192.0.2.10"
            found.append(problem("admin", f"base_management_networks: {network!r} is no IP address or network", mend))
    if session is None:
        return found
    client, own, port = session
    address = ipaddress.ip_address(client)
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or client == own:  # what comes over the loopback interface is always let in
        return found
    if networks and not any(address in network for network in known):
        what = f"Ansible comes from {address}, which is in none of base_management_networks ({', '.join(networks)})"
        found.append(problem("admin", f"{what}: the firewall would lock you out", f"add {address} or its network to them"))
    if port != ssh_port:
        what = f"Ansible comes in by port {port}, and the firewall would open base_ssh_port {ssh_port} only: it would lock you out"
        found.append(problem("admin", what, f"set base_ssh_port to {port}"))
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "default": []},
            "addresses": {"type": "dict", "default": {}},
            "mirrors": {"type": "bool", "default": False},
            "redis": {"type": "str", "default": "", "no_log": True},
            "wait_s": {"type": "float", "default": 3},
            "firewall": {"type": "bool", "default": False},
            "networks": {"type": "list", "elements": "str", "default": []},
            "ssh_port": {"type": "int", "default": 22},
        },
        supports_check_mode=True,
    )
    given = module.params
    addresses = {variable: url for variable, url in given["addresses"].items() if url}
    mirrors = apt_sources(APT) if given["mirrors"] else {}
    problems = name_problems(wanted_hosts(given["names"], addresses, mirrors))
    if given["redis"]:
        problems += redis_problems(given["redis"], given["wait_s"])
    if given["firewall"]:
        problems += admin_problems(given["networks"], given["ssh_port"], ssh_session(os.getpid()))
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
