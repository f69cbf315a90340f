"""Names of the model servers of a node. Several may do the same work: a name is a kind, and what tells its instances apart.

    stt                   the only one
    stt-1, stt-2, ...     several that share the requests
    stt-fallback          the starter engine, asked only while none of the others answers

`NAME.sock` in `run_dir` is the socket of each, and `NAME` that of its process and of its unit.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from appliance.config.schema import Config

ServerKind = Literal["stt", "mt", "tts"]

FALLBACK = "fallback"
_NAME = re.compile(rf"({'|'.join(get_args(ServerKind))})(?:-([a-z0-9]+))?")


def instance_names(config: Config, kind: ServerKind) -> list[str]:
    """Every instance of a kind that this node runs, those that are asked first first."""
    count, fallback = {
        "stt": (config.stt.instances, config.stt.fallback),
        "mt": (config.mt.instances, config.mt.fallback),
        "tts": (config.tts.instances, config.tts.fallback),
    }[kind]
    names: list[str] = [f"{kind}-{number}" for number in range(1, count + 1)] if count > 1 else [kind]
    return [*names, f"{kind}-{FALLBACK}"] if fallback else names


def kind_of(name: str) -> ServerKind | None:
    """What an instance of this name does; None when it is no such name."""
    match = _NAME.fullmatch(name)
    return next((kind for kind in get_args(ServerKind) if match is not None and kind == match[1]), None)


def is_fallback(name: str) -> bool:
    return name.endswith(f"-{FALLBACK}")
