import numpy as np
import pytest
from said import Samples, noise, said, silence

from appliance.speech.echo import FRAME, EchoGuard, envelope

PLAYED = said("आपका ticket number चार पांच छह है और engineer कल आएगा", "hi")
OTHER = said("मेरा printer काम नहीं कर रहा है कृपया देखिए", "mr", 175)


def guard_after(pcm: Samples) -> EchoGuard:
    guard = EchoGuard()
    for value in envelope(pcm):
        guard.played(float(value))
    return guard


def delayed(pcm: Samples, delay_s: float, db: float) -> Samples:
    back = (pcm.astype(np.float32) * 10 ** (db / 20)).astype(np.int16)
    return np.concatenate((silence(delay_s), back))


@pytest.mark.parametrize("delay_s", [0.04, 0.12, 0.25])
@pytest.mark.parametrize("db", [-15.0, -25.0])
def test_own_playback_heard_back_is_an_echo(delay_s: float, db: float) -> None:
    heard = delayed(PLAYED, delay_s, db)[: len(PLAYED)]
    heard = heard + noise(len(heard) / 16_000, 15)[: len(heard)]
    frames = len(PLAYED) // FRAME
    verdict = guard_after(PLAYED[: frames * FRAME]).judge(heard[: frames * FRAME], frames)
    assert verdict.echo, verdict
    assert verdict.lag_s == pytest.approx(delay_s, abs=0.04)
    assert verdict.level_db == pytest.approx(db, abs=4)


def test_part_of_the_playback_heard_back_is_an_echo_too() -> None:
    heard = delayed(PLAYED, 0.1, -18)
    guard = guard_after(PLAYED)
    first, length = 40, 60
    stretch = heard[first * FRAME : (first + length) * FRAME]
    assert guard.judge(stretch, len(PLAYED) // FRAME - first).echo


def test_somebody_speaking_over_the_playback_is_not() -> None:
    length = min(len(PLAYED), len(OTHER)) // FRAME
    guard = guard_after(PLAYED[: length * FRAME])
    alone = OTHER[: length * FRAME]
    assert not guard.judge(alone, length).echo
    with_echo = alone + delayed(PLAYED, 0.1, -20)[: len(alone)]
    assert not guard.judge(with_echo, length).echo


def test_speech_while_nothing_was_played_is_not() -> None:
    guard = guard_after(silence(4.0))
    assert not guard.judge(PLAYED, 200).echo
    assert not EchoGuard().judge(PLAYED, 200).echo


def test_the_same_words_said_by_the_listener_as_loud_as_the_playback_are_not() -> None:
    assert not guard_after(PLAYED).judge(delayed(PLAYED, 0.1, -3)[: len(PLAYED)], len(PLAYED) // FRAME).echo


def test_what_was_played_long_ago_is_forgotten() -> None:
    guard = guard_after(np.concatenate((PLAYED, silence(31.0))))
    assert not guard.judge(delayed(PLAYED, 0.1, -20), (len(PLAYED) + 31 * 16_000) // FRAME).echo
