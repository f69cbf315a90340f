"""One small HTTP request to a process of this machine, over TCP or a Unix socket."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from typing import NamedTuple

ASK_S = 2.0
"""Longest wait for a connection and for an answer."""


class Answer(NamedTuple):
    status: int
    body: bytes


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ASK_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ASK_S)
        self.sock.connect(str(self._path))


def ask(place: Path | tuple[str, int], path: str) -> Answer:
    """`GET path` at a Unix socket or at a host and port.

    Raises:
        OSError: nobody answers in time, or not in HTTP.
    """
    connection = _UnixConnection(place) if isinstance(place, Path) else http.client.HTTPConnection(*place, timeout=ASK_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except http.client.HTTPException as error:
        raise OSError(f"not an answer in HTTP: {error!r}") from error
    finally:
        connection.close()
