"""A machine on which everything is wrong: every problem in one list, and nothing on it was changed."""

from __future__ import annotations

import pytest
from node_files import written
from node_life import recap, run_play

from lab import machine
from lab.image import image
from lab.layout import CONTROLLER, Node
from lab.machine import in_node
from lab.provision import copy_source
from lab.ssh import write_known_hosts

WRONG = Node(9)
DISK_MB = 900
NOBODY = "10.88.0.77"
"""An address of the lab's network that no machine has."""
STRANGERS = ("asterisk", "prometheus")
PACKAGE = "\nPackage: {}\nStatus: install ok installed\nMaintainer: somebody\nArchitecture: all\nVersion: 1\nDescription: somebody's own\n"
LISTEN = """
import socket, time
sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sip.bind(("0.0.0.0", 5060))
cockpit = socket.create_server(("0.0.0.0", 9090))
time.sleep(600)
"""
VARIABLES = {
    "site_company_number": None,
    "site_trunk": "10.88.0.100",  # misspelt
    "site_workers": "three",
    "site_trunks": [{"name": "provider", "address": NOBODY}, {"name": "other", "address": "trunk.example"}],
    "site_trunk_passwords": {},
    "site_agents": [{"name": "agent1"}, {"name": "nobody"}, {"name": "ari"}],
    "site_agent_passwords": {"agent1": "change-me-1", "ari": "of-somebody"},
    "site_redis_url": f"redis://{NOBODY}:6379/0",
    "site_profile": "production",
    "base_management_networks": ["192.0.2.0/24"],
    "base_time_zone": "Asia/Kolkatta",
    "base_ca_certificates": ["/nowhere/ca.crt"],
    "appliance_tls_key": "/nowhere/key.pem",
    "appliance_pip_index": "https://index.invalid/simple",
    "monitoring_grafana": "package",
    "release": "nosuch",
}
EXPECTED = (
    # The machine.
    "this is fedora 43",
    "MB free for",
    "UDP port 5060 is taken by python3 (somebody.service) -> stop and disable that service, or set site_sip_port to a free port",
    "TCP port 9090 is taken by python3 (somebody.service) -> stop and disable that service, or set monitoring_prometheus_port",
    f"nothing at {NOBODY} port 5060 answers SIP OPTIONS",
    "nvidia-smi does not run",
    # What is installed on it.
    *(f"{name} is installed and not by us" for name in STRANGERS),
    "there is no release nosuch",
    "the production models are missing",
    "there is no time zone 'Asia/Kolkatta'",
    # Whom it reaches, and who reaches it.
    "mirror.invalid does not resolve",
    "correct it in /etc/apt/sources.list.d/gone.list",
    "index.invalid does not resolve",
    "correct it in appliance_pip_index",
    f"no Redis answers at {NOBODY} port 6379",
    f"Ansible comes from {CONTROLLER}, which is in none of base_management_networks (192.0.2.0/24): the firewall would lock you out",
    # The variables.
    "'trunk.example' is no IP address",
    "site_company_number",
    "site_trunk is no variable of any role -> did you mean site_trunks?",
    "site_workers",
    "agent nobody has no password",
    "site_agent_passwords.agent1 is still that of the example inventory",
    "agent ari has a name that the appliance uses itself",
    "appliance_settings has none but the starter's for stt.model, mt.model, tts.engine",
    "leave that role out with --skip-tags redis",
    # The files on the controller.
    "base_ca_certificates: there is no file /nowhere/ca.crt",
    "appliance_tls_key: there is no file /nowhere/key.pem",
    "monitoring_grafana_package is not set",
)


@pytest.fixture
def wrong_machine(lab: None):
    machine.make(WRONG, image(), disk_megabytes=DISK_MB)
    release = WRONG.written / "etc/os-release"
    release.write_text('ID=fedora\nVERSION_ID="43"\nPRETTY_NAME="Fedora"\n')
    mirror = WRONG.written / "etc/apt/sources.list.d/gone.list"
    mirror.parent.mkdir(parents=True)
    mirror.write_text("deb http://mirror.invalid/debian forky main\n")
    packages = WRONG.written / "var/lib/dpkg/status"
    packages.parent.mkdir(parents=True)
    packages.write_text((image() / "var/lib/dpkg/status").read_text() + "".join(PACKAGE.format(name) for name in STRANGERS))
    write_known_hosts([WRONG])
    machine.boot(WRONG)
    in_node(WRONG, "systemd-run", "--unit=somebody", "python3", "-c", LISTEN)
    yield WRONG
    machine.remove(WRONG)


def test_every_problem_is_in_one_list_and_nothing_was_changed(wrong_machine: Node) -> None:
    copy_source()
    in_node(wrong_machine, "true")
    before = written(wrong_machine)
    status, output, _ = run_play("site.yml", wrong_machine, name="preflight", variables=VARIABLES)
    assert status != 0
    listed = output.split("Every problem, and how to mend it", 1)[1].split("TASK", 1)[0]
    for expected in EXPECTED:
        assert expected in " ".join(listed.split()).replace("''", "'"), f"{expected!r} is not in the list:\n{listed}"
    assert "change-me" not in output
    assert "of-somebody" not in output
    assert recap(output, wrong_machine)["changed"] == 0
    after = written(wrong_machine)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set()
