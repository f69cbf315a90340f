import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, TextClause
from sqlalchemy.dialects import postgresql
from store_events import START, one_call, utterance

from appliance.events import CallEnded, CallStateChanged
from appliance.store import calls as calls_module
from appliance.store.calls import CallStore
from appliance.store.database import database_url, migrate, open_engine
from appliance.store.durability import Durability
from appliance.store.errors import StoreError
from appliance.store.records import ORDER, is_kept
from appliance.store.spool import waiting_lines
from appliance.store.tables import Call
from appliance.store.transcripts import Transcripts
from appliance.telemetry import metrics


class Place:
    """A folder with a database and a spool."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "state" / "setu.sqlite"
        self.url = database_url("sqlite:///state/setu.sqlite", folder)
        self.spool_dir = folder / "spool"

    def store(self, process: str = "gateway-1") -> CallStore:
        return CallStore(self.url, self.spool_dir, process, lock_wait_s=0.05)

    def transcripts(self) -> Transcripts:
        return Transcripts(self.url)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with contextlib.closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(query).fetchall()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Another process holds the database."""
        with contextlib.closing(sqlite3.connect(self.file, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield
            connection.execute("ROLLBACK")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr(calls_module, "RETRY_S", 0.05)
    monkeypatch.setattr(calls_module, "COMMIT_SPACING_S", 0.0)
    return Place(tmp_path)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[CallStore]:
    async with place.store() as store:
        yield store


async def until(condition: Callable[[], bool], within_s: float = 15.0) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        await asyncio.sleep(0.01)


async def test_a_call_is_kept_with_its_texts_votes_and_flag(place: Place, store: CallStore) -> None:
    results = [await store.record(event) for event in one_call()]
    assert results[2] is Durability.NOT_KEPT
    assert {result for number, result in enumerate(results) if number != 2} == {Durability.DATABASE}
    async with place.transcripts() as transcripts:
        call = await transcripts.find("call-1")
    assert (call.language, call.language_how, call.outcome, call.state) == ("ta", "votes", "interpreted", "ended")
    assert call.started_at.timestamp() == START
    assert call.ended_at is not None
    assert call.ended_at.timestamp() == START + 60
    assert [(vote.source, vote.scores) for vote in call.votes] == [("audio", {"ta": 0.8, "te": 0.2}), ("script", {"ta": 1.0})]
    heard, answered = call.utterances
    assert (heard.recognised, heard.translated, heard.flagged) == ("சொல் 1", "वाक्य 1", True)
    assert heard.played_at is not None
    assert heard.played_at.timestamp() == START + 12
    assert heard.delays["recognise"] == 0.2
    assert (answered.lane, answered.flagged, answered.played_at) == ("agent_to_caller", False, None)


async def test_each_utterance_is_committed_when_it_is_reported_stored(place: Place, store: CallStore) -> None:
    for number in range(1, 4):
        assert await store.record(utterance("c", number)) is Durability.DATABASE
        assert place.rows("SELECT count(*) FROM utterances") == [(number,)]


async def test_events_that_come_fast_share_commits_and_closing_waits_for_none(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "COMMIT_SPACING_S", 5.0)
    commits = metrics.REGISTRY.get_sample_value("setu_store_commit_seconds_count") or 0.0
    started = time.monotonic()
    async with place.store() as store:
        await store.record(utterance("c", 1))
        for number in range(2, 12):
            store.submit(utterance("c", number))
            await asyncio.sleep(0.01)
        assert place.rows("SELECT count(*) FROM utterances") == [(1,)]
    assert time.monotonic() - started < 2.0
    assert place.rows("SELECT count(*) FROM utterances") == [(11,)]
    assert metrics.REGISTRY.get_sample_value("setu_store_commit_seconds_count") == commits + 2


async def test_every_event_may_be_written_twice(place: Place, store: CallStore) -> None:
    events = one_call()
    for event in (*events, *events):
        await store.record(event)
    tables = ("calls", "utterances", "language_votes", "flags")
    assert [place.rows(f"SELECT count(*) FROM {table}") for table in tables] == [[(1,)], [(2,)], [(2,)], [(1,)]]
    assert place.rows("SELECT state, outcome FROM calls") == [("ended", "interpreted")]


async def test_events_before_their_call_started_are_kept(place: Place, store: CallStore) -> None:
    start, *rest = one_call()
    for event in (*rest, start):
        await store.record(event)
    assert place.rows("SELECT caller_number, outcome, language FROM calls") == [("+919876543210", "interpreted", "ta")]
    assert place.rows("SELECT count(*) FROM utterances") == [(2,)]


async def test_submit_keeps_the_order_and_close_writes_what_waits(place: Place) -> None:
    async with place.store() as store:
        for number in range(50):
            store.submit(CallStateChanged(call_id="c", at=START + number, state=f"state-{number}"))
    assert place.rows("SELECT state FROM calls") == [("state-49",)]


async def test_the_settings_that_make_a_commit_durable(store: CallStore, place: Place) -> None:
    await store.record(utterance("c", 1))
    async with store._engine.connect() as connection:
        settings = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_while_the_database_is_locked_events_go_to_the_spool_and_later_to_the_database(place: Place, store: CallStore) -> None:
    events = one_call()
    await store.record(events[0])
    with place.locked():
        for event in events[3:]:
            assert await store.record(event) is Durability.SPOOL
        assert waiting_lines(place.spool_dir) == store.waiting == len(events) - 3
        assert metrics.STORE_UP._value.get() == 0
    await until(lambda: store.waiting == 0)
    assert waiting_lines(place.spool_dir) == 0
    assert metrics.STORE_UP._value.get() == 1
    assert place.rows("SELECT outcome, language FROM calls") == [("interpreted", "ta")]
    assert place.rows("SELECT count(*) FROM utterances") == [(2,)]
    assert await store.record(utterance("c2", 1)) is Durability.DATABASE


async def test_a_database_that_makes_every_attempt_wait_does_not_make_events_wait(place: Place) -> None:
    async with CallStore(place.url, place.spool_dir, "gateway-1", lock_wait_s=1.0) as store:
        with place.locked():
            await store.record(utterance("c", 1))
            await asyncio.sleep(0.2)  # now the next attempt is under way
            started = time.monotonic()
            for number in range(2, 12):
                assert await store.record(utterance("c", number)) is Durability.SPOOL
            assert time.monotonic() - started < 5.0  # ten would have waited a second each
        await until(lambda: store.waiting == 0)
    assert place.rows("SELECT utterance FROM utterances ORDER BY id") == [(number,) for number in range(1, 12)]


async def test_a_full_database_spools_and_recovers(place: Place, store: CallStore) -> None:
    await store.record(one_call()[0])
    async with store._engine.connect() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    long = msgspec.structs.replace(utterance("call-1", 1), recognised="x" * 100_000)
    assert await store.record(long) is Durability.SPOOL
    async with store._engine.connect() as connection:
        await connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    await until(lambda: store.waiting == 0)
    assert place.rows("SELECT length(recognised) FROM utterances") == [(100_000,)]


async def test_without_database_and_disk_events_wait_in_memory_and_are_not_called_stored(place: Place) -> None:
    place.spool_dir.write_text("not a folder")
    (place.folder / "state").write_text("not a folder")
    async with place.store() as store:
        for event in one_call():
            assert await store.record(event) in (Durability.MEMORY, Durability.NOT_KEPT)
        assert store.waiting == 9
        (place.folder / "state").unlink()
        await until(lambda: store.waiting == 0)
    assert place.rows("SELECT outcome FROM calls") == [("interpreted",)]


async def test_memory_moves_to_the_disk_when_only_the_disk_comes_back(place: Place) -> None:
    place.spool_dir.write_text("not a folder")
    async with place.store() as store:
        await store.record(utterance("c", 1))
        with place.locked():
            assert await store.record(utterance("c", 2)) is Durability.MEMORY
            place.spool_dir.unlink()
            assert await store.record(utterance("c", 3)) is Durability.SPOOL
            assert waiting_lines(place.spool_dir) == 2
        await until(lambda: store.waiting == 0)
    assert place.rows("SELECT utterance FROM utterances ORDER BY id") == [(1,), (2,), (3,)]


async def test_what_a_dead_worker_spooled_is_written_by_the_next(place: Place, store: CallStore) -> None:
    lines = b"".join(msgspec.json.encode(event) + b"\n" for event in one_call("old"))
    (place.spool_dir / "gateway-7.jsonl").write_bytes(lines)
    async with place.store("gateway-2") as other:
        await until(lambda: other.waiting == 0)
    assert place.rows("SELECT id, outcome FROM calls") == [("old", "interpreted")]
    assert not (place.spool_dir / "gateway-7.jsonl").exists()


async def test_an_event_no_database_takes_stops_nothing(place: Place, store: CallStore) -> None:
    impossible = msgspec.structs.replace(utterance("c", 1), at=1e30)
    results = await asyncio.gather(*(store.record(event) for event in (utterance("c", 2), impossible, utterance("c", 3))))
    assert results == [Durability.DATABASE, Durability.LOST, Durability.DATABASE]
    assert place.rows("SELECT utterance FROM utterances ORDER BY id") == [(2,), (3,)]
    assert b'"utterance":1' in (place.spool_dir / "gateway-1.rejected").read_bytes()


@pytest.mark.parametrize("wrong", [{"confidence": float("nan")}, {"recognised": "\ud800"}, {"utterance": "one"}])
async def test_an_event_with_a_wrong_value_is_refused_at_once(store: CallStore, wrong: dict[str, object]) -> None:
    assert await store.record(msgspec.structs.replace(utterance("c", 1), **wrong)) is Durability.LOST
    assert await store.record(utterance("c", 1)) is Durability.DATABASE


async def test_a_line_in_the_spool_that_is_no_event_is_set_aside(place: Place, store: CallStore) -> None:
    lines = [b'{"type":"from-the-future"}', msgspec.json.encode(utterance("c", 1))]
    (place.spool_dir / "gateway-7.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    async with place.store("gateway-2") as other:
        await until(lambda: other.waiting == 0)
    assert place.rows("SELECT utterance FROM utterances") == [(1,)]
    assert (place.spool_dir / "gateway-2.rejected").read_bytes() == lines[0] + b"\n"


async def test_beyond_the_queue_the_oldest_event_is_given_up(store: CallStore, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls_module, "QUEUE_EVENTS", 3)
    first = asyncio.create_task(store.record(utterance("c", 1)))
    await asyncio.sleep(0)
    for number in range(2, 5):
        store.submit(utterance("c", number))
    assert await first is Durability.LOST
    await until(lambda: place.rows("SELECT count(*) FROM utterances") == [(3,)])


async def test_two_workers_start_and_write_at_the_same_time(place: Place) -> None:
    async def work(worker: int) -> list[Durability]:
        async with CallStore(place.url, place.spool_dir, f"gateway-{worker}") as store:
            return [await store.record(utterance(f"call-{worker}", number)) for number in range(20)]

    results = await asyncio.gather(work(1), work(2), work(3))
    assert {result for worker in results for result in worker} == {Durability.DATABASE}
    assert place.rows("SELECT count(*) FROM utterances") == [(60,)]


async def test_a_database_that_is_locked_at_the_start_is_used_once_it_is_free(place: Place) -> None:
    (place.folder / "state").mkdir()
    place.file.touch()
    with place.locked():
        async with place.store() as store:
            assert await store.record(utterance("c", 1)) is Durability.SPOOL
    async with place.store() as store:
        await until(lambda: store.waiting == 0)
    assert place.rows("SELECT utterance FROM utterances") == [(1,)]
    assert place.rows("PRAGMA journal_mode") == [("wal",)]


async def test_a_database_of_a_newer_version_is_not_touched_and_nothing_is_lost(place: Place) -> None:
    async with place.store() as store:
        await store.record(utterance("c", 1))
    with contextlib.closing(sqlite3.connect(place.file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    async with place.store() as store:
        assert await store.record(utterance("c", 2)) is Durability.SPOOL
    assert place.rows("SELECT count(*) FROM utterances") == [(1,)]
    assert waiting_lines(place.spool_dir) == 1


async def test_the_migrations_make_what_the_tables_say(place: Place) -> None:
    engine = open_engine(place.url, writes=True)
    await migrate(engine)
    await migrate(engine)

    def differences(connection: Connection) -> list[object]:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Call.metadata)

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


@pytest.mark.parametrize("statement", ORDER)
def test_statements_are_those_of_postgresql_too(statement: TextClause) -> None:
    compiled = str(statement.compile(dialect=postgresql.dialect()))
    assert compiled.startswith("UPDATE") or compiled.endswith("DO NOTHING")
    assert statement._generate_cache_key() is not None


async def test_many_events_in_one_commit_give_what_they_give_one_by_one(tmp_path: Path) -> None:
    extra = [CallStateChanged(call_id="call-1", at=START + 61, state="late", reason="after the end"), *one_call("call-2")]
    events = [event for event in (*one_call(), *extra) if is_kept(event)]
    found = []
    for name, together in (("one", False), ("all", True)):
        place = Place(tmp_path / name)
        async with place.store() as store:
            if together:
                await asyncio.gather(*(store.record(event) for event in events))
            else:
                for event in events:
                    await store.record(event)
        async with place.transcripts() as transcripts:
            found.append([call async for call in transcripts.export()])
    assert len(found[0]) == 2
    assert found[0] == found[1]


async def test_a_replayed_old_state_does_not_reopen_an_ended_call(place: Place, store: CallStore) -> None:
    await store.record(CallEnded(call_id="c", at=START, outcome="failed", reason="", duration_s=1.0))
    await store.record(CallStateChanged(call_id="c", at=START - 1, state="greeting"))
    assert place.rows("SELECT state, outcome FROM calls") == [("ended", "failed")]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://x/y", "allowed: sqlite, postgresql"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("nonsense", "not a database URL"),
    ],
)
def test_urls_that_cannot_be_used(url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=words):
        database_url(url, tmp_path)


def test_a_relative_database_lies_beside_the_configuration(tmp_path: Path) -> None:
    assert database_url("sqlite:///state/x.sqlite", tmp_path).database == str(tmp_path / "state/x.sqlite")
    assert database_url("sqlite:////var/x.sqlite", tmp_path).database == "/var/x.sqlite"
    assert database_url("postgresql://u:p@h/n", tmp_path).drivername == "postgresql+asyncpg"
