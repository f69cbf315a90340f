import asyncio
from typing import get_args

import numpy as np
import pytest
from said import said

from appliance.interpreter.prompts import MENU, PromptError, Prompts, read_texts
from appliance.modelserver.errors import Rejected, Unavailable
from appliance.telephony.call_messages import Prompt
from appliance.text.languages import ALL_LANGUAGES, CALLER_LANGUAGES, language, script_shares
from appliance.text.spoken import spoken_text

TEXTS = read_texts()


class Voice:
    """One sample for each character, so that what was spoken can be told from its length."""

    def __init__(self, failures: list[Exception] | None = None) -> None:
        self.failures = failures or []
        self.asked: list[tuple[str, str]] = []
        self.most_at_once = self.now = 0

    async def speak(self, text: str, language: str, timeout_s: float, voice: str = "") -> np.ndarray:
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        try:
            await asyncio.sleep(0)
            if self.failures:
                raise self.failures.pop()
            self.asked.append((language, text))
            return np.full(len(text), 7, np.int16)
        finally:
            self.now -= 1


def test_every_prompt_is_written_in_its_own_script() -> None:
    for name, row in TEXTS.items():
        for code, text in row.items():
            shares = script_shares(text)
            assert set(shares) <= {language(code).script, "Latin"}, (name, code)
            assert shares.get(language(code).script, 0) > 0.1, (name, code)
            if code != "hinglish":
                assert "Latin" not in shares, (name, code)


def test_the_prompts_the_appliance_needs_are_there() -> None:
    of_interpreter = {"please_repeat", "keypad_menu", "language_set", "flagged"}
    assert {*get_args(Prompt), *of_interpreter} <= set(TEXTS)


@pytest.mark.parametrize("code", [item.code for item in ALL_LANGUAGES])
def test_the_greeting_is_short_and_the_menu_names_its_key(code: str) -> None:
    greeting = said(TEXTS["greeting"][code], language(code).voice, 165)
    assert len(greeting) / 16_000 <= 2.0
    assert len(said(TEXTS["speak_now"][code], language(code).voice, 165)) / 16_000 <= 2.0
    if code != "hinglish":
        key = [item.code for item in CALLER_LANGUAGES].index(code) + 1
        assert str(key) in TEXTS[MENU][code]
        assert str(key) in spoken_text(TEXTS[MENU][code], code)


async def test_synthesis_asks_for_each_once_and_not_for_all_together() -> None:
    voice = Voice()
    prompts = await Prompts.synthesise(voice)
    assert len(voice.asked) == len(set(voice.asked)) == len(TEXTS) * len(ALL_LANGUAGES)
    assert voice.most_at_once <= 4
    assert len(prompts.audio("greeting", "ta")) == len(TEXTS["greeting"]["ta"])


async def test_the_callers_menu_is_all_languages_in_turn() -> None:
    prompts = await Prompts.synthesise(Voice())
    menu = prompts.audio(MENU, "ta")
    assert np.count_nonzero(menu) == sum(len(TEXTS[MENU][item.code]) for item in CALLER_LANGUAGES)
    assert np.array_equal(menu, prompts.audio(MENU, "hi"))
    assert len(prompts.audio(MENU, "hinglish")) == len(TEXTS[MENU]["hinglish"])


async def test_a_server_that_is_still_warming_up_is_asked_again() -> None:
    voice = Voice([Unavailable("tts", "warming up", True), Unavailable("tts", "warming up", True)])
    prompts = await Prompts.synthesise(voice, {"goodbye": TEXTS["goodbye"]})
    assert len(prompts.audio("goodbye", "mr"))


@pytest.mark.parametrize("patience_s", [60.0, 0.0])
async def test_a_prompt_that_cannot_be_spoken_is_named(patience_s: float) -> None:
    failure = Rejected("tts", "no voice for kn", False) if patience_s else Unavailable("tts", "warming up", True)
    with pytest.raises(PromptError, match=r"'goodbye' could not be spoken in '.*': tts: "):
        await Prompts.synthesise(Voice([failure]), {"goodbye": TEXTS["goodbye"]}, patience_s=patience_s)
    assert len(asyncio.all_tasks()) == 1


async def test_an_unknown_prompt_is_named_with_the_known_ones() -> None:
    prompts = await Prompts.synthesise(Voice(), {"goodbye": TEXTS["goodbye"]})
    with pytest.raises(PromptError, match=r"no prompt 'hallo' in 'ta', there are: goodbye"):
        prompts.audio("hallo", "ta")


@pytest.mark.parametrize(
    ("table", "message"),
    [("prompt\tta\n", ":1: the columns"), ("prompt\tta\tte\tkn\tmr\thi\thinglish\nbye\ta\tb\tc\td\t \tf\n", ":2: a text in each")],
)
def test_a_bad_table_is_named_with_its_line(table: str, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        read_texts(table)
