"""A listener whose telephone gives back what it plays, in a whole call in virtual time with the real detector."""

import asyncio

import numpy as np
import pytest

from appliance.bench import clips, echo, virtual_time
from appliance.bench.goals import judged
from appliance.interpreter.playout import Playout
from appliance.speech.echo import EchoGuard, EchoVerdict

SAID = clips.spoken(clips.sentences("hi")[0], "hi")
SPOKEN = [clips.spoken(text, "hinglish") for text in clips.sentences("hinglish")[:2]]


@pytest.fixture
def turned_down(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What playouts were told while something was played."""
    told: list[bool] = []
    duck = Playout.duck

    def noted(playout: Playout, ducked: bool) -> None:
        told.append(ducked)
        duck(playout, ducked)

    monkeypatch.setattr(Playout, "duck", noted)
    return told


@pytest.mark.parametrize("delay_s", [0.04, 0.12])
def test_neither_the_translation_nor_the_voice_under_it_comes_back_as_speech(delay_s: float, turned_down: list[bool]) -> None:
    row = echo.row(delay_s, [SAID], SPOKEN, 2, np.random.default_rng(1))
    assert (row["played"], row["heard back"]) == (2, 2), "the detector did hear it"
    assert row["taken for speech"] == 0
    assert row["decodes of it"] == 0
    assert turned_down
    assert not any(turned_down), "it is not the listener who talks"


def test_of_50_translations_none_is_taken_for_speech() -> None:
    (goal,) = judged(["echo"], {"echo": echo.measure(quick=False).rows}, quick=False).rows
    assert (goal["reached"], goal["met"]) == ("0 of 50", True)


def test_without_the_guard_each_is_interpreted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EchoGuard, "judge", lambda self, pcm, frames_ago: EchoVerdict(False, 0.0, 0.0, 0.0))
    row = echo.row(0.08, [SAID], SPOKEN, 1, np.random.default_rng(1))
    assert row["taken for speech"]


def test_virtual_time_passes_at_once_and_in_order() -> None:
    woken: list[tuple[float, str]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((asyncio.get_running_loop().time(), name))

    async def both() -> float:
        await asyncio.gather(sleeper("late", 600.0), sleeper("early", 0.25))
        return asyncio.get_running_loop().time()

    assert virtual_time.run(both()) == pytest.approx(600.0)
    assert woken == [(pytest.approx(0.25), "early"), (pytest.approx(600.0), "late")]
