"""What a key may hold, in words: from the types of the schema to the sentence a person reads."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect


def allowed(kind: Any) -> str:
    """The allowed values of a type annotation, such as `whole number from 1 to 65535`."""
    return _describe(inspect.type_info(kind))


def _describe(info: inspect.Type) -> str:
    match info:
        case inspect.StructType(cls=cls):
            return f"a table with the keys {', '.join(field.name for field in msgspec.structs.fields(cls))}"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return "whole number" + _range(info.ge, info.gt, info.le, info.lt)
        case inspect.FloatType():
            return "number" + _range(info.ge, info.gt, info.le, info.lt)
        case inspect.StrType(pattern=None):
            return "text in quotes"
        case inspect.StrType(pattern=pattern):
            return f"text in quotes that matches `{pattern}`"
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case inspect.ListType(item_type=inspect.StructType()):
            return "a list of tables"
        case inspect.ListType(item_type=item):
            return f"a list, each element {_describe(item)}"
        case inspect.DictType(value_type=value):
            return f"a table, each value {_describe(value)}"
        case inspect.UnionType(types=(item, inspect.NoneType())) | inspect.UnionType(types=(inspect.NoneType(), item)):
            return _describe(item)  # a key without a value of its own; TOML has no null
        case _:
            raise TypeError(f"the schema uses a type that has no description yet: {info!r}")


def _range(ge: float | None, gt: float | None, le: float | None, lt: float | None) -> str:
    low = f"{ge:g}" if ge is not None else f"more than {gt:g}" if gt is not None else None
    high = f"{le:g}" if le is not None else f"less than {lt:g}" if lt is not None else None
    if low is None and high is None:
        return ""
    if high is None:
        return f", {low} or more" if ge is not None else f", {low}"
    if low is None:
        return f", at most {high}" if le is not None else f", {high}"
    if ge is not None and le is not None:
        return f" from {low} to {high}"
    return f", {low if gt is not None else f'at least {low}'} and {high if lt is not None else f'at most {high}'}"
