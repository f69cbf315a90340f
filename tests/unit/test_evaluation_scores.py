import pytest

from appliance.evaluation import scores
from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import Outcome
from appliance.evaluation.scores import ALL, confusion, normal, numbers_right, summarise, values_right


def heard(reference: str, hypothesis: str, group: str = "ta", **more: object) -> Outcome:
    given = {"line": 2, "group": group, "reference": reference, "hypothesis": hypothesis, "audio_s": 2.0} | more
    return Outcome(**given)  # type: ignore[arg-type]


def test_normal_text() -> None:
    assert normal("  Printer, on?  ४०७ - ஆம். ") == "printer on 407 ஆம்"
    assert normal("को\u0301") == normal("को\u0301")
    assert normal("...") == ""


@pytest.mark.parametrize(
    ("reference", "hypothesis", "right"),
    [
        ("ticket 4077", "ticket 4077.", True),
        ("ticket 4077", "ticket 407", False),
        ("ticket 4077", "ticket 40777", False),
        ("ticket 4077", "ticket 4077 77", False),
        ("1 ya 22", "22 ya 1", True),
        ("22 aur 22", "22", False),
        ("४०७", "407", True),
        ("printer", "printer 3", None),
    ],
)
def test_numbers(reference: str, hypothesis: str, right: bool | None) -> None:
    assert numbers_right(reference, hypothesis) is right


@pytest.mark.parametrize(
    ("values", "hypothesis", "right"),
    [
        (("printer", "407"), "मेरा Printer, error 407", True),
        (("407",), "error 4077", False),
        (("407",), "error", False),
        (("சென்னை",), "சென்னையில் இல்லை", True),
        (("net",), "internet", False),
        (("मध्ये 2",), "दुपारी मध्ये 2 वाजता", True),
        ((), "x", None),
    ],
)
def test_values(values: tuple[str, ...], hypothesis: str, right: bool | None) -> None:
    assert values_right(values, hypothesis) is right


def test_errors_are_counted_over_all_words_of_a_language_and_of_all() -> None:
    found = summarise([heard("a b c d", "a b c d"), heard("a b", "a x"), heard("p q", "", "te")])
    assert list(found) == ["ta", "te", ALL]
    assert found["ta"].wer == pytest.approx(1 / 6)
    assert found["te"].wer == 1.0
    assert found[ALL].wer == pytest.approx(3 / 8)
    assert found["ta"].exact == 0.5
    assert found["ta"].cer == pytest.approx(1 / 10)
    assert found["te"].chrf is None


def test_refusals_of_both_sorts_and_silence() -> None:
    rows = [
        heard("a", "a", refused=False),
        heard("b", "b", refused=True),
        heard("", "", in_domain=False, refused=True),
        heard("", "b", in_domain=False, refused=True),
        heard("", "c", in_domain=False, refused=False),
    ]
    found = scores.score(rows)
    assert (found.refused_in_domain, found.out_of_domain) == (0.5, 3)
    assert found.refused_out_of_domain == pytest.approx(2 / 3)
    assert found.silent == pytest.approx(1 / 3)
    assert found.wer == 0.0


def test_translations_and_their_values() -> None:
    rows = [
        heard("x", "x", translation_reference="मेरा printer", translation="मेरा printer", translation_values=("printer",)),
        heard("y", "y", translation_reference="error 407", translation="error 40", translation_values=("407",)),
    ]
    found = scores.score(rows)
    assert (found.translation_exact, found.translation_values, found.translation_numbers) == (0.5, 0.5, 0.0)
    assert found.chrf is not None
    assert 50 < found.chrf < 100
    text = scores.score([Outcome(line=2, group="ta-hi", translation_reference="हाँ.", translation="हाँ.", latency_s=0.01)])
    assert (text.chrf, text.wer, text.real_time_factor) == (pytest.approx(100.0), None, None)


def test_times_and_languages() -> None:
    rows = [heard("a", "a", latency_s=n / 100, compute_s=0.1, language="ta", language_found="ta" if n < 15 else "te") for n in range(20)]
    found = scores.score(rows)
    assert found.real_time_factor == pytest.approx(0.05)
    assert (found.latency_p50_s, found.latency_p95_s) == (0.09, 0.18)
    assert found.language == 0.75
    assert confusion([*rows, heard("", "x", in_domain=False, language="ta", language_found="hi"), heard("a", "a")]) == {
        "ta": {"ta": 15, "te": 5}
    }


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    scores.require_packages()
    monkeypatch.setattr(scores.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvaluationError, match=r"not installed: jiwer, sacrebleu \(pip install"):
        scores.require_packages()
