"""The providers' side of the trunks as a program in their namespace: answers SIP OPTIONS, and lets the second trunk register."""

from __future__ import annotations

import errno
import hashlib
import re
import secrets
import selectors
import socket
import subprocess
import sys
from types import TracebackType
from typing import Self

from lab import layout
from lab.commands import inside
from lab.inventory import REGISTERING, REGISTRATION_USER, trunk_passwords

PORT = 5060
REALM = "lab"


class TrunkSimulator:
    """Runs the answering program for as long as the context lasts. One inside another is none: the outer one answers."""

    def __enter__(self) -> Self:
        trunk_passwords()  # made by one process alone
        command = inside(layout.TRUNK_NAMESPACE, [sys.executable, "-m", "lab.trunk"])
        self._process = subprocess.Popen(command, cwd=layout.REPOSITORY, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()


def answer(request: bytes, password: str) -> bytes | None:
    """To OPTIONS 200, to REGISTER 401, 403 or 200; None to anything else.

    Args:
        password: of the one account that may register.
    """
    lines = request.decode("utf-8", "replace").split("\r\n")
    method, _, rest = lines[0].partition(" ")
    if method == "OPTIONS":
        return _response("200 OK", lines)
    if method != "REGISTER":
        return None
    given = next((line for line in lines if line.lower().startswith("authorization: digest ")), "")
    if not given:
        return _response("401 Unauthorized", lines, f'WWW-Authenticate: Digest realm="{REALM}", nonce="{secrets.token_hex(8)}"')
    fields = dict(re.findall(r'(\w+)="?([^",]+)"?', given))
    right = _digest(fields.get("nonce", ""), rest.split(" ")[0], password)
    if fields.get("username") != REGISTRATION_USER or fields.get("response") != right:
        return _response("403 Forbidden", lines)
    return _response("200 OK", lines, *[line for line in lines if line.split(":")[0].lower() in ("contact", "expires")])


def _response(status: str, request: list[str], *more: str) -> bytes:
    kept = [line for line in request[1:] if line.split(":")[0].lower() in ("via", "from", "call-id", "cseq")]
    to = [f"{line};tag=lab" for line in request[1:] if line.lower().startswith("to:")]
    return "\r\n".join([f"SIP/2.0 {status}", *kept, *to, *more, "Content-Length: 0", "", ""]).encode()


def _digest(nonce: str, uri: str, password: str) -> str:
    """The response of RFC 2617 without qop, which was not offered."""
    secret, request = _md5(f"{REGISTRATION_USER}:{REALM}:{password}"), _md5(f"REGISTER:{uri}")
    return _md5(f"{secret}:{nonce}:{request}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def main() -> None:
    password = trunk_passwords()[REGISTERING]
    with selectors.DefaultSelector() as selector:
        for address in (layout.TRUNK, layout.REGISTRAR):
            server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                server.bind((str(address), PORT))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return
                raise
            selector.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                request, sender = key.fileobj.recvfrom(4096)
                reply = answer(request, password)
                if reply:
                    key.fileobj.sendto(reply, sender)


if __name__ == "__main__":
    main()
