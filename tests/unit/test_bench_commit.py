import numpy as np
import pytest

from appliance.bench.commit import KINDS, LocalAgreement, Stream, follow, row, stream
from appliance.interpreter.commit import CommitPolicy


def streams(kind: str, count: int = 30) -> list[Stream]:
    rng = np.random.default_rng(8)
    return [stream(kind, rng) for _ in range(count)]


def test_plain_local_agreement_hands_out_what_two_decodes_begin_with() -> None:
    policy = LocalAgreement()
    assert policy.update("a b c") == []
    assert policy.update("a b d e") == ["a", "b"]
    assert policy.update("a b d e f") == ["d", "e"]
    assert policy.update("x y") == []
    assert policy.rest("a b d e f g") == "f g"


def test_delays_unconfirmed_and_lost_words_of_a_stream() -> None:
    item = Stream(((1.0, "a b."), (2.0, "a b. c"), (3.0, "a b. c d")), "a b. x d.", (0.5, 1.0, 2.0, 3.0))
    plain = follow(LocalAgreement(), item)
    assert (plain.early, plain.unconfirmed, plain.lost) == (3, 1, 0), "c was handed out, x is what was said"
    assert plain.delays_s == pytest.approx([1.5, 1.0, 0.5])
    ours = follow(CommitPolicy(), item)
    assert (ours.early, ours.unconfirmed, ours.lost, ours.pieces) == (2, 0, 0, 2)
    assert ours.delays_s == pytest.approx([2.5, 2.0, 1.5, 0.5])


@pytest.mark.parametrize("kind", KINDS)
def test_it_loses_no_word_and_takes_back_no_more_than_plain_local_agreement(kind: str) -> None:
    items = streams(kind)
    ours, plain = row(kind, "ours", items), row(kind, "LocalAgreement-2", items)
    assert ours["lost per 100 words"] == 0
    assert float(ours["unconfirmed per 100 words"] or 0) <= float(plain["unconfirmed per 100 words"] or 0)
    assert float(ours["mean delay s"] or 0) < 3.0, "a clause, not the whole utterance"
    assert float(ours["handed out early %"] or 0) > 50


def test_late_revisions_cost_plain_local_agreement_much_more() -> None:
    items = streams("late revisions")
    ours, plain = (float(row("late revisions", name, items)["unconfirmed per 100 words"] or 0) for name in ("ours", "LocalAgreement-2"))
    assert plain > 2 * ours > 0


def test_a_stream_ends_with_what_was_said_and_unknown_ones_are_named() -> None:
    item = streams("steady", 1)[0]
    assert item.final.startswith(item.hypotheses[-1][1])
    assert len(item.final.split()) == len(item.ends_s)
    with pytest.raises(ValueError, match="unknown kind of stream 'loud', allowed: steady"):
        stream("loud", np.random.default_rng(1))
