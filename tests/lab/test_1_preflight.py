"""A machine on which everything is wrong: every problem in one list, and nothing on it was changed."""

from __future__ import annotations

import pytest
from node_life import recap, run_play, written

from lab import machine
from lab.image import image
from lab.layout import Node
from lab.machine import in_node
from lab.provision import copy_source
from lab.ssh import write_known_hosts

WRONG = Node(9)
DISK_MB = 900


@pytest.fixture
def wrong_machine(lab: None):
    machine.make(WRONG, image(), disk_megabytes=DISK_MB)
    release = WRONG.written / "etc/os-release"
    release.write_text('ID=fedora\nVERSION_ID="43"\nPRETTY_NAME="Fedora"\n')
    write_known_hosts([WRONG])
    machine.boot(WRONG)
    listen = "import socket,time; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('0.0.0.0',5060)); time.sleep(600)"
    in_node(WRONG, "systemd-run", "--unit=somebody", "python3", "-c", listen)
    yield WRONG
    machine.remove(WRONG)


def test_every_problem_is_in_one_list_and_nothing_was_changed(wrong_machine: Node) -> None:
    copy_source()
    in_node(wrong_machine, "true")
    before = written(wrong_machine)
    status, output, _ = run_play(
        "site.yml",
        wrong_machine,
        name="preflight",
        variables={
            "site_company_number": None,
            "site_trunk": "10.88.0.100",  # misspelt
            "site_workers": "three",
            "site_trunks": [{"name": "provider", "address": "10.88.0.77"}, {"name": "other", "address": "trunk.example"}],
            "site_agents": [{"name": "agent1"}, {"name": "nobody"}],
        },
    )
    assert status != 0
    listed = output.split("Every problem, and how to mend it", 1)[1].split("TASK", 1)[0]
    for expected in (
        "this is fedora 43",
        "MB free for",
        "UDP port 5060 is taken by python3 (somebody.service)",
        "nothing at 10.88.0.77 port 5060 answers SIP OPTIONS",
        "'trunk.example' is no IP address",
        "site_company_number",
        "site_trunk is no variable of any role -> did you mean site_trunks?",
        "site_workers",
        "agent nobody has no password",
    ):
        assert expected in " ".join(listed.split()).replace("''", "'"), f"{expected!r} is not in the list:\n{listed}"
    assert recap(output, wrong_machine)["changed"] == 0
    after = written(wrong_machine)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set()
