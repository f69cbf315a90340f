"""Between Asterisk and the workers' media doors: hands on what comes, until it is told to hold a leg's audio back."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from .part_stack import PartStack

_HEAD_END = b"\r\n\r\n"


class MediaRelay:
    """One worker's; every socket has a thread for each direction."""

    def __init__(self, place: tuple[str, int]) -> None:
        self.held: set[str] = set()
        """Media channels whose audio does not reach the worker, though their sockets stay open."""
        self.legs: list[str] = []
        """Media channels that have connected, in this order."""
        self._place = place
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return "ws://{}:{}".format(*self._listener.getsockname())

    def close(self) -> None:
        for each in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                asterisk, _ = self._listener.accept()
                head = b""
                while _HEAD_END not in head and (piece := asterisk.recv(4096)):
                    head += piece
                leg = re.search(rb"[?&]leg=([^& ]+)", head)
                name = leg.group(1).decode() if leg else ""
                worker = socket.create_connection(self._place)
                worker.sendall(head)
                self._sockets += [asterisk, worker]
                self.legs.append(name)
                for pair, held in (((asterisk, worker), True), ((worker, asterisk), False)):
                    threading.Thread(target=self._carry, args=(*pair, name if held else ""), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, leg: str) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if leg not in self.held:
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)


@contextmanager
def media_relays(stack: PartStack) -> Iterator[dict[int, MediaRelay]]:
    """By worker: new media sockets of the stack's Asterisk go through them."""
    gateway = stack.loaded.config.gateway
    file = stack.layout.asterisk / "websocket_client.conf"
    before = text = file.read_text()
    relays = {number: MediaRelay((gateway.host, gateway.port + number - 1)) for number in range(1, gateway.workers + 1)}
    try:
        for number, relay in relays.items():
            text, count = re.subn(rf"ws://\S+(?=/media/setu-{number}\b)", relay.url, text)
            assert count == 1, text
        file.write_text(text)
        stack.asterisk("module reload res_websocket_client.so")
        yield relays
    finally:
        file.write_text(before)
        stack.asterisk("module reload res_websocket_client.so")
        for relay in relays.values():
            relay.close()
