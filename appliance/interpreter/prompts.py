"""What the appliance itself says to callers and agents: texts in `prompts.tsv`, audio made once at the start of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from importlib.resources import files

import numpy as np

from appliance.errors import ApplianceError
from appliance.interpreter.models_protocol import Samples, Speaks
from appliance.modelserver.errors import ModelServerError
from appliance.text.languages import ALL_LANGUAGES, CALLER_LANGUAGES

RATE = 16_000
MENU = "keypad_menu"
_MENU_PAUSE_S = 0.25
_AT_ONCE = 4
"""Requests under way together: the speech server batches them, calls in progress still find it free."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 2.0

Texts = Mapping[str, Mapping[str, str]]
"""Text by prompt and language code."""


class PromptError(ApplianceError):
    """A prompt is missing from the table or could not be spoken."""


def read_texts(table: str | None = None) -> dict[str, dict[str, str]]:
    """The table of prompts: a column for each language, a row for each prompt.

    Raises:
        PromptError: with the line.
    """
    content = table if table is not None else files(__package__).joinpath("prompts.tsv").read_text(encoding="utf-8")
    header, *rows = (line.split("\t") for line in content.splitlines())
    codes = [language.code for language in ALL_LANGUAGES]
    if header != ["prompt", *codes]:
        raise PromptError(f"prompts.tsv:1: the columns must be prompt, {', '.join(codes)}")
    texts: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows, 2):
        if len(row) != len(header) or not all(field.strip() for field in row):
            raise PromptError(f"prompts.tsv:{number}: a text in each of {', '.join(codes)} is needed")
        texts[row[0]] = dict(zip(codes, row[1:], strict=True))
    return texts


class Prompts:
    """Prompts as audio, 16 kHz."""

    def __init__(self, texts: Texts, audio: Mapping[tuple[str, str], Samples]) -> None:
        self._texts = texts
        self._audio = audio
        pause = np.zeros(round(_MENU_PAUSE_S * RATE), np.int16)
        lines = [audio[MENU, language.code] for language in CALLER_LANGUAGES if (MENU, language.code) in audio]
        self._menu = np.concatenate([part for line in lines for part in (line, pause)] or [pause])

    @classmethod
    async def synthesise(cls, speech: Speaks, texts: Texts | None = None, *, timeout_s: float = 5.0, patience_s: float = 60.0) -> Prompts:
        """Have every prompt spoken.

        Args:
            speech: the model client.
            texts: as `read_texts` returns them, which is the default.
            timeout_s: of one request.
            patience_s: how long to try again while the speech server is not ready.

        Raises:
            PromptError: which prompt could not be spoken, and why.
        """
        texts = texts if texts is not None else read_texts()
        wanted = [(name, code, text) for name, row in texts.items() for code, text in row.items()]
        gate = asyncio.Semaphore(_AT_ONCE)
        give_up = asyncio.get_running_loop().time() + patience_s

        async def say(name: str, code: str, text: str) -> tuple[tuple[str, str], Samples]:
            async with gate:
                return (name, code), await _spoken(speech, name, code, text, timeout_s, give_up)

        tasks = [asyncio.create_task(say(*item), name=f"prompt {item[0]} {item[1]}") for item in wanted]
        try:
            return cls(texts, dict(await asyncio.gather(*tasks)))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def names(self) -> Iterable[str]:
        return self._texts.keys()

    def text(self, name: str, language: str) -> str:
        return self._texts[name][language]

    def audio(self, name: str, language: str) -> Samples:
        """The prompt; the keypad menu for callers is all five lines one after the other, whatever the language.

        Raises:
            PromptError: there is no such prompt.
        """
        if name == MENU and language != "hinglish":
            return self._menu
        try:
            return self._audio[name, language]
        except KeyError:
            raise PromptError(f"no prompt {name!r} in {language!r}, there are: {', '.join(self._texts)}") from None


async def _spoken(speech: Speaks, name: str, code: str, text: str, timeout_s: float, give_up: float) -> Samples:
    wait_s = _FIRST_WAIT_S
    while True:
        try:
            audio = await speech.speak(text, code, timeout_s)
        except ModelServerError as error:
            if not error.retry or asyncio.get_running_loop().time() + wait_s > give_up:
                raise PromptError(f"the prompt {name!r} could not be spoken in {code!r}: {error}") from error
            await asyncio.sleep(wait_s)
            wait_s = min(_LONGEST_WAIT_S, 2 * wait_s)
            continue
        if not len(audio):
            raise PromptError(f"the prompt {name!r} is silent in {code!r}")
        return audio
