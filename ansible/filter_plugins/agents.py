"""The account of an agent as `appliance.toml` has it: the password is named, never written."""

from __future__ import annotations


def agent_account(name: str) -> dict[str, str]:
    return {"name": name, "password": f"file:{name}-password"}


class FilterModule:
    def filters(self):
        return {"agent_account": agent_account}
