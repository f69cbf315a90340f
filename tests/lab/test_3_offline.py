"""A node that has no route to anything but the controller, installed from one signed file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from install_times import Times
from node_life import changed_tasks, recap, run_play

from lab import layout, machine
from lab.image import image
from lab.layout import Node, nodes_there
from lab.machine import in_node
from lab.provision import copy_source
from lab.ssh import write_known_hosts

NODE = Node(3)
BUNDLE = layout.REPOSITORY / "build" / "site.bundle"
KEY = layout.REPOSITORY / "build" / "bundle.key"


@pytest.fixture
def isolated_machine(lab: None) -> Iterator[Node]:
    machine.make(NODE, image(), isolated=True)
    write_known_hosts(nodes_there())
    machine.boot(NODE)
    yield NODE
    machine.remove(NODE)


@pytest.mark.timeout(1500)
def test_a_node_without_internet_is_installed_from_a_bundle(isolated_machine: Node, times: Times) -> None:
    make = [sys.executable, "-m", "appliance", "bundle", "create", "--key", str(KEY), "-o", str(BUNDLE)]
    subprocess.run(make, cwd=layout.REPOSITORY, check=True, timeout=600)
    assert in_node(isolated_machine, "ip route show default") == ""
    copy_source()
    given = ["-e", f"bundle={BUNDLE}", "-e", f"bundle_key={KEY}.pub"]
    status, output, seconds = run_play("site.yml", isolated_machine, *given, name="offline")
    times.note("first provision from a bundle, s", seconds)
    assert status == 0, output[-3000:]
    assert "accepted" in output
    status, output, _ = run_play("site.yml", isolated_machine, *given, name="offline-again")
    assert status == 0, output[-3000:]
    assert (recap(output, isolated_machine)["changed"], changed_tasks(output)) == (0, [])
