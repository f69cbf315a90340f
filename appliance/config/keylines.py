"""On which line of a TOML file each key stands: `tomllib` does not tell.

The text must already have been accepted by `tomllib`; this scanner only follows its structure.
"""

from __future__ import annotations

import re

KeyPath = tuple[str | int, ...]
"""Keys from the top of the file; an `int` is the position in an array."""

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(["\\bfnrte]))')
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "e": "\x1b", '"': '"', "\\": "\\"}


def key_lines(text: str) -> dict[KeyPath, int]:
    """Line, from 1, of every key and every table header of a valid TOML document."""
    return _Scanner(text).scan()


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int | None:
    """Line of the key at `path`, or of the nearest table around it that the file has."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.counted_to = 0
        self.line = 1
        self.lines: dict[KeyPath, int] = {}
        self.array_lengths: dict[KeyPath, int] = {}

    def scan(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while True:
            self._skip(_SPACE)
            if self.at >= len(self.text):
                return self.lines
            if self.text.startswith("[[", self.at):
                table = self._header(2, is_array=True)
            elif self.text[self.at] == "[":
                table = self._header(1, is_array=False)
            else:
                self._pair(table)

    def _header(self, brackets: int, *, is_array: bool) -> KeyPath:
        line = self._line_here()
        self.at += brackets
        keys = self._keys()
        self._skip(_BLANK)
        self.at += brackets
        path = (*self._inside(keys[:-1]), keys[-1])
        if is_array:
            number = self.array_lengths.get(path, 0)
            self.array_lengths[path] = number + 1
            self.lines.setdefault(path, line)
            path += (number,)
        self._remember(path, line)
        return path

    def _inside(self, keys: KeyPath) -> KeyPath:
        """The path with the last element of each array of tables on the way, as `[a.b]` after `[[a]]` means."""
        path: KeyPath = ()
        for key in keys:
            path += (key,)
            if path in self.array_lengths:
                path += (self.array_lengths[path] - 1,)
        return path

    def _pair(self, table: KeyPath) -> None:
        line = self._line_here()
        path = table + self._keys()
        self._remember(path, line)
        self._skip(_BLANK)
        self.at += 1  # "="
        self._skip(_BLANK)
        self._value(path)

    def _remember(self, path: KeyPath, line: int) -> None:
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _keys(self) -> KeyPath:
        keys: list[str] = []
        while True:
            self._skip(_BLANK)
            keys.append(self._key())
            self._skip(_BLANK)
            if not self.text.startswith(".", self.at):
                return tuple(keys)
            self.at += 1

    def _key(self) -> str:
        quote = self.text[self.at]
        if quote not in "\"'":
            return self._take(_BARE_KEY)
        inner = self._take(_STRING)[1:-1]
        return inner if quote == "'" else _ESCAPE.sub(_unescape, inner)

    def _value(self, path: KeyPath) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._take(_STRING)
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_SCALAR)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        number = 0
        while True:
            self._skip(_SPACE)
            if self.text[self.at] == "]":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._remember((*path, number), self._line_here())
            self._value((*path, number))
            number += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while True:
            self._skip(_SPACE)
            if self.text[self.at] == "}":
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
                continue
            self._pair(path)

    def _line_here(self) -> int:
        self.line += self.text.count("\n", self.counted_to, self.at)
        self.counted_to = self.at
        return self.line

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise ValueError(f"not a valid TOML document at character {self.at}")
        self.at = match.end()
        return match.group()


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1) or match.group(2)
    return chr(int(code, 16)) if code else _ESCAPED[match.group(3)]
