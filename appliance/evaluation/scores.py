"""From what was found to figures: word and character errors, chrF, numbers, values, languages, refusals, times. Pure."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import Outcome, Scores
from appliance.phone.report import percentile
from appliance.text.placeholders import ascii_digits, numbers

ALL = "all"
NOTHING = "-"
"""Takes the place of an empty hypothesis: one wrong word, as a missing word counts too."""


def require_packages() -> None:
    """Raises: EvaluationError when the packages that count are not installed."""
    missing = [name for name in ("jiwer", "sacrebleu") if importlib.util.find_spec(name) is None]
    if missing:
        raise EvaluationError(f"not installed: {', '.join(missing)}", hint="pip install 'appliance[evaluate]'")


def normal(text: str) -> str:
    """Words without punctuation, in one Unicode form, in small letters, with ASCII digits."""
    composed = ascii_digits(unicodedata.normalize("NFC", text)).casefold()
    return " ".join("".join(" " if _is_mark(character) else character for character in composed).split())


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS" and character not in "@+_"


def numbers_right(reference: str, hypothesis: str) -> bool | None:
    """Whether the hypothesis has exactly the numbers and ids of the reference; None when that has none."""
    expected = Counter(numbers(reference))
    return expected == Counter(numbers(hypothesis)) if expected else None


def values_right(values: Sequence[str], hypothesis: str) -> bool | None:
    """Whether every slot value is in the hypothesis: numbers exactly, words from the beginning of a word on (endings may follow).

    None when there are no values.
    """
    if not values:
        return None
    said, heard = Counter(numbers(hypothesis)), f" {normal(hypothesis)}"
    return all(ascii_digits(value) in said if value.isdecimal() else f" {normal(value)}" in heard for value in values)


def word_errors(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Word error rate over (reference, hypothesis) pairs, both `normal`ised; None without any reference word."""
    import jiwer

    kept = [(reference, hypothesis or NOTHING) for reference, hypothesis in pairs if reference]
    return float(jiwer.wer([item[0] for item in kept], [item[1] for item in kept])) if kept else None


def character_errors(pairs: Sequence[tuple[str, str]]) -> float | None:
    import jiwer

    kept = [(reference, hypothesis) for reference, hypothesis in pairs if reference]
    return float(jiwer.cer([item[0] for item in kept], [item[1] for item in kept])) if kept else None


def chrf(pairs: Sequence[tuple[str, str]]) -> float | None:
    """chrF2, 0 to 100, over (reference, hypothesis) pairs as they are written."""
    import sacrebleu

    return float(sacrebleu.corpus_chrf([item[1] for item in pairs], [[item[0] for item in pairs]]).score) if pairs else None


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Scores]:
    """Scores by group in the order of first appearance, then of `all`."""
    groups = list(dict.fromkeys(item.group for item in outcomes))
    table = {group: score([item for item in outcomes if item.group == group]) for group in groups}
    return table | {ALL: score(outcomes)}


def score(outcomes: Sequence[Outcome]) -> Scores:
    known = [item for item in outcomes if item.in_domain]
    spoken = [(normal(item.reference), normal(item.hypothesis)) for item in known if item.audio_s > 0]
    translated = [(item.translation_reference, item.translation) for item in known if item.translation_reference]
    audio_s = sum(item.audio_s for item in outcomes)
    latencies = [item.latency_s for item in outcomes]
    return Scores(
        rows=len(outcomes),
        wer=word_errors(spoken),
        cer=character_errors(spoken),
        exact=_share(reference == hypothesis for reference, hypothesis in spoken),
        numbers=_share(numbers_right(item.reference, item.hypothesis) for item in known if item.audio_s > 0),
        values=_share(values_right(item.values, item.hypothesis) for item in known if item.audio_s > 0),
        chrf=chrf(translated),
        translation_exact=_share(reference == translation for reference, translation in translated),
        translation_numbers=_share(numbers_right(item.translation_reference, item.translation) for item in known),
        translation_values=_share(values_right(item.translation_values, item.translation) for item in known if item.translation_reference),
        language=_share(None if item.language_found is None else item.language_found == item.language for item in known),
        refused_in_domain=_share(item.refused for item in known),
        refused_out_of_domain=_share(item.refused for item in outcomes if not item.in_domain),
        out_of_domain=len(outcomes) - len(known),
        silent=_share(not item.hypothesis for item in outcomes if not item.in_domain and item.audio_s > 0),
        real_time_factor=sum(item.compute_s for item in outcomes) / audio_s if audio_s else None,
        latency_p50_s=percentile(latencies, 0.50) if latencies else None,
        latency_p95_s=percentile(latencies, 0.95) if latencies else None,
    )


def confusion(outcomes: Iterable[Outcome]) -> dict[str, dict[str, int]]:
    """How often each language was taken for which, by the right one."""
    table: dict[str, dict[str, int]] = {}
    for item in outcomes:
        if item.in_domain and item.language_found is not None:
            row = table.setdefault(item.language, {})
            row[item.language_found] = row.get(item.language_found, 0) + 1
    return table


def _share(found: Iterable[bool | None]) -> float | None:
    """Share of True among what is not None; None when nothing is."""
    counted = [item for item in found if item is not None]
    return sum(counted) / len(counted) if counted else None
