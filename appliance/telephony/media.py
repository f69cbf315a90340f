"""One party's audio in and out, whatever carries it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

SAMPLE_RATE = 16_000
"""Hz; `slin16` on every transport."""
FRAME_SAMPLES = 320
"""20 ms, the packet time of telephony."""
FRAME_BYTES = 2 * FRAME_SAMPLES
FRAME_S = 0.020


@dataclass(frozen=True, slots=True)
class MediaStarted:
    """The other side is ready for audio."""

    channel_id: str


@dataclass(frozen=True, slots=True)
class AudioReceived:
    pcm: bytes
    """s16le mono 16 kHz, any even number of bytes (20 ms as a rule)."""


@dataclass(frozen=True, slots=True)
class MarkReached:
    """Everything sent before this mark has been played out to the party."""

    mark: str


@dataclass(frozen=True, slots=True)
class MediaEnded:
    reason: str


MediaEvent = MediaStarted | AudioReceived | MarkReached | MediaEnded


class MediaTransport(Protocol):
    """Audio in and out of one leg. Sending never blocks: a transport that cannot take more drops and counts."""

    def events(self) -> AsyncIterator[MediaEvent]:
        """What happens on the leg, in order, ending after `MediaEnded`."""
        ...

    def send(self, pcm: bytes) -> None:
        """Queue one 20 ms frame (640 bytes) for play-out; frames are to arrive at the pace of speech."""
        ...

    def mark(self, mark: str) -> None:
        """Ask for `MarkReached(mark)` once everything sent so far was played."""
        ...

    async def close(self) -> None: ...


@runtime_checkable
class AudioFeed(Protocol):
    """A transport that need not make an event of each frame it receives."""

    def feed(self, take: Callable[[bytes], None] | None) -> None:
        """From now on received audio goes to `take`, and no `AudioReceived` is made of it; None: as before."""
        ...
