"""Logs: one line per record, `key=value` for people or JSON for collectors, with the call and the lane it is about.

    2026-11-21T02:00:00.123Z info gateway-1 appliance.gateway call=c1 lane=caller_to_agent msg="agent answered" after_s=2.4

Fields beyond the message go through `extra=`: `log.info("agent answered", extra={"after_s": 2.4})`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from appliance.telemetry.journal import JournalHandler, journal_sender

Style = Literal["text", "json"]

_call: ContextVar[str] = ContextVar("call", default="")
_lane: ContextVar[str] = ContextVar("lane", default="")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:/+@%*#")


@contextlib.contextmanager
def about(*, call: str | None = None, lane: str | None = None) -> Iterator[None]:
    """Every record made inside, in this task and the tasks it starts, carries the call and the lane."""
    tokens = [(variable, variable.set(value)) for variable, value in ((_call, call), (_lane, lane)) if value is not None]
    try:
        yield
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)


def configure(level: str, process: str, *, style: Style = "text", stream: TextIO | None = None) -> None:
    """Send all records of this process from `level` (a name such as `info`) up to `stream` (stderr), replacing earlier handlers.

    `process` names the process in each line, such as `gateway-1`. Under systemd records go to the journal with their fields.
    """
    formatter = LineFormatter(process, style)
    send = journal_sender() if stream is None else None
    handler: logging.Handler
    if send is None:
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(formatter)
    else:
        handler = JournalHandler(process, send, formatter.fields, lambda record: _pairs(formatter.fields(record), bare_message=True))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    for chatty in ("alembic", "aiosqlite", "httpx", "httpcore", "websockets", "sqlalchemy"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class LineFormatter(logging.Formatter):
    """Makes exactly one line of a record, whatever its message or its exception holds."""

    def __init__(self, process: str, style: Style = "text") -> None:
        super().__init__()
        self.process = process
        self.style = style

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC)
        time = moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
        level = record.levelname.lower()
        fields = self.fields(record)
        if self.style == "json":
            head = {"time": time, "level": level, "process": self.process, "logger": record.name}
            return json.dumps(head | fields, ensure_ascii=False, default=str)
        return f"{time} {level} {self.process} {record.name} {_pairs(fields)}"

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What a record says, by name: call and lane where there are any, `msg`, those of `extra=`, and `exc`, an exception."""
        fields: dict[str, Any] = {"call": _call.get(), "lane": _lane.get()}
        fields = {key: value for key, value in fields.items() if value}
        fields["msg"] = record.getMessage()
        fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            fields["exc"] = self.formatException(record.exc_info)
        return fields


def _pairs(fields: Mapping[str, Any], *, bare_message: bool = False) -> str:
    """One line; `bare_message` puts the message first and as it is, for people."""
    pairs = " ".join(f"{key}={_written(value)}" for key, value in fields.items() if not (bare_message and key == "msg"))
    return f"{' '.join(str(fields['msg']).split())} {pairs}".rstrip() if bare_message else pairs


def _written(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if text and all(character in _BARE for character in text):
        return text
    return json.dumps(text, ensure_ascii=False)
