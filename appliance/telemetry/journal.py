"""Log records for the journal of systemd, with the call and the lane as fields of their own:

    journalctl -u 'appliance-*' CALL_ID=20261121-093012-1f2e
    journalctl -u appliance-gateway@1 LANE=caller_to_agent -o verbose

Fields of `extra=` are there as `SETU_` and their name in capitals.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO

STREAM_VARIABLE = "JOURNAL_STREAM"
"""Set by systemd where standard error goes to the journal: device and inode of that socket."""
_FIELDS = {"call": "CALL_ID", "lane": "LANE"}
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_NO_FIELD = re.compile(r"[^A-Z0-9_]")

Send = Callable[..., None]
"""`systemd.journal.send`: the message, and fields by keyword."""
FieldsOf = Callable[[logging.LogRecord], Mapping[str, Any]]


class JournalHandler(logging.Handler):
    """Sends each record with its fields.

    Args:
        process: name of this process, as `SYSLOG_IDENTIFIER`.
        fields_of: everything a record says beyond its message, call and lane included.
        line_of: the same as one line of text, which is what `journalctl` prints.
    """

    def __init__(self, process: str, send: Send, fields_of: FieldsOf, line_of: Callable[[logging.LogRecord], str]) -> None:
        super().__init__()
        self._process = process
        self._send = send
        self._fields_of = fields_of
        self._line_of = line_of

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields = {field_name(name): _text(value) for name, value in self._fields_of(record).items() if name != "msg"}
            self._send(
                self._line_of(record),
                **fields,
                PRIORITY=str(priority(record.levelno)),
                SYSLOG_IDENTIFIER=self._process,
                LOGGER=record.name,
                CODE_FILE=record.pathname,
                CODE_LINE=record.lineno,  # the library wants a number here
                CODE_FUNC=record.funcName,
            )
        except Exception:  # noqa: BLE001 - as every handler of the standard library
            self.handleError(record)


def journal_sender(stream: TextIO = sys.stderr, environment: Mapping[str, str] = os.environ) -> Send | None:
    """`systemd.journal.send` where `stream` goes to the journal; None elsewhere and without the library of the extra `systemd`."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    if environment.get(STREAM_VARIABLE) != f"{status.st_dev}:{status.st_ino}":
        return None
    try:
        from systemd import journal
    except ImportError:
        return None
    send: Send = journal.send
    return send


def field_name(name: str) -> str:
    """Name of a field: capitals, digits and underscores; ours are told from systemd's own by their beginning."""
    return _FIELDS.get(name) or "SETU_" + _NO_FIELD.sub("_", name.upper())


def priority(level: int) -> int:
    """As syslog numbers them, 2 (critical) to 7 (debug)."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)
