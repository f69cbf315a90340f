"""When the machine stood still: a process on each core wants nothing but to wake every 5 ms, and tells when it could not.

Everything that is measured in seconds is lengthened by a stall of a virtual machine. What these processes saw too is none of the
program's doing and may be subtracted; what delays the program alone they do not see.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time

PERIOD_S = 0.005
LATE_S = 0.010
"""A process that wants so little gets its turn sooner on a machine that only has much to do."""
ANSWER_S = 10.0

Stall = tuple[float, float]
"""From when to when, `time.monotonic()`."""


class Stalls:
    """Watches from the beginning to the end of a `with` block."""

    def __init__(self) -> None:
        self._tickers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Stalls:
        for core in sorted(os.sched_getaffinity(0)):
            command = [sys.executable, "-S", "-E", __file__, str(core)]
            self._tickers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0))
        self._asked()  # they tick
        return self

    def __exit__(self, *_: object) -> None:
        for ticker in self._tickers:
            assert ticker.stdin is not None
            assert ticker.stdout is not None
            ticker.stdin.close()  # which ends it
            try:
                ticker.wait(ANSWER_S)
            except subprocess.TimeoutExpired:
                ticker.kill()
                ticker.wait()
            ticker.stdout.close()

    def between(self, since_s: float, until_s: float) -> list[Stall]:
        """Stalls of any core, in order; those that overlap are one."""
        merged: list[Stall] = []
        for began, ended in sorted(self._asked()):
            begin, end = max(began, since_s), min(ended, until_s)
            if end <= begin:
                continue
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((begin, end))
        return merged

    def lost_s(self, since_s: float, until_s: float) -> float:
        """How much of this time the machine stood still."""
        return sum(end - begin for begin, end in self.between(since_s, until_s))

    def took_s(self, since_s: float, until_s: float) -> float:
        """How long something took that began and ended then, on a machine that does not stand still."""
        return until_s - since_s - self.lost_s(since_s, until_s)

    def _asked(self) -> list[Stall]:
        found: list[Stall] = []
        for ticker in self._tickers:
            assert ticker.stdin is not None
            assert ticker.stdout is not None
            ticker.stdin.write(b"?")
            answer = b""
            while not answer.endswith(b"\n"):
                waiting = select.poll()
                waiting.register(ticker.stdout, select.POLLIN)
                assert waiting.poll(ANSWER_S * 1000), "a ticker does not answer"
                piece = os.read(ticker.stdout.fileno(), 65_536)
                assert piece, "a ticker has ended"
                answer += piece
            found += [(began, ended) for began, ended in json.loads(answer)]
        return found


def tick(core: int) -> None:
    """Until the other side closes: each byte that comes is answered with all stalls so far."""
    os.sched_setaffinity(0, {core})
    seen: list[Stall] = []
    due = time.monotonic() + PERIOD_S
    while True:
        asked, _, _ = select.select([0], [], [], max(0.0, due - time.monotonic()))
        now = time.monotonic()
        if now - due > LATE_S:
            seen.append((due, now))
        if now >= due:
            due = now + PERIOD_S
        if asked:
            if not os.read(0, 1):
                return
            os.write(1, json.dumps(seen).encode() + b"\n")
            due = time.monotonic() + PERIOD_S  # telling much takes its time


if __name__ == "__main__":
    tick(int(sys.argv[1]))
