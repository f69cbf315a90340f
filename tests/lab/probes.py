"""What somebody in another network finds out about a node: small programs that run in his namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable

from lab.commands import inside
from lab.layout import Node

_TCP = """
import json, socket, sys
found = {}
for port in json.loads(sys.argv[2]):
    with socket.socket() as probe:
        probe.settimeout(0.25)
        try:
            probe.connect((sys.argv[1], port))
            found[port] = "open"
        except ConnectionRefusedError:
            found[port] = "refused"
        except OSError:
            found[port] = "silence"
print(json.dumps(found))
"""
_UDP = """
import json, socket, sys
found = {}
for port in json.loads(sys.argv[2]):
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.25)
        probe.connect((sys.argv[1], port))
        try:
            probe.send(b"is anybody there")
            probe.recv(100)
            found[port] = "open"
        except ConnectionRefusedError:  # nobody listens, and the node says so: no firewall has dropped it
            found[port] = "refused"
        except OSError:
            found[port] = "silence"
print(json.dumps(found))
"""
_TLS = """
import json, socket, ssl, sys
found = {}
for name in ("TLSv1_1", "TLSv1_2"):
    context = ssl.create_default_context(cafile=sys.argv[3])
    context.set_ciphers("ALL:@SECLEVEL=0")  # or this side would not even ask
    context.minimum_version = context.maximum_version = ssl.TLSVersion[name]
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5) as plain:
        try:
            found[name] = context.wrap_socket(plain, server_hostname=sys.argv[1]).version()
        except ssl.SSLError as error:
            found[name] = error.reason
print(json.dumps(found))
"""


def tcp(namespace: str, node: Node, ports: Iterable[int]) -> dict[int, str]:
    """By port `open`, `refused` by the node itself, or `silence`."""
    return _ports(_TCP, namespace, node, ports)


def udp(namespace: str, node: Node, ports: Iterable[int]) -> dict[int, str]:
    """The same; `open` when something answers to a datagram that is no request of any protocol."""
    return _ports(_UDP, namespace, node, ports)


def tls(namespace: str, node: Node, port: int, authority: str) -> dict[str, str]:
    """By version of TLS: the version agreed on, or why there is none."""
    found: dict[str, str] = _run(_TLS, namespace, str(node.address), str(port), authority)
    return found


def _ports(program: str, namespace: str, node: Node, ports: Iterable[int]) -> dict[int, str]:
    found = _run(program, namespace, str(node.address), json.dumps(sorted(set(ports))))
    return {int(port): what for port, what in found.items()}


def _run(program: str, namespace: str, *arguments: str):
    command = inside(namespace, [sys.executable, "-W", "ignore", "-c", program, *arguments])
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)
