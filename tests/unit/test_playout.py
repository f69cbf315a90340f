import time

import numpy as np
import pytest
from said import noise, said

from appliance.config.schema import Play
from appliance.interpreter.playout import SILENCE, Frame, Playout
from appliance.telephony.media import FRAME_BYTES, FRAME_SAMPLES

TONE = (8000 * np.sin(np.arange(16_000) * 2 * np.pi * 440 / 16_000)).astype(np.int16)
VOICE = noise(1.0, 3000)
MUTE = Play(original_voice=False)


def frames_of(pcm: np.ndarray) -> list[bytes]:
    return [pcm[start : start + FRAME_SAMPLES].tobytes() for start in range(0, len(pcm) // FRAME_SAMPLES * FRAME_SAMPLES, FRAME_SAMPLES)]


def run(playout: Playout, frames: int, original: np.ndarray | None = None) -> list[Frame]:
    voices: list[bytes | None] = list(frames_of(original)) if original is not None else [None]
    return [playout.next_frame(voices[index % len(voices)]) for index in range(frames)]


def heard(frames: list[Frame]) -> np.ndarray:
    assert all(len(frame.pcm) == FRAME_BYTES for frame in frames)
    return np.frombuffer(b"".join(frame.pcm for frame in frames), np.int16)


def rms(pcm: np.ndarray) -> float:
    return float(np.sqrt(np.mean(pcm.astype(np.float64) ** 2)))


def test_silence_when_there_is_nothing() -> None:
    assert [frame.pcm for frame in run(Playout(Play()), 3)] == [SILENCE] * 3


def test_pieces_are_played_in_order_with_keys_at_their_first_and_last_frame() -> None:
    playout = Playout(MUTE)
    playout.add("translation", TONE[:6400], started="a", ended="a")
    playout.add("translation", -TONE[:3200], started="b", ended="b")
    assert playout.queued_s == pytest.approx(0.4 + 0.12 + 0.2 + 0.12)
    frames = run(playout, 45)
    assert [(index, frame.started) for index, frame in enumerate(frames) if frame.started] == [(0, ("a",)), (26, ("b",))]
    assert [(index, frame.ended) for index, frame in enumerate(frames) if frame.ended] == [(19, ("a",)), (35, ("b",))]
    sound = heard(frames)
    np.testing.assert_array_equal(sound[100:6300], TONE[100:6300])
    assert not sound[6400 : 26 * 320].any(), "the gap"
    np.testing.assert_array_equal(sound[26 * 320 + 100 : 26 * 320 + 3100], -TONE[100:3100])
    assert playout.playing is None
    assert playout.queued_s == 0


def test_the_end_of_several_pieces_is_marked_by_an_empty_one() -> None:
    playout = Playout(MUTE)
    playout.add("translation", TONE[:3200], started="x")
    playout.add("translation", TONE[:0], ended="x")
    frames = run(playout, 30)
    assert [index for index, frame in enumerate(frames) if "x" in frame.ended] == [16]
    assert [frame.started for frame in frames if frame.started] == [("x",)]


def test_the_original_voice_is_quietly_underneath() -> None:
    playout = Playout(Play(original_voice=True, original_voice_db=-20))
    alone = heard(run(playout, 40, VOICE))[FRAME_SAMPLES:]
    assert rms(alone) == pytest.approx(rms(VOICE) / 10, rel=0.05)
    playout.add("translation", TONE)
    both = heard(run(playout, 40, VOICE))
    assert rms((both - TONE[: len(both)])[100:]) == pytest.approx(rms(VOICE) / 10, rel=0.1)


def test_the_original_voice_can_be_off_and_alone() -> None:
    playout = Playout(MUTE)
    assert not heard(run(playout, 10, VOICE)).any()
    playout.original("alone")
    run(playout, 1, VOICE)
    np.testing.assert_array_equal(heard(run(playout, 10, VOICE)), VOICE[: 10 * FRAME_SAMPLES])
    playout.original("off")
    run(playout, 1, VOICE)
    assert not heard(run(playout, 10, VOICE)).any()


def test_no_click_when_the_gain_changes() -> None:
    """A constant original shows the gain itself: between any two samples it moves by no more than a ramp of 20 ms."""
    level = np.full(16_000, 20_000, np.int16)
    playout = Playout(Play(original_voice=True, original_voice_db=-6))
    run(playout, 3, level)
    playout.add("prompt", np.zeros(3200, np.int16))
    sound = heard(run(playout, 40, level))
    steps = np.abs(np.diff(sound.astype(np.int32)))
    assert sound.min() == 0
    assert sound.max() > 9000
    assert steps.max() <= 40


def test_pieces_begin_and_end_softly() -> None:
    playout = Playout(MUTE)
    playout.add("translation", np.full(6400, 10_000, np.int16))
    sound = heard(run(playout, 40))
    assert np.abs(np.diff(sound.astype(np.int32))).max() <= 200


def test_a_translation_survives_the_flushing_of_prompts() -> None:
    playout = Playout(MUTE)
    playout.add("prompt", TONE, started="p", ended="p")
    playout.add("translation", TONE[:3200], started="t", ended="t")
    playout.add("prompt", TONE, ended="q")
    run(playout, 5)
    assert playout.prompting
    assert playout.flush("prompt") == ("p", "q")
    frames = run(playout, 30)
    assert [frame.started for frame in frames if frame.started] == [("t",)]
    assert [frame.ended for frame in frames if frame.ended] == [("t",)]
    assert np.abs(np.diff(heard(frames).astype(np.int32))).max() < 2500, "the prompt is faded out"


def test_the_menu_is_not_flushed_with_the_prompts() -> None:
    playout = Playout(MUTE)
    playout.add("menu", TONE, ended="m")
    assert playout.flush("prompt") == ()
    assert playout.prompting
    assert playout.flush("menu") == ("m",)
    assert not playout.prompting


def test_loud_speech_over_a_loud_voice_is_not_distorted() -> None:
    playout = Playout(Play(original_voice=True, original_voice_db=0.0))
    square = np.where(np.arange(16_000) // 40 % 2, 32_767, -32_768).astype(np.int16)
    playout.add("translation", square)
    both = heard(run(playout, 40, square)).astype(np.int32)
    assert both.max() <= 32_767
    assert np.sign(both[1000:8000]).tolist() == np.sign(square[1000:8000]).tolist(), "no sample has wrapped around"


def test_levels_are_those_of_everything_that_is_played() -> None:
    playout = Playout(Play(original_voice_db=-20))
    assert playout.next_frame(None).rms == 0
    run(playout, 1, VOICE)
    assert run(playout, 1, VOICE)[0].rms == pytest.approx(rms(VOICE[:FRAME_SAMPLES]) / 10, rel=0.02)
    playout.add("translation", TONE)
    assert run(playout, 10, VOICE)[5].rms == pytest.approx(np.hypot(rms(TONE), rms(VOICE) / 10), rel=0.05)
    playout.original("alone")
    run(playout, 60, VOICE)
    assert run(playout, 1, VOICE)[0].rms == pytest.approx(rms(VOICE[:FRAME_SAMPLES]), rel=0.02)


def test_a_frame_is_cheap() -> None:
    """400 legs have 20 ms together; here with the most expensive kind of frame, a translation over a voice."""
    playout = Playout(Play())
    for _ in range(8):
        playout.add("translation", said("आपका password reset हो गया है"))
    voice = frames_of(VOICE)[0]
    took_s = []
    for _ in range(5):
        begun = time.process_time()
        for _ in range(100):
            playout.next_frame(voice)
        took_s.append((time.process_time() - begun) / 100)
    assert min(took_s) < 60e-6
