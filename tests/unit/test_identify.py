import pytest

from appliance.config.schema import Identify
from appliance.interpreter.identify import CODES, AskKeypad, Decided, Identifier, NeedMore, Observation

TAMIL = "என் கணினி வேலை செய்யவில்லை"
HINDI = "मेरा computer काम नहीं कर रहा"


def scores(**known: float) -> dict[str, float]:
    rest = (1 - sum(known.values())) / (len(CODES) - len(known))
    return {code: known.get(code, rest) for code in CODES}


def seen(text: str = "", speech_s: float = 3.0, /, written: dict[str, float] | None = None, **audio: float) -> Observation:
    return Observation(scores(**audio) if audio else {}, written or {}, text, speech_s)


def identifier(prior: str | None = None, **settings: object) -> Identifier:
    return Identifier(Identify(**settings), prior)  # type: ignore[arg-type]


def test_a_clear_first_utterance_decides_by_itself() -> None:
    who = identifier()
    assert who.guess == "hi", "the default, before anything is heard"
    verdict = who.hear(1, seen(TAMIL, ta=0.95))
    assert isinstance(verdict, Decided)
    assert verdict.language == "ta"
    assert verdict.changed
    assert verdict.how == "votes"
    assert who.settled
    assert who.guess == "ta"
    assert [vote.source for vote in who.votes] == ["audio", "script"]


def test_what_was_decided_in_this_call_is_not_given_up_for_one_doubtful_utterance() -> None:
    adopted, remembered = Identifier(Identify(), None, "ta"), identifier("ta")
    assert (adopted.language, adopted.guess, remembered.language) == ("ta", "ta", None)
    doubtful = seen("", 3.0, te=0.8)
    adopted.hear(1, doubtful)
    assert adopted.language == "ta"
    assert not adopted.settled, "it is still listened for another one"
    adopted.hear(2, seen("నా computer పని చేయడం లేదు", 3.0, te=0.99))
    adopted.hear(3, seen("నా computer పని చేయడం లేదు", 3.0, te=0.99))
    assert adopted.language == "te"


def test_what_somebody_chose_by_a_key_stands_though_another_interpreter_goes_on() -> None:
    who = Identifier(Identify(), "te", "ta", chosen=True)
    for number in range(1, 5):
        who.hear(number, seen("నా computer పని చేయడం లేదు", 3.0, te=0.99))
    assert (who.language, who.how, who.settled) == ("ta", "keypad", True)
    who.choose("te")
    assert who.language == "te"


def test_hello_alone_does_not_decide() -> None:
    verdict = identifier().hear(1, seen("ஹலோ", 0.4, ta=0.7))
    assert isinstance(verdict, NeedMore)
    assert verdict.leading == "ta"


def test_two_undecided_utterances_then_the_keypad_is_asked_for_once() -> None:
    who = identifier()
    unclear = seen("हेलो", 0.5, hi=0.4, mr=0.4)
    assert isinstance(who.hear(1, unclear), NeedMore)
    assert isinstance(who.hear(2, unclear), AskKeypad)
    assert isinstance(who.hear(3, unclear), NeedMore)


def test_much_undecided_speech_asks_for_the_keypad() -> None:
    who = identifier(decide_s=8.0)
    unclear = seen("", 9.0, hi=0.45, mr=0.44)
    assert isinstance(who.hear(1, unclear, final=False), NeedMore), "not in the middle of it"
    assert isinstance(who.hear(1, unclear), AskKeypad)


def test_hindi_and_marathi_are_told_apart_by_the_text_when_the_audio_is_torn() -> None:
    who = identifier()
    torn = seen("माझा computer चालत नाही", mr=0.48, hi=0.48, written=scores(mr=0.97))
    verdict = who.hear(1, torn)
    leading = verdict.language if isinstance(verdict, Decided) else verdict.leading
    assert leading == "mr"
    second = who.hear(2, torn)
    assert isinstance(second, Decided)
    assert second.language == "mr"
    assert second.how == "votes"


def test_memory_tips_the_balance_and_is_named() -> None:
    unsure = seen("", 2.0, kn=0.6, te=0.3)
    assert isinstance(identifier().hear(1, unsure), NeedMore)
    verdict = identifier("kn").hear(1, unsure)
    assert isinstance(verdict, Decided)
    assert verdict.language == "kn"
    assert verdict.how == "memory"
    assert identifier("kn").guess == "kn"


def test_memory_does_not_win_against_clear_speech() -> None:
    verdict = identifier("hi").hear(1, seen(TAMIL, ta=0.97))
    assert isinstance(verdict, Decided)
    assert verdict.language == "ta"
    assert verdict.how == "votes"


def test_memory_of_an_unknown_language_is_ignored() -> None:
    assert identifier("fr").guess == "hi"


def test_a_later_decode_of_the_same_utterance_replaces_the_earlier() -> None:
    who = identifier()
    for _ in range(5):
        assert isinstance(who.hear(1, seen("", 0.5, te=0.6), final=False), NeedMore)
    assert len(who.votes) == 1


def test_an_unfinished_utterance_decides_once_it_is_long() -> None:
    who = identifier()
    assert isinstance(who.hear(1, seen(TAMIL, 1.0, ta=0.95), final=False), NeedMore)
    assert isinstance(who.hear(1, seen(TAMIL, 3.0, ta=0.95), final=False), Decided)
    assert not who.settled, "the rest of the utterance may still say otherwise"


def test_one_odd_utterance_does_not_change_the_language_but_clear_ones_do() -> None:
    who = identifier()
    assert isinstance(who.hear(1, seen("", 2.0, hi=0.9)), Decided)
    first = who.hear(2, seen("", 2.0, mr=0.9))
    assert isinstance(first, Decided)
    assert first.language == "hi"
    assert not first.changed
    second = who.hear(3, seen("माझा computer चालत नाही", 3.0, mr=0.97, written=scores(mr=0.97)))
    assert isinstance(second, Decided)
    assert second.language == "mr"
    assert second.changed


def test_doubt_listens_again_and_earlier_votes_count_half() -> None:
    who = identifier()
    who.hear(1, seen(HINDI, hi=0.97, written=scores(hi=0.9)))
    assert who.settled
    who.doubt()
    assert not who.settled
    assert who.language == "hi"
    who.hear(2, seen(TAMIL, ta=0.97))
    verdict = who.hear(3, seen(TAMIL, ta=0.97))
    assert isinstance(verdict, Decided)
    assert verdict.language == "ta"


def test_a_key_is_final() -> None:
    who = identifier()
    assert who.choose("te") == Decided("te", 1.0, "keypad", True)
    who.doubt()
    verdict = who.hear(1, seen(TAMIL, ta=0.99))
    assert isinstance(verdict, Decided)
    assert verdict.language == "te"
    assert not verdict.changed
    assert who.votes[-1].source == "keypad"
    with pytest.raises(ValueError, match="hinglish"):
        who.choose("hinglish")


def test_nobody_pressed_a_key_the_default_is_taken_and_may_still_be_corrected() -> None:
    who = identifier(default="mr")
    who.hear(1, seen("हेलो", 0.4, hi=0.5, mr=0.4))
    verdict = who.choose("mr", how="default")
    assert verdict.how == "default"
    assert who.language == "mr"
    assert not who.settled
    later = who.hear(2, seen(TAMIL, 4.0, ta=0.99, written=scores(ta=0.99)))
    assert isinstance(later, Decided)
    assert later.language == "ta"
    assert later.changed


def test_preview_changes_nothing() -> None:
    who = identifier()
    assert who.preview(seen(TAMIL, ta=0.95)) == "ta"
    assert who.preview(seen("", 0.3, ta=0.5)) is None
    assert who.language is None
    assert who.votes == []


def test_an_utterance_that_says_nothing_leaves_the_decision_open() -> None:
    who = identifier()
    assert isinstance(who.hear(1, seen("Outlook", 1.0)), NeedMore)
    assert who.guess == "hi"
