"""Whether a parsed file has the shape of the schema: every unknown key and every bad value at once, each with its place."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect

from appliance.config.allowed import allowed
from appliance.config.keylines import KeyPath

_SHOWN_VALUE_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the file."""

    path: KeyPath
    """Key it is about; empty for the whole file."""
    message: str
    """What is wrong and what is allowed."""


def shape_problems(table: dict[str, Any], section: type[msgspec.Struct], path: KeyPath = ()) -> Iterator[Problem]:
    """Every key of `table` that the struct `section` does not know, lacks, or cannot hold."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(section)}
    kinds = typing.get_type_hints(section, include_extras=True)
    for key, value in table.items():
        if key in fields:
            yield from _value_problems(value, kinds[fields[key].name], (*path, key))
        else:
            yield Problem((*path, key), _unknown_key(key, list(fields), path))
    for key, field in fields.items():
        if field.required and key not in table:
            yield Problem(path, f"the key {key!r} is missing; it must be {allowed(kinds[field.name])}")


def _value_problems(value: Any, kind: Any, path: KeyPath) -> Iterator[Problem]:
    info = inspect.type_info(kind)
    if isinstance(info, inspect.StructType) and isinstance(value, dict):
        yield from shape_problems(value, info.cls, path)
    elif isinstance(info, inspect.ListType) and isinstance(value, list):
        (item,) = typing.get_args(kind)
        for number, element in enumerate(value):
            yield from _value_problems(element, item, (*path, number))
    else:
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError:
            yield Problem(path, f"{_shown(value)} is not allowed; allowed: {allowed(kind)}")


def _unknown_key(key: str, known: list[str], path: KeyPath) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    suggestion = f" (did you mean {near[0]}?)" if near else ""
    where = f"[{'.'.join(part for part in path if isinstance(part, str))}]" if path else "the file"
    return f"unknown key{suggestion}; allowed in {where}: {', '.join(known)}"


def written(path: KeyPath) -> str:
    """A path as a person writes it: `telephony.agents[2].name`, elements of arrays counted from 1."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        else:
            text += f".{part}" if text else part
    return text


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_VALUE_CHARACTERS else text[: _SHOWN_VALUE_CHARACTERS - 1] + "…"
