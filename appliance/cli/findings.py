"""What a check of `appliance doctor` finds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from appliance.config.load import LoadedConfig

Status = Literal["ok", "warning", "failed"]


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    name: str
    status: Status
    detail: str
    """What is so; for anything but `ok` also what to do."""


Check = Callable[[LoadedConfig], Finding]


class Refused(Exception):
    """A check failed; its text is the finding's detail."""
