"""Follows the recordings of telephones while they grow, so that every sample of all of them has a time on one clock."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np

from appliance.phone.timeline import Samples, Timeline, on_clock, timeline
from appliance.phone.wav import TELEPHONE_HZ

POLL_S = 0.005
"""A packet is 20 ms; the envelope of the timeline takes out what polling adds."""

Direction = Literal["said", "heard"]
_PATTERNS: dict[Direction, str] = {"said": "dump-*-enc.wav", "heard": "dump-*-dec.wav"}
_HEADER_BYTES = 44
"""What libsndfile writes before the samples of a 16-bit PCM file; sizes in it are filled in at the end only."""


@dataclass(frozen=True)
class Track:
    """One direction of one telephone."""

    samples: Samples
    line: Timeline

    def on_clock(self, start_s: float, end_s: float) -> Samples:
        """int16 at 8 kHz from `start_s` to `end_s` (`time.monotonic()`), zeros where nothing was sent or received."""
        return on_clock(self.samples, self.line, start_s, end_s)


@dataclass
class _Followed:
    folder: Path
    direction: Direction
    path: Path | None = None
    polls: list[tuple[float, int]] = field(default_factory=list)

    def poll(self) -> None:
        if self.path is None:
            self.path = next(iter(sorted(self.folder.glob(_PATTERNS[self.direction]))), None)
            if self.path is None:
                return
        size = self.path.stat().st_size
        now = time.monotonic()
        count = (size - _HEADER_BYTES) // 2
        if count > (self.polls[-1][1] if self.polls else 0):
            self.polls.append((now, count))


class Recorder:
    """Polls the recordings of telephones in a thread of its own between `start` and `stop`."""

    def __init__(self) -> None:
        self._followed: dict[tuple[str, Direction], _Followed] = {}
        self.slowest_poll_s = 0.0
        """Longest time between two polls: when something was recorded is known no better than that at times."""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def follow(self, name: str, folder: Path) -> None:
        """Follow both directions of the telephone whose folder this is."""
        with self._lock:
            for direction in _PATTERNS:
                self._followed[name, direction] = _Followed(folder, direction)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopping.set()
        self._thread.join()

    def heard_until_now(self, name: str, last_s: float) -> Samples:
        """The last `last_s` seconds a telephone has received so far; shorter when there is less."""
        return self._tail(name, "heard", last_s)

    def track(self, name: str, direction: Direction) -> Track:
        """All that was recorded so far; empty when the call never got so far."""
        with self._lock:
            followed = self._followed[name, direction]
            polls = list(followed.polls)
        if followed.path is None or not polls:
            return Track(np.zeros(0, np.int16), timeline(TELEPHONE_HZ, []))
        samples = _read(followed.path, 0, polls[-1][1])
        return Track(samples, timeline(TELEPHONE_HZ, polls))

    def _tail(self, name: str, direction: Direction, last_s: float) -> Samples:
        with self._lock:
            followed = self._followed[name, direction]
            count = followed.polls[-1][1] if followed.polls else 0
        if followed.path is None:
            return np.zeros(0, np.int16)
        return _read(followed.path, max(0, count - round(last_s * TELEPHONE_HZ)), count)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._stopping.wait(POLL_S):
            with self._lock:
                for followed in self._followed.values():
                    followed.poll()
            now = time.monotonic()
            self.slowest_poll_s, before = max(self.slowest_poll_s, now - before), now


def _read(path: Path, first: int, last: int) -> Samples:
    with path.open("rb") as file:
        file.seek(_HEADER_BYTES + 2 * first)
        return np.frombuffer(file.read(2 * (last - first)), "<i2").astype(np.int16)
