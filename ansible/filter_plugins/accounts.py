"""Accounts as `appliance.toml` has them: a password is named, never written. Its file has the name of the agent or trunk."""

from __future__ import annotations


def agent_account(agent: dict[str, str]) -> dict[str, str]:
    """The entry of an agent."""
    return {**agent, "password": f"file:{_file(agent['name'])}"}


def trunk_entry(trunk: dict[str, str]) -> dict[str, str]:
    """The entry of a trunk; one that registers has a password."""
    return {**trunk, "password": f"file:{_file(trunk['name'])}"} if trunk.get("server") else dict(trunk)


def password_files(passwords: dict[str, str]) -> dict[str, str]:
    """Secrets by the name of their file, from passwords by the name of agent or trunk."""
    return {_file(name): password for name, password in passwords.items()}


def registrar_names(trunks: list[dict[str, str]]) -> list[str]:
    """Names of the machines that registrations are sent to, which the node must be able to resolve."""
    hosts = [str(trunk.get("outbound_proxy") or trunk["server"]) for trunk in trunks if isinstance(trunk, dict) and trunk.get("server")]
    return [host.rsplit(":", 1)[0] for host in hosts]


def _file(name: str) -> str:
    return f"{name}-password"


class FilterModule:
    def filters(self):
        return {
            "agent_account": agent_account,
            "trunk_entry": trunk_entry,
            "password_files": password_files,
            "registrar_names": registrar_names,
        }
