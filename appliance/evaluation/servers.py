"""The model servers an evaluation asks: those of a running stack, else its own for as long as it takes."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.config.instances import is_fallback
from appliance.config.load import LoadedConfig
from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import EngineUsed
from appliance.modelserver.client import Kind, ModelClient
from appliance.modelserver.errors import ModelServerError
from appliance.modelserver.instance import Instance
from appliance.modelserver.messages import Health

START_S = 180.0
"""A large model takes its time to load."""
STOP_S = 10.0
POLL_S = 0.1
LAST_LINES = 5
"""Of the log of a server that does not start, for the message."""


@dataclass(frozen=True, slots=True)
class Serving:
    client: ModelClient
    engines: dict[str, EngineUsed]
    started: tuple[Kind, ...]
    """Kinds whose server was started for the evaluation."""


@asynccontextmanager
async def serving(loaded: LoadedConfig, kinds: Sequence[Kind]) -> AsyncIterator[Serving]:
    """The active engines of a configuration.

    Raises:
        EvaluationError: a server does not start or does not become ready.
    """
    async with AsyncExitStack() as stack:
        # One folder with the sockets of both sorts; a short path, as that of a socket must be.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evaluate-")))
        client = ModelClient(folder)
        stack.push_async_callback(client.aclose)
        own: dict[Kind, _Server] = {}
        for kind in kinds:
            socket = await _running(loaded, kind)
            if socket is not None:
                (folder / f"{kind}.sock").symlink_to(socket)
            else:
                own[kind] = await stack.enter_async_context(_server(loaded, kind, folder))
        engines: dict[str, EngineUsed] = {}
        for kind in kinds:
            health = await _ready(client, kind, own.get(kind))
            engines[kind] = EngineUsed(health.engine, health.model, list(health.languages))
        yield Serving(client, engines, tuple(own))


async def _running(loaded: LoadedConfig, kind: Kind) -> Path | None:
    """Socket of a server of the stack with the engine that is configured, if one runs."""
    for name in loaded.instances(kind):
        if is_fallback(name) or not loaded.socket(name).exists():
            continue
        instance = Instance(kind, loaded.socket(name))
        try:
            if (await instance.health()).kind == kind:
                return instance.path
        except ModelServerError:
            pass
        finally:
            await instance.aclose()
    return None


@dataclass(frozen=True, slots=True)
class _Server:
    process: asyncio.subprocess.Process
    log: Path


@asynccontextmanager
async def _server(loaded: LoadedConfig, kind: Kind, folder: Path) -> AsyncIterator[_Server]:
    log = folder / f"{kind}.log"
    command = [sys.executable, "-m", "appliance.modelserver", "--kind", kind, "--config", str(loaded.file)]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, "--socket", str(folder / f"{kind}.sock"), stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield _Server(process, log)
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


async def _ready(client: ModelClient, kind: Kind, own: _Server | None) -> Health:
    end = asyncio.get_running_loop().time() + START_S
    reason = "no answer"
    while asyncio.get_running_loop().time() < end:
        if own is not None and own.process.returncode is not None:
            raise EvaluationError(f"model server {kind} ended with {own.process.returncode}: {_last_words(own.log)}")
        try:
            health = await client.health(kind)
        except ModelServerError as error:
            reason = error.reason
        else:
            if health.status == "ready":
                return health
            if health.status == "failed":
                raise EvaluationError(f"model server {kind} failed: {health.detail}")
            reason = "it still warms up"
        await asyncio.sleep(POLL_S)
    raise EvaluationError(f"model server {kind} was not ready after {START_S:g} s: {reason}")


def _last_words(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    told = [line for line in lines if "does not start:" in line]
    return told[-1].partition("does not start: ")[2] if told else " / ".join(lines[-LAST_LINES:]) or "it said nothing"
