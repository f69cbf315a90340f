"""Backups: what comes back is what was there, and a file that is not whole changes nothing."""

import gzip
import io
import json
import os
import random
import sqlite3
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.frame import appliance
from appliance.config.load import load
from appliance.node import archive, restore
from appliance.node.backup import back_up
from appliance.node.errors import ArchiveError
from appliance.node.restore import restore as put_back
from appliance.stack.defaults import free_offset, write_config

ROWS = 3000


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """The configuration of a node with secrets in both places and a database in use."""
    folder = tmp_path / "node"
    file = write_config(folder, free_offset())
    (folder / "credentials").mkdir(mode=0o700)
    (folder / "credentials" / "ari-password").write_text("secret one\n")
    dice = random.Random(0)  # text that says itself twice can be packed in several ways: another byte is not always damage
    with closing(sqlite3.connect(folder / "state" / "setu.sqlite")) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE calls (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany("INSERT INTO calls VALUES (?, ?)", [(number, dice.randbytes(50).hex()) for number in range(ROWS)])
        database.commit()
    return file


def rows(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(appliance, list(arguments))
    return result.exit_code, result.output


def test_everything_comes_back_on_an_empty_machine(node: Path, tmp_path: Path) -> None:
    file, elsewhere = tmp_path / "backup", tmp_path / "other" / "appliance.toml"
    code, output = run("backup", str(file), "--config", str(node))
    assert code == 0, output
    assert file.stat().st_mode & 0o777 == 0o600
    code, output = run("restore", str(file), "--config", str(elsewhere))
    assert code == 0, output
    assert elsewhere.read_bytes() == node.read_bytes()
    for name in ("credentials/ari-password", "state/agent1-password", "state/agent2-password"):
        assert (elsewhere.parent / name).read_bytes() == (node.parent / name).read_bytes()
        assert (elsewhere.parent / name).stat().st_mode & 0o777 == 0o600
    assert rows(elsewhere.parent / "state" / "setu.sqlite") == ROWS
    assert not [path for path in elsewhere.parent.rglob("*") if ".restore-" in path.name]


def test_what_was_there_is_kept_and_a_stale_log_of_the_database_is_out_of_the_way(node: Path, tmp_path: Path) -> None:
    file, state = tmp_path / "backup", node.parent / "state"
    back_up(load(node), file)
    with closing(sqlite3.connect(state / "setu.sqlite")) as database:
        database.execute("DELETE FROM calls")
        database.commit()
    (state / "setu.sqlite-wal").write_bytes(b"of the other database")
    before = (state / "setu.sqlite").read_bytes()
    put_back(file, node)
    assert rows(state / "setu.sqlite") == ROWS
    assert (state / "setu.sqlite.before-restore").read_bytes() == before
    assert (state / "setu.sqlite-wal.before-restore").read_bytes() == b"of the other database"


def test_a_snapshot_of_a_database_that_is_written_to_is_consistent(node: Path, tmp_path: Path) -> None:
    """Each transaction adds two rows: an odd number would be half of one."""
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(node.parent / "state" / "setu.sqlite", timeout=10)) as database:
            while not stop.is_set():
                with database:
                    database.executemany("INSERT INTO calls (text) VALUES (?)", [("x" * 2000,), ("y" * 2000,)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            back_up(load(node), tmp_path / f"backup{number}")
    finally:
        stop.set()
        writer.join()
    for number in range(3):
        put_back(tmp_path / f"backup{number}", tmp_path / f"other{number}" / "appliance.toml")
        assert rows(tmp_path / f"other{number}" / "state" / "setu.sqlite") % 2 == 0


def test_every_damaged_byte_is_found_and_nothing_is_touched(node: Path, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    back_up(load(node), file)
    whole, before = file.read_bytes(), contents(node.parent)
    places = [*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1, len(whole) - 5]
    for place in places:
        if place in range(3, 10):
            continue  # flags, time and system in the head of gzip: they are not content
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with pytest.raises(ArchiveError):
            put_back(file, node)
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(ArchiveError):
            put_back(file, node)
    assert contents(node.parent) == before


def repacked(file: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """The archive with other members; the list in it stays what it was unless it is changed too."""
    members: dict[str, bytes] = {}
    with tarfile.open(file) as tar:
        for entry in tar:
            content = tar.extractfile(entry)
            assert content
            members[entry.name] = content.read()
    change(members)
    with gzip.open(file, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content_now in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content_now)
            tar.addfile(entry, io.BytesIO(content_now))


def manifest(change: Callable[[dict[str, object]], None]) -> Callable[[dict[str, bytes]], None]:
    def changed(members: dict[str, bytes]) -> None:
        listed = json.loads(members["manifest.json"])
        change(listed)
        members["manifest.json"] = json.dumps(listed).encode()

    return changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda members: members.pop("configuration/appliance.toml"), "incomplete: configuration/appliance.toml missing"),
        (lambda members: members.update({"state/more": b"x"}), "'state/more' is not in its list"),
        (lambda members: members.update({"state/agent1-password": b"x"}), "agent1-password is not what was written"),
        (lambda members: members.pop("manifest.json"), "no backup: it begins with"),
        (manifest(lambda listed: listed.update(format=2)), "of format 2"),
        (manifest(lambda listed: listed.pop("node")), "damaged, or no backup"),
        (manifest(lambda listed: listed["members"].update({"../../evil": {"size": 0, "sha256": "0" * 64}})), "no backup of ours"),  # type: ignore[attr-defined]
    ],
)
def test_other_files_are_refused(node: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], words: str) -> None:
    file = tmp_path / "backup"
    back_up(load(node), file)
    repacked(file, change)
    before = contents(node.parent)
    code, output = run("restore", str(file), "--config", str(node))
    assert (code, words in output) == (2, True), output
    assert contents(node.parent) == before


def test_a_place_that_cannot_be_written_leaves_everything_as_it_was(node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "backup"
    back_up(load(node), file)
    node.write_text(node.read_text() + "# changed since\n")
    (node.parent / "state" / "agent1-password").write_text("changed since\n")
    before = contents(node.parent)
    moved = restore._swap
    swapped = []

    def fails_late(move: restore._Move) -> None:
        if len(swapped) == 4:
            raise OSError(28, "No space left on device", str(move.place))
        swapped.append(move)
        moved(move)

    monkeypatch.setattr(restore, "_swap", fails_late)
    with pytest.raises(ArchiveError, match="nothing was changed"):
        put_back(file, node)
    assert len(swapped) == 4
    assert contents(node.parent) == before


def test_a_backup_is_not_overwritten_and_a_failed_one_leaves_no_file(node: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "backup"
    file.write_bytes(b"the only good one")
    code, output = run("backup", str(file), "--config", str(node))
    assert (code, "is there already" in output) == (2, True)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ArchiveError, match="No space left"):
        archive.write(file, {"state/x": node}, node="n", version="1", made_at="now")
    assert file.read_bytes() == b"the only good one"
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["backup"]


def test_a_damaged_database_is_not_backed_up(node: Path, tmp_path: Path) -> None:
    database = node.parent / "state" / "setu.sqlite"
    content = bytearray(database.read_bytes())
    content[5000:9000] = b"\xff" * 4000
    database.write_bytes(content)
    code, output = run("backup", str(tmp_path / "backup"), "--config", str(node))
    assert code == 2
    assert "damaged" in output or "no snapshot" in output
    assert not (tmp_path / "backup").exists()


def test_events_that_wait_are_said_to_be_missing(node: Path, tmp_path: Path) -> None:
    spool = node.parent / "state" / "spool"
    spool.mkdir()
    (spool / "gateway-1.jsonl").write_text("{}\n")
    assert "1 events of calls" in back_up(load(node), tmp_path / "backup").left_out[0]
