"""The inventory of the lab: what a site's IT person writes, for nodes that live in network namespaces of this machine."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from lab import layout
from lab.image import site_certificates
from lab.layout import Node
from lab.ssh import options

COMPANY_NUMBER = "1800"
AGENTS = ("agent1", "agent2")
FILE = layout.FOLDER / "inventory" / "hosts.json"
PASSWORDS = layout.FOLDER / "agent-passwords.json"


def write_inventory(nodes: list[Node], more: Mapping[str, Any] | None = None) -> None:
    """Writes the inventory. JSON is YAML too, and needs no writer.

    Args:
        more: variables beside, or instead of, the usual ones; None leaves one out.
    """
    variables: dict[str, Any] = {
        "ansible_user": "root",
        "ansible_ssh_common_args": " ".join(options()),
        "site_company_number": COMPANY_NUMBER,
        "site_trunks": [{"name": "provider", "address": str(layout.TRUNK)}],
        "site_agents": [{"name": name} for name in AGENTS],
        "site_agent_passwords": passwords(),
        "base_management_networks": [f"{layout.CONTROLLER}/32"],
        "base_ca_certificates": [str(path) for path in site_certificates()],
        **(more or {}),
    }
    variables = {name: value for name, value in variables.items() if value is not None}
    hosts = {node.name: {"ansible_host": str(node.address)} for node in nodes}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.touch(mode=0o600)
    FILE.write_text(json.dumps({"all": {"children": {"appliance": {"hosts": hosts}}, "vars": variables}}, indent=2) + "\n")


def passwords() -> dict[str, str]:
    """SIP passwords of the agents, made at the first use."""
    if not PASSWORDS.exists():
        PASSWORDS.parent.mkdir(parents=True, exist_ok=True)
        PASSWORDS.touch(mode=0o600)
        PASSWORDS.write_text(json.dumps({name: secrets.token_urlsafe(12) for name in AGENTS}))
    found: dict[str, str] = json.loads(PASSWORDS.read_text())
    return found
