"""The appliance command."""

from __future__ import annotations


def main() -> None:
    """Entry point of the command `appliance`."""
    from appliance.cli.frame import appliance

    appliance(prog_name="appliance")


__all__ = ["main"]
