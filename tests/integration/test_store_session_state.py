"""Session state on a real Redis that goes away and forgets."""

import time

import pytest
from own_redis import RedisServer, until

from appliance.store import session_state
from appliance.store.redis_link import RedisLink
from appliance.store.session_state import ENDED_KEEP_S, Session, SessionStates


def session(call: str, **fields: object) -> Session:
    values: dict[str, object] = {"worker": "gateway-1", "state": "greeting", "started_at": 1000.5} | fields
    return Session(call_id=call, **values)  # type: ignore[arg-type]


async def test_a_worker_that_takes_a_call_over_keeps_the_language_that_was_known(link: RedisLink, server: RedisServer) -> None:
    other = RedisLink(server.url)
    async with SessionStates(link) as dead, SessionStates(other) as heir:
        await dead.put(session("a", state="interpreting", language="ta"))
        seen = await heir.get("a")
        assert seen is not None
        assert not seen.chosen
        await dead.put(session("a", state="interpreting", language="ta", chosen=True))
        await heir.put(session("a", worker="gateway-2", state="resuming"))
        taken = await heir.get("a")
        assert taken is not None
        assert (taken.worker, taken.state, taken.language, taken.chosen) == ("gateway-2", "resuming", "ta", True)
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
    monkeypatch.setattr(session_state, "KEEP_S", 2)
    dead = SessionStates(link)
    await dead.put(session("a"))
    (seen,) = await SessionStates(link).live()
    assert seen.call_id == "a"

    async def gone() -> bool:
        with server.client() as client:
            return await SessionStates(link).live() == [] and client.keys("*") == []

    await until(gone)
