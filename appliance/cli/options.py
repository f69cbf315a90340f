"""Options that several commands share."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from appliance.config.errors import ConfigError
from appliance.config.load import LoadedConfig, load

FILE_NAME = "appliance.toml"
VARIABLE = "SETU_CONFIG"
USUAL_PLACES = (Path(FILE_NAME), Path("build/stack") / FILE_NAME, Path("/etc/appliance") / FILE_NAME)

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def config_option(function: Decorated) -> Decorated:
    """`--config FILE`, as the argument `config_file`."""
    places = ", ".join(map(str, USUAL_PLACES))
    option = click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path),
        default=None,
        metavar="FILE",
        help=f"Configuration file, or its folder. Otherwise ${VARIABLE}, else the first of: {places}.",
    )
    return option(function)


def config_path(given: Path | None) -> Path:
    """The configuration file that is meant.

    Raises:
        ConfigError: none is given and there is none in the usual places.
    """
    if given is None and os.environ.get(VARIABLE):
        given = Path(os.environ[VARIABLE])
    if given is not None:
        return given / FILE_NAME if given.is_dir() else given
    found = next((place for place in USUAL_PLACES if place.is_file()), None)
    if found is None:
        looked = ", ".join(map(str, USUAL_PLACES))
        raise ConfigError(f"no configuration: there is no {looked}", hint="name one with --config FILE, or make one with: appliance up")
    return found


def loaded_config(given: Path | None) -> LoadedConfig:
    """Raises: ConfigError."""
    return load(config_path(given))


class Since(click.ParamType):  # type: ignore[type-arg]
    """A moment: `2026-11-21`, `2026-11-21T10:30` (both UTC unless a zone is given), or an age such as `90m`, `12h`, `7d`, `2w`."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value)
        try:
            if text[:-1].isdigit() and text[-1] in _UNITS:
                return datetime.now(UTC) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
            moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{text!r} is no moment; allowed: 2026-11-21, 2026-11-21T10:30, 90m, 12h, 7d, 2w", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
