import math

import pytest

from appliance.interpreter.confidence import Evidence, is_silence, overall, recognised, translated
from appliance.interpreter.guards import flaw


def test_confidence_is_the_mean_probability_less_disagreement() -> None:
    assert recognised(Evidence("हाँ", 0.0, 0.0)) == 1
    assert recognised(Evidence("हाँ", math.log(0.8), 0.1)) == pytest.approx(0.8)
    agreed = recognised(Evidence("हाँ", -0.1, 0.0, 1.0))
    assert agreed > recognised(Evidence("हाँ", -0.1, 0.0, 0.5)) > recognised(Evidence("हाँ", -0.1, 0.0, 0.0)) > 0.5 * agreed


def test_silence_is_no_text_or_a_weak_decode_of_no_speech() -> None:
    assert is_silence(Evidence("", 0.0, 0.9))
    assert is_silence(Evidence(" .", 0.0, 0.9))
    assert not is_silence(Evidence("", 0.0, 0.1)), "speech of which no word was understood"
    assert is_silence(Evidence("धन्यवाद", -1.0, 0.9))
    assert not is_silence(Evidence("धन्यवाद", -0.05, 0.9))
    assert not is_silence(Evidence("धन्यवाद", -1.0, 0.1))
    assert recognised(Evidence("", 0.0, 0.0)) == 0


def test_one_bad_half_shows() -> None:
    assert overall(1.0, 0.04) == pytest.approx(0.2)
    assert overall(0.9, 0.9) == pytest.approx(0.9)
    assert translated(0.5) == 1.0, "a score above zero is no more than certain"


@pytest.mark.parametrize(
    ("source", "translation", "target", "expected"),
    [
        ("என் ticket நம்பர் 45721.", "मेरा ticket number 45721 है.", "hinglish", ""),
        ("என் ticket நம்பர் 45721.", "मेरा ticket number 45712 है.", "hinglish", "number-lost"),
        ("என் ticket நம்பர் ४५७.", "मेरा ticket number 457 है.", "hinglish", ""),
        ("error 407, 407", "error 407 है", "hinglish", "number-lost"),
        ("printer खराब है.", "printer 5512 சரியில்லை.", "ta", "number-invented"),
        ("एक minute रुकिए.", "1 நிமிடம் பொறுங்கள்.", "ta", ""),
        ("हाँ.", "", "ta", "empty-translation"),
        ("हाँ.", " . ", "ta", "empty-translation"),
        ("हाँ.", "ஆம். " * 20, "ta", "translation-too-long"),
        ("मेरा printer दो दिन से काम नहीं कर रहा है.", "ஆம்.", "ta", "translation-too-short"),
        ("मेरा printer काम नहीं कर रहा है.", "என் என் என் என் printer வேலை", "ta", "translation-repeats"),
        ("मेरा printer काम नहीं कर रहा है जी", "என் printer என் printer என் printer என் printer", "ta", "translation-repeats"),
        ("लाल लाल लाल लाल light है.", "சிவப்பு சிவப்பு சிவப்பு சிவப்பு light.", "ta", ""),
        ("हाँ जी ठीक है.", "అవును సరే.", "ta", "translation-script"),
        ("Outlook restart करो.", "Outlook restart.", "te", ""),
    ],
)
def test_guards(source: str, translation: str, target: str, expected: str) -> None:
    assert flaw(source, translation, target) == expected
