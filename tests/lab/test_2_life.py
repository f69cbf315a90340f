"""The life of one Debian 14 node, in the order of the file: each test takes the node as the one before has left it."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest
from node_life import accept, call, call_command, recap, run_play, written

from lab import layout, machine
from lab.commands import LabError, inside
from lab.image import image
from lab.layout import Node
from lab.machine import in_node
from lab.provision import SOURCE, copy_source
from lab.ssh import write_known_hosts

NODE = Node(1)
BEFORE = layout.FOLDER / "before.txt"
"""What the fresh server had written when it had booted, a path a line."""
SERVICES = ("appliance-model@stt", "appliance-model@mt", "appliance-model@tts", "appliance-gateway@1", "asterisk", "redis-server")
PROBE = """
import socket, sys
found = []
for port in map(int, sys.argv[2].split(",")):
    with socket.socket() as probe:
        probe.settimeout(0.25)
        if probe.connect_ex((sys.argv[1], port)) == 0:
            found.append(port)
print(*found)
"""


@pytest.fixture
def node(lab: None) -> Node:
    if not (NODE.written / "etc/appliance/.started-with").exists():
        pytest.fail("the node was not installed")
    return NODE


def test_a_fresh_server_becomes_a_node_that_has_passed_a_call(lab: None, times: dict[str, float]) -> None:
    machine.make(NODE, image())
    write_known_hosts([NODE])
    machine.boot(NODE)
    in_node(NODE, "systemctl is-system-running --wait || true")
    BEFORE.write_text("\n".join(written(NODE)))
    copy_source()
    status, output, seconds = run_play("site.yml", NODE, name="first")
    assert status == 0, output[-3000:]
    assert "accepted" in output
    times["first provision, s"] = seconds
    accepted = re.search(r"took (\d+) s", output)
    if accepted:
        times["acceptance calls in it, s"] = float(accepted[1])
    assert in_node(NODE, "systemctl --failed --no-legend --plain") == ""


def test_a_second_run_changes_nothing(node: Node, times: dict[str, float]) -> None:
    status, output, seconds = run_play("site.yml", node, name="second")
    assert status == 0
    assert recap(output, node)["changed"] == 0
    times["second run, s"] = seconds


def test_check_mode_finds_nothing_to_change(node: Node) -> None:
    status, output, _ = run_play("site.yml", node, "--check", name="check")
    assert status == 0
    assert recap(output, node)["changed"] == 0


def test_old_records_and_logs_go_by_themselves(node: Node) -> None:
    assert in_node(node, "systemctl is-enabled appliance-expire.timer logrotate.timer").split() == ["enabled", "enabled"]
    in_node(node, "systemctl start appliance-expire.service")
    assert "deleted 0 calls" in in_node(node, "journalctl --quiet --no-pager --output=cat --unit=appliance-expire.service")
    in_node(node, "logrotate --force /etc/logrotate.d/appliance-asterisk")
    assert in_node(node, "stat -c '%U %G %a' /var/log/asterisk/security").strip() == "asterisk asterisk 640"
    assert "104857600" in in_node(node, "grep 'Max file size' /proc/$(pidof asterisk)/limits")


def test_what_happens_in_a_call_is_in_the_journal_under_its_number(node: Node) -> None:
    call_id = json.loads(in_node(node, "appliance transcripts list --json"))[0]["id"]
    lines = in_node(node, f"journalctl --quiet --no-pager --output=cat CALL_ID={call_id}")
    assert f"call={call_id}" in lines
    assert "call is over" in lines
    everything = in_node(node, "journalctl --quiet --no-pager --output=cat --unit='appliance-*'")
    assert "Logging error" not in everything
    assert "Traceback" not in everything


def test_no_secret_is_readable_or_printed(node: Node) -> None:
    from lab.inventory import passwords

    secrets = [*passwords().values(), in_node(node, "cat /etc/appliance/credentials/ari-password").strip()]
    outputs = "".join(log.read_text() for log in (layout.FOLDER / "logs").glob("*.log"))
    journal = in_node(node, "journalctl --no-pager --quiet; cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    readable = "runuser -u nobody -- find /etc/appliance /etc/asterisk /opt/appliance /var/lib/appliance -type f -readable"
    world = in_node(node, f"{readable} -exec grep -lF -e {' -e '.join(secrets)} {{}} + 2>/dev/null || true")
    assert not any(secret in outputs + journal for secret in secrets)
    assert world == ""


def test_a_call_crosses_the_network(node: Node) -> None:
    done = call(node, "ta", "network")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]


def test_only_sip_is_open_to_the_trunk(node: Node) -> None:
    listening = in_node(node, "ss -Htln | awk '{print $4}' | sed 's/.*://' | sort -un").split()
    ports = ",".join(sorted({*listening, "22", "80", "443", "3000", "6379", "8080", "8088", "8089", "9090", "9100"}))
    scan = ["python3", "-c", PROBE, str(node.address), ports]
    from_trunk = subprocess.run(inside(layout.TRUNK_NAMESPACE, scan), capture_output=True, text=True, check=True).stdout.split()
    from_controller = subprocess.run(inside(layout.CONTROLLER_NAMESPACE, scan), capture_output=True, text=True, check=True).stdout.split()
    assert from_trunk == ["5060"]
    assert sorted(from_controller) == ["22", "5060"]


def test_wrong_passwords_lock_an_address_out(node: Node) -> None:
    guesser = "10.88.0.111"
    subprocess.run(inside(layout.PHONE_NAMESPACE, ["ip", "addr", "replace", f"{guesser}/24", "dev", "eth0"]), check=True)
    guess = ["python3", "-m", "lab.guess", guesser, str(node.address), "agent1", "12"]
    done = subprocess.run(inside(layout.PHONE_NAMESPACE, guess), cwd=layout.REPOSITORY, capture_output=True, text=True, check=False)
    answers = done.stdout.split()
    assert "401" in answers, done.stdout + done.stderr
    assert answers[-1] == "silence", f"still answered after {len(answers)} tries: {answers}"


def test_the_node_takes_calls_after_a_reboot(node: Node, times: dict[str, float]) -> None:
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
    times["reboot to accepted call, s"] = time.monotonic() - started


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_comes_back_and_takes_calls(node: Node, service: str) -> None:
    was = in_node(node, f"systemctl show -P MainPID {service}").strip()
    in_node(node, f"systemctl kill --signal=KILL {service}")
    deadline = time.monotonic() + 30
    while in_node(node, f"systemctl show -P MainPID {service}").strip() in (was, "0") and time.monotonic() < deadline:
        time.sleep(0.3)
    assert "accepted" in accept(node, "mr")


def test_an_upgrade_lets_a_running_call_end(node: Node, times: dict[str, float]) -> None:
    first = in_node(node, "readlink /opt/appliance/current").strip()
    init = SOURCE / "appliance" / "__init__.py"
    init.write_text(re.sub(r'(__version__ = ")(.*?)"', r'\g<1>\g<2>.post1"', init.read_text()))
    out = layout.FOLDER / "calls" / "upgrade"
    running = subprocess.Popen(
        call_command("--language", "te", "--out", str(out)), cwd=layout.REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 40
    while '"calls":0' in in_node(node, "python3 -c \"import urllib.request as u;print(u.urlopen('http://127.0.0.1:8080/health').read())\""):
        assert time.monotonic() < deadline, "the call did not begin"
        time.sleep(0.5)
    status, output, seconds = run_play("site.yml", node, "--tags", "models,appliance", name="upgrade")
    assert status == 0, output[-3000:]
    times["upgrade with a running call, s"] = seconds
    assert running.wait(60) == 0, f"the call did not end naturally, see {out}"
    assert in_node(node, "readlink /opt/appliance/previous").strip() == first
    assert in_node(node, "readlink /opt/appliance/current").strip() != first


def test_the_way_back(node: Node, times: dict[str, float]) -> None:
    now, before = in_node(node, "readlink /opt/appliance/current /opt/appliance/previous").split()
    status, output, seconds = run_play("site.yml", node, "-e", "release=previous", "--skip-tags", "acceptance", name="rollback")
    assert status == 0, output[-3000:]
    times["rollback, s"] = seconds
    assert in_node(node, "readlink /opt/appliance/current /opt/appliance/previous").split() == [before, now]
    assert "accepted" in accept(node, "mr")


def test_uninstalled_it_is_the_machine_it_was(node: Node) -> None:
    packages = "dpkg-query -W -f '${Package}\\n'"
    remembered = in_node(node, "cat /etc/appliance/before/packages").split()
    status, output, _ = run_play("uninstall.yml", node, "-e", "uninstall=yes", name="uninstall")
    assert status == 0, output[-3000:]
    assert in_node(node, packages).split() == remembered
    before, after = set(BEFORE.read_text().splitlines()), written(node)
    # What was changed and put back lies in the upper layer too; what was not there before must be gone.
    fresh = image()
    new = (name for name in after if name not in before and not (node.written / name).is_char_device())
    left = sorted(name for name in new if not (fresh / name).exists() and not (fresh / name).is_symlink())
    assert left == []
