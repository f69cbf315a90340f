"""How a gateway asks the model servers of its node.

All they do is compute, so a request whose connection broke is sent again once while its time lasts. Each server has a
circuit breaker: after failures in a row it is left alone, and asked for its health before the next request goes there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

import aiohttp
import msgspec
import numpy as np

from appliance.engines.base import Samples
from appliance.modelserver.breaker import Breaker
from appliance.modelserver.errors import ModelServerError, Overloaded, Rejected, TimedOut, Unavailable
from appliance.modelserver.messages import (
    SAMPLE_RATE,
    Health,
    LanguageScores,
    Problem,
    SpeechRequest,
    TextQuery,
    Transcript,
    Translation,
    TranslationRequest,
)
from appliance.telemetry import metrics

Kind = Literal["stt", "mt", "tts"]
KINDS: tuple[Kind, ...] = ("stt", "mt", "tts")
HEALTH_TIMEOUT_S = 0.5
RECONNECT_S = 0.05
"""Pause before a request is sent again to a server that restarts."""
MAX_CONNECTIONS = 256
IDLE_S = 60.0

Answer = TypeVar("Answer")


class ModelClient:
    """One for each event loop. Every method raises a `ModelServerError`; cancelling a call gives up its request."""

    def __init__(self, run_dir: Path) -> None:
        """`run_dir`: the folder of `stt.sock`, `mt.sock` and `tts.sock`, which need not be there yet."""
        self._sockets = {kind: run_dir / f"{kind}.sock" for kind in KINDS}
        self._sessions: dict[Kind, aiohttp.ClientSession] = {}
        self._breakers = {kind: Breaker() for kind in KINDS}

    async def transcribe(
        self,
        pcm: Samples,
        *,
        language: str | None = None,
        languages: Sequence[str] = (),
        partial: bool = False,
        stream: str = "",
        timeout_s: float,
    ) -> Transcript:
        """What was said in `pcm` (16 kHz).

        Args:
            language: recogniser code; None to have it found among `languages` (all, when that is empty).
            partial: a decode of speech that goes on; given up for others when the server is busy.
            stream: name of the lane, so that a newer request replaces a partial one that still waits.
        """
        query = {"language": language or "", "languages": ",".join(languages), "partial": "1" if partial else "0", "stream": stream}
        body = np.ascontiguousarray(pcm, dtype="<i2").tobytes()
        answer, _ = await self._ask("stt", "/v1/transcribe", body, timeout_s, {key: value for key, value in query.items() if value})
        return _decoded("stt", answer, Transcript)

    async def identify(self, text: str, timeout_s: float) -> LanguageScores:
        answer, _ = await self._ask("stt", "/v1/identify", msgspec.json.encode(TextQuery(text)), timeout_s)
        return _decoded("stt", answer, LanguageScores)

    async def translate(self, text: str, source: str, target: str, timeout_s: float) -> Translation:
        """One sentence; language codes, `hinglish` included."""
        answer, _ = await self._ask("mt", "/v1/translate", msgspec.json.encode(TranslationRequest(text, source, target)), timeout_s)
        return _decoded("mt", answer, Translation)

    async def speak(self, text: str, language: str, timeout_s: float, voice: str = "") -> Samples:
        """Speech at 16 kHz."""
        answer, headers = await self._ask("tts", "/v1/speak", msgspec.json.encode(SpeechRequest(text, language, voice)), timeout_s)
        rate = headers.get("X-Sample-Rate", "")
        if rate != str(SAMPLE_RATE):
            raise Unavailable("tts", f"speech at {rate or 'an unknown rate'}, expected {SAMPLE_RATE} Hz", retry=False)
        return np.frombuffer(answer, "<i2")

    async def health(self, kind: Kind, timeout_s: float = HEALTH_TIMEOUT_S) -> Health:
        """What the server says of itself, ready or not; past the circuit breaker."""
        _, body, _ = await self._send(kind, "GET", "/health", b"", timeout_s, {})
        return _decoded(kind, body, Health)

    async def aclose(self) -> None:
        sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            await session.close()

    async def _ask(
        self, kind: Kind, path: str, body: bytes, timeout_s: float, query: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        started = time.monotonic()
        breaker = self._breakers[kind]
        result = "cancelled"
        try:
            await self._pass_breaker(kind, breaker)
            answer, headers = await self._try(kind, path, body, started + timeout_s, query or {})
        except (Overloaded, Rejected) as error:
            breaker.succeeded()  # it answers
            result = type(error).__name__.lower()
            raise
        except ModelServerError as error:
            result = type(error).__name__.lower()
            if breaker.state == "closed":
                breaker.failed(time.monotonic(), error.reason)
            raise
        else:
            breaker.succeeded()
            result = "ok"
            return answer, headers
        finally:
            metrics.MODEL_REQUESTS.labels(kind, result).inc()
            metrics.MODEL_REQUEST_DURATION.labels(kind).observe(time.monotonic() - started)
            metrics.MODEL_CIRCUIT_OPEN.labels(kind).set(breaker.state != "closed")

    async def _pass_breaker(self, kind: Kind, breaker: Breaker) -> None:
        what = breaker.ask(time.monotonic())
        if what == "refuse":
            raise Unavailable(kind, f"left alone after failures: {breaker.reason}", retry=True)
        if what == "probe":
            try:
                state = await self.health(kind)
            except ModelServerError as error:
                breaker.failed(time.monotonic(), error.reason)
                raise
            except BaseException:  # cancelled
                breaker.abandoned()
                raise
            if state.status != "ready":
                breaker.failed(time.monotonic(), f"{state.status} {state.detail}".strip())
                raise Unavailable(kind, f"{state.status} {state.detail}".strip(), retry=True)
            breaker.succeeded()

    async def _try(self, kind: Kind, path: str, body: bytes, deadline: float, query: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
        try:
            status, answer, headers = await self._send(kind, "POST", path, body, deadline - time.monotonic(), query)
        except Unavailable:
            if deadline - time.monotonic() < 2 * RECONNECT_S:
                raise
            await asyncio.sleep(RECONNECT_S)
            status, answer, headers = await self._send(kind, "POST", path, body, deadline - time.monotonic(), query)
        if status == 200:
            return answer, headers
        problem = Problem(f"status {status}", retry=status >= 500)
        with suppress(msgspec.MsgspecError):
            problem = msgspec.json.decode(answer, type=Problem)
        if status == 429:
            raise Overloaded(kind, problem.error, problem.retry)
        if 400 <= status < 500:
            raise Rejected(kind, problem.error, retry=False)
        raise Unavailable(kind, problem.error, problem.retry)

    async def _send(
        self, kind: Kind, method: str, path: str, body: bytes, timeout_s: float, query: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        if timeout_s <= 0:
            raise TimedOut(kind, "no time left", retry=True)
        try:
            async with self._session(kind).request(
                method,
                f"http://{kind}{path}",
                data=body or None,
                params=query,
                headers={"X-Timeout-S": f"{timeout_s:.3f}"},
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                return response.status, await response.read(), response.headers
        except TimeoutError as error:
            raise TimedOut(kind, f"no answer within {timeout_s:.2f} s", retry=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(kind, f"{self._sockets[kind]}: {error}", retry=True) from error

    def _session(self, kind: Kind) -> aiohttp.ClientSession:
        session = self._sessions.get(kind)
        if session is None:  # made here, not in the constructor: it belongs to the running loop
            connector = aiohttp.UnixConnector(str(self._sockets[kind]), limit=MAX_CONNECTIONS, keepalive_timeout=IDLE_S)
            session = self._sessions[kind] = aiohttp.ClientSession(connector=connector)
        return session


def _decoded(kind: Kind, body: bytes, answer: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.MsgspecError as error:
        raise Unavailable(kind, f"answered something else: {error}", retry=False) from error
