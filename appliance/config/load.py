"""Reads `appliance.toml`: the file, its checks, and what its relative paths and secrets mean."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from appliance.config.errors import ConfigError
from appliance.config.instances import ServerKind, instance_names
from appliance.config.keylines import KeyPath, key_lines, line_of
from appliance.config.rules import rule_problems
from appliance.config.schema import Config
from appliance.config.secrets import read_secret
from appliance.config.shape import Problem, shape_problems, written

_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A checked configuration together with the file it came from."""

    config: Config
    file: Path
    """Absolute path of the file."""

    @property
    def folder(self) -> Path:
        """Folder of the file, which relative paths start from."""
        return self.file.parent

    def path(self, value: str) -> Path:
        """A path of the configuration as an absolute one."""
        return self.folder / value

    @property
    def state_dir(self) -> Path:
        return self.path(self.config.node.state_dir)

    @property
    def run_dir(self) -> Path:
        return self.path(self.config.node.run_dir)

    def socket(self, name: str) -> Path:
        """Unix socket of a model server, by its instance's name; that of an only one is its kind."""
        return self.run_dir / f"{name}.sock"

    def instances(self, kind: ServerKind) -> list[str]:
        """Names of the model servers of a kind, those that are asked first first."""
        return instance_names(self.config, kind)

    def secret(self, value: str) -> str:
        """The secret behind a value of the configuration; `ari-password` and `caller-hash-key` are made when missing.

        Raises:
            SecretError: it cannot be had.
        """
        return read_secret(value, self.state_dir, self.folder)


def load(file: Path | str) -> LoadedConfig:
    """Read and check a configuration file.

    Raises:
        ConfigError: with one line per problem: file, line, key, what is wrong, what is allowed.
    """
    file = Path(file).absolute()
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    return LoadedConfig(parse(text, file), file)


def parse(text: str, file: Path) -> Config:
    """The checked configuration in `text`; `file` gives the folder of relative paths and the name in messages.

    Raises:
        ConfigError: as `load`.
    """
    try:
        table: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = _SYNTAX_PLACE.search(message)
        last_line = text.rstrip("\n").count("\n") + 1
        line = int(place.group(1) or last_line) if place else last_line
        raise ConfigError(f"{file}:{line}: not valid TOML: {_SYNTAX_PLACE.sub('', message)}") from None
    problems = list(shape_problems(table, Config))
    if problems:
        raise _error(problems, text, file)
    config = msgspec.convert(table, Config)
    problems = list(rule_problems(config, file.parent))
    if problems:
        raise _error(problems, text, file)
    return config


def _error(problems: list[Problem], text: str, file: Path) -> ConfigError:
    lines = key_lines(text)
    placed = [(line_of(lines, problem.path), problem) for problem in problems]
    placed.sort(key=lambda item: item[0] or 0)
    return ConfigError("\n".join(_line(file, line, problem.path, problem.message) for line, problem in placed))


def _line(file: Path, line: int | None, path: KeyPath, message: str) -> str:
    where = f"{file}:{line}" if line is not None else str(file)
    return f"{where}: {written(path)}: {message}" if path else f"{where}: {message}"
