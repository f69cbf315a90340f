"""What is asked of the models for a row, and what is made of their answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from appliance.config.schema import Config
from appliance.evaluation import audio, run
from appliance.evaluation.audio import Line
from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.manifest import SpokenRow, TextRow
from appliance.evaluation.recognition import Listening
from appliance.evaluation.translation import Translator, outcome
from appliance.interpreter.belief import Belief
from appliance.interpreter.calibration import Calibration
from appliance.interpreter.hinglish import Hinglish
from appliance.modelserver.errors import Rejected
from appliance.modelserver.messages import LanguageScores, Transcript, Translation

BELIEF = Belief(Config())


class Models:
    """Answers with what it was given; remembers what it was asked."""

    def __init__(self, text: str = "எரர் 407.", scores: dict[str, float] | None = None, logprob: float = -0.05) -> None:
        self.text, self.scores, self.logprob = text, scores or {}, logprob
        self.heard: list[tuple[int, str | None, tuple[str, ...]]] = []
        self.translated: list[tuple[str, str, str]] = []

    async def transcribe(
        self,
        pcm: audio.Samples,
        *,
        language: str | None,
        languages: Sequence[str] = (),
        partial: bool = False,
        stream: str = "",
        timeout_s: float,
    ) -> Transcript:
        self.heard.append((len(pcm), language, tuple(languages)))
        if partial:
            return Transcript("எரர் 408 அது", language or "ta", {}, -0.5, 0.01, len(pcm) / 16_000, "x", 1, 0.0, 0.1)
        return Transcript(self.text, language or "ta", self.scores, self.logprob, 0.01, len(pcm) / 16_000, "x", 1, 0.0, 0.1, 0.5)

    async def identify(self, text: str, timeout_s: float) -> LanguageScores:
        return LanguageScores({"te": 1.0}, "x")

    async def translate(self, text: str, source: str, target: str, timeout_s: float) -> Translation:
        self.translated.append((text, source, target))
        if "!" in text:
            raise Rejected("mt", "no", retry=False)
        return Translation(f"मेरा एरर {''.join(filter(str.isdigit, text))}.", -0.1 * len(self.translated), "x", 1, 0.0, 0.02)

    async def speak(self, text: str, language: str, timeout_s: float, voice: str = "") -> audio.Samples:
        raise AssertionError("nothing is to be spoken")


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    audio.write(tmp_path / "a.wav", (1000 * np.sin(np.arange(8000))).astype(np.int16), 8000)
    return tmp_path / "a.wav"


def listening(models: Models, *, held: bool = True, translate: bool = False, belief: Belief = BELIEF) -> Listening:
    return Listening(models, Config(), belief, Hinglish({"एरर": "error"}), Line(bandlimit=True), held, translate)


def row(wav: Path, language: str = "ta", text: str = "எரர் 407.") -> SpokenRow:
    return SpokenRow(2, wav, text, language, ("407",), "hinglish" if language != "hinglish" else "ta", "मेरा error 407.", ("error", "407"))


async def test_the_recogniser_is_told_the_language_or_finds_it(wav: Path) -> None:
    models = Models(scores={"te": 0.9, "ta": 0.1})
    held = await listening(models).outcome(row(wav, "hinglish"))
    found = await listening(models, held=False).outcome(row(wav))
    assert models.heard == [(16_000, "hi", ()), (11_200, "hi", ()), (16_000, None, ("ta", "te", "kn", "mr", "hi")), (11_200, "ta", ())]
    assert held.partial_agreement == 0.5, "one of two words, the last one left out"
    assert (held.language, held.language_found, held.group) == ("hi", None, "hinglish")
    assert (found.language, found.language_found) == ("ta", "te")


async def test_what_is_recognised_is_translated_sentence_by_sentence(wav: Path) -> None:
    models = Models(text="எரர் 407. சரி 12.")
    found = await listening(models, translate=True).outcome(row(wav))
    assert models.translated == [("எரர் 407.", "ta", "hinglish"), ("சரி 12.", "ta", "hinglish")]
    assert found.translation == "मेरा error 407. मेरा error 12."
    assert found.translation_score == pytest.approx(-0.2)
    assert (found.refused, found.reason, found.agreement) == (False, "", 0.5)
    assert found.compute_s == pytest.approx(0.14)


async def test_refusals_have_the_reason_a_call_would_give(wav: Path) -> None:
    assert (await listening(Models(text="")).outcome(row(wav, text=""))).reason == "unclear-speech"
    unclear = await listening(Models(logprob=-3.0)).outcome(row(wav, text=""))
    assert (unclear.refused, unclear.reason, unclear.in_domain) == (True, "unclear-speech", False)
    lost = await listening(Models(text="407 மற்றும்"), translate=True).outcome(row(wav))
    assert lost.refused is False
    models = Models()
    flawed = await outcome(TextRow(2, "ta", "सर्वर", "ta", "x"), Translator(models, Hinglish({})), BELIEF)
    assert flawed.translation == "सर्वर"


async def test_a_calibration_decides_where_there_is_one(wav: Path) -> None:
    made = Calibration(
        weights={"log_agreement": 2.0, "translation_score": 1.0},
        bias=1.45,
        threshold=0.5,
        typical={"log_agreement": -0.1, "translation_score": -0.05},
        in_domain=2,
        out_of_domain=2,
        curve=[],
    )
    belief = Belief(Config(), made)
    heard = await listening(Models(), belief=belief).outcome(row(wav))
    assert (heard.refused, heard.agreement) == (False, 0.5), "log 0.5 twice leaves 0.06"
    translated = await listening(Models(), translate=True, belief=belief).outcome(row(wav))
    assert (translated.translation_score, translated.refused, translated.reason) == (-0.1, True, "unsupported-speech")


async def test_text_rows_are_counted_by_direction() -> None:
    found = await outcome(
        TextRow(5, "ta", "எரர் 407.", "hinglish", "मेरा error 407."), Translator(Models(), Hinglish({"एरर": "error"})), BELIEF
    )
    assert (found.group, found.translation, found.refused, found.line) == ("ta-hinglish", "मेरा error 407.", False, 5)
    bad = await outcome(TextRow(5, "hinglish", "error 407.", "ta", "x"), Translator(Models(), Hinglish({})), BELIEF)
    assert (bad.refused, bad.reason) == (True, "translation-script")


async def test_an_error_names_the_line_of_the_manifest() -> None:
    rows = [TextRow(7, "ta", "எரர்!", "hinglish", "x")]
    translator = Translator(Models(), Hinglish({}))
    with pytest.raises(EvaluationError, match=r"m\.tsv:7: model server mt: no"):
        await run._each(Path("m.tsv"), rows, lambda item: outcome(item, translator, BELIEF), lambda done, total: None)
