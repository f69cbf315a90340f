"""The inventory of the lab: what a site's IT person writes, for nodes that live in network namespaces of this machine.

`hosts.json` has what everybody may read, `group_vars/all/vault.yml` beside it the passwords, and `tls/key.pem` the key of SIP over
TLS, both encrypted by the vault.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from lab import layout
from lab.certificate import certificate
from lab.controller import vault_password, write_private, write_vault
from lab.image import site_certificates
from lab.layout import Node
from lab.ssh import options

COMPANY_NUMBER = "1800"
AGENTS = ("agent1", "agent2")
ENCRYPTING_AGENT = AGENTS[1]
"""Has no call without encrypted audio."""
REGISTERING = "second"
"""The trunk that registers."""
REGISTRATION_USER = "911800123456"
TLS_PORT = 5061
FILE = layout.FOLDER / "inventory" / "hosts.json"
VAULT = FILE.parent / "group_vars" / "all" / "vault.yml"
TLS_KEY = FILE.parent / "tls" / "key.pem"
PASSWORDS = layout.FOLDER / "passwords.json"


def write_inventory(nodes: list[Node], more: Mapping[str, Any] | None = None) -> None:
    """Writes the inventory and its vault. JSON is YAML too, and needs no writer.

    Args:
        more: variables beside, or instead of, the usual ones; None leaves one out. They are not encrypted.
    """
    chain, key = certificate()
    registrar = {"address": str(layout.REGISTRAR), "server": str(layout.REGISTRAR), "username": REGISTRATION_USER}
    variables: dict[str, Any] = {
        "ansible_user": "root",
        "ansible_ssh_common_args": " ".join(options()),
        "site_company_number": COMPANY_NUMBER,
        "site_trunks": [{"name": "provider", "address": str(layout.TRUNK)}, {"name": REGISTERING, **registrar}],
        "site_agents": [{"name": name} | ({"srtp": "required"} if name == ENCRYPTING_AGENT else {}) for name in AGENTS],
        "site_tls_port": TLS_PORT,
        "appliance_tls_certificate": str(chain),
        "appliance_tls_key": str(TLS_KEY),
        "base_management_networks": [f"{layout.CONTROLLER}/32"],
        "base_ca_certificates": [str(path) for path in site_certificates()],
        **(more or {}),
    }
    variables = {name: value for name, value in variables.items() if value is not None}
    hosts = {node.name: {"ansible_host": str(node.address)} for node in nodes}
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps({"all": {"children": {"appliance": {"hosts": hosts}}, "vars": variables}}, indent=2) + "\n")
    vaulted = {"site_agent_passwords": passwords(), "site_trunk_passwords": trunk_passwords()}
    # What a vault says wins over the inventory's own file.
    vaulted = {name: value for name, value in vaulted.items() if name not in (more or {})}
    for file, text in ((VAULT, json.dumps(vaulted, indent=2)), (TLS_KEY, key)):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_vault(file, text)


def passwords() -> dict[str, str]:
    """SIP passwords of the agents."""
    return {name: _passwords()[name] for name in AGENTS}


def trunk_passwords() -> dict[str, str]:
    """Passwords of trunks that register."""
    return {REGISTERING: _passwords()[REGISTERING]}


def vaulted_secrets() -> dict[str, str]:
    """Every secret the controller knows, by a name for people. Those the nodes make themselves are known to them alone."""
    named = {f"password of {name}": password for name, password in _passwords().items()}
    return {**named, "key of SIP over TLS": certificate()[1], "password of the vault": vault_password()}


def _passwords() -> dict[str, str]:
    """By agent or trunk, made at the first use."""
    if not PASSWORDS.exists():
        write_private(PASSWORDS, json.dumps({name: secrets.token_urlsafe(12) for name in (*AGENTS, REGISTERING)}))
    found: dict[str, str] = json.loads(PASSWORDS.read_text())
    return found
