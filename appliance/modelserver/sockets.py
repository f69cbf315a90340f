"""The Unix socket a model server listens on: group-readable, never taken from a server that still runs."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from appliance.errors import ApplianceError

MODE = 0o660
"""The gateway runs as another user of the same group."""
PROBE_S = 1.0
BACKLOG = 1024
"""Connections that wait to be accepted."""


class SocketError(ApplianceError):
    """The socket cannot be had."""


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`; a file left behind by a dead server is removed.

    Raises:
        SocketError: a server answers there, something else than a socket is there, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise SocketError(f"{path} is no socket and is left alone")
            if _answers(path):
                raise SocketError(f"{path} is taken: another model server listens there")
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        previous = os.umask(0o777 & ~MODE)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        listener.listen(BACKLOG)  # whoever connects from now on waits for the first answer instead of being refused
    except OSError as error:
        raise SocketError(f"{path}: {error.strerror or error}") from error
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True
