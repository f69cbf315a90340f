"""How a problem is written, and what a check that did not run has found."""

from __future__ import annotations

import zoneinfo


def preflight_line(problem: dict[str, str]) -> str:
    """One line for a person: what was found, and how to mend it."""
    return f"{problem['check']}: {problem['found']} -> {problem['mend']}"


def preflight_problems(result: dict) -> list[dict[str, str]]:
    """What a check has found. One that could not run, for its variables were wrong, is a problem itself."""
    if "problems" in result:
        return result["problems"]
    found = result.get("msg") or "not everything of it could be looked at"
    return [{"check": "machine", "found": " ".join(found.split()), "mend": "mend the variables first"}]


def preflight_zone_known(name: str) -> bool:
    """Whether the controller knows a time zone; true where it knows none at all."""
    known = zoneinfo.available_timezones()
    return not known or name in known


class FilterModule:
    def filters(self):
        return {
            "preflight_line": preflight_line,
            "preflight_problems": preflight_problems,
            "preflight_zone_known": preflight_zone_known,
        }
