import numpy as np
import pytest
from said import noise

from appliance.config.schema import Play
from appliance.interpreter.mixing import UNITY, all_scaled, rms, scaled
from appliance.interpreter.playout import Original, Playout
from appliance.telephony.media import FRAME_BYTES, FRAME_SAMPLES

RANDOM = np.random.default_rng(5)


def frames(count: int) -> list[bytes]:
    return [RANDOM.integers(-32768, 32768, FRAME_SAMPLES).astype(np.int16).tobytes() for _ in range(count)]


def test_all_at_once_is_what_each_would_be_alone() -> None:
    voices, gains = frames(7), [1, 1000, 3277, 9999, UNITY // 2, UNITY - 1, UNITY]
    for voice, gain, (pcm, level) in zip(voices, gains, all_scaled(voices, gains), strict=True):
        alone = scaled(np.frombuffer(voice, np.int16), gain, gain)
        assert pcm == alone.astype(np.int16).tobytes()
        assert level == pytest.approx(rms(alone), rel=1e-5)
    assert all_scaled([], []) == []


@pytest.mark.parametrize("play", [Play(), Play(original_voice=False)])
def test_what_is_heard_is_the_same_whoever_scales_the_voice(play: Play) -> None:
    """A thousand frames of a call in which everything happens; the voice is left out now and then, as when a packet is late."""
    here, there = Playout(play), Playout(play)
    plan = np.random.default_rng(6)
    steady = 0
    for number in range(1000):
        for playout in (here, there):
            if number % 100 == 20:
                playout.add("translation", noise(0.3, 4000, number), ended="x")
            if number % 300 == 70:
                playout.add("prompt", noise(0.5, 4000, number))
            if number % 300 == 80:
                playout.flush("prompt")
            if number % 50 == 0:
                modes: list[Original] = ["under", "under", "alone", "off"]
                playout.original(modes[number // 50 % 4])
            playout.duck(number // 30 % 3 == 0)
        voice = None if plan.random() < 0.1 else frames(1)[0]
        expected = there.next_frame(voice)
        gain = here.steady_gain() if voice is not None else 0
        if gain and voice is not None:
            steady += 1
            ((pcm, level),) = all_scaled([voice], [gain])
            assert (expected.started, expected.ended) == ((), ())
        else:
            frame = here.next_frame(voice)
            pcm, level = frame.pcm, frame.rms
            assert (frame.started, frame.ended) == (expected.started, expected.ended)
        assert pcm == expected.pcm, number
        assert len(pcm) == FRAME_BYTES
        assert level == pytest.approx(expected.rms, rel=1e-5)
    assert (steady > 200) == play.original_voice
