"""What goes wrong on a node, and the calls that it takes again afterwards."""

from __future__ import annotations

import time

import pytest
from install_times import Times
from node_life import accept

from lab.commands import LabError
from lab.layout import Node
from lab.machine import in_node

pytestmark = pytest.mark.timeout(300)
SERVICES = ("appliance-model@stt", "appliance-model@mt", "appliance-model@tts", "appliance-gateway@1", "asterisk", "redis-server")
WATCHDOG_S = 30.0
"""WatchdogSec of a model server."""


def test_the_node_takes_calls_after_a_reboot(node: Node, times: Times) -> None:
    booted = in_node(node, "stat -c %Y /proc/1").strip()
    started = time.monotonic()
    in_node(node, "systemd-run --quiet --on-active=1 systemctl reboot")
    time.sleep(4)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if in_node(node, "stat -c %Y /proc/1").strip() != booted:
                break
        except LabError:  # it does not answer yet
            time.sleep(0.5)
    assert "accepted" in accept(node, "mr")
    times.note("reboot to accepted call, s", time.monotonic() - started)


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_comes_back_and_takes_calls(node: Node, service: str) -> None:
    was = in_node(node, f"systemctl show -P MainPID {service}").strip()
    in_node(node, f"systemctl kill --signal=KILL {service}")
    deadline = time.monotonic() + 30
    while in_node(node, f"systemctl show -P MainPID {service}").strip() in (was, "0") and time.monotonic() < deadline:
        time.sleep(0.3)
    assert "accepted" in accept(node, "mr")


def test_a_model_server_that_hangs_is_restarted_by_its_watchdog(node: Node) -> None:
    unit = "appliance-model@tts"
    was, restarts = in_node(node, f"systemctl show -P MainPID {unit}"), int(in_node(node, f"systemctl show -P NRestarts {unit}"))
    in_node(node, f"systemctl kill --kill-whom=main --signal=STOP {unit}")
    stopped = time.monotonic()
    while in_node(node, f"systemctl show -P MainPID {unit}") in (was, "0\n"):
        assert time.monotonic() - stopped < WATCHDOG_S + 20, "systemd has not restarted it"
        time.sleep(1)
    assert int(in_node(node, f"systemctl show -P NRestarts {unit}")) == restarts + 1
    assert "atchdog timeout" in in_node(node, f"journalctl --quiet --no-pager --output=cat --since=-2min --unit={unit}")
    assert "accepted" in accept(node, "hi")
