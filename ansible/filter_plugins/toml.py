"""Writes plain values as TOML, which Ansible's own filters do not."""

from __future__ import annotations

import json
import re

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(tables: dict) -> str:
    """Text of a TOML document.

    Args:
        tables: of tables by name; a value of a table may be text, a number, a truth value, a list or a mapping of these.
    """
    lines = []
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise TypeError(f"{name} is no table: write it as a mapping")
        lines.append(f"[{_key(name)}]")
        lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items()]
        lines.append("")
    return "\n".join(lines)


def _key(name) -> str:
    text = str(name)
    return text if _BARE.fullmatch(text) else json.dumps(text)


def _value(value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _text(str(value))
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    raise TypeError(f"TOML has no {type(value).__name__}")


def _text(value: str) -> str:
    # JSON's escapes are TOML's, but for the surrogate pairs it would write for characters beyond the first plane.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


class FilterModule:
    def filters(self):
        return {"to_toml": to_toml}
