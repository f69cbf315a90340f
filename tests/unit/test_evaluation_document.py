from pathlib import Path

import pytest

from appliance.evaluation import document, goals, results, tables
from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import EngineUsed, EvaluationReport, Outcome, Scores

CLEAN, NOISE = "8 kHz G.711", "8 kHz G.711, mixed noise at 10 dB"
DOCS = Path(__file__).parents[2] / "docs" / "models.md"


def report(kind: str = "stt", line: str = CLEAN, **by_group: Scores) -> EvaluationReport:
    return EvaluationReport(
        kind=kind,
        manifest="stt.tsv",
        started="2026-11-21T10:00:00+00:00",
        line=line,
        engines={"stt": EngineUsed("whisper-short", "starter/stt", ["ta"])},
        scores=by_group | {"all": Scores(rows=9, wer=0.9, chrf=1.0)},
        confusion={"ta": {"ta": 3, "hi": 1}},
        rows=[Outcome(line=2, group="ta")],
    )


def goal(title: str, *reports: EvaluationReport) -> list[str]:
    return next(row for row in goals.rows(reports) if row[0] == title)


def test_the_worst_language_counts_against_the_goal() -> None:
    clean = report(ta=Scores(rows=1, wer=0.02), kn=Scores(rows=1, wer=0.05))
    noisy = report(line=NOISE, ta=Scores(rows=1, wer=0.13), kn=Scores(rows=1, wer=0.01))
    assert goal("WER", clean, noisy) == ["WER", "<= 5.0 %", "5.0 % (kn)", "<= 12.0 %", "13.0 % (ta), **missed**"]
    assert goal("WER", noisy)[2] == "-"
    other = report(line="8 kHz G.711, babble noise at 5 dB", ta=Scores(rows=1, wer=0.5))
    assert goal("WER", clean, other) == goal("WER", clean)
    assert goals.condition(report(line="as recorded")) is None


def test_goals_look_at_their_own_kind_of_evaluation() -> None:
    lid = report("lid", ta=Scores(rows=1, wer=0.5, language=0.985))
    text = report("mt", "", **{"ta-hinglish": Scores(rows=1, chrf=95.2)})
    assert goal("WER", lid)[2] == "-"
    assert goal("language right after one utterance", lid)[2] == "98.5 % (ta), **missed**"
    assert goal("chrF of the translation of the reference text", text)[1:] == [">= 93.0", "95.2 (ta-hinglish)", "", ""]


def test_columns_without_figures_are_left_out() -> None:
    head, rows = tables.table({"ta": Scores(rows=3, wer=0.123, latency_p50_s=0.0464), "all": Scores(rows=3)}, tables.RECOGNITION)
    assert head == ["", "rows", "WER", "p50"]
    assert rows == [["ta", "3", "12.3 %", "46 ms"], ["all", "3", "-", "-"]]


def test_confusion_has_every_language_on_both_sides() -> None:
    head, rows = tables.confusion({"ta": {"ta": 3, "hi": 1}})
    assert head == ["right / found", "hi", "ta"]
    assert rows == [["ta", "1", "3"]]


def test_figures_replace_what_was_between_the_marks(tmp_path: Path) -> None:
    file = tmp_path / "models.md"
    file.write_text(f"before\n\n{document.BEGIN}\nold\n{document.END}\n\nafter\n")
    document.fill(file, [report(ta=Scores(rows=1, wer=0.02))])
    once = file.read_text()
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "| ta | 1 | 2.0 % |" in once
    assert "| WER | <= 5.0 % | 2.0 % (ta) |" in once
    assert "stt whisper-short starter/stt" in once
    document.fill(file, [report(ta=Scores(rows=1, wer=0.02))])
    assert file.read_text() == once


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "models.md"
    file.write_text(document.BEGIN)
    with pytest.raises(EvaluationError, match=r"models\.md: one line"):
        document.fill(file, [])
    assert file.read_text() == document.BEGIN


def test_the_documentation_has_its_marks() -> None:
    assert "### Figures to reach" in document.filled(DOCS.read_text(encoding="utf-8"), [])


def test_reports_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = report(ta=Scores(rows=1, wer=0.02))
    results.write(written, tmp_path / "deep" / "a.json")
    assert results.read(tmp_path / "deep" / "a.json") == written
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(EvaluationError, match=r"b\.json: no report of an evaluation"):
        results.read(tmp_path / "b.json")
    with pytest.raises(EvaluationError, match="cannot be read"):
        results.read(tmp_path / "c.json")
