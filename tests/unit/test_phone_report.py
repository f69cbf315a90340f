"""The report is what its schema says, and its summary follows from its calls."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import msgspec
import pytest

from appliance.events import LaneName, LanguageVote
from appliance.phone import report
from appliance.phone.report import Audio, CallReport, Delays, Language, Report, Silence, Utterance


def row(
    lane: LaneName, total: float | None, outcome: str = "interpreted", values: tuple[str, ...] = (), heard: tuple[str, ...] = ()
) -> Utterance:
    return Utterance(
        lane=lane,
        source_file="a.wav",
        reference="एक",
        expected=None,
        recognised="एक",
        translated="one",
        heard="one",
        outcome=outcome,
        segments=1,
        delay_s=Delays(
            total=total,
            last_part=total,
            endpoint_wait=0.4,
            recognise=0.1,
            identify=0,
            translate=0.1,
            render=0,
            speak=0.05,
            play=0.02,
            line=0.05,
        ),
        confidence=0.9,
        started_s=1.0,
        ended_s=2.0,
        heard_from_s=None if total is None else 2.0 + total,
        heard_to_s=4.0,
        values_expected=values,
        values_heard=heard,
    )


def call(*rows: Utterance, through: bool = True, language: Language | None = None) -> CallReport:
    decided = Language(
        expected="ta",
        detected="ta",
        detected_after_s=2.0,
        detected_in_utterance=1,
        how="votes",
        votes=[LanguageVote(source="audio", scores={"ta": 1.0}, weight=1.0)],
    )
    return CallReport(
        id="c1",
        number="1800",
        language=language or decided,
        outcome="interpreted",
        through=through,
        closed_early="" if through else "agent",
        first_audio_s=0.4,
        connected_s=0.9,
        duration_s=30.0,
        utterances=list(rows),
        audio=Audio("1-caller.wav", "1-agent.wav"),
        longest_silence_s=Silence(1.2, 1.1),
    )


def whole(*calls: CallReport) -> Report:
    return Report(versions={"appliance": "0"}, started="2026-11-21T02:00:00Z", calls=list(calls), summary=report.summarise(calls))


def test_the_schema_in_the_repository_is_the_one_of_the_code() -> None:
    assert json.loads(report.SCHEMA_FILE.read_text()) == json.loads(msgspec.json.encode(report.schema())), (
        "run python -m appliance.phone.report"
    )


def test_a_written_report_keeps_to_the_schema(tmp_path: Path) -> None:
    lonely = call(
        row("agent_to_caller", None, "missed"),
        through=False,
        language=Language(expected=None, detected=None, detected_after_s=None, detected_in_utterance=None, how=None, votes=[]),
    )
    report.write(whole(call(row("caller_to_agent", 0.9)), lonely), tmp_path / "new" / "report.json")
    written = json.loads((tmp_path / "new" / "report.json").read_text())
    schema = json.loads(report.SCHEMA_FILE.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(written, schema, cls=jsonschema.Draft202012Validator)
    broken = json.loads(json.dumps(written))
    broken["calls"][0]["utterances"][0]["lane"] = "sideways"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema, cls=jsonschema.Draft202012Validator)
    del written["summary"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(written, schema, cls=jsonschema.Draft202012Validator)


def test_the_summary_counts_lanes_values_and_languages() -> None:
    rows = [row("caller_to_agent", delay) for delay in (0.8, 1.0, 1.6)] + [row("agent_to_caller", 1.2, values=("5", "x"), heard=("5", "x"))]
    summary = report.summarise([call(*rows), call(row("agent_to_caller", 2.0, values=("5", "x"), heard=("5",)))])
    assert summary.delay_s["caller_to_agent"] == report.DelaySummary(3, 1.0, 1.6, 1.6)
    assert summary.delay_s["both"].count == 5
    assert summary.delay_s["both"].p50 == 1.2
    assert (summary.values_utterances, summary.values_right) == (2, 1)
    assert (summary.language_known, summary.language_right) == (2, 2)
    assert summary.passed


@pytest.mark.parametrize(
    "bad",
    [
        call(row("caller_to_agent", 0.9), through=False),
        call(row("caller_to_agent", 0.9, "refused")),
        call(row("caller_to_agent", None)),
        call(),
    ],
)
def test_a_call_that_failed_or_an_utterance_that_was_not_heard_fails_the_report(bad: CallReport) -> None:
    good = call(row("caller_to_agent", 0.9))
    assert report.summarise([good]).passed
    assert not report.summarise([bad]).passed
    assert not report.summarise([good, bad]).passed


def test_no_calls_are_no_success() -> None:
    assert not report.summarise([]).passed


def test_a_language_decided_late_is_not_right() -> None:
    late = Language(expected="ta", detected="ta", detected_after_s=9.0, detected_in_utterance=3, how="keypad", votes=[])
    assert report.summarise([call(row("caller_to_agent", 1.0), language=late)]).language_right == 0


def test_percentiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 21)]
    assert (report.percentile(values, 0.5), report.percentile(values, 0.95), report.percentile([3.0], 0.95)) == (10.0, 19.0, 3.0)


def test_every_field_is_explained_to_readers() -> None:
    described = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    names = {name for kind in report.schema()["$defs"].values() for name in kind["properties"]}
    words = {word for code in re.findall(r"`([^`]+)`", described.partition("## Fields")[2]) for word in re.findall(r"\w+", code)}
    assert {"line", "calls_through"} <= names
    assert not names - words
