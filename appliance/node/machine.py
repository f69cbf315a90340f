"""Questions to the programs of the machine: the clock, the graphics cards, Asterisk's trunks. Answers are parsed apart from the asking."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

import msgspec

from appliance.node.errors import NodeError

ASK_S = 10.0
_REGISTRATION = re.compile(r"^\s*(?P<name>[^\s/]+)/(?P<uri>\S+)\s+(?P<auth>\S+)\s+(?P<state>\w+)", re.MULTILINE)


class Card(msgspec.Struct, frozen=True):
    """A graphics card."""

    name: str
    used_mib: int
    total_mib: int


def printed(command: Sequence[str]) -> str:
    """What a program prints. Raises: NodeError when it is not there, fails or does not end."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NodeError(f"{command[0]}: {getattr(error, 'strerror', None) or error}") from error
    if done.returncode:
        raise NodeError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip() or f'exit status {done.returncode}'}")
    return done.stdout


def cards(text: str) -> list[Card]:
    """What `nvidia-smi --query-gpu=name,memory.used,memory.total --format=csv,noheader,nounits` printed."""
    found = []
    for line in text.strip().splitlines():
        name, used, total = (part.strip() for part in line.rsplit(",", 2))
        found.append(Card(name, int(used), int(total)))
    return found


def registrations(text: str) -> dict[str, str]:
    """State (`Registered`, `Rejected`, ...) by name, from what Asterisk printed to `pjsip show registrations`."""
    return {found["name"]: found["state"] for found in _REGISTRATION.finditer(text) if not found["uri"].startswith("<")}


def asterisk(command: str) -> str:
    """What the node's Asterisk answers on its console. Raises: NodeError."""
    return printed(("asterisk", "-rx", command))
