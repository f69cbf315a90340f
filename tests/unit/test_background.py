import numpy as np

from appliance.speech.background import Background


def told(background: Background, energies: list[float], probability: float = 0.9) -> None:
    for energy in energies:
        background.take(energy, probability)


def varying(level: float, seconds: float, seed: int = 1) -> list[float]:
    """Energies of voices: never the same twice."""
    return list(level * np.random.default_rng(seed).uniform(0.5, 2.0, round(seconds / 0.032)))


def test_nothing_is_too_faint_on_a_line_without_other_voices() -> None:
    background = Background()
    told(background, varying(1.0, 5.0), probability=0.05)
    told(background, [0.01] * 3)
    assert not background.covers(speaking=False)
    assert not background.covers(speaking=True)


def test_a_room_full_of_voices_covers_itself_and_not_who_speaks_up() -> None:
    background = Background()
    told(background, varying(100.0, 5.0))
    assert background.covers(speaking=False)
    told(background, [100 * 2.5] * 3)
    assert background.covers(speaking=False)
    assert not background.covers(speaking=True), "going on takes less than beginning to"
    told(background, [100 * 8.0] * 3)
    assert not background.covers(speaking=False)


def test_one_person_who_pauses_between_words_is_no_room() -> None:
    background = Background()
    for _ in range(30):
        told(background, varying(100.0, 0.2))
        told(background, [0.1] * 4)
    told(background, [3.0] * 3)
    assert not background.covers(speaking=True), "a faint word of his is not covered either"


def test_a_tone_is_no_room_however_long_it_lasts() -> None:
    background = Background()
    told(background, [100.0] * 500)
    assert not background.covers(speaking=False)


def test_a_room_that_falls_silent_is_forgotten_within_seconds() -> None:
    background = Background()
    told(background, varying(100.0, 5.0))
    told(background, [0.1] * 70, probability=0.02)
    told(background, [5.0] * 3)
    assert not background.covers(speaking=False)
