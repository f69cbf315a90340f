import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from appliance.cli.frame import appliance
from appliance.config.schema import Config
from appliance.evaluation import refusal, results
from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import EvaluationReport, Outcome
from appliance.interpreter import calibration
from appliance.interpreter.belief import Belief
from appliance.interpreter.confidence import Evidence


def outcome(in_domain: bool, avg_logprob: float, agreement: float | None = 0.5, hypothesis: str = "x", **more: object) -> Outcome:
    given = {"line": 2, "group": "ta", "in_domain": in_domain, "hypothesis": hypothesis, "no_speech_prob": 0.1}
    return Outcome(avg_logprob=avg_logprob, agreement=agreement, **given | more)  # type: ignore[arg-type]


def made_up(count: int, seed: int, distance: float = 1.0) -> list[Outcome]:
    """Half of each sort; log-probability and agreement are `distance` spreads apart, in the same direction."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        sort = number % 2 == 0
        low = 0.0 if sort else distance
        rows.append(outcome(sort, -abs(rng.normal(1.0 + low, 0.6)), math.exp(-abs(rng.normal(1.0 + low, 0.6)))))
    return rows


def test_at_most_six_percent_of_what_it_was_made_from_are_refused() -> None:
    rows = made_up(400, 1)
    made = refusal.calibrate(rows)
    known, unknown = (refusal.scores(made, rows, in_domain=sort) for sort in (True, False))
    point = refusal.point(known, unknown, made.threshold)
    assert 0.05 < point.in_domain <= refusal.IN_DOMAIN_REFUSED
    assert point in made.curve
    shares = [(item.in_domain, item.out_of_domain) for item in made.curve]
    assert shares == sorted(shares)


def test_two_features_are_better_than_one_and_it_holds_for_others() -> None:
    rows, others = made_up(600, 2), made_up(600, 3)
    refused = {}
    for names in (("avg_logprob",), ("avg_logprob", "log_agreement")):
        made = refusal.calibrate(rows, names)
        known, unknown = (refusal.scores(made, others, in_domain=sort) for sort in (True, False))
        refused[names] = refusal.point(known, unknown, made.threshold).out_of_domain
        assert all(weight > 0 for weight in made.weights.values())
    assert refused["avg_logprob", "log_agreement"] > refused["avg_logprob",] + 0.1


def test_the_score_is_a_calibrated_probability() -> None:
    made = refusal.calibrate(made_up(2000, 4))
    others = made_up(2000, 5)
    near = [item.in_domain for item in others if 0.6 < refusal.scores(made, [item], in_domain=item.in_domain)[0] < 0.8]
    assert 0.6 < sum(near) / len(near) < 0.8


def test_sorts_that_do_not_overlap_have_finite_weights() -> None:
    made = refusal.calibrate([outcome(True, -0.1), outcome(True, -0.2), outcome(False, -2.0), outcome(False, -2.1)])
    assert all(math.isfinite(weight) for weight in made.weights.values())
    assert refusal.curve(made, [outcome(True, -0.1), outcome(False, -2.0)])[0].out_of_domain == 1.0


def test_where_the_sorts_do_not_overlap_the_threshold_lies_between_them() -> None:
    rows = [*(outcome(True, -0.1 - 0.01 * number) for number in range(40)), *(outcome(False, -2.0 - number) for number in range(3))]
    made = refusal.calibrate(rows)
    known, unknown = (refusal.scores(made, rows, in_domain=sort) for sort in (True, False))
    assert made.threshold == pytest.approx((min(known) + max(unknown)) / 2)
    assert refusal.point(known, unknown, made.threshold) in made.curve


def test_without_a_word_it_is_refused_whatever_the_features() -> None:
    rows = [*made_up(100, 6), outcome(False, 0.0, 1.0, hypothesis=" ."), outcome(False, 0.0, None, hypothesis="")]
    made = refusal.calibrate(rows)
    assert "log_agreement" in made.weights
    assert refusal.scores(made, rows[-2:], in_domain=False) == [0.0, 0.0]


def test_only_features_that_every_utterance_has_are_weighed() -> None:
    rows = [*made_up(20, 7), outcome(True, -0.3, None)]
    assert refusal.usable(rows) == ("avg_logprob", "no_speech_log_odds")
    with pytest.raises(EvaluationError, match=r"not every utterance has log_agreement; usable: avg_logprob, no_speech_log_odds"):
        refusal.calibrate(rows, ["log_agreement"])
    made = refusal.calibrate(made_up(20, 7))
    with pytest.raises(EvaluationError, match="line 2 has no log_agreement"):
        refusal.scores(made, rows, in_domain=True)


def test_one_sort_alone_cannot_be_calibrated() -> None:
    with pytest.raises(EvaluationError, match="3 in-domain and 0 out-of-domain"):
        refusal.calibrate([outcome(True, -0.1)] * 3)
    with pytest.raises(EvaluationError, match="usable:"):
        refusal.calibrate([outcome(True, -0.1, hypothesis=""), outcome(False, -0.1, hypothesis="")] * 2)


def test_what_is_written_says_how_to_score(tmp_path: Path) -> None:
    rows = made_up(50, 8)
    made = refusal.calibrate(rows)
    results.write(made, tmp_path / "refusal.json")
    read = calibration.read(tmp_path)
    assert read == made
    features = {"avg_logprob": rows[0].avg_logprob, "no_speech_log_odds": math.log(0.1 / 0.9), "log_agreement": math.log(rows[0].agreement)}
    total = read.bias + sum(weight * features[name] for name, weight in read.weights.items())
    assert 1 / (1 + math.exp(-total)) == pytest.approx(refusal.scores(made, rows[:1], in_domain=True)[0])


def translated_rows(count: int, seed: int) -> list[Outcome]:
    """With translations; some of them flawed, some utterances silent."""
    rng = np.random.default_rng(seed)
    return [
        outcome(
            row.in_domain,
            row.avg_logprob or 0.0,
            row.agreement,
            hypothesis="" if number % 17 == 0 else "x",
            translation_score=-abs(rng.normal(0.2 if row.in_domain else 0.8, 0.3)),
            translation_flaw="number-lost" if number % 23 == 0 else "",
            empty_prob=float(rng.uniform(0.0, 0.3 if row.in_domain else 0.9)),
            partial_agreement=float(rng.uniform(0.6 if row.in_domain else 0.0, 1.0)),
        )
        for number, row in enumerate(made_up(count, seed))
    ]


def test_a_call_refuses_exactly_what_the_curve_counts() -> None:
    rows = translated_rows(400, 11)
    made = refusal.calibrate(rows)
    assert list(made.weights) == list(calibration.RANGES)
    belief = Belief(Config(), made)
    refused = {True: 0, False: 0}
    for row in rows:
        seen = Evidence(
            row.hypothesis, row.avg_logprob or 0.0, row.no_speech_prob or 0.0, row.partial_agreement, row.agreement, row.empty_prob
        )
        final = belief.refusal(seen, row.translation_score, row.translation_flaw)
        refused[row.in_domain] += bool(final)
        assert belief.overall(seen, row.translation_score, row.translation_flaw) == refusal.scores(made, [row], in_domain=row.in_domain)[0]
        if belief.refusal(seen):
            assert final, "what is refused before the translation would be refused after it"
    point = next(point for point in made.curve if point.threshold == made.threshold)
    assert (refused[True] / 200, refused[False] / 200) == (point.in_domain, point.out_of_domain)
    assert 0.05 < point.in_domain <= refusal.IN_DOMAIN_REFUSED + 0.06, "flawed ones included"


def test_the_command_calibrates_from_several_reports_and_measures_others(tmp_path: Path) -> None:
    rows = made_up(200, 9)
    parts = {"in": [row for row in rows if row.in_domain], "out": [row for row in rows if not row.in_domain], "other": made_up(100, 10)}
    for name, some in parts.items():
        report = EvaluationReport(kind="stt", manifest="m.tsv", started="", line="", engines={}, scores={}, confusion={}, rows=some)
        results.write(report, tmp_path / f"{name}.json")
    files = [str(tmp_path / f"{name}.json") for name in (*parts, "refusal")]
    arguments = ["--report", files[0], "--report", files[1], "--check", files[2], "--out", files[3]]
    result = CliRunner().invoke(appliance, ["evaluate", "refusal", *arguments])
    assert result.exit_code == 0, result.output
    made = calibration.read(tmp_path)
    assert made is not None
    assert made == refusal.calibrate([*parts["in"], *parts["out"]])
    assert f"{made.threshold:.3f} *" in result.output
    assert "of 50 in domain" in result.output
    alone = CliRunner().invoke(appliance, ["evaluate", "refusal", "--report", files[0]])
    assert alone.exit_code == 2
    assert "100 in-domain and 0 out-of-domain" in alone.stderr
