"""Caller memory, event stream and session state on a real Redis that goes away, hangs and forgets."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis as redis_module

from appliance.config.load import load
from appliance.events import (
    CallEnded,
    CallStarted,
    CallStateChanged,
    Event,
    KeyPressed,
    LanguageDecided,
    LanguageVote,
    PartialRecognised,
)
from appliance.stack import install
from appliance.store import event_stream, redis_link, session_state
from appliance.store.caller_memory import CallerMemory, normalised
from appliance.store.event_stream import BEGINNING, NOW, EventStream
from appliance.store.redis_link import RedisLink
from appliance.store.retention import Expired, expire
from appliance.store.session_state import ENDED_KEEP_S, Session, SessionStates

LONG_S = 1.5
"""A time-out that differs from nothing and from two of its kind on a busy machine, too."""


class RedisServer:
    """A Redis of our own that keeps nothing on disk: started anew it has forgotten everything."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._log = folder / "redis.log"
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(folder)]
        self._command = install.programs(print).command("redis-server", *options, visible=[folder])
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        end = time.monotonic() + 10
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return
            except redis_module.ConnectionError:
                assert time.monotonic() < end, self._log.read_text()
                time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def client(self) -> redis_module.Redis:
        return redis_module.Redis.from_url(self.url, decode_responses=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
async def link(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RedisLink]:
    for module in (redis_link, event_stream):
        monkeypatch.setattr(module, "REST_S", 0.1)
    server.stop()
    server.start()
    link = RedisLink(server.url)
    yield link
    await link.aclose()


async def until(condition: Callable[[], Awaitable[bool]], within_s: float = 15.0) -> None:
    end = time.monotonic() + within_s
    while not await condition():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.02)


def state(number: int) -> CallStateChanged:
    return CallStateChanged(call_id="c", at=float(number), state=f"state-{number}")


# Caller memory


async def test_a_caller_is_known_by_any_way_of_writing_the_number(link: RedisLink, server: RedisServer) -> None:
    memory = CallerMemory(link, "secret")
    assert await memory.recall("+919876543210") is None
    assert await memory.remember("+91 98765-43210", "ta")
    for number in ("9876543210", "09876543210", "919876543210", "00919876543210", "+91 (98765) 43210"):
        assert await memory.recall(number) == "ta"
    assert await memory.recall("9876543211") is None
    await memory.remember("9876543210", "te")
    assert await memory.recall("9876543210") == "te"
    with server.client() as client:
        (key,) = client.keys("*")
        assert client.ttl(key) == pytest.approx(180 * 24 * 3600, abs=60)
        assert "9876543210" not in key
    await memory.forget("9876543210")
    assert await memory.recall("9876543210") is None


async def test_another_key_finds_nothing_and_withheld_numbers_and_odd_languages_are_not_kept(link: RedisLink, server: RedisServer) -> None:
    await CallerMemory(link, "secret").remember("9876543210", "ta")
    assert await CallerMemory(link, "other").recall("9876543210") is None
    for number in ("", "anonymous", "+", "12", "sip:x@y"):
        assert not await CallerMemory(link, "secret").remember(number, "ta")
    assert not await CallerMemory(link, "secret").remember("5555555555", "klingon")
    with server.client() as client:
        assert len(client.keys("*")) == 1


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("+919876543210", "9876543210"),
        ("9198765432", "9198765432"),
        ("+4930123456", "4930123456"),
        ("1234", "1234"),
        ("Anonymous", ""),
        ("0", ""),
    ],
)
def test_normalised_numbers(number: str, expected: str) -> None:
    assert normalised(number) == expected


# Redis away


async def test_without_redis_nobody_is_known_at_once_one_line_is_logged_and_it_recovers(
    link: RedisLink, server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "appliance.store")
    memory = CallerMemory(link, "secret")
    await memory.remember("9876543210", "ta")
    server.stop()
    started = time.monotonic()
    for _ in range(20):
        assert await memory.recall("9876543210") is None
    assert time.monotonic() - started < 2.0, "twenty time-outs are 10 s"
    assert not link.up
    server.start()

    async def kept() -> bool:
        return await memory.remember("9876543210", "te")

    await until(kept)
    assert await memory.recall("9876543210") == "te"
    messages = [record.message for record in caplog.records]
    assert messages == ["Redis does not answer, going on without it", "Redis answers again"]


async def test_a_redis_that_hangs_costs_one_timeout(link: RedisLink, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "REST_S", 30.0)
    patient = RedisLink(server.url)
    await patient.redis.aclose()
    patient.redis = redis_link.connect(server.url, timeout_s=LONG_S)
    memory = CallerMemory(patient, "secret")
    await memory.remember("9876543210", "ta")
    server.hang()
    started = time.monotonic()
    assert await memory.recall("9876543210") is None
    first = time.monotonic() - started
    assert 0.9 * LONG_S < first < 1.8 * LONG_S
    for _ in range(100):
        assert await memory.recall("9876543210") is None
    assert time.monotonic() - started - first < 0.9 * LONG_S
    await patient.aclose()


# Event stream


async def read(stream: EventStream, count: int, last_id: str = BEGINNING) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(15):
        async for _, event in stream.read(last_id):
            events.append(event)
            if len(events) == count:
                break
    return events


async def test_every_kind_of_event_arrives_as_it_was_and_in_order(link: RedisLink) -> None:
    vote = LanguageVote(source="audio", scores={"ta": 0.75, "te": 0.25}, weight=1.0)
    events: list[Event] = [
        CallStarted(call_id="c", at=1.0, caller_number="1", called_number="2", worker="gateway-1"),
        PartialRecognised(call_id="c", at=2.0, lane="caller_to_agent", utterance=1, text="கணினி"),
        LanguageDecided(call_id="c", at=3.0, language="ta", confidence=0.9, after_s=1.5, votes=[vote], how="votes"),
        KeyPressed(call_id="c", at=4.0, party="caller", digit="*"),
        CallEnded(call_id="c", at=5.0, outcome="interpreted", reason="", duration_s=4.0),
    ]
    async with EventStream(link) as stream:
        for event in events:
            stream.publish(event)
        assert await read(stream, len(events)) == events


async def test_reading_from_now_on_sees_nothing_of_before_and_from_an_id_what_follows_it(link: RedisLink, server: RedisServer) -> None:
    async with EventStream(link) as stream:
        stream.publish(state(1))
        (first,) = await read(stream, 1)
        assert first == state(1)
        seen: list[Event] = []

        async def watch() -> None:
            async for _, event in stream.read(NOW):
                seen.append(event)

        watcher = asyncio.create_task(watch())

        async def waits() -> bool:
            with server.client() as client:
                return any(entry["cmd"] == "xread" and "b" in entry["flags"] for entry in client.client_list())

        await until(waits)
        for number in range(2, 5):
            stream.publish(state(number))

        async def all_seen() -> bool:
            return len(seen) == 3

        await until(all_seen)
        watcher.cancel()
        await asyncio.gather(watcher, return_exceptions=True)
        assert seen == [state(2), state(3), state(4)]
        ids = [entry async for entry, _ in _first(stream, 4)]
        assert await read(stream, 2, ids[1]) == [state(3), state(4)]


async def _first(stream: EventStream, count: int) -> AsyncIterator[tuple[str, Event]]:
    async for item in stream.read(BEGINNING):
        yield item
        count -= 1
        if not count:
            return


async def test_entries_of_another_version_are_skipped(link: RedisLink, server: RedisServer) -> None:
    with server.client() as client:
        client.xadd("setu:events", {"event": '{"type":"from-the-future"}'})
        client.xadd("setu:events", {"other": "x"})
    async with EventStream(link) as stream:
        stream.publish(state(1))
        assert await read(stream, 1) == [state(1)]


async def test_publishing_goes_on_while_redis_is_away_and_readers_see_all_of_it_later(link: RedisLink, server: RedisServer) -> None:
    async with EventStream(link) as stream:
        stream.publish(state(0))
        reader = asyncio.create_task(read(stream, 6))
        await asyncio.sleep(0.3)
        server.stop()
        for number in range(1, 6):
            started = time.monotonic()
            stream.publish(state(number))
            assert time.monotonic() - started < 0.3, "a time-out is longer"
            await asyncio.sleep(0.05)
        assert stream.waiting <= 5
        server.start()
        assert await reader == [state(number) for number in range(6)]

        async def published() -> bool:
            return stream.waiting == 0

        await until(published)


async def test_beyond_the_queue_the_oldest_events_are_given_up(
    link: RedisLink, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "QUEUE_EVENTS", 10)
    server.stop()
    async with EventStream(link) as stream:
        for number in range(25):
            stream.publish(state(number))
        await asyncio.sleep(0.3)  # a batch that failed in between must not make the queue longer
        for number in range(25, 30):
            stream.publish(state(number))
        assert stream.waiting <= 10
        server.start()
        assert await read(stream, 10) == [state(number) for number in range(20, 30)]


async def test_the_stream_stays_a_window(link: RedisLink, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "STREAM_EVENTS", 300)
    async with EventStream(link) as stream:
        for number in range(1500):
            stream.publish(state(number))

        async def published() -> bool:
            return stream.waiting == 0

        await until(published)
    with server.client() as client:
        assert 300 <= client.xlen("setu:events") < 600


async def test_closing_publishes_what_waits_and_never_hangs(link: RedisLink, server: RedisServer) -> None:
    async with EventStream(link) as stream:
        stream.publish(state(1))
    with server.client() as client:
        assert client.xlen("setu:events") == 1
    server.hang()
    started = time.monotonic()
    async with EventStream(link) as stream:
        stream.publish(state(2))
    assert time.monotonic() - started < 5.0


# Session state


def session(call: str, **fields: object) -> Session:
    values: dict[str, object] = {"worker": "gateway-1", "state": "greeting", "started_at": 1000.5} | fields
    return Session(call_id=call, **values)  # type: ignore[arg-type]


async def test_a_worker_that_takes_a_call_over_keeps_the_language_that_was_known(link: RedisLink, server: RedisServer) -> None:
    other = RedisLink(server.url)
    async with SessionStates(link) as dead, SessionStates(other) as heir:
        await dead.put(session("a", state="interpreting", language="ta"))
        await heir.put(session("a", worker="gateway-2", state="resuming"))
        taken = await heir.get("a")
        assert taken is not None
        assert (taken.worker, taken.state, taken.language) == ("gateway-2", "resuming", "ta")
        await heir.remove("a")
    await other.aclose()


async def test_calls_in_progress_are_seen_by_everybody_and_gone_at_their_end(link: RedisLink, server: RedisServer) -> None:
    other = RedisLink(server.url)
    async with SessionStates(link) as mine, SessionStates(other) as theirs:
        await mine.put(session("a", started_at=2.0, channels={"caller": "1.1"}, bridges={"caller": "b1"}))
        await theirs.put(session("b", started_at=1.0, worker="gateway-2"))
        await mine.put(session("a", started_at=2.0, state="interpreting", language="ta", channels={"caller": "1.1"}))
        seen = await theirs.live()
        assert [(call.call_id, call.worker, call.state) for call in seen] == [
            ("b", "gateway-2", "greeting"),
            ("a", "gateway-1", "interpreting"),
        ]
        found = await theirs.get("a")
        assert found is not None
        assert (found.language, found.channels, found.bridges) == ("ta", {"caller": "1.1"}, {})
        assert found.heartbeat_at == pytest.approx(time.time(), abs=5)
        await mine.remove("a")
        assert [call.call_id for call in await theirs.live()] == ["b"]
        assert await theirs.get("a") is not None, "for whoever takes it up from a worker that stops"
        with server.client() as client:
            assert 0 < client.ttl("setu:call:a") <= ENDED_KEEP_S
    await other.aclose()


async def test_heartbeats_write_all_again_when_redis_has_forgotten_everything(link: RedisLink, server: RedisServer) -> None:
    async with SessionStates(link, heartbeat_s=0.05) as states:
        await states.put(session("a"))
        await states.put(session("gone"))
        server.stop()
        await states.put(session("b", language="te"))
        await states.remove("gone")
        server.start()

        async def back() -> bool:
            return {call.call_id for call in await states.live()} == {"a", "b"}

        await until(back)
        first = await states.get("a")
        assert first is not None

        async def beats() -> bool:
            second = await states.get("a")
            assert second is not None
            return second.heartbeat_at > first.heartbeat_at

        await until(beats)


async def test_an_end_that_redis_did_not_hear_is_told_again(link: RedisLink, server: RedisServer) -> None:
    async with SessionStates(link, heartbeat_s=0.05) as states:
        await states.put(session("a"))
        link.failed("test", ConnectionError("away"))  # for REST_S nothing is tried
        await states.remove("a")
        with server.client() as client:
            assert client.exists("setu:call:a")

        async def gone() -> bool:
            with server.client() as client:
                return 0 <= client.ttl("setu:call:a") <= ENDED_KEEP_S and not client.zcard("setu:calls")

        await until(gone)


async def test_calls_of_a_dead_worker_stay_visible_with_an_old_heartbeat_and_then_expire(
    link: RedisLink, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_state, "KEEP_S", 1)
    dead = SessionStates(link)
    await dead.put(session("a"))
    (seen,) = await SessionStates(link).live()
    assert seen.call_id == "a"

    async def gone() -> bool:
        with server.client() as client:
            return await SessionStates(link).live() == [] and client.keys("*") == []

    await until(gone)


# Retention


async def test_live_events_are_deleted_by_their_age(link: RedisLink, server: RedisServer, tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text(f'[store]\nkeep_days = 10\n[redis]\nurl = "{server.url}"\n')
    now = datetime(2026, 11, 21, tzinfo=UTC)
    with server.client() as client:
        for days in (30, 11, 9, 0):
            client.xadd(event_stream.STREAM, {"event": str(days)}, id=f"{int((now - timedelta(days=days)).timestamp() * 1000)}-1")
        assert (await expire(load(file), now=now, dry_run=True)).live_events == 2
        assert client.xlen(event_stream.STREAM) == 4
        assert (await expire(load(file), now=now)) == Expired(live_events=2)
        assert [fields["event"] for _, fields in client.xrange(event_stream.STREAM)] == ["9", "0"]
