"""How a problem is written."""

from __future__ import annotations


def preflight_line(problem: dict[str, str]) -> str:
    """One line for a person: what was found, and how to mend it."""
    return f"{problem['check']}: {problem['found']} -> {problem['mend']}"


class FilterModule:
    def filters(self):
        return {"preflight_line": preflight_line}
