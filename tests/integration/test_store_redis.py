"""Caller memory, and what is deleted by its age, on a real Redis that goes away, hangs and forgets."""

import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from own_redis import RedisServer, until
from stalls import Stalls

from appliance.config.load import load
from appliance.store import event_stream, redis_link
from appliance.store.caller_memory import CallerMemory, normalised
from appliance.store.redis_link import RedisLink
from appliance.store.retention import Expired, expire

LONG_S = 1.5
"""A time-out that differs from nothing and from two of its kind on a busy machine, too."""


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
    with Stalls() as stalls:
        started = time.monotonic()
        assert await memory.recall("9876543210") is None
        first = time.monotonic()
        assert first - started > 0.9 * LONG_S
        assert stalls.took_s(started, first) < 1.8 * LONG_S
        for _ in range(100):
            assert await memory.recall("9876543210") is None
        assert stalls.took_s(first, time.monotonic()) < 0.9 * LONG_S
    await patient.aclose()


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
