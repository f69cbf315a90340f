"""The node as others see it: who reaches what, and calls that cross the network."""

from __future__ import annotations

import json
import subprocess

import pytest
from node_life import call
from probes import tcp, tls, udp

from lab import layout
from lab.certificate import CERTIFICATE
from lab.commands import inside
from lab.inventory import TLS_PORT
from lab.layout import Node
from lab.machine import in_node

pytestmark = pytest.mark.timeout(300)
SIP_PORT = 5060
RTP = range(10_000, 20_001)
USUAL_TCP = {22, 53, 80, 111, 443, 3000, 6379, 8080, 8088, 8089, 9090, 9100, 9121, 9256}
USUAL_UDP = {53, 67, 123, 161, 514, 4569, 5353, 6379, 8088, RTP.start - 2, RTP.start - 1, RTP.stop, RTP.stop + 1, 30_000}
CALL_PORT = 19_998
"""Open for audio, and listened at by nobody while there is no call."""
LISTEN = """
import json, selectors, socket, sys
with selectors.DefaultSelector() as selector:
    for port in json.loads(sys.argv[1]):
        listening = socket.socket(type=socket.SOCK_DGRAM)
        try:
            listening.bind(("0.0.0.0", port))
        except OSError:
            continue  # somebody of the node's has it
        selector.register(listening, selectors.EVENT_READ, port)
    open("/run/lab-heard", "w").close()
    while True:
        for key, _ in selector.select():
            key.fileobj.recv(100)
            with open("/run/lab-heard", "a") as heard:
                print(key.data, file=heard)
"""


def listening(node: Node, kind: str) -> set[int]:
    """Ports somebody listens at on the node, at whatever address.

    Args:
        kind: `t` for TCP, `u` for UDP.
    """
    lines = in_node(node, f"ss -Hln{kind}").splitlines()
    return {int(line.split()[-2].rsplit(":", 1)[1]) for line in lines}


def test_a_call_crosses_the_network_encrypted(node: Node) -> None:
    done = call(node, "ta", "network", "--secure")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def test_signalling_is_tls_1_2_and_nothing_older(node: Node) -> None:
    found = tls(layout.TRUNK_NAMESPACE, node, TLS_PORT, str(CERTIFICATE))
    assert found == {"TLSv1_1": "TLSV1_ALERT_PROTOCOL_VERSION", "TLSv1_2": "TLSv1.2"}


def test_only_sip_is_open_to_the_trunk(node: Node) -> None:
    ports = listening(node, "t") | USUAL_TCP
    assert {22, SIP_PORT, TLS_PORT, 6379, 8080, 8088, 9090, 9100, 9121, 9256} <= listening(node, "t"), "they are to be hidden"
    seen = tcp(layout.TRUNK_NAMESPACE, node, ports)
    assert {port for port, what in seen.items() if what == "open"} == {SIP_PORT, TLS_PORT}
    assert {what for port, what in seen.items() if port not in (SIP_PORT, TLS_PORT)} == {"silence"}
    seen = tcp(layout.CONTROLLER_NAMESPACE, node, ports)
    assert {port for port, what in seen.items() if what == "open"} == {22, SIP_PORT, TLS_PORT}


def test_no_datagram_of_the_trunk_reaches_a_process_but_sip_and_audio(node: Node) -> None:
    hidden = {port for port in listening(node, "u") | USUAL_UDP if port != SIP_PORT and port not in RTP}
    # Somebody listens at each of them, and at one that is open, which shows that he would hear.
    ports = json.dumps(sorted(hidden | {CALL_PORT}))
    in_node(node, "systemd-run", "--quiet", "--unit=lab-listener", "python3", "-c", LISTEN, ports)
    try:
        in_node(node, "for i in $(seq 50); do test -e /run/lab-heard && break; sleep 0.1; done; test -e /run/lab-heard")
        seen = udp(layout.TRUNK_NAMESPACE, node, hidden | {CALL_PORT})
        heard = {int(port) for port in in_node(node, "cat /run/lab-heard").split()}
    finally:
        in_node(node, "systemctl stop lab-listener; rm -f /run/lab-heard")
    assert set(seen.values()) == {"silence"}
    assert heard == {CALL_PORT}


def test_wrong_passwords_lock_an_address_out(node: Node) -> None:
    guesser = "10.88.0.111"
    subprocess.run(inside(layout.PHONE_NAMESPACE, ["ip", "addr", "replace", f"{guesser}/24", "dev", "eth0"]), check=True)
    guess = ["python3", "-m", "lab.guess", guesser, str(node.address), "agent1", "12"]
    done = subprocess.run(inside(layout.PHONE_NAMESPACE, guess), cwd=layout.REPOSITORY, capture_output=True, text=True, check=False)
    answers = done.stdout.split()
    assert "401" in answers, done.stdout + done.stderr
    assert answers[-1] == "silence", f"still answered after {len(answers)} tries: {answers}"
