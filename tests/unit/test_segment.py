import pytest

from appliance.interpreter.segment import agreement, clauses, place_after, prefix_agreement, remaining, sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("मेरा printer खराब है. क्या करूँ?", ["मेरा printer खराब है.", "क्या करूँ?"]),
        ("एक। दो", ["एक।", "दो"]),
        ("version 3.5 चाहिए.", ["version 3.5 चाहिए."]),
        ("Dr. Rao बोल रहा हूँ. जल्दी!", ["Dr. Rao बोल रहा हूँ.", "जल्दी!"]),
        ("ठीक है . अच्छा", ["ठीक है .", "अच्छा"]),
        ("हाँ. . .", ["हाँ..."]),
        ("", []),
        (" ... ", []),
        ("error 407 दिख रहा है", ["error 407 दिख रहा है"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_clauses_cut_only_long_sentences_and_lose_nothing() -> None:
    short = "ठीक है, देखता हूँ."
    assert clauses(short) == [short]
    long = "आपका account unlock कर दिया है अभी, अब नया password डालकर फिर से login कीजिए, और बताइए."
    assert clauses(long) == ["आपका account unlock कर दिया है अभी,", "अब नया password डालकर फिर से login कीजिए, और बताइए."]
    assert " ".join(clauses(long + " " + short)) == long + " " + short


@pytest.mark.parametrize(
    ("committed", "words", "place"),
    [
        ("", "a b", 0),
        ("a b", "a b c d", 2),
        ("a b", "a b b c", 2),
        ("a b", "a x b c", 3),
        ("one printer", "one printers and", 2),
        ("a b", "a c d", 1),
        ("a b c", "b c d", 2),
        ("a b c d", "a b", 2),
        ("a b", "", 0),
    ],
)
def test_place_after_committed_words(committed: str, words: str, place: int) -> None:
    assert place_after(committed.split(), words.split()) == place


def test_remaining_keeps_punctuation_and_survives_a_revision() -> None:
    committed = ["मेरा", "printer", "खराब", "है"]
    assert remaining(committed, "मेरा printer खराब है. error 407 है.") == "error 407 है."
    assert remaining(committed, "मेरे printer खराब हैं. error 407 है.") == "error 407 है."
    assert remaining(committed, "मेरा printer खराब है.") == ""
    assert remaining([], "नमस्ते.") == "नमस्ते."


def test_agreement_of_texts() -> None:
    assert agreement("A b. c", "a, b c!") == 1
    assert agreement("", "") == 1
    assert agreement("a b", "") == 0
    assert agreement("a b c d", "a b x d") == pytest.approx(0.75)
    assert agreement("a b", "a b c d") == pytest.approx(0.5)


def test_a_final_decode_that_only_goes_on_confirms_the_partial() -> None:
    assert prefix_agreement("मेरा print", "मेरा printer खराब है.") == 1
    assert prefix_agreement("a b c d x", "a b z d e f g") == pytest.approx(0.75)
    assert prefix_agreement("a b c", "x y z") == 0
    assert prefix_agreement("a b c", "") == 0
    assert prefix_agreement("a", "b c") is None
