"""The gateway's client against real server processes: answers, errors, and servers that die, hang and come back. Stub and espeak-ng."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from model_servers import Gate, ModelServerProcess, model_server, write_config

from appliance.engines.base import Samples
from appliance.modelserver.breaker import OPEN_S
from appliance.modelserver.client import WATCH_S, ModelClient
from appliance.modelserver.errors import Hung, ModelServerError, Overloaded, Rejected, TimedOut, Unavailable
from appliance.modelserver.instance import HEALTH_TIMEOUT_S, SUSPECT_S
from appliance.modelserver.messages import Transcript

Answer = TypeVar("Answer")
SECOND: Samples = np.zeros(16_000, np.int16)
SOON_S = 15.0
LONG_S = 60.0
MAX_QUEUE = 4
CONFIG = """
[stt]
engine = "stub"
model = "text=ఔను,gate={folder}/stt-gate"
batch_wait_s = 0.0
max_queue = {most}
[mt]
engine = "stub"
model = "fail=boom"
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mc")
    return write_config(folder, CONFIG.format(folder=folder, most=MAX_QUEUE))


@pytest.fixture(scope="module")
def servers(config: Path) -> Iterator[dict[str, ModelServerProcess]]:
    with model_server("stt", config) as stt, model_server("mt", config) as mt, model_server("tts", config) as tts:
        yield {"stt": stt, "mt": mt, "tts": tts}


@pytest.fixture
async def client(servers: dict[str, ModelServerProcess]) -> AsyncIterator[ModelClient]:
    client = ModelClient(servers["stt"].socket.parent)
    yield client
    await client.aclose()


@asynccontextmanager
async def busy(server: ModelServerProcess, client: ModelClient) -> AsyncIterator[tuple[Gate, asyncio.Task[Transcript]]]:
    """While its engine is at a request, which ends when the gate is opened."""
    with Gate(server.socket.parents[1] / "stt-gate") as gate:
        first = asyncio.create_task(client.transcribe(SECOND, timeout_s=LONG_S))
        await asyncio.to_thread(gate.reached)
        yield gate, first


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not true():
            await asyncio.sleep(0.02)


async def answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The first answer; until then the server is unavailable."""
    async with asyncio.timeout(SOON_S):
        while True:
            try:
                return await ask()
            except (Unavailable, Hung):
                await asyncio.sleep(0.1)


async def test_each_server_is_asked_in_its_own_way(client: ModelClient) -> None:
    heard = await client.transcribe(SECOND, language=None, languages=("te", "kn"), timeout_s=5)
    assert (heard.text, heard.language, heard.language_scores, heard.duration_s) == ("ఔను", "te", {"te": 1.0, "kn": 0.0}, 1.0)
    assert (await client.transcribe(SECOND, language="ta", timeout_s=5)).language == "ta"
    assert (await client.identify("నా laptop నెమ్మదిగా ఉంది", 5)).scores["te"] == 1.0
    assert (await client.translate("ఔను", "te", "hinglish", 5)).text == "ఔను"
    for kind, engine in (("stt", "stub"), ("mt", "stub"), ("tts", "espeak-ng")):
        health = await client.health(kind)  # type: ignore[arg-type]
        assert (health.status, health.kind, health.engine) == ("ready", kind, engine)


async def test_speech_arrives_as_16_khz_samples(client: ModelClient) -> None:
    short = await client.speak("आपका password reset हो गया है", "hinglish", 5)
    assert short.dtype == np.int16
    assert 1.5 < len(short) / 16_000 < 3.5
    assert np.abs(short.astype(int)).max() > 5000
    other = await client.speak("आपका password reset हो गया है", "hinglish", 5, voice="hi+f3")
    assert len(other) != len(short)
    assert len(await client.speak("", "ta", 5)) == 0


async def test_a_wrong_request_is_rejected_and_trips_nothing(client: ModelClient) -> None:
    for _ in range(5):
        with pytest.raises(Rejected, match="stub does not translate ta to ta") as raised:
            await client.translate("x", "ta", "ta", 5)
        assert raised.value.retry is False
    assert (await client.translate("x", "ta", "hinglish", 5)).text == "x"


async def test_too_little_time_is_a_time_out_and_the_server_does_not_compute_it(
    servers: dict[str, ModelServerProcess], client: ModelClient
) -> None:
    before = servers["stt"].metric("setu_batch_size_sum")
    async with busy(servers["stt"], client) as (gate, first):
        with pytest.raises((TimedOut, Overloaded)) as raised:
            await client.transcribe(SECOND, timeout_s=0.05)
        assert raised.value.retry
        gate.open()
        assert (await first).batch_size == 1
    assert (await client.transcribe(SECOND, timeout_s=LONG_S)).batch_size == 1
    assert servers["stt"].metric("setu_batch_size_sum") == before + 2


async def test_a_newer_partial_of_the_lane_replaces_the_one_that_waits_and_finals_go_first(
    servers: dict[str, ModelServerProcess], client: ModelClient
) -> None:
    async with busy(servers["stt"], client) as (gate, first):
        old = asyncio.create_task(client.transcribe(SECOND, partial=True, stream="lane1", timeout_s=LONG_S))
        await asyncio.to_thread(servers["stt"].wait_queued, 1)
        new = asyncio.create_task(client.transcribe(SECOND, partial=True, stream="lane1", timeout_s=LONG_S))
        with pytest.raises(Overloaded, match="a newer request of the same stream") as raised:
            await old
        assert raised.value.retry is False
        gate.open()
        assert (await new).text == "ఔను"
        await first


async def test_a_full_queue_is_overloaded_and_trips_nothing(servers: dict[str, ModelServerProcess], client: ModelClient) -> None:
    async with busy(servers["stt"], client) as (gate, first):
        asked = {asyncio.create_task(client.transcribe(SECOND, partial=True, timeout_s=LONG_S)) for _ in range(12)}
        async with asyncio.timeout(SOON_S):
            while sum(request.done() for request in asked) < 12 - MAX_QUEUE:
                await asyncio.sleep(0.02)
        await asyncio.to_thread(servers["stt"].wait_queued, MAX_QUEUE)
        refused = [request.exception() for request in asked if request.done()]
        assert len(refused) == 12 - MAX_QUEUE
        assert all(isinstance(item, Overloaded) and item.retry for item in refused)
        gate.open()
        answers = await asyncio.gather(first, *asked, return_exceptions=True)
    assert sum(not isinstance(item, BaseException) for item in answers) == 1 + MAX_QUEUE
    assert (await client.transcribe(SECOND, timeout_s=LONG_S)).text == "ఔను"


async def test_concurrent_requests_share_batches(servers: dict[str, ModelServerProcess], client: ModelClient) -> None:
    async with busy(servers["stt"], client) as (gate, first):
        asked = [asyncio.create_task(client.transcribe(SECOND, timeout_s=LONG_S)) for _ in range(MAX_QUEUE)]
        await asyncio.to_thread(servers["stt"].wait_queued, MAX_QUEUE)
        gate.open()
        assert [(await request).batch_size for request in asked] == [MAX_QUEUE] * MAX_QUEUE
        await first


async def test_a_broken_engine_opens_the_circuit_and_a_probe_closes_it_again(client: ModelClient) -> None:
    for _ in range(3):
        with pytest.raises(Unavailable, match="told to fail"):
            await client.translate("boom", "ta", "hinglish", 5)
    with pytest.raises(Unavailable, match="left alone after failures: the stub was told to fail") as raised:
        await client.translate("fine", "ta", "hinglish", 5)
    assert raised.value.retry
    # The server tries its engine again by itself, then the circuit closes on a probe.
    assert (await answered(lambda: client.translate("fine", "ta", "hinglish", 5))).text == "fine"


async def test_a_server_that_is_not_there_is_unavailable_at_once(tmp_path: Path) -> None:
    client = ModelClient(tmp_path)
    start = time.monotonic()
    with pytest.raises(Unavailable, match=r"stt\.sock") as raised:
        await client.transcribe(SECOND, timeout_s=5)
    assert time.monotonic() - start < 3
    assert raised.value.retry
    with pytest.raises(Unavailable):
        await client.health("stt")
    await client.aclose()


async def test_a_server_that_dies_and_comes_back_is_used_again(tmp_path: Path) -> None:
    config = write_config(tmp_path, "")
    client = ModelClient(tmp_path / "run")
    with model_server("tts", config) as first:
        assert len(await client.speak("नमस्ते", "hi", 5))
        first.process.kill()
        first.process.wait()
    for _ in range(3):
        with pytest.raises(Unavailable):
            await client.speak("नमस्ते", "hi", 5)
    start = time.monotonic()
    with pytest.raises(Unavailable, match="left alone"):
        await client.speak("नमस्ते", "hi", 5)
    assert time.monotonic() - start < 3, "nothing is waited for"
    with model_server("tts", config):
        assert len(await answered(lambda: client.speak("नमस्ते", "hi", 5)))
    await client.aclose()


async def test_a_server_that_says_it_is_well_is_asked_at_once(tmp_path: Path) -> None:
    config = write_config(tmp_path, STUB_SPEECH)
    client = ModelClient(tmp_path / "run")
    with pytest.raises(Unavailable):
        await client.health("tts")
    assert "tts" in client.out()
    with model_server("tts", config):
        await client.health("tts")
        assert len(await client.speak("x", "hi", 5)) == STUB_LENGTH
    await client.aclose()


async def test_a_restart_between_two_requests_is_not_noticed(tmp_path: Path) -> None:
    config = write_config(tmp_path, "")
    client = ModelClient(tmp_path / "run")
    for _ in range(2):
        with model_server("tts", config) as server:
            assert len(await client.speak("नमस्ते", "hi", 5))  # the second time on a connection that the first server left behind
            server.stop()
    await client.aclose()


async def test_a_hung_server_is_found_out_before_the_request_has_waited_its_time(tmp_path: Path) -> None:
    config = write_config(tmp_path, "")
    client = ModelClient(tmp_path / "run")
    with model_server("tts", config) as server:
        await client.speak("नमस्ते", "hi", 5)
        server.process.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            assert not client.in_trouble
            asked = [asyncio.create_task(client.speak("नमस्ते", "hi", 30)) for _ in range(3)]
            await until(lambda: client.in_trouble)
            assert client.out() != ("tts",), "it is suspected before it is convicted"
            for request in asked:
                with pytest.raises(Hung, match="tts hangs"):
                    await request
            assert SUSPECT_S + HEALTH_TIMEOUT_S - 0.1 < time.monotonic() - start < 10, "a request has 30 s"
            assert client.out() == ("tts",)
            start = time.monotonic()
            with pytest.raises(Unavailable, match="left alone after failures: tts hangs"):
                await client.speak("नमस्ते", "hi", 30)
            await asyncio.sleep(OPEN_S)
            with pytest.raises(Hung):  # the probe, whatever time the request has
                await client.speak("नमस्ते", "hi", 30)
            assert time.monotonic() - start < 10
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert len(await answered(lambda: client.speak("नमस्ते", "hi", 5)))
        assert client.out() == ()
    await client.aclose()


async def test_a_slow_request_is_no_sign_of_a_hung_server(tmp_path: Path) -> None:
    config = write_config(tmp_path, '[stt]\nengine = "stub"\nmodel = "delay_s=1.6,text=yes"\n')
    client = ModelClient(tmp_path / "run")
    with model_server("stt", config):
        assert (await client.transcribe(SECOND, timeout_s=4)).text == "yes"
        with pytest.raises(TimedOut):
            await client.transcribe(SECOND, timeout_s=0.8)
        assert client.out() == ()
    await client.aclose()


STUB_SPEECH = '[tts]\nengine = "stub"\nmodel = "speech_s=0.3"\n'
STUB_LENGTH = 4800
BUDGET_S = 4.0
"""Of a request: whoever does not answer within it is not answered."""


@contextmanager
def two_instances(folder: Path) -> Iterator[tuple[ModelServerProcess, ModelServerProcess]]:
    """Of a speech server that does one request at a time; the gates are called `gate-1` and `gate-2`."""
    with ExitStack() as started:
        servers = []
        for number in (1, 2):
            text = f'[tts]\nengine = "stub"\nmodel = "speech_s=0.3,gate={folder}/gate-{number}"\nmax_batch = 1\n'
            servers.append(started.enter_context(model_server(f"tts-{number}", write_config(folder, text))))
        yield servers[0], servers[1]


async def test_instances_share_the_requests_and_a_dead_one_is_not_noticed(tmp_path: Path) -> None:
    client = ModelClient(tmp_path / "run")
    with two_instances(tmp_path) as (first, _):
        client._find()
        with Gate(tmp_path / "gate-1") as one, Gate(tmp_path / "gate-2") as other:
            asked = [asyncio.create_task(client.speak("x", "hi", LONG_S)) for _ in range(2)]
            for gate in (one, other):  # both are at work at the same time
                await asyncio.to_thread(gate.reached)
            first.process.kill()
            await asyncio.to_thread(first.process.wait)
            other.open()
            assert [len(speech) for speech in await asyncio.gather(*asked)] == [STUB_LENGTH] * 2
        for _ in range(3):
            assert len(await client.speak("x", "hi", LONG_S)) == STUB_LENGTH
        assert client.out() == ()
    await client.aclose()


async def test_a_request_to_a_hung_instance_is_answered_by_another_within_its_budget(tmp_path: Path) -> None:
    config = write_config(tmp_path, STUB_SPEECH)
    client = ModelClient(tmp_path / "run")
    with model_server("tts-1", config) as first, model_server("tts-2", config):
        client._find()
        hung = next(instance for instance in client._instances["tts"] if instance.name == "tts-1")
        first.process.send_signal(signal.SIGSTOP)
        try:
            start = time.monotonic()
            speeches = await asyncio.gather(*(client.speak("x", "hi", BUDGET_S) for _ in range(4)))
            assert [len(speech) for speech in speeches] == [STUB_LENGTH] * 4
            assert time.monotonic() - start > SUSPECT_S + HEALTH_TIMEOUT_S - 0.1, "before that nobody knows"
            assert client.in_trouble
            assert hung.turn > 0
            asked = hung.turn
            await client.speak("x", "hi", BUDGET_S)
            assert hung.turn == asked, "the one that hangs is not asked"
        finally:
            first.process.send_signal(signal.SIGCONT)
    await client.aclose()


async def test_a_request_that_one_instance_is_slow_with_gets_the_other_half_of_its_time_from_another(tmp_path: Path) -> None:
    client = ModelClient(tmp_path / "run")
    with two_instances(tmp_path), Gate(tmp_path / "gate-1") as slow:
        client._find()
        start = time.monotonic()
        asked = [asyncio.create_task(client.speak("x", "hi", BUDGET_S)) for _ in range(2)]
        await asyncio.to_thread(slow.reached)
        assert [len(await request) for request in asked] == [STUB_LENGTH] * 2
        assert time.monotonic() - start >= BUDGET_S / 2
    await client.aclose()


async def test_the_starter_engine_stands_in_only_while_the_others_are_out(tmp_path: Path) -> None:
    config = write_config(tmp_path, STUB_SPEECH)
    client = ModelClient(tmp_path / "run")
    watch = asyncio.create_task(client.watch())
    with model_server("tts-fallback", config):
        with model_server("tts", config) as main:
            await until(lambda: client.out() == ("stt", "mt"))
            await asyncio.sleep(WATCH_S + 0.2)
            assert [len(await client.speak("नमस्ते", "hi", 5)) for _ in range(4)] == [STUB_LENGTH] * 4
            main.process.kill()
            assert len(await client.speak("नमस्ते", "hi", 5)) > STUB_LENGTH, "this is espeak-ng"
        with model_server("tts", config):
            async with asyncio.timeout(SOON_S):
                while len(await client.speak("नमस्ते", "hi", 5)) != STUB_LENGTH:
                    await asyncio.sleep(0.1)
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await client.aclose()


async def test_a_watch_knows_of_a_hung_server_that_nobody_asks(tmp_path: Path) -> None:
    config = write_config(tmp_path, STUB_SPEECH)
    client = ModelClient(tmp_path / "run")
    watch = asyncio.create_task(client.watch())
    with model_server("tts", config) as server:
        await until(lambda: client.out() == ("stt", "mt"))
        server.process.send_signal(signal.SIGSTOP)
        await until(lambda: client.out() == ("stt", "mt", "tts"))
        server.process.send_signal(signal.SIGCONT)
        await until(lambda: client.out() == ("stt", "mt"))
    watch.cancel()
    await asyncio.gather(watch, return_exceptions=True)
    await client.aclose()


async def test_cancelling_a_call_leaves_the_client_usable(servers: dict[str, ModelServerProcess], client: ModelClient) -> None:
    async with busy(servers["stt"], client) as (_, asked):
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
    assert (await client.transcribe(SECOND, timeout_s=5)).text == "ఔను"


async def test_one_error_tree_catches_everything(tmp_path: Path) -> None:
    client = ModelClient(tmp_path)
    with pytest.raises(ModelServerError) as raised:
        await client.translate("x", "ta", "hinglish", 0)
    assert (raised.value.kind, raised.value.retry) == ("mt", True)
    await client.aclose()
