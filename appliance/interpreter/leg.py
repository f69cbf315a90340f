"""One party's audio in and out: transport, listener and play-out tied together. The media clock moves it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol

import numpy as np

from appliance.config.schema import Config
from appliance.events import Party
from appliance.interpreter.mixing import Samples
from appliance.interpreter.playout import SILENCE, Playout
from appliance.speech.echo import EchoGuard
from appliance.speech.listen import Listener, ListenEvent
from appliance.speech.vad import RATE, WINDOW
from appliance.telemetry import metrics
from appliance.telephony.media import FRAME_BYTES, FRAME_S, AudioFeed, AudioReceived, MarkReached, MediaEnded, MediaTransport

log = logging.getLogger(__name__)

PREBUFFER = 2
"""Frames sent ahead at the start, so that a tick may be 40 ms late before the party hears a gap."""
_WINDOW_BYTES = 2 * WINDOW
_BYTES_PER_S = 2 * RATE
_MOST_ORIGINAL = 5
"""Frames of the party's own voice kept for the other one; what is older is dropped, the delay must not grow."""
_STARVED_TICKS = 5
"""Ticks without audio (0.1 s) after which silence is put in its place: a phone that sends nothing must not keep its utterance open."""

_JUDGE_SAMPLES = round(0.5 * RATE)
"""Of an utterance as faint as an echo, before it is judged by its course, and again after as many more."""
SILENT_S = 2.0
"""Without any audio: no telephone's silence is so long on the wire, so something between it and us may have broken."""
_SILENT_TICKS = round(SILENT_S / FRAME_S)


class LegObserver(Protocol):
    """Who is told what happens on a leg; none of these may block or raise."""

    def on_listen(self, leg: Leg, events: list[ListenEvent], now_s: float) -> None:
        """After each window with an utterance going on or an event."""
        ...

    def on_started(self, leg: Leg, key: str, now_s: float) -> None:
        """The first frame of a piece has been sent."""
        ...

    def on_ended(self, leg: Leg, key: str) -> None:
        """The party has heard a piece to its end."""
        ...

    def on_silent(self, leg: Leg, seconds: float) -> None:
        """No audio has come for 2 s, and again after each 2 s more."""
        ...

    def on_lost(self, leg: Leg, reason: str) -> None:
        """No audio will come or go any more."""
        ...


class Leg:
    """Made by the call; `run` reads the transport, the clock calls the rest once in 20 ms."""

    def __init__(self, party: Party, transport: MediaTransport, config: Config, observer: LegObserver) -> None:
        self.party = party
        self.listener = Listener(config.listen)
        self.playout = Playout(config.play)
        self.peer: Leg | None = None
        """Whose own voice this party hears underneath."""
        self.lost = False
        self._transport = transport
        self._observer = observer
        self._guard = EchoGuard()
        self._inbound = bytearray()
        self._voice = bytearray()
        self._original: deque[bytes] = deque(maxlen=_MOST_ORIGINAL)
        self._ticks_without_audio = 0
        self._sent = 0
        self._marks: dict[str, None] = {}  # sent, not yet reached; in order
        self._talks = False
        self._judge_at = 0  # samples of the utterance

    async def run(self) -> None:
        """Read the transport until it ends. The call owns the task, and starts another one after `rewire`."""
        reason = "media ended"
        transport = self._transport
        feed = transport if isinstance(transport, AudioFeed) else None
        try:
            if feed is not None:
                feed.feed(self._receive)
            async for event in transport.events():
                match event:
                    case AudioReceived(pcm=pcm):
                        self._receive(pcm)
                    case MarkReached(mark=mark):
                        self._reached(mark)
                    case MediaEnded(reason=reason):
                        break
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("the media of a leg broke", extra={"party": self.party})
            reason = f"media broke: {error}"
        finally:
            if feed is not None:
                feed.feed(None)
        self.fail(reason)

    def fail(self, reason: str) -> None:
        """The leg is of no more use; told once."""
        if not self.lost:
            self.lost = True
            self._observer.on_lost(self, reason)

    def rewire(self, transport: MediaTransport) -> None:
        """Go on with another transport. What is queued is played there; what the old one was sent counts as heard."""
        self._transport = transport
        self._sent = 0
        for mark in list(self._marks):
            self._reached(mark)

    async def close(self) -> None:
        self.lost = True
        await self._transport.close()

    def echoes(self, pcm: Samples, started_s: float, now_s: float) -> bool:
        """Whether a stretch of inbound audio that began at `started_s` is only what this party was just played."""
        return self._guard.judge(pcm, round((now_s - started_s) / FRAME_S)).echo

    # The clock

    def window(self) -> Samples | None:
        """The next 512 samples received, if they are there."""
        if len(self._inbound) < _WINDOW_BYTES:
            return None
        pcm = np.frombuffer(self._inbound[:_WINDOW_BYTES], np.int16)
        del self._inbound[:_WINDOW_BYTES]
        return pcm

    def heard(self, window: Samples, probability: float, now_s: float) -> None:
        """The probability of speech in what `window` returned last."""
        end_s = now_s - len(self._inbound) / _BYTES_PER_S
        events = self.listener.feed(window, probability, end_s)
        self.playout.duck(self._is_talking(end_s))
        if events or self.listener.speaking:
            self._observer.on_listen(self, events, end_s)

    def fill(self) -> None:
        """Put silence in the place of audio that does not come."""
        self._ticks_without_audio += 1
        if self._ticks_without_audio > _STARVED_TICKS:
            if self._ticks_without_audio == _STARVED_TICKS + 1 and not self.lost:
                metrics.MEDIA_GAPS.labels(self.party).inc()
            self._inbound += SILENCE
            if self._ticks_without_audio % _SILENT_TICKS == 0 and not self.lost:
                self._observer.on_silent(self, self._ticks_without_audio * FRAME_S)

    def play(self, now_s: float) -> tuple[bytes, int] | None:
        """Send the next 20 ms.

        Returns:
            instead of sending it, what is only the other party's voice at a constant level: 640 bytes and the gain (of 2^15).
            `send` it when it is scaled.
        """
        original = self.peer.take_original() if self.peer is not None else None
        if original is not None and (gain := self.playout.steady_gain()):
            return original, gain
        frame = self.playout.next_frame(original)
        self.send(frame.pcm, frame.rms)
        for key in frame.started:
            self._observer.on_started(self, key, now_s)
        for key in frame.ended:
            self._marks[key] = None
            self._transport.mark(key)
        return None

    def send(self, pcm: bytes, rms: float) -> None:
        """Send 20 ms whose loudness is known."""
        if not self._sent:
            for _ in range(PREBUFFER):
                self._transport.send(SILENCE)
        self._transport.send(pcm)
        self._sent += 1
        self._guard.played(rms)

    def take_original(self) -> bytes | None:
        """The next 20 ms of this party's own voice."""
        return self._original.popleft() if self._original else None

    def _is_talking(self, now_s: float) -> bool:
        """Whether it is the party that talks: what a cheap phone gives back is quieter, or is known after a while by its course."""
        listener = self.listener
        if not listener.talking:
            self._talks, self._judge_at = False, _JUDGE_SAMPLES
        elif not self._talks and self.playout.playing is not None:
            self._talks = listener.rms > self._guard.loudest_echo()
            if not self._talks and listener.samples >= self._judge_at:
                self._judge_at += _JUDGE_SAMPLES
                pcm = listener.audio_so_far()
                self._talks = not self.echoes(pcm, now_s - len(pcm) / RATE, now_s)
        return self._talks

    def _reached(self, mark: str) -> None:
        self._marks.pop(mark, None)
        self._observer.on_ended(self, mark)

    def _receive(self, pcm: bytes) -> None:
        self._ticks_without_audio = 0
        self._inbound += pcm
        if len(pcm) == FRAME_BYTES and not self._voice:
            self._original.append(pcm)
            return
        self._voice += pcm
        while len(self._voice) >= FRAME_BYTES:
            self._original.append(bytes(self._voice[:FRAME_BYTES]))
            del self._voice[:FRAME_BYTES]
