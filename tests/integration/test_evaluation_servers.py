"""`appliance evaluate` with real model servers: its own ones, and those of a stack that runs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from model_servers import model_server, write_config

from appliance.cli.frame import appliance
from appliance.evaluation import audio

STUBS = """
[stt]
engine = "stub"
model = "text=ticket 407 आहे"
[mt]
engine = "stub"
model = ""
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path, as sockets need."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="ev-") as place:
        yield Path(place)


def evaluate(*arguments: str | Path) -> Result:
    return CliRunner().invoke(appliance, ["evaluate", *map(str, arguments)])


def speech(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for number, rate in enumerate((8000, 22_050, 16_000)):
        audio.write(folder / f"{number}.wav", (rng.normal(size=rate) * 1000).astype(np.int16), rate)
    rows = ["0.wav\tticket 407 आहे\tmr\t407|ticket\thi\tticket 407 आहे\t407", "1.wav\tticket 408 आहे\tmr\t408\thi\tticket 408 है\t408"]
    file = folder / "speech.tsv"
    rows.append("2.wav\t\tta\t\t\t\t")
    header = "audio\ttext\tlanguage\tvalues\ttarget_language\treference\ttarget_values"
    file.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return file


def test_servers_are_started_for_the_evaluation_and_end_with_it(folder: Path) -> None:
    config = write_config(folder, STUBS)
    options = ["--bandlimit", "--noise", "babble:10", "--translate", "--report", folder / "r.json", "--config", config]
    result = evaluate("stt", "--manifest", speech(folder), *options)
    assert result.exit_code == 0, result.output
    report = json.loads((folder / "r.json").read_text())
    assert report["engines"]["stt"]["engine"] == report["engines"]["mt"]["engine"] == "stub"
    mr = report["scores"]["mr"]
    assert mr["wer"] == pytest.approx(1 / 6)
    assert (mr["numbers"], mr["values"], mr["translation_values"]) == (0.5, 0.5, 0.5)
    assert (mr["refused_in_domain"], report["scores"]["ta"]["refused_out_of_domain"]) == (0.0, 0.0)
    assert report["line"] == "8 kHz G.711, babble noise at 10 dB"
    assert "16.7 %" in result.output
    assert not (folder / "run").exists()


def test_a_running_server_is_asked(folder: Path) -> None:
    config = write_config(folder, STUBS)
    with model_server("stt", config) as server:
        write_config(folder, STUBS.replace("407", "999"))  # what a server of its own would say
        result = evaluate("lid", "--manifest", speech(folder), "--report", folder / "r.json", "--config", config)
        assert result.exit_code == 0, result.output
        assert server.process.poll() is None
        with server.http() as client:
            assert client.get("/health").status_code == 200
    report = json.loads((folder / "r.json").read_text())
    assert report["rows"][0]["hypothesis"] == "ticket 407 आहे"
    assert sum(report["confusion"]["mr"].values()) == 2


def test_translation_in_every_direction_of_the_manifest(folder: Path) -> None:
    config = write_config(folder, STUBS)
    file = folder / "text.tsv"
    file.write_text(
        "source_language\tsource\ttarget_language\treference\nmr\tticket 407\thi\tticket 407\nhi\tहाँ\tmr\tहोय\n", encoding="utf-8"
    )
    result = evaluate("mt", "--manifest", file, "--report", folder / "r.json", "--config", config)
    assert result.exit_code == 0, result.output
    scores = json.loads((folder / "r.json").read_text())["scores"]
    assert (scores["mr-hi"]["translation_exact"], scores["hi-mr"]["translation_exact"]) == (1.0, 0.0)
    filled = folder / "models.md"
    filled.write_text("<!-- figures: begin -->\n<!-- figures: end -->\n")
    assert evaluate("document", folder / "r.json", "--file", filled).exit_code == 0
    assert "| mr-hi | 1 | 100.0 |" in filled.read_text()


def test_a_server_that_does_not_start_says_why(folder: Path) -> None:
    config = write_config(folder, '[stt]\nmodel = "not/there"\n')
    result = evaluate("stt", "--manifest", speech(folder), "--config", config)
    assert result.exit_code == 2
    assert "model server stt ended with 2" in result.stderr
    assert "not/there does not exist" in result.stderr


def test_a_wrong_manifest_is_told_before_any_server_starts(folder: Path) -> None:
    file = folder / "m.tsv"
    file.write_text("audio\ttext\tlanguage\na.wav\tx\tta\n")
    result = evaluate("stt", "--manifest", file, "--config", write_config(folder, '[stt]\nmodel = "not/there"\n'))
    assert result.exit_code == 2
    assert f"{file}:2: audio: there is no file" in result.stderr
