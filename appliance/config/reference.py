"""The reference of all keys, as Markdown, made from the schema itself: types, limits, defaults and its docstrings."""

from __future__ import annotations

import ast
import inspect
import typing
from typing import Any

import msgspec
from msgspec import inspect as shapes

from appliance.config import schema
from appliance.config.allowed import allowed

_HEAD = """\
# Configuration

Generated from `appliance/config/schema.py` by `python -m appliance.config --reference > docs/configuration.md`: change it there.

One TOML file, `appliance.toml`. Every key has a default, but for those marked *required*; an unknown key or a value that is not
allowed stops the start with file, line, key and what is allowed. `python -m appliance.config FILE` checks a file without starting
anything. Relative paths start from the folder of the file. Times are in seconds.

A secret is written as `file:NAME` and read from the systemd credential of that name, else from `NAME` in `node.state_dir`;
`ari-password` and `caller-hash-key` are made there, readable by their owner only, when they are missing.
"""


def reference() -> str:
    """The text of `docs/configuration.md`."""
    notes = _field_notes()
    parts = [_HEAD]
    for field in msgspec.structs.fields(schema.Config):
        parts.append(_section(f"[{field.name}]", field.type, notes))
        for inner in msgspec.structs.fields(field.type):
            info = shapes.type_info(inner.type)
            if isinstance(info, shapes.ListType) and isinstance(info.item_type, shapes.StructType):
                parts.append(_section(f"[[{field.name}.{inner.name}]]", info.item_type.cls, notes))
    return "\n".join(parts)


def _section(title: str, section: Any, notes: dict[tuple[str, str], str]) -> str:
    kinds = typing.get_type_hints(section, include_extras=True)
    lines = [f"## `{title}`", "", "| key | allowed | default | meaning |", "| --- | --- | --- | --- |"]
    for field in msgspec.structs.fields(section):
        note = notes.get((section.__name__, field.name), "")
        cells = (f"`{field.name}`", _cell(allowed(kinds[field.name])), _default(field), _cell(note))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "*required*"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if value is None:
        return "unset"
    return "none" if value in ([], {}) else f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _field_notes() -> dict[tuple[str, str], str]:
    """The string under each field of each struct, which Python itself throws away."""
    notes: dict[tuple[str, str], str] = {}
    for section in ast.parse(inspect.getsource(schema)).body:
        if not isinstance(section, ast.ClassDef):
            continue
        name = ""
        for statement in section.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name)):
                    pass
                case ast.Expr(value=ast.Constant(value=str(text))) if name:
                    notes[section.name, name] = text
    return notes
