"""A Debian 13 node, whose distribution has no Asterisk: it is built from Debian's source package, and the node accepted with it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

import pytest
from install_times import Times
from node_life import call, changed_tasks, recap, run_play, seconds_of_acceptance

from appliance.stack import apt
from lab import layout, machine
from lab.image import image
from lab.layout import Node, nodes_there
from lab.machine import in_node
from lab.provision import SOURCE, copy_source
from lab.ssh import write_known_hosts

pytestmark = [
    pytest.mark.timeout(4000),
    pytest.mark.skipif(os.environ.get("SETU_LAB") != "full", reason="compiling Asterisk takes ten minutes: make test-lab-full"),
]
NODE = Node(4)
LONGEST_S = 3000.0
"""For the first provisioning: the build alone takes 8 minutes on two cores, and nothing may be cached."""
BUILT = re.search(
    r'^asterisk_build_version: "(.*)"$', (layout.REPOSITORY / "ansible/roles/asterisk/defaults/main.yml").read_text(), re.MULTILINE
)


@pytest.fixture(scope="module")
def debian_13(lab: None) -> Iterator[Node]:
    machine.make(NODE, image("13"))
    write_known_hosts(nodes_there())
    machine.boot(NODE)
    yield NODE
    if not os.environ.get("SETU_LAB_KEEP"):
        machine.remove(NODE)


def built_before() -> bool:
    """Whether the controller has kept the packages of an earlier build."""
    return any((SOURCE / "build" / "asterisk").glob("*-debian13*.tar"))


def test_asterisk_is_built_and_the_node_accepted(debian_13: Node, times: Times) -> None:
    assert "VERSION_CODENAME=trixie" in in_node(debian_13, "cat /etc/os-release")
    copy_source()
    built = built_before()
    assert BUILT is not None
    variables = {"asterisk_build_mirror": apt.debian_mirror()}
    status, output, seconds = run_play("site.yml", debian_13, variables=variables, name="debian13", longest_s=LONGEST_S)
    times.note(f"first provision of Debian 13, Asterisk {'built before' if built else 'built'}, s", seconds)
    accepted = seconds_of_acceptance(output)
    if accepted is not None:
        times.note("acceptance calls on Debian 13, s", accepted)
    assert status == 0, output[-3000:]
    assert accepted is not None, "the play does not say what the acceptance calls took"
    # The very source package, and no package taken from another release of Debian.
    assert in_node(debian_13, "dpkg-query -W -f '${Version}' asterisk") == BUILT[1]
    assert "forky" not in in_node(debian_13, "cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true")
    assert "chan_websocket.so" in in_node(debian_13, "asterisk -rx 'module show like chan_websocket'")
    assert in_node(debian_13, "systemctl --failed --no-legend --plain") == ""
    assert built_before(), "the next node of this kind must not build it again"
    status, output, _ = run_play("site.yml", debian_13, variables=variables, name="debian13-again")
    assert status == 0, output[-3000:]
    assert (recap(output, debian_13)["changed"], changed_tasks(output)) == (0, [])


def test_it_is_healthy_and_takes_a_call_over_the_network(debian_13: Node) -> None:
    findings = json.loads(in_node(debian_13, "appliance doctor --json || true"))
    assert [found for found in findings if found["status"] == "failed"] == []
    done = call(debian_13, "hi", "debian13", "--secure")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
