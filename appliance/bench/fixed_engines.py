"""Stand-ins for the three model servers that answer every request after a fixed time, whoever else asks.

    python -m appliance.bench.fixed_engines --run-dir DIR       serves DIR/{stt,mt,tts}.sock until it is ended

A server that batches would make a request wait for the batch before it; here nobody waits for anybody, so whatever a delay has
beyond these times is not the engines'.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import numpy as np
from aiohttp import web

from appliance.modelserver.messages import (
    SAMPLE_RATE,
    Health,
    LanguageScores,
    SpeechRequest,
    TextQuery,
    Transcript,
    Translation,
    TranslationRequest,
)
from appliance.text.languages import CALLER_LANGUAGES, HINGLISH, script_shares

PARTIAL_S, FINAL_S, TRANSLATE_S, SPEAK_S = 0.05, 0.15, 0.05, 0.05
ENGINES_S = FINAL_S + TRANSLATE_S + SPEAK_S
"""From an utterance to its first translated audio."""
SPEECH_S = 1.0
"""Of whatever is spoken."""
TONE_HZ, TONE_LEVEL = 440.0, 8000
MAX_BODY = 4 << 20

CALLER = CALLER_LANGUAGES[0]
SAID = {CALLER.recogniser_code: "என் கணினி வேலை செய்யவில்லை.", HINGLISH.recogniser_code: "आपका laptop चालू है."}
"""What is always recognised, by language; without one it is the caller's."""
TRANSLATED = {CALLER.code: "உங்கள் கணினி இயங்குகிறது.", HINGLISH.code: "मेरा computer काम नहीं कर रहा है."}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def tone() -> bytes:
    times = np.arange(round(SPEECH_S * SAMPLE_RATE)) / SAMPLE_RATE
    return (TONE_LEVEL * np.sin(2 * np.pi * TONE_HZ * times)).astype("<i2").tobytes()


async def transcribe(request: web.Request) -> web.Response:
    pcm = await request.read()
    seconds = PARTIAL_S if request.query.get("partial") == "1" else FINAL_S
    await asyncio.sleep(seconds)
    held = request.query.get("language", "")
    scores = {} if held else {item.recogniser_code: 0.96 if item is CALLER else 0.01 for item in CALLER_LANGUAGES}
    code = held or CALLER.recogniser_code
    text = SAID.get(code, SAID[HINGLISH.recogniser_code])
    return _json(Transcript(text, code, scores, -0.03, 0.01, len(pcm) / 2 / SAMPLE_RATE, "fixed", 1, 0.0, seconds))


async def identify(request: web.Request) -> web.Response:
    text = msgspec.json.decode(await request.read(), type=TextQuery).text
    mine = CALLER.script in script_shares(text)
    return _json(LanguageScores({item.code: float((item is CALLER) == mine) / (1 if mine else 4) for item in CALLER_LANGUAGES}, "fixed"))


async def translate(request: web.Request) -> web.Response:
    wanted = msgspec.json.decode(await request.read(), type=TranslationRequest)
    await asyncio.sleep(TRANSLATE_S)
    return _json(Translation(TRANSLATED.get(wanted.target, wanted.text), -0.03, "fixed", 1, 0.0, TRANSLATE_S))


async def speak(request: web.Request) -> web.Response:
    msgspec.json.decode(await request.read(), type=SpeechRequest)
    await asyncio.sleep(SPEAK_S)
    return web.Response(body=_TONE, headers={"X-Sample-Rate": str(SAMPLE_RATE), "X-Engine": "fixed"})


_TONE = tone()
_ROUTES: dict[str, dict[str, Handler]] = {
    "stt": {"/v1/transcribe": transcribe, "/v1/identify": identify},
    "mt": {"/v1/translate": translate},
    "tts": {"/v1/speak": speak},
}


def application(kind: str) -> web.Application:
    async def health(request: web.Request) -> web.Response:
        return _json(msgspec.convert({"status": "ready", "kind": kind, "engine": "fixed", "languages": []}, Health))

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_get("/health", health)
    for path, handler in _ROUTES[kind].items():
        app.router.add_post(path, handler)
    return app


async def serve(run_dir: Path) -> None:
    """Until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    runners = []
    for kind in _ROUTES:
        runner = web.AppRunner(application(kind), access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        await web.UnixSite(runner, str(run_dir / f"{kind}.sock")).start()
        runners.append(runner)
    await ended.wait()
    for runner in runners:
        await runner.cleanup()


def _json(answer: msgspec.Struct) -> web.Response:
    return web.Response(body=msgspec.json.encode(answer), content_type="application/json")


def main() -> None:
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m appliance.bench.fixed_engines", description=__doc__)
    parser.add_argument("--run-dir", type=Path, required=True)
    run_dir: Path = parser.parse_args().run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    uvloop.run(serve(run_dir))


if __name__ == "__main__":
    main()
