import json
from pathlib import Path

import msgspec
import pytest

from appliance.evaluation import calls
from appliance.evaluation.errors import EvaluationError
from appliance.phone import report
from appliance.phone.report import CallReport, Delays, Language, Report, Silence, Utterance


def utterance(total: float | None, recognised: str = "एक दो", **more: object) -> Utterance:
    stages = {"endpoint_wait": 0.4, "recognise": 0.1, "identify": 0.0, "translate": 0.1, "render": 0.0, "speak": 0.05, "play": 0.02}
    fields = {
        "lane": "caller_to_agent",
        "source_file": "a.wav",
        "reference": "एक दो",
        "expected": "printer 407",
        "recognised": recognised,
        "translated": "printer 407",
        "heard": "",
        "outcome": "interpreted",
        "segments": 1,
        "delay_s": Delays(total=total, last_part=total, line=None, **stages),
        "confidence": 0.9,
        "started_s": 1.0,
        "ended_s": 3.0,
        "heard_from_s": None,
        "heard_to_s": None,
        "values_expected": ("407",),
        "values_heard": ("407",),
    }
    return msgspec.convert(fields | more, Utterance, from_attributes=True)


def call(code: str, detected: str, *rows: Utterance) -> CallReport:
    language = Language(expected=code, detected=detected, detected_after_s=2.0, detected_in_utterance=1, how="votes", votes=[])
    return CallReport(
        id="c",
        number="1800",
        language=language,
        outcome="interpreted",
        through=True,
        closed_early="",
        first_audio_s=0.4,
        connected_s=0.9,
        duration_s=30.0,
        utterances=list(rows),
        audio=None,
        longest_silence_s=Silence(1.0, 1.0),
    )


def write(path: Path, *some: CallReport) -> None:
    report.write(Report(versions={}, started="2026-11-21T02:00:00Z", calls=list(some), summary=report.summarise(some)), path)


def test_reports_of_a_folder_are_put_together(tmp_path: Path) -> None:
    write(tmp_path / "one" / "report.json", call("ta", "ta", utterance(0.8), utterance(1.2, "एक")))
    write(tmp_path / "two" / "report.json", call("mr", "hi", utterance(None, "", outcome="refused"), utterance(2.0, reference=None)))
    found = calls.evaluate([tmp_path])
    assert len(found.files) == 2
    assert (found.summary.calls, found.summary.language_right, found.summary.language_known) == (2, 1, 2)
    assert (found.languages["ta"].utterances, found.languages["mr"].interpreted) == (2, 1)
    assert (found.stages_s["total"].count, found.stages_s["total"].p50, found.stages_s["total"].max) == (3, 1.2, 2.0)
    assert found.stages_s["line"].count == 0
    assert found.stages_s["recognise"].p95 == 0.1
    assert list(found.scores) == ["ta caller_to_agent", "mr caller_to_agent", "all"]
    assert found.scores["ta caller_to_agent"].wer == 0.25
    assert found.scores["all"].real_time_factor is None
    assert (found.scores["mr caller_to_agent"].rows, found.scores["mr caller_to_agent"].refused_in_domain) == (1, 1.0)
    assert json.loads(msgspec.json.encode(found))["summary"]["values_right"] == 4


def test_one_file_and_what_is_none(tmp_path: Path) -> None:
    write(tmp_path / "mine.json", call("ta", "ta", utterance(0.8)))
    assert calls.evaluate([tmp_path / "mine.json"]).summary.calls == 1
    with pytest.raises(EvaluationError, match=r"there is no report\.json in it"):
        calls.evaluate([tmp_path])
    (tmp_path / "report.json").write_text("[]")
    with pytest.raises(EvaluationError, match=r"report\.json: no report of calls"):
        calls.evaluate([tmp_path])
    write(tmp_path / "report.json")
    with pytest.raises(EvaluationError, match="there is no call in it"):
        calls.evaluate([tmp_path])
