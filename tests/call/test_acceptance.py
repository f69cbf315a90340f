"""The acceptance call, draining and a trunk's registration on a real stack that has real agents as well."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from appliance.node.acceptance_calls import RECORDINGS, kept
from appliance.node.machine import registrations
from appliance.phone.baresip import Phone
from appliance.phone.program import find_program
from appliance.phone.station import Station
from appliance.stack.background import running_stack
from appliance.stack.defaults import free_offset, write_config
from appliance.stack.layout import layout_of
from appliance.stack.programs import Programs

from .conftest import Running, stack_folder, wait_until

TRUNKS = """\
trunks = [
    { name = "acceptance-trunk", address = "127.0.0.2" },
    { name = "provider", address = "10.9.9.0/28", server = "127.0.0.9:59999", username = "setu", password = "right" },
]
"""


@pytest.fixture(scope="module")
def node(programs: Programs) -> Iterator[Running]:
    with stack_folder() as folder:
        file = write_config(folder, free_offset())
        text = file.read_text().replace('trunks = [{ name = "test", address = "127.0.0.2" }]\n', TRUNKS)
        file.write_text(text.replace("agents = [\n", 'agents = [\n    { name = "acceptance", password = "x1y2z3" },\n'))
        with running_stack(file) as loaded:
            yield Running(loaded, layout_of(loaded), programs)


def command(node: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "appliance", *arguments, "--config", str(node.loaded.file)]
    return subprocess.run(whole, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.timeout(300)
async def test_the_node_accepts_itself_and_no_real_agent_rings(node: Running, phones: Path) -> None:
    real = Station(node.loaded, find_program(node.programs), "agent1").account_of_agent()
    async with Phone.start(phones / "real", find_program(node.programs), real):
        wait_until(lambda: "Avail" in node.asterisk("pjsip show contacts"), 10, "agent1 did not register")
        done = command(node, "accept", "--json", "--language", "ta")
    result = json.loads(done.stdout)
    assert result["passed"], result["calls"][0]["problems"]
    assert done.returncode == 0
    (call,) = result["calls"]
    assert call["detected"] == "ta"
    assert all(lane["words"] >= 0.7 and 0 < lane["delay_s"] < 3 for lane in call["lanes"].values())
    assert "has taken no calls yet" in node.asterisk("queue show it")
    assert f"has taken {call['attempts']} calls" in node.asterisk("queue show acceptance")
    last = kept(node.loaded.state_dir)
    assert last is not None
    assert last.passed
    node.settled()


@pytest.mark.timeout(120)
def test_bounds_that_nobody_keeps_make_it_fail(node: Running) -> None:
    done = command(node, "accept", "--language", "ta", "--max-delay", "0.01", "--attempts", "1")
    assert done.returncode == 1
    assert "not accepted: 0 of 1" in done.stdout
    assert "allowed 0.01 s" in done.stdout
    node.settled()
    recordings = node.loaded.state_dir / RECORDINGS
    assert {file.name for file in recordings.iterdir()} == {"ta-1-caller.wav", "ta-1-agent.wav"}
    assert recordings.stat().st_mode & 0o077 == 0
    with wave.open(str(recordings / "ta-1-agent.wav")) as file:
        said, heard = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2).T
    assert said.max() > 1000
    assert heard.max() > 1000


def test_a_drained_stack_takes_no_calls_until_it_is_undrained(node: Running) -> None:
    done = command(node, "drain", "--timeout", "10")
    assert (done.returncode, done.stdout) == (0, "drained, no call is running\n")
    assert node.status()["drained"] is True
    shown = command(node, "status")
    assert (shown.returncode, "drained: node" in shown.stdout) == (1, True)
    assert command(node, "undrain").returncode == 0
    assert command(node, "status", "--wait", "20").returncode == 0


def test_a_registration_that_is_not_answered_is_seen(node: Running) -> None:
    states = registrations(node.asterisk("pjsip show registrations"))
    assert states.keys() == {"provider"}
    assert states["provider"] != "Registered"
