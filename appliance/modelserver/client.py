"""How a gateway asks the model servers of its node.

All they do is compute, so a request that failed is sent again while its time lasts: to another instance where there is one, once
more to the same where the connection broke. Each instance has a circuit breaker: one that failed is left alone until it says that
it is well. Sockets are found by their names (`appliance.config.instances`), so instances may come and go.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, get_args

import msgspec
import numpy as np

from appliance.config.instances import ServerKind, kind_of
from appliance.engines.base import Samples
from appliance.modelserver.choice import choose
from appliance.modelserver.errors import ModelServerError, Overloaded, Rejected, TimedOut, Unavailable, Unreachable
from appliance.modelserver.instance import HEALTH_TIMEOUT_S, Instance, Reply
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

log = logging.getLogger(__name__)

Kind = ServerKind
KINDS: tuple[Kind, ...] = get_args(ServerKind)
RECONNECT_S = 0.05
"""Pause before a request is sent again to the only server there is, which may be restarting."""
WATCH_S = 0.5
"""Between two rounds of a watch."""
FRESH_S = 3.0
"""How long a request that had to be sent again counts as trouble."""

Answer = TypeVar("Answer")


class ModelClient:
    """One for each event loop. Every method raises a `ModelServerError`; cancelling a call gives up its request."""

    def __init__(self, run_dir: Path) -> None:
        """`run_dir`: the folder of the sockets, which need not be there yet."""
        self._run_dir = run_dir
        self._instances: dict[Kind, list[Instance]] = {kind: [] for kind in KINDS}
        self._gone: list[Instance] = []
        self._turns = 0
        self._watched = False
        self._troubled_s = -FRESH_S
        self._find()

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
        """What the first instance of a kind says of itself, ready or not; past the circuit breaker, which closes if it is well."""
        self._find()
        instance = self._instances[kind][0]
        health = await instance.health(timeout_s)
        if health.status == "ready":
            instance.succeeded()
        return health

    # How they are

    def out(self) -> tuple[Kind, ...]:
        """Kinds of which no instance may be asked."""
        return tuple(kind for kind in KINDS if choose(self._instances[kind]) is None)

    @property
    def in_trouble(self) -> bool:
        """Whether answers may be late: a server keeps a request waiting, or one had to be sent to another server just now."""
        late = time.monotonic() - self._troubled_s < FRESH_S
        return late or any(instance.late for kind in KINDS for instance in self._instances[kind])

    async def watch(self) -> None:
        """Keep finding out how every instance is, for ever; without it only requests do."""
        self._watched = True
        try:
            while True:
                try:
                    self._find()
                except OSError as error:
                    log.warning("new sockets of model servers are not found: %s", error)
                now = time.monotonic()
                for kind in KINDS:
                    for instance in self._instances[kind]:
                        instance.look(now)
                await asyncio.sleep(WATCH_S)
        finally:
            self._watched = False

    async def aclose(self) -> None:
        gone, self._gone = self._gone, []
        for instance in (*gone, *(instance for kind in KINDS for instance in self._instances[kind])):
            await instance.aclose()

    def _find(self) -> None:
        """Take up the sockets that are there now; one that is gone is forgotten while there is another of its kind."""
        for kind in KINDS:
            paths = sorted(path for path in self._run_dir.glob(f"{kind}*.sock") if kind_of(path.stem) == kind)
            known = {instance.path: instance for instance in self._instances[kind]}
            if not paths:
                paths = list(known) or [self._run_dir / f"{kind}.sock"]
            for path in known.keys() - set(paths):
                self._gone.append(known[path])
                known[path].forget()
            self._instances[kind] = [known.get(path) or Instance(kind, path) for path in paths]

    # Requests

    async def _ask(
        self, kind: Kind, path: str, body: bytes, timeout_s: float, query: Mapping[str, str] | None = None
    ) -> tuple[bytes, Mapping[str, str]]:
        started = time.monotonic()
        result = "cancelled"
        try:
            answer, headers = await self._answered(kind, path, body, started + timeout_s, query or {})
        except ModelServerError as error:
            result = type(error).__name__.lower()
            raise
        else:
            result = "ok"
            return answer, headers
        finally:
            metrics.MODEL_REQUESTS.labels(kind, result).inc()
            metrics.MODEL_REQUEST_DURATION.labels(kind).observe(time.monotonic() - started)

    async def _answered(
        self, kind: Kind, path: str, body: bytes, deadline: float, query: Mapping[str, str]
    ) -> tuple[bytes, Mapping[str, str]]:
        tried: list[Instance] = []
        instance = await self._first(kind)
        while True:
            self._turns += 1
            instance.turn = self._turns
            failure: ModelServerError
            try:
                answer = _checked(kind, await instance.ask(path, body, self._share(instance, tried, deadline), query))
            except (Overloaded, Rejected) as error:
                instance.succeeded()  # it answers
                failure = error
            except ModelServerError as error:
                instance.failed(error.reason)
                failure = error
            else:
                instance.succeeded()
                if instance.rank:
                    metrics.FALLBACKS.labels(metrics.label("reason", f"{kind}-starter-engine")).inc()
                return answer
            tried.append(instance)
            instance = await self._next(instance, failure, tried, deadline)

    async def _first(self, kind: Kind) -> Instance:
        """Who is asked first. Raises: ModelServerError, when nobody may be."""
        if not self._watched:
            await self._look_again(kind)
        chosen = choose(self._instances[kind])
        if chosen is None:
            reasons = "; ".join(dict.fromkeys(instance.breaker.reason for instance in self._instances[kind]))
            raise Unavailable(kind, f"left alone after failures: {reasons}", retry=True)
        return chosen

    async def _look_again(self, kind: Kind) -> None:
        """Ask those that are left alone how they are; only wait for what they say if there is nobody else."""
        if choose(self._instances[kind]) is None:
            self._find()
        now = time.monotonic()
        probes = [instance.probe() for instance in self._instances[kind] if instance.breaker.ask(now) == "probe"]
        if not probes or choose(self._instances[kind]) is not None:
            return
        found = await asyncio.gather(*map(asyncio.shield, probes), return_exceptions=True)
        errors = [error for error in found if isinstance(error, ModelServerError)]
        if len(errors) == len(probes):
            raise errors[0]

    def _share(self, instance: Instance, tried: list[Instance], deadline: float) -> float:
        """How long an instance may take: half of the time there is while there is an equal one to ask after it."""
        left = deadline - time.monotonic()
        other = choose(self._instances[instance.kind], [*tried, instance])
        return left / 2 if other is not None and other.rank <= instance.rank else left

    async def _next(self, instance: Instance, failure: ModelServerError, tried: list[Instance], deadline: float) -> Instance:
        """Who is asked after a failure. Raises: the failure, when nobody is."""
        if not failure.retry:
            raise failure
        kind, now = instance.kind, time.monotonic()
        other = choose(self._instances[kind], tried)
        if isinstance(failure, Overloaded | TimedOut) and (other is None or other.rank > instance.rank):
            raise failure  # the starter engine stands in for servers that are out, not for busy ones
        self._troubled_s = now
        if other is not None and deadline - now > RECONNECT_S:
            metrics.MODEL_FAILOVERS.labels(kind, type(failure).__name__.lower()).inc()
            return other
        if not isinstance(failure, Unreachable) or tried.count(instance) > 1 or deadline - now < 2 * RECONNECT_S:
            raise failure
        await asyncio.sleep(RECONNECT_S)
        return instance


def _checked(kind: Kind, reply: Reply) -> tuple[bytes, Mapping[str, str]]:
    """Body and headers of an answer. Raises: ModelServerError, when it is none."""
    status, answer, headers = reply
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


def _decoded(kind: Kind, body: bytes, answer: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.MsgspecError as error:
        raise Unavailable(kind, f"answered something else: {error}", retry=False) from error
