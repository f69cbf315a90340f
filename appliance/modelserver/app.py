"""The HTTP side of a model server: `messages` says what is asked and answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
from litestar import Litestar, Request, Response, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from appliance.engines.base import (
    EngineError,
    JobRejected,
    LanguageIdentifier,
    RecogniseJob,
    Recognition,
    Synthesis,
    SynthesiseJob,
    Translated,
    TranslateJob,
    check_recognise,
    check_speak,
    check_translate,
)
from appliance.modelserver.batcher import NotComputed
from appliance.modelserver.bodies import Bodies, BodyTooLate, TooManyBodies
from appliance.modelserver.messages import (
    SAMPLE_RATE,
    LanguageScores,
    Problem,
    SpeechRequest,
    TextQuery,
    Transcript,
    Translation,
    TranslationRequest,
)
from appliance.modelserver.metrics import RequestResult
from appliance.modelserver.server import ModelServer, NotReady
from appliance.telemetry import metrics
from appliance.telemetry.systemd import NOBODY, Unit

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 2_000_000
"""A minute of audio: longer than any engine takes, so that the answer names the engine's own limit."""
MAX_TEXT = 20_000
"""Characters whose language is looked for; no utterance has more, and it is done between other requests."""
PCM = "application/octet-stream"

RESULTS: dict[int, RequestResult] = {429: "overloaded", 500: "failed", 503: "failed"}
"""What an answer is counted as by its status; any other one above 399 is the sender's fault."""


def create_app(
    server: ModelServer[Any, Any], routes: list[HTTPRouteHandler], on_failure: Callable[[], None], unit: Unit = NOBODY
) -> Litestar:
    """`on_failure` is called when the warm-up fails: the process should end. `unit` is told when it is over, and that it still answers."""

    @asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        async def warm_up() -> None:
            try:
                await server.warm_up()
            except (EngineError, NotComputed):
                on_failure()
                return
            unit.ready(f"{server.served.capabilities.name} answers")
            await unit.beat(server.answers)

        async with server:
            task = asyncio.create_task(warm_up(), name="warm-up")
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    @get("/health")
    async def health() -> Response[bytes]:
        state = server.health
        return _json(state, 200 if state.status == "ready" else 503)

    @get("/metrics")
    async def exported() -> Response[bytes]:
        body, content_type = metrics.render()
        return Response(body, headers={"Content-Type": content_type})

    def refused(handler: Callable[[Request[Any, Any, Any], Any], Response[bytes]]) -> Any:
        def counted(request: Request[Any, Any, Any], error: Any) -> Response[bytes]:
            answer = handler(request, error)
            warming = isinstance(error, NotReady)
            server.metrics.answered("warming" if warming else RESULTS.get(answer.status_code or 500, "rejected"))
            return answer

        return counted

    return Litestar(
        [health, exported, *routes],
        lifespan=[running],
        openapi_config=None,
        request_max_body_size=MAX_BODY_BYTES,
        exception_handlers={
            HTTPException: refused(_bad_request),
            EngineError: refused(_engine_error),
            NotComputed: refused(_not_computed),
            NotReady: refused(lambda _, error: _problem(503, str(error), retry=True)),
            TooManyBodies: refused(lambda _, error: _problem(429, "too many requests are coming in", retry=True)),
            BodyTooLate: refused(lambda _, error: _problem(408, "the body did not come in time", retry=True)),
            msgspec.MsgspecError: refused(lambda _, error: _problem(400, str(error), retry=False)),
            Exception: refused(_broken),
        },
        logging_config=None,
    )


def recognition_routes(server: ModelServer[RecogniseJob, Recognition], identifier: LanguageIdentifier) -> list[HTTPRouteHandler]:
    capabilities = server.served.capabilities
    bodies = Bodies(MAX_BODY_BYTES)

    @post("/v1/transcribe", status_code=200)
    async def transcribe(
        request: Request[Any, Any, Any],
        language: str | None = None,
        languages: str = "",
        partial: bool = False,
        stream: str = "",
    ) -> Response[bytes]:
        body = await bodies.read(request)
        if not body or len(body) % 2:
            raise JobRejected(f"the body has {len(body)} bytes; allowed: s16le mono at {SAMPLE_RATE} Hz, two bytes a sample")
        allowed = tuple(code for code in languages.split(",") if code)
        job = RecogniseJob(np.frombuffer(body, "<i2"), language or None, allowed, partial)
        check_recognise(job, capabilities)
        done = await server.answer(job, urgent=not partial, stream=stream, timeout_s=_timeout_s(request))
        heard = done.result
        return _json(
            Transcript(
                text=heard.text,
                language=heard.language,
                language_scores=heard.language_scores,
                avg_logprob=heard.avg_logprob,
                no_speech_prob=heard.no_speech_prob,
                duration_s=len(job.samples) / SAMPLE_RATE,
                engine=capabilities.name,
                batch_size=done.batch_size,
                queue_s=done.queue_s,
                compute_s=done.compute_s,
                agreement=heard.agreement,
                empty_prob=heard.empty_prob,
            )
        )

    @post("/v1/identify", status_code=200)
    async def identify(request: Request[Any, Any, Any]) -> Response[bytes]:
        query = msgspec.json.decode(await bodies.read(request), type=TextQuery)
        if len(query.text) > MAX_TEXT:
            raise JobRejected(f"a text of {len(query.text)} characters; allowed: at most {MAX_TEXT}")
        return _json(LanguageScores(identifier.identify([query.text])[0], identifier.name))  # some 20 us: no batch needed

    return [transcribe, identify]


def translation_routes(server: ModelServer[TranslateJob, Translated]) -> list[HTTPRouteHandler]:
    capabilities = server.served.capabilities
    bodies = Bodies(MAX_BODY_BYTES)

    @post("/v1/translate", status_code=200)
    async def translate(request: Request[Any, Any, Any]) -> Response[bytes]:
        asked = msgspec.json.decode(await bodies.read(request), type=TranslationRequest)
        job = TranslateJob(asked.text, asked.source, asked.target)
        check_translate(job, capabilities)
        done = await server.answer(job, timeout_s=_timeout_s(request))
        result = done.result
        return _json(Translation(result.text, result.score, capabilities.name, done.batch_size, done.queue_s, done.compute_s))

    return [translate]


def speech_routes(server: ModelServer[SynthesiseJob, Synthesis]) -> list[HTTPRouteHandler]:
    capabilities = server.served.capabilities
    bodies = Bodies(MAX_BODY_BYTES)

    @post("/v1/speak", status_code=200)
    async def speak(request: Request[Any, Any, Any]) -> Response[bytes]:
        asked = msgspec.json.decode(await bodies.read(request), type=SpeechRequest)
        job = SynthesiseJob(asked.text, asked.language, asked.voice)
        check_speak(job, capabilities)
        done = await server.answer(job, timeout_s=_timeout_s(request))
        headers = {
            "X-Sample-Rate": str(done.result.rate),
            "X-Engine": capabilities.name,
            "X-Batch-Size": str(done.batch_size),
            "X-Queue-S": f"{done.queue_s:.6f}",
            "X-Compute-S": f"{done.compute_s:.6f}",
        }
        return Response(done.result.samples.astype("<i2", copy=False).tobytes(), media_type=PCM, headers=headers)

    return [speak]


def _timeout_s(request: Request[Any, Any, Any]) -> float:
    """Raises: JobRejected."""
    text = request.headers.get("X-Timeout-S", "inf")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        raise JobRejected(f"X-Timeout-S is {text!r}; allowed: seconds above 0")
    return seconds


def _json(message: msgspec.Struct, status: int = 200) -> Response[bytes]:
    return Response(msgspec.json.encode(message), status_code=status, media_type="application/json")


def _problem(status: int, error: str, *, retry: bool) -> Response[bytes]:
    return _json(Problem(error, retry), status)


def _bad_request(_: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    extra = "; ".join(f"{item.get('key')}: {item.get('message')}" for item in error.extra) if isinstance(error.extra, list) else ""
    return _problem(error.status_code, f"{error.detail}: {extra}" if extra else error.detail, retry=False)


def _broken(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    log.error("a request broke the server", exc_info=error)
    return _problem(500, "internal error, see the server's log", retry=True)


def _engine_error(_: Request[Any, Any, Any], error: EngineError) -> Response[bytes]:
    return _problem(400 if isinstance(error, JobRejected) else 503, str(error), retry=error.retry)


def _not_computed(_: Request[Any, Any, Any], error: NotComputed) -> Response[bytes]:
    reasons = {
        "queue-full": "the queue is full",
        "pushed-out": "given up for a more urgent request",
        "superseded": "a newer request of the same stream has come",
        "too-late": "the queue was longer than the sender waits",
        "closing": "the server is stopping",
    }
    return _problem(503 if error.why == "closing" else 429, reasons[error.why], retry=error.why != "superseded")
