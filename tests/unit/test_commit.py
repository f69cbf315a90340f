import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.interpreter.commit import CommitPolicy
from appliance.interpreter.segment import bare


def run(*partials: str, final: str, clause_words: int = 7) -> tuple[list[str], str]:
    policy = CommitPolicy(clause_words)
    segments = [segment for partial in partials for segment in policy.update(partial)]
    return segments, policy.rest(final)


def test_a_sentence_is_committed_once_two_decodes_agree_beyond_it() -> None:
    policy = CommitPolicy()
    assert policy.update("मेरा printer खराब है.") == []
    assert policy.update("मेरा printer खराब है. उस में") == [], "nothing agreed follows yet"
    assert policy.update("मेरा printer खराब है. उस में error") == ["मेरा printer खराब है."]
    assert policy.update("मेरा printer खराब है. उस में error 407 है.") == []
    assert policy.rest("मेरा printer खराब है. उस में error 407 है.") == "उस में error 407 है."


def test_a_full_stop_at_the_end_of_half_a_sentence_commits_nothing() -> None:
    segments, rest = run("मेरा printer.", "मेरा printer.", "मेरा printer खराब.", final="मेरा printer खराब है.")
    assert segments == []
    assert rest == "मेरा printer खराब है."


def test_a_mark_that_only_one_decode_has_commits_nothing() -> None:
    segments, _ = run("मेरा printer. खराब है और", "मेरा printer खराब है और", final="मेरा printer खराब है और")
    assert segments == []


def test_a_long_clause_does_not_wait_for_its_sentence_but_a_short_one_does() -> None:
    text = "कल सुबह से हमारे branch में internet नहीं है, router की light"
    assert run(text, text, final=text) == (["कल सुबह से हमारे branch में internet नहीं है,"], "router की light")
    short = "हाँ जी, router की light लाल है और"
    assert run(short, short, final=short)[0] == []


def test_a_late_revision_changes_only_what_follows() -> None:
    segments, rest = run(
        "मेरा printer खराब है. error",
        "मेरा printer खराब है. error चार",
        "मेरे printers खराब हैं. error चार सौ",
        final="मेरे printers खराब हैं. error 407 है.",
    )
    assert segments == ["मेरा printer खराब है."]
    assert rest == "error 407 है."


def test_empty_partials_say_nothing() -> None:
    segments, rest = run("", "a b. c", "", "a b. c d", "", final="a b. c d e.")
    assert segments == ["a b."]
    assert rest == "c d e."


def test_a_repeated_sentence_is_committed_twice() -> None:
    text = "hello hello. hello hello. सुनिए अब"
    assert run(text, text, final=text) == (["hello hello.", "hello hello."], "सुनिए अब")


def test_a_decoder_going_round_in_circles_commits_nothing() -> None:
    loop = "है है है है है है. और अब"
    assert run(loop, loop, final="है. और अब")[0] == []


def test_two_sentences_at_once_are_two_segments() -> None:
    text = "नमस्ते. मेरा नाम Ravi है. मैं"
    assert run(text, text, final=text)[0] == ["नमस्ते.", "मेरा नाम Ravi है."]


def test_what_was_handed_out_before_an_utterance_was_cut_is_not_handed_out_again() -> None:
    long, first = "a b c. d e f. g h i. j k", "a b c. d e"
    before = CommitPolicy()
    before.update(long)
    assert before.update(f"{long} l") == ["a b c.", "d e f.", "g h i."]
    assert before.beyond(first) == ("f", "g", "h", "i")
    assert before.beyond(f"{long} l m.") == ()
    after = CommitPolicy()
    after.carry(before.beyond(first))
    assert after.update("f. g h i. j k l. m") == []
    assert after.update("f. g h i. j k l. m n") == ["j k l."]
    assert after.rest("f. g h i. j k l. m n o.") == "m n o."


words = st.lists(st.sampled_from(["a", "b", "c", "b.", "c,", "d?", "a."]), max_size=14).map(" ".join)


@given(st.lists(words, max_size=8))
def test_what_was_committed_is_never_taken_back(partials: list[str]) -> None:
    policy = CommitPolicy(clause_words=3)
    handed: list[str] = []
    for partial in partials:
        before = policy.committed
        handed += itertools.chain.from_iterable(segment.split() for segment in policy.update(partial))
        assert policy.committed[: len(before)] == before
        assert policy.committed == tuple(map(bare, handed))


@given(st.lists(st.sampled_from(["w1", "w2", "w3.", "w4,", "w5?"]), min_size=1, max_size=25), st.data())
def test_a_recogniser_that_only_grows_loses_and_repeats_nothing(spoken: list[str], data: st.DataObject) -> None:
    policy = CommitPolicy(clause_words=3)
    said: list[str] = []
    place = 0
    while place < len(spoken):
        place = min(len(spoken), place + data.draw(st.integers(0, 4)) + 1)
        for segment in policy.update(" ".join(spoken[:place])):
            said += segment.split()
    said += policy.rest(" ".join(spoken)).split()
    assert said == spoken


@pytest.mark.parametrize("clause_words", [1, 5])
def test_lag_behind_a_steady_speaker(clause_words: int) -> None:
    """One word each partial: a sentence is handed out three words after its end at the latest."""
    spoken = ("a b c d e. " * 6).split()
    policy = CommitPolicy(clause_words)
    out = 0
    for place in range(1, len(spoken) + 1):
        out += sum(len(segment.split()) for segment in policy.update(" ".join(spoken[:place])))
        ended = max((index + 1 for index in range(place - 2) if spoken[index].endswith(".")), default=0)
        assert out >= ended
