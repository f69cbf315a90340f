"""The keypad of real telephones, and a call that needs no interpreter: the whole stack with the starter models."""

from __future__ import annotations

import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tones import tone, until_heard

from appliance.events import LanguageDecided, Party
from appliance.phone import speech_edges
from appliance.phone.conversation import LISTENERS
from appliance.phone.demo import scripts, speech
from appliance.phone.demo.scripts import Line
from appliance.phone.timeline import Samples
from appliance.phone.wav import TELEPHONE_HZ
from appliance.stack.programs import Programs
from appliance.store.flagged_audio import FlaggedAudio
from appliance.text.languages import language, script_shares

from .followed_call import ATTEMPTS, FollowedCall, Said, followed, pattern, transcript, within
from .part_stack import PartStack, part_stack

pytestmark = pytest.mark.timeout(180)
CALLER_HZ, AGENT_HZ = 2100, 2600
POLICY = """
[translate]
policy = "direct"
"""


@pytest.fixture(scope="module")
def stack(programs: Programs) -> Iterator[PartStack]:
    with part_stack(programs, POLICY) as stack:
        yield stack


def spoken(code: str, number: int) -> Samples:
    line: Line = scripts.load(code)[number]
    return speech.say(line.said, code if line.speaker == "caller" else scripts.AGENT_LANGUAGE, speech.voice_of(code, line.speaker))


async def is_repeated(call: FollowedCall, listener: Party, said: Said) -> None:
    """The listener, who presses `*`, hears once more what was made of it, and nothing is translated for that."""
    first = pattern(call.heard(listener, said.told_s))
    segments = len(call.segments(said.last.lane))
    for _ in range(ATTEMPTS):
        asked_s = time.monotonic()
        await call.press(listener, "*")
        if await call.hears(listener, first, asked_s):
            break
    else:
        pytest.fail(f"the {listener} does not hear it again: {call.told()}")
    assert len(call.segments(said.last.lane)) == segments


async def joined(stack: PartStack, call: FollowedCall) -> None:
    """They hear each other's own voice, past the gateway."""
    await call.reaches("direct")
    await call.until(lambda: stack.status()["media_sockets"] == 0, "the media's release")
    for speaker, pitch_hz in (("caller", CALLER_HZ), ("agent", AGENT_HZ)):
        party: Party = "caller" if speaker == "caller" else "agent"
        await call.phones[party].say(tone(pitch_hz))
        await until_heard(call.folder / LISTENERS[party], pitch_hz)


async def test_keys_of_both_parties(stack: PartStack, phones: Path) -> None:
    async with followed(stack, phones) as call:
        router = spoken("ta", 2)
        asked = await call.interpreted("caller", router)
        await is_repeated(call, "agent", asked)
        assert call.of(LanguageDecided)[-1].language == "ta"
        await flag_the_last(stack, call, router)
        await choose(call, "caller", "3", "kn")
        answered = await call.interpreted("agent", spoken("ta", 1))
        assert answered.last.target_language == "kn"
        shares = script_shares(answered.last.translated)
        assert shares.get(language("kn").script, 0.0) > 0.2, answered.last.translated
        assert language("ta").script not in shares, answered.last.translated
        await is_repeated(call, "caller", answered)
        await call.phones["agent"].press("0")
        await joined(stack, call)
        assert (await call.hang_up()).outcome == "direct"
    stack.settled()


async def flag_the_last(stack: PartStack, call: FollowedCall, other: Samples) -> None:
    """The agent presses `9`: what the caller said last is kept, and nothing else.

    Args:
        other: what he said before.
    """
    words = spoken("ta", 4)
    said = await call.interpreted("caller", words)
    flagged = said.last.utterance
    await call.press("agent", "9")
    file = FlaggedAudio(stack.loaded.state_dir).path(call.call_id, "caller_to_agent", flagged)
    await call.until(file.exists, "the audio's being kept")
    assert [kept.name for kept in file.parent.iterdir()] == [file.name]
    with wave.open(str(file)) as audio:
        assert (audio.getnchannels(), audio.getframerate()) == (1, 16_000)
        samples = np.frombuffer(audio.readframes(audio.getnframes()), "<i2")
    narrow = samples[: len(samples) // 2 * 2].reshape(-1, 2).mean(axis=1).astype(np.int16)
    assert speech_edges.find(pattern(words), narrow, at_least=0.5) is not None, "it is what was said"
    assert speech_edges.find(pattern(other), narrow, at_least=0.5) is None
    rows = (await transcript(stack, call, lambda call: any(row.flagged for row in call.utterances))).utterances
    assert {(row.lane, row.utterance) for row in rows if row.flagged} == {("caller_to_agent", flagged)}


async def choose(call: FollowedCall, party: Party, digit: str, code: str) -> None:
    """A language by the menu, which is not listened to."""
    await call.press(party, "#")
    await call.press(party, digit)
    await call.until(lambda: call.of(LanguageDecided)[-1].language == code, f"{code} as language")
    assert call.of(LanguageDecided)[-1].how == "keypad"


async def test_who_speaks_the_agents_language_is_joined_with_him(stack: PartStack, phones: Path) -> None:
    async with followed(stack, phones) as call:
        for number in (2, 0, 4):  # as a rule the first is enough
            await call.phones["caller"].say(words := spoken("hi", number))
            if await within(lambda: "direct" in call.states, len(words) / TELEPHONE_HZ + 5.0):
                break
        assert "direct" in call.states, call.told()
        decided = call.of(LanguageDecided)[-1]
        assert (decided.language, decided.how) == ("hi", "votes")
        await joined(stack, call)
        assert call.states[-1] == "direct"
        assert (await call.hang_up()).outcome == "direct"
    stack.settled()
