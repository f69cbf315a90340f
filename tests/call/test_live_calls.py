"""What may happen to a call while it is interpreted, as its telephones and its records show it; two workers.

The interpreter is the real one, its engines are stubs: whatever is said is understood as the same words, and every translation and
announcement is a tone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from redis import Redis
from stalls import Stalls
from tones import tone

from appliance.events import LanguageDecided, Party, UtteranceInterpreted
from appliance.modelserver.breaker import OPEN_S
from appliance.modelserver.client import WATCH_S
from appliance.phone import speech_edges
from appliance.phone.conversation import LISTENERS
from appliance.phone.demo import scripts, speech
from appliance.phone.speech_edges import Stretch
from appliance.phone.timeline import Samples
from appliance.phone.wav import TELEPHONE_HZ
from appliance.stack.programs import Programs

from .conftest import SETTLED_S, wait_until
from .followed_call import ATTEMPTS, FollowedCall, followed, pattern, transcript, within
from .media_relay import MediaRelay, media_relays
from .part_stack import PartStack, part_stack
from .test_outages import fill, small_disk

pytestmark = pytest.mark.timeout(180)
WORKERS = (1, 2)
STUBS = """
[stt]
engine = "stub"
model = "delay_s=0.08,text=printer problem"
[mt]
engine = "stub"
model = "delay_s=0.02"
[tts]
engine = "stub"
model = "delay_s=0.02,speech_s=0.6"
[store]
database = "sqlite:///state/spool/setu.sqlite"
[identify]
remember = false
"""
STUB_HZ = 440
CALLER_HZ, AGENT_HZ = 2100, 2600
VOICES_S, ON_S = 5.0, 2.0
"""Both speak so long while something happens, and are heard for so long after it."""
SILENT_S = 2.0
"""Longest a party may hear nothing while the other one speaks."""
DUCKED_S = 0.3
"""From the beginning of his own words to the moment at which what a party hears is turned down, ways on the line apart."""
TURNED_DOWN = 0.4
"""Of the level before: -8 dB; it is -12."""
STEP_S = 0.02


@pytest.fixture(scope="module")
def running(programs: Programs) -> Iterator[PartStack]:
    def prepare(folder: Path) -> AbstractContextManager[object]:
        return small_disk(folder / "state" / "spool", "4m") if os.geteuid() == 0 else nullcontext()

    with part_stack(programs, STUBS, edit={"[gateway]\n": f"[gateway]\nworkers = {len(WORKERS)}\n"}, prepare=prepare) as stack:
        yield stack


@pytest.fixture
def stack(running: PartStack) -> Iterator[PartStack]:
    """With both workers, and nothing left of any call in the end."""
    yield running
    for name in {f"gateway-{number}" for number in WORKERS} - running.parts.keys():
        running.start(name)
    wait_until(lambda: all(answers(running, number) for number in WORKERS), 20, "the workers do not take calls")
    deadline = time.monotonic() + SETTLED_S
    while found := left(running):
        assert time.monotonic() < deadline, f"left after the call: {found}"
        time.sleep(0.2)


def answers(stack: PartStack, worker: int) -> bool:
    try:
        return stack.get("/health", worker).status_code == 200
    except httpx.TransportError:
        return False


def left(stack: PartStack) -> dict[str, int]:
    counts = {"asterisk channels": stack.channels(), "asterisk bridges": stack.bridges()}
    for number in WORKERS:
        status = stack.get("/api/status", number).json()
        names = ("calls", "channels", "bridges", "media_sockets", "media_expected", "call_tasks")
        counts |= {f"gateway-{number} {name}": int(status[name]) for name in names}
    return {name: count for name, count in counts.items() if count}


def holder(stack: PartStack) -> int:
    """The worker that has the only call."""
    (number,) = (number for number in WORKERS if stack.get("/api/calls", number).json())
    return number


def voice(party: Party) -> Samples:
    """A short sentence; the caller's is long enough to tell his language."""
    return speech.say("मेरे printer में समस्या है." if party == "caller" else "printer बंद है.", "hi", speech.voice_of("hi", party))


async def both(call: FollowedCall) -> None:
    """Each says a sentence that the other one hears translated."""
    for party in call.phones:
        await call.interpreted(party, voice(party))


def key(event: Any) -> tuple[str, int, int]:
    return event.lane, event.utterance, event.segment


# Records; the first test, for in a database that has grown before there is room on a full disk too


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
async def test_what_is_said_while_nothing_can_be_written_is_written_later(stack: PartStack, phones: Path) -> None:
    disk = stack.loaded.state_dir / "spool"
    async with followed(stack, phones) as call:
        worker = holder(stack)

        def events(where: str) -> float:
            return stack.metric(f'setu_store_events_total{{result="{where}"}}', worker)

        async def all_written() -> None:
            await call.until(lambda: stack.metric("setu_store_spooled_events", worker) == 0, "everything's being written", 20)

        await all_written()
        filler = fill(disk)
        try:
            await both(call)
            await call.until(lambda: events("memory") > 0, "records in memory")
            assert stack.metric("setu_store_up", worker) == 0
        finally:
            filler.unlink()
        await all_written()
        with closing(sqlite3.connect(disk / "setu.sqlite", isolation_level=None, timeout=10)) as lock:
            lock.execute("BEGIN EXCLUSIVE")
            before = events("spool")
            await both(call)
            await call.until(lambda: events("spool") > before, "records in the spool")
            lock.execute("ROLLBACK")
        await all_written()
        assert (await call.hang_up()).outcome == "interpreted"
    recorded = await transcript(stack, call, lambda call: call.outcome is not None)
    assert {key(row) for row in recorded.utterances} == {key(event) for event in call.of(UtteranceInterpreted)}
    interpreted = [row for row in recorded.utterances if row.outcome == "interpreted"]
    assert Counter(row.lane for row in interpreted) >= Counter({"caller_to_agent": 2, "agent_to_caller": 2})
    assert all(row.played_at for row in interpreted)
    assert [events(lost) for lost in ("rejected", "dropped")] == [0, 0]


# A worker is killed


def sounding_s(call: FollowedCall, party: Party, since_s: float) -> float:
    """For how long a party has heard something since then."""
    levels = speech_edges.levels(call.heard(party, since_s), TELEPHONE_HZ)
    return float((levels > speech_edges.SILENCE_DBFS).sum()) * speech_edges.FRAME_S


async def both_speak(call: FollowedCall) -> None:
    """At the same time and on and on; returns when both hear each other's voice beneath."""
    asked_s = time.monotonic()
    for party, pitch_hz in (("caller", CALLER_HZ), ("agent", AGENT_HZ)):
        await call.phones["caller" if party == "caller" else "agent"].say(tone(pitch_hz, VOICES_S))
    await call.until(lambda: min(sounding_s(call, party, asked_s) for party in call.phones) > 0.5, "hearing each other")


def gap_s(call: FollowedCall, party: Party, since_s: float) -> float:
    """Longest time since then, until now, in which a party heard nothing at all."""
    heard = call.heard(party, since_s)
    return speech_edges.longest_silence(heard, TELEPHONE_HZ, [Stretch(0.0, len(heard) / TELEPHONE_HZ)])


async def heard_on(call: FollowedCall, stalls: Stalls, happened_s: float) -> None:
    """Both go on to hear each other, and neither was left without any sound for longer than allowed."""
    await call.until(lambda: min(sounding_s(call, party, happened_s) for party in call.phones) > ON_S, "hearing each other again")
    lost_s = stalls.lost_s(happened_s, time.monotonic())
    gaps = {party: round(gap_s(call, party, happened_s - 0.5), 2) for party in call.phones}
    print(f"seconds of silence {gaps}, of which the machine stood still for {lost_s:.2f} s")
    assert max(gaps.values()) - lost_s <= SILENT_S


async def test_another_worker_adopts_the_call_and_interprets_on(stack: PartStack, phones: Path) -> None:
    with Stalls() as stalls:
        async with followed(stack, phones) as call:
            dead = holder(stack)
            heir = sum(WORKERS) - dead
            await call.interpreted("caller", voice("caller"))
            for digit in "#4":
                await call.press("caller", digit)
            await call.until(lambda: call.of(LanguageDecided)[-1].language == "mr", "Marathi as language")
            with closing(Redis.from_url(stack.loaded.config.redis.url, decode_responses=True)) as redis:
                name = f"setu:call:{call.call_id}"
                await call.until(lambda: redis.hmget(name, "language", "chosen") == ["mr", "1"], "the language in Redis")
            await both_speak(call)
            killed_s = time.monotonic()
            stack.send(f"gateway-{dead}", signal.SIGKILL)
            await call.until(lambda: [each["state"] for each in stack.get("/api/calls", heir).json()] == ["interpreting"], "its adoption")
            print(f"adopted after {time.monotonic() - killed_s:.2f} s")
            await heard_on(call, stalls, killed_s)
            (adopted,) = stack.get("/api/calls", heir).json()
            assert (adopted["call_id"], adopted["language"]) == (call.call_id, "mr")
            assert (await call.interpreted("agent", voice("agent"))).last.target_language == "mr"
            for _ in range(2):  # though the recogniser takes what he says for Tamil
                assert (await call.interpreted("caller", voice("caller"))).last.source_language == "mr"
            assert (await call.hang_up()).outcome == "interpreted"
        kept = [item.event for item in call.events.received if not killed_s - 1.0 < item.at < killed_s]
        said = [event for event in kept if isinstance(event, UtteranceInterpreted)]
        recorded = await transcript(stack, call, lambda call: call.outcome is not None)
        assert max(Counter(key(event) for event in said).values()) == 1, "no number is given twice"
        assert {key(event) for event in said} <= {key(row) for row in recorded.utterances}
        assert recorded.language == "mr"
        order = [row.started_s for row in sorted(recorded.utterances, key=lambda row: row.recorded_at) if row.lane == "caller_to_agent"]
        assert order == sorted(order), "times count from the beginning of the call"


# Audio between Asterisk and the worker stops


async def test_a_leg_whose_socket_delivers_nothing_any_more_is_made_anew(stack: PartStack, phones: Path) -> None:
    with Stalls() as stalls, media_relays(stack) as relays:
        async with followed(stack, phones) as call:
            worker = holder(stack)
            relay = relays[worker]
            rebuilt = 'setu_fallbacks_total{reason="media-rebuilt"}'
            before = stack.metric(rebuilt, worker)
            await both_speak(call)
            (leg,) = (leg for leg in relay.legs if leg.endswith("-caller-media"))
            relay.held.add(leg)
            held_s = time.monotonic()
            await call.until(lambda: stack.metric(rebuilt, worker) > before, "the leg's being made anew")
            took_s = stalls.took_s(held_s, time.monotonic())
            await call.until(lambda: carried_again(call, relay, leg), "another socket")
            back_s = time.monotonic()
            await call.until(lambda: sounding_s(call, "agent", back_s) > ON_S / 2, "the caller's being heard again")
            gap = gap_s(call, "agent", held_s - 0.5) - stalls.lost_s(held_s, back_s)
            print(f"made anew {took_s:.2f} s after its audio stopped; the agent heard nothing for {gap:.2f} s")
            assert 1.5 < took_s < 3.0
            assert gap < 3.0
            assert stack.get("/api/calls", worker).json()[0]["state"] == "interpreting"
            await call.interpreted("caller", voice("caller"))
            assert stack.metric(rebuilt, worker) == before + 1
            await call.until(lambda: stack.get("/api/status", worker).json()["media_sockets"] == 2, "the old socket's end", 15)
            assert (await call.hang_up()).outcome == "interpreted"


def carried_again(call: FollowedCall, relay: MediaRelay, leg: str) -> bool:
    """Whether another media channel of the same party has connected."""
    return any(other.startswith(leg) and other != leg for other in relay.legs)


# The starter engine stands in


async def test_starter_engines_stand_in_for_a_dead_recogniser_and_a_hung_translator(stack: PartStack, phones: Path) -> None:
    """(For a dead speech server: `test_model_failures`.)"""
    servers = ("stt", "mt")
    for kind in servers:
        stack.start(f"model-{kind}-fallback")
    try:
        for kind in servers:
            await asyncio.to_thread(stack.ready, f"model-{kind}-fallback")
        async with followed(stack, phones) as call:
            worker = holder(stack)
            used = {kind: f'setu_fallbacks_total{{reason="{kind}-starter-engine"}}' for kind in servers}
            before = {kind: stack.metric(used[kind], worker) for kind in servers}
            words = speech.say(scripts.load("ta")[3].said, scripts.AGENT_LANGUAGE, speech.voice_of("ta", "agent"))
            stack.send("model-stt", signal.SIGKILL)
            stack.send("model-mt", signal.SIGSTOP)
            said = await call.interpreted("agent", words)
            assert said.last.recognised not in ("", "printer problem"), "it was listened to"
            for kind in servers:
                assert stack.metric(used[kind], worker) > before[kind], kind
            stack.send("model-mt", signal.SIGCONT)
            await stack.started("model-stt")
            await call.until(lambda: stack.all_asked(worker), "the servers' being asked again", 15 + OPEN_S + WATCH_S)
            used_then = {kind: stack.metric(used[kind], worker) for kind in servers}
            assert (await call.interpreted("agent", words)).last.recognised == "printer problem"
            assert {kind: stack.metric(used[kind], worker) for kind in servers} == used_then
            assert "direct" not in call.states
            assert "failed" not in {event.outcome for event in call.of(UtteranceInterpreted)}
            assert (await call.hang_up()).outcome == "interpreted"
    finally:
        stack.send("model-mt", signal.SIGCONT)
        if "model-stt" not in stack.parts:
            stack.start("model-stt")
        for kind in servers:
            stack.stop(f"model-{kind}-fallback")
            stack.ready(f"model-{kind}")
        for number in WORKERS:
            await within(lambda number=number: stack.all_asked(number), 15)  # type: ignore[misc]


# A party talks over what he hears


def speak_for(stack: PartStack, old_s: float, new_s: float) -> None:
    """From now on each translation takes so long; prompts were spoken before and stay as they are."""
    stack.stop("model-tts")
    text = stack.loaded.file.read_text()
    stack.loaded.file.write_text(text.replace(f"speech_s={old_s}", f"speech_s={new_s}"))
    stack.start("model-tts")
    stack.ready("model-tts")
    for number in WORKERS:
        wait_until(lambda number=number: stack.all_asked(number), 20, "the speech server is left alone")  # type: ignore[misc]


@contextmanager
def long_translations(stack: PartStack) -> Iterator[None]:
    speak_for(stack, 0.6, 3.5)
    try:
        yield
    finally:
        speak_for(stack, 3.5, 0.6)


def levels_of_tone(sound: Samples) -> np.ndarray:
    """Amplitude of the stub's tone in each 20 ms."""
    size = round(STEP_S * TELEPHONE_HZ)
    steps = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    window = np.hanning(size)
    found: np.ndarray = 2 * np.abs(steps @ (window * np.exp(-2j * np.pi * STUB_HZ * np.arange(size) / TELEPHONE_HZ))) / window.sum()
    return found


def turned_down_s(call: FollowedCall, listener: Party, asked_s: float, stalls: Stalls) -> float:
    """How long after the beginning of his own words what a party hears was turned down, without the ways to the gateway and back.

    These are as long as the way of his voice to the other party: telephone, jitter buffer, Asterisk, gateway and the same again.
    """
    said = call.said(listener, asked_s, asked_s + 4.0)
    stretches = speech_edges.speech_stretches(said, TELEPHONE_HZ)
    words = Stretch(stretches[0].start_s, stretches[-1].end_s)
    onset, end = round(words.start_s * TELEPHONE_HZ), round(words.end_s * TELEPHONE_HZ)
    mine = pattern(said[onset:end])
    left, arrived = (
        speech_edges.find(mine, track, at_least=0.5) for track in (said, call.heard(LISTENERS[listener], asked_s, asked_s + 5.0))
    )
    assert left is not None
    assert arrived is not None, "his voice is not heard beneath"
    way_s = (arrived - left) / TELEPHONE_HZ
    levels = levels_of_tone(call.heard(listener, asked_s, asked_s + words.end_s))
    full = float(np.percentile(levels, 95)) if (levels > 0).any() else 0.0
    assert full > 4000, "no translation is heard meanwhile"
    loud = np.flatnonzero(levels > TURNED_DOWN * full)
    fell_s = (int(loud[-1]) + 1) * STEP_S - words.start_s
    after = levels[loud[-1] + 1 :]
    lost_s = stalls.lost_s(asked_s + words.start_s, asked_s + words.start_s + max(0.0, fell_s))
    print(f"turned down {fell_s:.2f} s after he began; both ways take {way_s:.2f} s, the machine stood still for {lost_s:.2f} s")
    assert len(after) * STEP_S > 0.5, "it was at full level to the end"
    assert 0.15 * full < float(np.median(after)) < TURNED_DOWN * full, "it goes on"
    return fell_s - way_s - lost_s


async def test_a_translation_is_turned_down_while_its_listener_talks(stack: PartStack, phones: Path) -> None:
    quiet = speech.say(scripts.load("ta")[1].said, scripts.AGENT_LANGUAGE, speech.voice_of("ta", "agent"))
    words = np.clip(1.7 * quiet.astype(np.float64), -32768, 32767).astype(np.int16)  # as loud as what he hears
    with Stalls() as stalls, long_translations(stack):
        async with followed(stack, phones) as call:
            for _ in range(ATTEMPTS):
                before = len(call.segments("caller_to_agent"))
                await call.phones["caller"].say(voice("caller"))
                await call.until(lambda before=before: len(call.segments("caller_to_agent")) > before, "the translation")  # type: ignore[misc]
                asked_s = await call.phones["agent"].say(words)
                await asyncio.sleep(len(words) / TELEPHONE_HZ + 2.0)
                took_s = turned_down_s(call, "agent", asked_s, stalls)
                if not stalls.lost_s(asked_s - 1.0, asked_s + 3.0):
                    break  # else the telephone may have been late
            assert took_s <= DUCKED_S
