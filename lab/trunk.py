"""The provider's side of the trunk as a program: answers SIP OPTIONS in the trunk's namespace."""

from __future__ import annotations

import socket
import subprocess
import sys
from types import TracebackType
from typing import Self

from lab import layout
from lab.commands import inside

PORT = 5060


class TrunkSimulator:
    """Runs the answering program for as long as the context lasts."""

    def __enter__(self) -> Self:
        command = inside(layout.TRUNK_NAMESPACE, [sys.executable, "-m", "lab.trunk"])
        self._process = subprocess.Popen(command, cwd=layout.REPOSITORY, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait()


def answer(request: bytes) -> bytes | None:
    """200 OK to an OPTIONS request; None for anything else."""
    lines = request.decode("utf-8", "replace").split("\r\n")
    if not lines[0].startswith("OPTIONS "):
        return None
    kept = [line for line in lines[1:] if line.split(":")[0].lower() in ("via", "from", "to", "call-id", "cseq")]
    return "\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]).encode()


def main() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((str(layout.TRUNK), PORT))
        while True:
            request, sender = server.recvfrom(4096)
            reply = answer(request)
            if reply:
                server.sendto(reply, sender)


if __name__ == "__main__":
    main()
