import asyncio
import csv
import io
import json
import wave
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from store_events import START, one_call, utterance

from appliance.cli.frame import appliance
from appliance.cli.options import Since
from appliance.config.load import load
from appliance.events import CallStarted
from appliance.store.calls import CallStore
from appliance.store.flagged_audio import FlaggedAudio


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    file = tmp_path / "appliance.toml"
    file.write_text("")
    return file


@pytest.fixture
def recorded(config_file: Path) -> Path:
    """Two finished calls, one that never ended, with an utterance that was refused."""

    async def record() -> None:
        async with CallStore.from_config(load(config_file), "gateway-1") as store:
            later = CallStarted(call_id="call-20", at=START + 7200, caller_number="", called_number="1800", worker="gateway-1")
            refused = msgspec.structs.replace(utterance("call-20", 1), outcome="refused", reason="low-confidence", translated="")
            for event in (*one_call("call-10"), *one_call("other"), later, refused):
                await store.record(event)

    asyncio.run(record())
    return config_file


def run(config_file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(appliance, ["transcripts", *arguments, "--config", str(config_file)])


def test_before_the_first_call(config_file: Path) -> None:
    result = run(config_file, "list")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no call has been recorded yet")
    assert not (config_file.parent / "state").exists()


def test_list_shows_the_newest_first(recorded: Path) -> None:
    lines = run(recorded, "list").output.splitlines()
    assert [line.split()[0] for line in lines] == ["call", "call-20", "call-10", "other"]
    assert "withheld" in lines[1]
    assert "0 (+1 refused)" in lines[1]
    assert "+919876543210  ta        interpreted  59 s    2" in lines[2]
    assert lines[2].endswith("0.90 s")
    assert [line.split()[0] for line in run(recorded, "list", "--limit", "1").output.splitlines()] == ["call", "call-20"]


def test_list_since_and_as_json(recorded: Path) -> None:
    since = datetime.fromtimestamp(START + 3600, UTC).isoformat()
    (call,) = json.loads(run(recorded, "list", "--since", since, "--json").output)
    assert call["id"] == "call-20"
    assert call["refused"] == 1
    assert run(recorded, "list", "--since", "2100-01-01").output == "no calls\n"


def test_show_names_the_audio_of_what_was_flagged(recorded: Path) -> None:
    audio = FlaggedAudio(load(recorded).state_dir)
    assert " audio: " not in run(recorded, "show", "call-1").output
    kept = audio.keep("call-10", "caller_to_agent", 1, np.arange(1600, dtype=np.int16))
    audio.keep("call-10", "agent_to_caller", 1, np.arange(1600, dtype=np.int16))
    lines = run(recorded, "show", "call-1").output.splitlines()
    assert [line.strip() for line in lines if " audio: " in line] == [f"audio: {kept}"], "only of the one that was flagged"
    assert kept.stat().st_mode & 0o777 == 0o600
    with wave.open(str(kept)) as file:
        assert (file.getframerate(), file.getnframes(), file.getsampwidth()) == (16_000, 1600, 2)


def test_show_by_the_beginning_of_the_id(recorded: Path) -> None:
    text = run(recorded, "show", "call-1").output
    assert "outcome: interpreted (caller hung up), 59 s" in text
    assert "language: ta, decided by votes after 1.2 s, confidence 0.97" in text
    assert "vote audio (weight 1): ta=0.80 te=0.20" in text
    assert "சொல் 1" in text
    assert "वाक्य 1   [0.90, 0.90 s, flagged]" in text
    shown = run(recorded, "show", "call-20").output
    assert "refused: low-confidence" in shown
    assert "none recorded" in shown


def test_show_of_none_and_of_several(recorded: Path) -> None:
    several = run(recorded, "show", "call")
    assert several.exit_code == 2
    assert "several calls begin with 'call': call-10, call-20" in several.stderr
    none = run(recorded, "show", "%")
    assert none.exit_code == 2
    assert "no call has an id that begins with '%'" in none.stderr


def test_show_as_json_is_what_export_writes(recorded: Path) -> None:
    shown = json.loads(run(recorded, "show", "call-10", "--json").output)
    lines = [json.loads(line) for line in run(recorded, "export").output.splitlines()]
    assert [line["id"] for line in lines] == ["call-10", "other", "call-20"]
    assert lines[0] == shown
    assert lines[0]["utterances"][0]["delays"]["recognise"] == 0.2


def test_csv_has_one_row_per_utterance(recorded: Path, tmp_path: Path) -> None:
    target = tmp_path / "calls.csv"
    result = run(recorded, "export", "--format", "csv", "--output", str(target))
    assert result.stderr == f"3 calls written to {target}\n"
    rows = list(csv.DictReader(io.StringIO(target.read_text(encoding="utf-8"))))
    assert len(rows) == 5
    assert rows[0]["call_id"] == "call-10"
    assert rows[0]["recognised"] == "சொல் 1"
    assert rows[0]["flagged"] == "True"
    assert float(rows[0]["delay_total_s"]) == 0.9


def test_a_file_that_cannot_be_written_and_one_that_is_no_database(recorded: Path, tmp_path: Path) -> None:
    result = run(recorded, "export", "--output", str(tmp_path / "none" / "calls.jsonl"))
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    (tmp_path / "state" / "setu.sqlite").write_bytes(b"no database at all, only text" * 100)
    for side in ("-wal", "-shm"):
        (tmp_path / "state" / f"setu.sqlite{side}").unlink(missing_ok=True)
    result = run(recorded, "list")
    assert result.exit_code == 2
    assert "cannot be read: file is not a database" in result.stderr


def test_moments() -> None:
    convert = Since().convert
    assert convert("2026-11-21", None, None) == datetime(2026, 11, 21, tzinfo=UTC)
    assert convert("2026-11-21T10:30+05:30", None, None) == datetime(2026, 11, 21, 5, 0, tzinfo=UTC)
    assert abs(datetime.now(UTC) - timedelta(hours=12) - convert("12h", None, None)) < timedelta(seconds=5)
    with pytest.raises(Exception, match="is no moment; allowed: "):
        convert("yesterday", None, None)
