"""What a worker remembers while Redis is away, and what it remembers when it is there (a stand-in for the link)."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from stalls import Stalls

from appliance.config.load import load
from appliance.events import CallEnded, CallStarted, CallStateChanged, Event, LanguageDecided
from appliance.gateway.journal import Journal
from appliance.store.caller_memory import CallerMemory
from appliance.store.session_state import Session, SessionStates
from appliance.telephony.call_state import CallState


def call(number: str = "9840012345", how: str = "votes") -> list[Event]:
    now = time.time()
    return [
        CallStarted(call_id="c1", at=now, caller_number=number, called_number="1800", worker="gateway-1"),
        CallStateChanged(call_id="c1", at=now, state="greeting"),
        LanguageDecided(call_id="c1", at=now, language="ta", confidence=0.9, after_s=2.0, votes=[], how=how),  # type: ignore[arg-type]
        CallEnded(call_id="c1", at=now + 1, outcome="interpreted", reason="caller hung up", duration_s=1.0),
    ]


def config(folder: Path) -> Path:
    file = folder / "appliance.toml"
    file.write_text('[redis]\nurl = "redis://127.0.0.1:1/0"\n')
    (folder / "state").mkdir()
    return file


async def test_without_redis_publishing_neither_waits_nor_loses_the_record(tmp_path: Path) -> None:
    loaded = load(config(tmp_path))
    async with Journal.open(loaded, "gateway-1") as journal:
        journal.session_of = lambda call_id: Session(call_id=call_id, worker="gateway-1", state=CallState().phase, started_at=0.0)
        with Stalls() as stalls:
            began = time.monotonic()
            for event in call():
                journal.publish(event)
            assert stalls.took_s(began, time.monotonic()) < 0.1
        assert await journal.recall("9840012345") is None
    engine = create_engine(f"sqlite:///{tmp_path}/state/setu.sqlite")
    with engine.connect() as connection:
        rows = connection.execute(text("select language, outcome from calls")).all()
    engine.dispose()
    assert [tuple(row) for row in rows] == [("ta", "interpreted")]


@pytest.mark.parametrize(("how", "remembered"), [("votes", [("9840012345", "ta")]), ("keypad", [("9840012345", "ta")]), ("default", [])])
async def test_the_callers_language_is_remembered_unless_it_was_only_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, remembered: list[tuple[str, str]]
) -> None:
    kept: list[tuple[str, str]] = []
    sessions: list[str] = []

    async def remember(self: CallerMemory, number: str, language: str) -> bool:
        kept.append((number, language))
        return True

    async def put(self: SessionStates, session: Session) -> None:
        sessions.append(f"put {session.state}")

    async def remove(self: SessionStates, call_id: str) -> None:
        sessions.append(f"remove {call_id}")

    monkeypatch.setattr(CallerMemory, "remember", remember)
    monkeypatch.setattr(SessionStates, "put", put)
    monkeypatch.setattr(SessionStates, "remove", remove)
    async with Journal.open(load(config(tmp_path)), "gateway-1") as journal:
        journal.session_of = lambda call_id: Session(call_id=call_id, worker="gateway-1", state="greeting", started_at=0.0)
        for event in call(how=how):
            journal.publish(event)
        for _ in range(200):
            if "remove c1" in sessions:
                break
            await asyncio.sleep(0.01)
    assert kept == remembered
    assert sessions == ["put greeting", "put greeting", "remove c1"]
