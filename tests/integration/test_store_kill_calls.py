"""Nothing that was reported as stored is lost when a worker is killed in the midst of its calls, with the database locked at times."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest
from test_store_kill import locked

from appliance.bench import fixed_engines, load
from appliance.bench.processes import Measured, answers, python, running
from appliance.bench.stand import clip, redis_command
from appliance.config.load import LoadedConfig
from appliance.config.load import load as load_config
from appliance.events import CallEnded, CallStarted, CallStateChanged, Event, LanguageDecided, UtteranceInterpreted, UtterancePlayed
from appliance.stack.defaults import free_offset, write_config
from appliance.store.durability import Durability
from appliance.store.spool import waiting_lines

LIVES = 4
LOCKED = {2, 4}
"""Lives that end while another process holds the database: what they report then is in the spool."""
SEED = 4
CALLS = 20
HUNG_UP = 5
"""Of them, before the worker is killed."""
LEAST_UTTERANCES = 3
"""That a life has reported before it may be killed."""
SOON_S, LATER_S = 0.0, 1.5
WAIT_S = 30.0
WORKER = Path(__file__).with_name("reporting_gateway.py")
SAFE = {Durability.DATABASE.value, Durability.SPOOL.value}
STATES = ("greeting", "connecting", "interpreting", "direct", "closing", "ended")
"""In the order in which a call may go through them."""

_decode = msgspec.json.Decoder(Event).decode
Report = tuple[str, Event]


class Stack:
    """What a worker needs, and the worker, which is started anew for each life."""

    def __init__(self, folder: Path, loaded: LoadedConfig) -> None:
        self.folder = folder
        self.loaded = loaded
        self.database = loaded.state_dir / "setu.sqlite"
        self._speech = {"caller": clip(fixed_engines.CALLER.code), "agent": clip("hinglish")}

    @property
    def url(self) -> str:
        return f"http://{self.loaded.config.gateway.host}:{self.loaded.config.gateway.port}"

    @contextmanager
    def worker(self, life: int) -> Iterator[Measured]:
        command = [sys.executable, str(WORKER), str(self._reports(life)), "--worker", "1", "--config", str(self.loaded.file)]
        with running(f"gateway-1-life-{life}", command, self.folder) as worker:
            worker.wait_until(lambda: answers(f"{self.url}/api/status"))
            yield worker

    def calls(self) -> load.Load:
        gateway = self.loaded.config.gateway
        return load.Load(gateway.host, gateway.port, gateway.ari_user, self.loaded.secret(gateway.ari_password), self._speech)  # type: ignore[arg-type]

    def accepting(self) -> bool:
        status = httpx.get(f"{self.url}/api/status", timeout=5).json()
        return bool(status["accepting"] and status["asterisk"])

    def waiting(self) -> int:
        """Events in the spool, not known to be in the database."""
        return waiting_lines(self.loaded.state_dir / "spool")

    def reported(self, life: int) -> list[Report]:
        """What the store of this life has said is safe, and where; a line that was cut by the kill was not said."""
        told = self._reports(life).read_bytes()
        lines = [line.split(b" ", 1) for line in told[: told.rfind(b"\n") + 1].splitlines()]
        return [(where.decode(), _decode(event)) for where, event in lines if where.decode() in SAFE]

    def _reports(self, life: int) -> Path:
        return self.folder / f"reports-{life}"


async def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end, f"{what} did not happen in {WAIT_S:g} s"
        await asyncio.sleep(0.05)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setattr(load, "PROMPTS_S", 0.5)  # they speak as soon as there is somebody to hear it
    monkeypatch.setattr(load, "REST_S", 0.5)
    monkeypatch.setattr(load, "DIAL_EVERY_S", 0.02)
    with tempfile.TemporaryDirectory(prefix="setu-kill-") as name:
        folder = Path(name)
        loaded = load_config(write_config(folder, free_offset(), control="asterisk-dials"))
        engines = python("appliance.bench.fixed_engines", "--run-dir", loaded.run_dir)
        with running("redis", redis_command(loaded, folder, lambda line: None), folder), running("engines", engines, folder) as started:
            started.wait_until(lambda: (loaded.run_dir / "tts.sock").exists())
            yield Stack(folder, loaded)


async def live_and_be_killed(stack: Stack, life: int, chance: random.Random) -> list[Report]:
    """One life of the worker with calls; what it has reported in it."""

    def spoken() -> int:
        return sum(isinstance(event, UtteranceInterpreted) for _, event in stack.reported(life))

    def spooled() -> bool:
        return any(where == Durability.SPOOL.value for where, _ in stack.reported(life))

    def ended() -> bool:
        return any(isinstance(event, CallEnded) for _, event in stack.reported(life))

    with stack.worker(life) as worker:
        async with stack.calls() as calls:
            await until(stack.accepting, "the worker's taking calls")
            await calls.add_calls(CALLS)
            await until(lambda: spoken() >= LEAST_UTTERANCES, "the first utterances' being reported")
            with locked(stack.database) if life in LOCKED else contextlib.nullcontext():
                for caller in chance.sample(calls._callers, HUNG_UP):
                    calls._do(calls._asterisk.hang_up(caller))
                await until(spooled if life in LOCKED else ended, "a report of something in the spool, or of the end of a call")
                await asyncio.sleep(chance.uniform(SOON_S, LATER_S))
                talking = calls.talking
                worker._process.kill()
                worker._process.wait(10)
        told = stack.reported(life)
    where = Counter(where for where, _ in told)
    print(f"life {life}: killed with {talking} parties in conversation, reported as stored: {dict(where)}")
    assert talking > 0
    return told


def found(database: sqlite3.Connection, event: Event, last_state: str) -> bool:
    """Whether the database has what the event says.

    Args:
        last_state: of its call, of all states that were reported.
    """

    def ask(query: str, *values: object) -> tuple[object, ...] | None:
        row: tuple[object, ...] | None = database.execute(query, values).fetchone()
        return row

    call = event.call_id
    match event:
        case CallStarted():
            row = ask("SELECT caller_number, called_number, worker FROM calls WHERE id = ?", call)
            return row == (event.caller_number, event.called_number, event.worker)
        case CallStateChanged():
            row = ask("SELECT state FROM calls WHERE id = ?", call)
            return row is not None and row[0] in STATES and STATES.index(str(row[0])) >= STATES.index(last_state)
        case LanguageDecided():
            (votes,) = ask("SELECT count(*) FROM language_votes WHERE call_id = ?", call) or (0,)
            return ask("SELECT language FROM calls WHERE id = ?", call) == (event.language,) and votes == len(event.votes)
        case UtteranceInterpreted():
            place = (call, event.lane, event.utterance, event.segment)
            query = "SELECT recognised, translated, outcome FROM utterances WHERE (call_id, lane, utterance, segment) = (?, ?, ?, ?)"
            return ask(query, *place) == (event.recognised, event.translated, event.outcome)
        case UtterancePlayed():
            query = "SELECT played_at FROM utterances WHERE (call_id, lane, utterance, segment) = (?, ?, ?, ?)"
            return (ask(query, call, event.lane, event.utterance, event.segment) or (None,))[0] is not None
        case CallEnded():
            return ask("SELECT outcome, reason FROM calls WHERE id = ?", call) == (event.outcome, event.reason)
    raise AssertionError(f"no such event was expected: {event}")


@pytest.mark.timeout(240)
async def test_a_worker_killed_in_the_midst_of_its_calls_loses_nothing_it_reported(stack: Stack) -> None:
    chance = random.Random(SEED)
    reported: list[Report] = []
    for life in range(1, LIVES + 1):
        reported += await live_and_be_killed(stack, life, chance)
    with stack.worker(LIVES + 1):  # no calls: it writes what the last one has left in the spool
        await until(lambda: stack.waiting() == 0, "the spool's being written to the database")
    events = [event for _, event in reported]
    last_state = {event.call_id: event.state for event in events if isinstance(event, CallStateChanged)}
    with contextlib.closing(sqlite3.connect(stack.database)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        lost = [event for event in events if not found(database, event, last_state.get(event.call_id, STATES[0]))]
        stored = {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("calls", "utterances")}
    kinds = Counter(type(event).__name__ for event in events)
    print(f"killed {LIVES} times; reported as stored {len(events)}, found {len(events) - len(lost)}, lost {len(lost)}")
    print(f"reported: {dict(kinds)}; in the database: {stored}")
    assert lost == []
    assert {where for where, _ in reported} == SAFE, "both ways of being stored were met"
    assert set(kinds) == {
        kind.__name__ for kind in (CallStarted, CallStateChanged, LanguageDecided, UtteranceInterpreted, UtterancePlayed, CallEnded)
    }
