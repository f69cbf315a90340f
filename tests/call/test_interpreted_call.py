"""One real call, both ways: each hears the other in his own language, and the report says what happened."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
import wave
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from rich.console import Console
from stalls import Stalls

from appliance.phone import report as reports
from appliance.phone import speech_edges
from appliance.phone.baresip import Phone
from appliance.phone.conversation import CallPlan, Turn
from appliance.phone.demo import scripts, speech
from appliance.phone.live import LiveDisplay
from appliance.phone.measure import PARTIES
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.phone.recording import Recorder
from appliance.phone.report import CallReport
from appliance.phone.run_calls import NamedCall, run_calls
from appliance.phone.station import Station, unused_number
from appliance.phone.wav import TELEPHONE_HZ

from .conftest import Running

pytestmark = pytest.mark.timeout(180)
SLOWEST_S = 3.0
"""A single utterance on a busy machine; the demo's figures are stricter."""
GREETING_S = 0.7
GREETINGS = 5


def conversation(language: str, folder: Path, first: int = 0, count: int = 2) -> list[Turn]:
    return speech.turns(language, scripts.load(language)[first : first + count], folder)


async def place(stack: Running, plan: CallPlan, folder: Path) -> CallReport:
    return await stack.station.call(plan, LiveDisplay(Console(quiet=True)), folder, "one", folder)


async def test_a_tamil_call_is_interpreted_both_ways_and_reported(stack: Running, tmp_path: Path) -> None:
    telephones = stack.station
    plan = telephones.plan(conversation("ta", tmp_path / "speech", 2, 2), language="ta")
    with Stalls() as stalls:
        began = time.monotonic()
        whole = await run_calls(telephones, [NamedCall(plan, "1-ta")], tmp_path, tmp_path / "report.json", Console(quiet=True))
        stalled_s = stalls.lost_s(began, time.monotonic())
    (call,) = whole.calls
    assert call.through, call.closed_early
    assert call.outcome == "interpreted"
    assert call.language.detected == "ta"
    assert [row.outcome for row in call.utterances] == ["interpreted"] * len(call.utterances)
    assert {row.lane for row in call.utterances} == {"caller_to_agent", "agent_to_caller"}
    for row in call.utterances:
        assert row.recognised
        assert row.translated
        assert row.heard, "the listener's recording holds nothing that can be recognised"
        assert row.delay_s.total is not None
        assert row.delay_s.total < SLOWEST_S + stalled_s
        assert row.values_heard == row.values_expected
    assert call.first_audio_s is not None, "see the next test"
    assert whole.summary.passed
    schema = json.loads(reports.SCHEMA_FILE.read_text())
    jsonschema.validate(json.loads((tmp_path / "report.json").read_text()), schema, cls=jsonschema.Draft202012Validator)
    assert call.audio is not None
    for party in PARTIES:
        with wave.open(str(tmp_path / getattr(call.audio, party))) as file:
            sides = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
            assert file.getframerate() == 8000
        assert len(sides) / 8000 == pytest.approx(call.duration_s, abs=0.1)
        assert sides[:, 0].any(), f"nothing of what the {party} said"
        assert sides[:, 1].any(), f"nothing of what the {party} heard"
    stack.settled()


async def test_the_greeting_begins_in_time(stack: Running, phones: Path) -> None:
    """From the INVITE to the first sound; the goal holds for a call as a rule, on a machine that does not stand still."""
    telephones = stack.station
    patient = replace(telephones.account_of_agent(), answer_after_s=None)
    with Stalls() as stalls:
        async with Phone.start(phones / "agent", telephones.program, patient):
            took_s = [await greeted_after(telephones, phones / f"caller{number}", stalls) for number in range(GREETINGS)]
    print(f"greeted after {took_s} s")
    assert statistics.median(took_s) < GREETING_S
    stack.settled()


async def greeted_after(telephones: Station, folder: Path, stalls: Stalls) -> float:
    """Seconds from the INVITE to the first sound the caller hears, but for stalls of the machine."""
    account = telephones.account_of_caller(unused_number())
    with Recorder() as recorder:
        async with Phone.start(folder, telephones.program, account) as caller:
            recorder.follow("caller", folder)
            dialled = await caller.dial(telephones.loaded.config.telephony.company_number)
            await caller.wait_for(CallEstablished, 15)
            onset = None
            async with asyncio.timeout(15):
                while onset is None:
                    await asyncio.sleep(0.1)
                    heard = recorder.track("caller", "heard").on_clock(dialled, time.monotonic())
                    onset = speech_edges.sound_onset(heard, TELEPHONE_HZ)
            await caller.hang_up()
            await caller.wait_for(CallClosed, 15)
    return round(stalls.took_s(dialled, dialled + onset), 3)


async def test_the_original_voice_is_beneath_unless_the_number_is_a_quiet_one(stack: Running, tmp_path: Path) -> None:
    turns = conversation("kn", tmp_path / "speech", 0, 2)
    with_original = await place(stack, stack.station.plan(turns, language="kn"), tmp_path / "with")
    without = await place(stack, stack.station.plan(turns, language="kn", number="1801"), tmp_path / "without")
    assert with_original.through
    assert without.through
    length = min(row.ended_s - row.started_s for row in without.utterances)
    assert without.longest_silence_s.agent > length, "nothing of the speaker is heard until the translation"
    assert with_original.longest_silence_s.agent < without.longest_silence_s.agent - 0.5 * length
    stack.settled()


async def test_a_caller_who_calls_again_is_recognised_by_memory(stack: Running, tmp_path: Path) -> None:
    turns = conversation("te", tmp_path / "speech", 4, 2)
    number = "9000000017"
    first = await place(stack, stack.station.plan(turns, language="te", caller=number), tmp_path)
    again = await place(stack, stack.station.plan(turns, language="te", caller=number), tmp_path)
    assert (first.language.detected, again.language.detected) == ("te", "te")
    assert "memory" not in {vote.source for vote in first.language.votes}
    assert "memory" in {vote.source for vote in again.language.votes}
    stack.settled()


def test_the_command_places_the_call_and_its_status_tells_how_it_went(stack: Running, tmp_path: Path) -> None:
    caller, agent = conversation("hi", tmp_path / "speech", 4, 2)
    command = [str(Path(sys.executable).with_name("appliance")), "call", "--dir", str(stack.layout.top), "--from", "9123456780"]
    command += ["--caller-audio", str(caller.file), "--agent-audio", str(agent.file)]
    command += ["--report", str(tmp_path / "out" / "r.json"), "--audio-dir", str(tmp_path / "audio")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    written = json.loads((tmp_path / "out" / "r.json").read_text())
    assert done.returncode == (0 if written["summary"]["passed"] else 1), done.stderr
    (call,) = written["calls"]
    assert call["through"]
    assert [row["source_file"] for row in call["utterances"]] == [caller.file.name, agent.file.name]
    assert (tmp_path / "out" / call["audio"]["agent"]).resolve().parent == tmp_path / "audio"
    assert "9123456780" in done.stdout
    shown = " ".join(done.stdout.split())
    for row in call["utterances"]:
        assert all(word in shown for text in (row["recognised"], row["translated"]) for word in text.split())
        assert f"{row['delay_s']['total']:.2f} s" in shown
    assert "calls through" in shown
    stack.settled()
