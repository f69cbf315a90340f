"""A second release, brought by the same command while a call goes on, and the way back."""

from __future__ import annotations

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from install_times import Times
from node_life import LOGS, accept, await_task, call_command, run_play, seconds_of_acceptance

from lab import layout
from lab.layout import Node
from lab.machine import in_node
from lab.provision import SOURCE

pytestmark = pytest.mark.timeout(700)
STATE = "readlink /opt/appliance/current; ls /opt/appliance/releases; cat /etc/appliance/.started-with; cat /etc/appliance/appliance.toml"


def state_of(node: Node):
    return json.loads(in_node(node, "appliance status --json || true"))


def test_check_mode_tells_of_a_pending_upgrade_and_changes_nothing(node: Node) -> None:
    init = SOURCE / "appliance" / "__init__.py"
    init.write_text(re.sub(r'(__version__ = ")(.*?)"', r'\g<1>\g<2>.post1"', init.read_text()))
    was = in_node(node, STATE)
    status, output, _ = run_play("site.yml", node, "--check", name="check-upgrade")
    assert status == 0, output[-3000:]
    assert re.search(r"would install release \S+\.post1-", " ".join(output.split()))
    assert in_node(node, STATE) == was


def test_an_upgrade_lets_a_running_call_end_and_is_accepted(node: Node, times: Times) -> None:
    first = in_node(node, "readlink /opt/appliance/current").strip()
    out = layout.FOLDER / "calls" / "upgrade"
    (LOGS / "upgrade.log").unlink(missing_ok=True)  # of an earlier run, which has come to every task
    with ThreadPoolExecutor(1) as beside:
        upgrade = beside.submit(run_play, "site.yml", node, name="upgrade")
        # Placed now, the call begins in 18 s and is in its midst when the old release is to stop, in 30 s.
        await_task("monitoring : Keep Prometheus and the exporters on loopback", "upgrade", upgrade.done)
        running = subprocess.Popen(
            call_command("--node", str(node.number), "--language", "te", "--out", str(out)),
            cwd=layout.REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        await_task("appliance : Take no new calls, and wait for those that are interpreted", "upgrade", upgrade.done)
        drained, deadline = state_of(node), time.monotonic() + 15
        while not drained["drained"] and time.monotonic() < deadline:
            drained = state_of(node)
        status, output, seconds = upgrade.result()
    times.note("upgrade with a running call, s", seconds)
    accepted = seconds_of_acceptance(output)
    if accepted is not None:
        times.note("acceptance calls after an upgrade, s", accepted)
    assert (drained["drained"], drained["calls"]) == (["node"], 1), "the call was to go on while no new ones were taken"
    assert running.wait(60) == 0, f"the call did not end naturally, see {out}"
    assert status == 0, output[-3000:]
    assert accepted is not None, "the play does not say what the acceptance calls took"
    assert in_node(node, "readlink /opt/appliance/previous").strip() == first
    assert in_node(node, "readlink /opt/appliance/current").strip() != first
    state = state_of(node)
    assert (state["ready"], state["drained"]) == (True, [])
    assert state["version"].endswith(".post1")


def test_the_way_back(node: Node, times: Times) -> None:
    now, before = in_node(node, "readlink /opt/appliance/current /opt/appliance/previous").split()
    status, output, seconds = run_play("site.yml", node, "-e", "release=previous", "--skip-tags", "acceptance", name="rollback")
    times.note("rollback, s", seconds)
    assert status == 0, output[-3000:]
    assert in_node(node, "readlink /opt/appliance/current /opt/appliance/previous").split() == [before, now]
    assert "accepted" in accept(node, "mr")
