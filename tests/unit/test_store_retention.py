"""Deleting old records: what is too old is gone with everything that belongs to it, nothing else is touched."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from store_events import START, one_call

from appliance.cli.frame import appliance
from appliance.config.load import LoadedConfig, load
from appliance.events import Event
from appliance.store import expired_files, retention
from appliance.store.calls import CallStore
from appliance.store.retention import Expired, expire, limits
from appliance.store.spool import Spool

DAY_S = 86_400.0
NOW = datetime.fromtimestamp(START, UTC) + timedelta(days=100)
"""The calls of `one_call` are this old, less what they are told to be younger."""
SAID = "சொல் 1"
NO_REDIS = "the live events in Redis"


class Node:
    """A state folder with calls in it, and no Redis."""

    def __init__(self, folder: Path, store: str = "keep_days = 90\nkeep_audio_days = 30") -> None:
        self.file = folder / "appliance.toml"
        self.file.write_text(f'[store]\n{store}\n[redis]\nurl = "unix://{folder}/none.sock"\n')
        self.state = folder / "state"
        self.database = self.state / "setu.sqlite"

    @property
    def loaded(self) -> LoadedConfig:
        return load(self.file)

    def calls(self, **younger_days: float) -> None:
        """Calls by name (`_` for `-`), each with both lanes, votes and a flag."""

        async def write() -> None:
            async with CallStore.from_config(self.loaded, "gateway-1") as store:
                for name, days in younger_days.items():
                    for event in one_call(name.replace("_", "-")):
                        await store.record(msgspec.structs.replace(event, at=event.at + days * DAY_S))

        asyncio.run(write())

    def audio(self, call: str, *, age_days: float, files: int = 1) -> Path:
        folder = self.state / "flagged" / call
        folder.mkdir(parents=True)
        for number in range(files):
            (folder / f"caller_to_agent-{number}.wav").write_bytes(b"RIFF")
        for path in (*folder.iterdir(), folder):
            os.utime(path, (NOW.timestamp() - age_days * DAY_S,) * 2)
        return folder

    def expire(self, *, dry_run: bool = False) -> Expired:
        done = asyncio.run(expire(self.loaded, now=NOW, dry_run=dry_run))
        assert [problem for problem in done.problems if problem.startswith(NO_REDIS)]
        return msgspec.structs.replace(done, problems=[problem for problem in done.problems if not problem.startswith(NO_REDIS)])

    def rows(self) -> dict[str, list[str]]:
        """Call ids by table."""
        queries = {"calls": "SELECT id FROM calls ORDER BY id"}
        queries |= {name: f"SELECT DISTINCT call_id FROM {name} ORDER BY 1" for name in ("utterances", "language_votes", "flags")}
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return {name: [row[0] for row in connection.execute(query)] for name, query in queries.items()}

    def contents(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.state)): path.read_bytes() for path in sorted(self.state.rglob("*")) if path.is_file()}


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_call_goes_with_everything_that_was_said_in_it(node: Node) -> None:
    node.calls(old=0, at_the_limit=10, young=60)
    done = node.expire()
    assert (done.calls, done.utterances, done.problems) == (1, 2, [])
    assert node.rows() == {name: ["at-the-limit", "young"] for name in ("calls", "utterances", "language_votes", "flags")}
    assert node.expire() == Expired()


def test_what_was_said_is_no_longer_in_any_file(node: Node) -> None:
    node.calls(old=0)
    with contextlib.closing(sqlite3.connect(node.database)) as worker:  # while it is open nobody removes the write-ahead log
        worker.execute("SELECT count(*) FROM calls").fetchone()
        assert any(SAID.encode() in content for content in node.contents().values())
        node.expire()
        assert "setu.sqlite-wal" in node.contents()
        assert not [name for name, content in node.contents().items() if SAID.encode() in content or b"+919876543210" in content]


def test_many_calls_are_deleted_in_several_transactions(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_CALLS", 2)
    monkeypatch.setattr(retention, "PAUSE_S", 0.0)
    node.calls(a=0, b=1, c=2, d=3, e=4, young=90)
    done = node.expire()
    assert (done.calls, done.utterances) == (5, 10)
    assert node.rows()["calls"] == ["young"]


def test_a_dry_run_counts_the_same_and_changes_nothing(node: Node) -> None:
    node.calls(old=0, older=1, young=60)
    node.audio("young", age_days=40, files=2)
    node.audio("old", age_days=1)
    spool = Spool(node.state / "spool", "gateway-9")
    spool.append(lines(one_call("spooled")))
    spool.close()
    before = node.contents()
    would = node.expire(dry_run=True)
    assert {name: content for name, content in node.contents().items() if not name.endswith("-shm")} == {
        name: content for name, content in before.items() if not name.endswith("-shm")
    }
    assert (would.calls, would.utterances, would.audio_files, would.spooled_events) == (2, 4, 3, 10)
    assert node.expire() == would


def test_audio_goes_earlier_than_its_call_and_never_stays_longer(node: Node) -> None:
    node.calls(old=0, young=60)
    too_old, kept = node.audio("young", age_days=31, files=2), node.audio("other", age_days=29)
    with_its_call = node.audio("old", age_days=1)
    assert node.expire().audio_files == 3
    assert [folder.exists() for folder in (too_old, kept, with_its_call)] == [False, True, False]


@pytest.mark.parametrize(
    ("keep_days", "keep_audio_days", "days"),
    [(90, 30, (90, 30)), (0, 30, (None, 30)), (90, 0, (90, 90)), (20, 30, (20, 20)), (0, 0, (None, None))],
)
def test_what_is_kept_how_long(tmp_path: Path, keep_days: int, keep_audio_days: int, days: tuple[int | None, int | None]) -> None:
    node = Node(tmp_path, f"keep_days = {keep_days}\nkeep_audio_days = {keep_audio_days}")
    found = limits(node.loaded, NOW)
    assert tuple(None if limit is None else (NOW - limit).days for limit in found) == days


def test_nothing_is_deleted_when_everything_is_kept(tmp_path: Path) -> None:
    node = Node(tmp_path, "keep_days = 0\nkeep_audio_days = 0")
    node.calls(old=0)
    node.audio("old", age_days=500)
    before = node.contents()
    assert asyncio.run(expire(node.loaded, now=NOW)) == Expired()
    assert node.contents() == before
    result = CliRunner().invoke(appliance, ["expire", "--config", str(node.file)])
    assert (result.exit_code, result.output) == (0, "nothing is ever deleted: store.keep_days and store.keep_audio_days are 0\n")


def test_audio_that_a_broken_run_left_is_finished_by_the_next(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = node.audio("call", age_days=31, files=2)

    def breaks(path: Path) -> None:
        next(path.iterdir()).unlink()
        raise OSError(5, "Input/output error", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(expired_files.shutil, "rmtree", breaks)
        assert "Input/output error" in node.expire().problems[0]
    assert not folder.exists(), "half of a call's audio looks like all of it"
    assert node.expire().audio_files == 1
    assert list((node.state / "flagged").iterdir()) == []


def lines(events: list[Event]) -> list[bytes]:
    return [msgspec.json.encode(event) for event in events]


def test_spooled_events_that_nobody_wrote_to_the_database(node: Node) -> None:
    spool = Spool(node.state / "spool", "gateway-9")
    young = lines([msgspec.structs.replace(event, at=event.at + 50 * DAY_S) for event in one_call("young")])
    spool.append([*lines(one_call("old")), *young])
    spool.close()
    assert node.expire().spooled_events == 10
    file = node.state / "spool" / "gateway-9.jsonl"
    assert file.read_bytes().splitlines() == young
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_spool_of_a_worker_that_runs_is_left_to_it(node: Node) -> None:
    spool = Spool(node.state / "spool", "gateway-9")
    spool.append(lines(one_call("old")))
    done = node.expire()
    assert (done.spooled_events, len(done.problems)) == (0, 1)
    assert "gateway-9.jsonl: old events wait here" in done.problems[0]
    assert spool.read(100) == lines(one_call("old"))
    spool.close()
    assert node.expire().spooled_events == 10
    assert list((node.state / "spool").iterdir()) == []


def test_lines_the_database_refused(node: Node) -> None:
    spool = Spool(node.state / "spool", "gateway-9")
    spool.open()
    old, young = lines(one_call("old"))[0], msgspec.json.encode(msgspec.structs.replace(one_call("new")[0], at=NOW.timestamp()))
    for line in (old, b"no event at all", young):
        spool.reject(line)
    file = node.state / "spool" / "gateway-9.rejected"
    os.utime(file, (NOW.timestamp(),) * 2)
    assert node.expire().spooled_events == 1
    spool.reject(b"one more")
    assert file.read_bytes() == b"no event at all\n" + young + b"\none more\n"
    os.utime(file, (NOW.timestamp() - 91 * DAY_S,) * 2)
    assert node.expire().spooled_events == 2
    assert file.read_bytes() == young + b"\n"


def test_a_line_refused_while_the_file_is_replaced_is_not_lost(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(node.state / "spool", "gateway-9")
    spool.folder.mkdir(parents=True)
    file = spool.folder / "gateway-9.rejected"
    file.write_bytes(b"before\n")
    real, replaced = fcntl.flock, []

    def replaced_before_the_lock(stream: object, operation: int) -> None:
        if not replaced:
            replaced.append(True)
            file.rename(file.with_suffix(".gone"))
        real(stream, operation)  # type: ignore[arg-type]
        if replaced == [True]:
            file.with_suffix(".gone").unlink()
            replaced.append(False)

    monkeypatch.setattr("appliance.store.spool.fcntl.flock", replaced_before_the_lock)
    spool.reject(b"line")
    assert file.read_bytes() == b"line\n"


def test_a_part_that_fails_leaves_the_others_to_go_on(node: Node) -> None:
    node.calls(old=0)
    audio = node.audio("other", age_days=4000)  # by the clock of the machine, too
    shutil.rmtree(node.state / "spool", ignore_errors=True)
    for side in ("", "-wal", "-shm"):
        Path(f"{node.database}{side}").unlink(missing_ok=True)
    node.database.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    result = CliRunner().invoke(appliance, ["expire", "--config", str(node.file), "--json"])
    assert result.exit_code == 1
    assert "not deleted: the call records: file is not a database" in result.output
    assert json.loads(result.stdout.splitlines()[0])["audio_files"] == 1
    assert not audio.exists()


def test_calls_go_on_being_recorded_meanwhile(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH_CALLS", 1)
    node.calls(**{f"old{number}": 0 for number in range(8)})

    async def both() -> Expired:
        async with CallStore.from_config(node.loaded, "gateway-1") as store:
            expiring = asyncio.create_task(expire(node.loaded, now=NOW))
            number = 0
            while not expiring.done():
                number += 1
                event = msgspec.structs.replace(one_call(f"new{number:04}")[0], at=NOW.timestamp())
                assert (await store.record(event)).name
                await asyncio.sleep(0.01)
            recorded.append(number)
            return expiring.result()

    recorded: list[int] = []
    assert asyncio.run(both()).calls == 8
    assert node.rows()["calls"] == [f"new{number + 1:04}" for number in range(recorded[0])]


def test_what_the_command_says(node: Node) -> None:
    node.calls(old=0)
    result = CliRunner().invoke(appliance, ["expire", "--dry-run", "--config", str(node.file)])
    assert result.stdout.startswith("would delete ")
    assert result.stdout.endswith("kept: calls 90 days, audio 30 days\n")
