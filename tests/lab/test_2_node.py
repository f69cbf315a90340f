"""What a node is when it has been installed: its services, its commands, its records, and a value that is changed."""

from __future__ import annotations

import json
import re
import tarfile
import time

import pytest
from node_life import ADMINISTRATOR, LOGS, changed_tasks, recap, run_play
from node_secrets import CREDENTIALS, in_the_open, secrets_of

from lab import layout
from lab.inventory import vaulted_secrets
from lab.layout import Node
from lab.machine import in_node
from lab.provision import SOURCE

pytestmark = pytest.mark.timeout(500)
OURS = ("appliance-gateway@1.service", "appliance-model@stt.service", "appliance-model@mt.service", "appliance-model@tts.service")
UNITS = (*OURS, "appliance-expire.service", "asterisk.service", "redis-server.service")
MOST_EXPOSED = 2.5
TARGETS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/api/v1/targets?state=active', timeout=5).read().decode())"
REGISTERED_S = 60.0
"""Until a registration that got no answer is tried again; there is none between two runs of these tests."""
CONFIGURATION = "/etc/appliance/appliance.toml"
DATABASE = "/var/lib/appliance/setu.sqlite"


def found_by_the_doctor(node: Node) -> dict[str, dict[str, str]]:
    return {found["name"]: found for found in json.loads(in_node(node, "appliance doctor --json || true"))}


def test_the_doctor_finds_nothing_wrong(node: Node) -> None:
    findings, deadline = found_by_the_doctor(node), time.monotonic() + REGISTERED_S
    while findings["trunk-second"]["status"] == "failed" and time.monotonic() < deadline:
        time.sleep(3)
        findings = found_by_the_doctor(node)
    assert {name: found["detail"] for name, found in findings.items() if found["status"] == "failed"} == {}
    expected = {"config", "secrets", "models", "disk", "database", "ports", "redis", "services", "clock", "certificate", "retention"}
    expected |= {"drained", "acceptance", "gateway-1", "model-stt", "model-mt", "model-tts"}
    assert expected | {"trunk-provider", "trunk-second", "trunk-acceptance-trunk"} == findings.keys() - {"graphics"}
    assert findings["trunk-second"]["detail"].startswith("registered")
    # Time synchronisation does not start in a container, whose clock is the host's.
    warnings = {name: found["detail"] for name, found in findings.items() if found["status"] == "warning"}
    assert warnings.keys() <= {"clock"}, warnings


def test_its_status_is_what_runs(node: Node) -> None:
    status = json.loads(in_node(node, "appliance status --json"))
    version = re.search(r'__version__ = "(.*?)"', (SOURCE / "appliance" / "__init__.py").read_text())
    assert version is not None
    assert status["node"] == node.name
    assert status["version"] == version[1]
    assert status["release"] == in_node(node, "basename $(readlink /opt/appliance/current)").strip()
    assert (status["ready"], status["drained"], status["calls"]) == (True, [], 0)
    assert {part["name"]: part["ready"] for part in status["parts"]} == dict.fromkeys(
        ("model-stt", "model-mt", "model-tts", "gateway-1"), True
    )
    assert {unit["name"]: unit["active"] for unit in status["units"]} == dict.fromkeys(
        (*OURS, "appliance.target", "asterisk.service", "redis-server.service"), "active"
    )


def test_systemd_has_nothing_to_complain_about(node: Node) -> None:
    units = " ".join((*UNITS, "appliance.target", "appliance-expire.timer"))
    assert in_node(node, f"SYSTEMD_LOG_LEVEL=warning systemd-analyze verify --man=no {units} 2>&1") == ""


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_as_confined_as_the_security_guide_says(node: Node, unit: str) -> None:
    analysed = in_node(node, f"systemd-analyze security --no-pager {unit}")
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", analysed)
    assert exposure is not None, analysed[-2000:]
    assert float(exposure[1]) <= MOST_EXPOSED, analysed
    name = re.sub(r"(@\w+)?\.service$", lambda found: "@" if found[1] else "", unit)
    promised = re.search(rf"^\| `{name}` \| ([0-9.]+) \|", (layout.REPOSITORY / "docs" / "security.md").read_text(), re.MULTILINE)
    assert promised is not None, f"docs/security.md says nothing of {name}"
    assert float(exposure[1]) <= float(promised[1]), f"docs/security.md says {promised[1]}, it is {exposure[1]}"


def test_prometheus_reaches_everything_it_measures(node: Node) -> None:
    deadline = time.monotonic() + 40  # a scrape every ten seconds
    while True:
        targets = json.loads(in_node(node, "python3", "-c", TARGETS))["data"]["activeTargets"]
        down = {target["labels"]["job"]: target["lastError"] for target in targets if target["health"] != "up"}
        if not down or time.monotonic() > deadline:
            break
        time.sleep(2)
    assert down == {}
    assert {target["labels"]["job"] for target in targets} == {"prometheus", "node", "redis", "process", "gateway"}


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


def test_no_secret_lies_in_the_open(node: Node) -> None:
    secrets = {**vaulted_secrets(), **secrets_of(node)}
    assert all(len(secret) >= 12 for secret in secrets.values())
    outputs = "".join(log.read_text() for log in LOGS.glob("*.log"))
    assert [name for name, secret in secrets.items() if secret in outputs] == []
    # And something that does lie in the open, which the same search must find.
    found = in_the_open(node, {**secrets, "a unit": "Setu gateway worker %i"})
    assert "/etc/systemd/system/appliance-gateway@.service" in found.pop("a unit")
    assert found == {}


def test_a_support_bundle_holds_no_number_text_or_secret(node: Node) -> None:
    calls = json.loads(in_node(node, "appliance transcripts list --json"))
    shown = [json.loads(in_node(node, f"appliance transcripts show {call['id']} --json")) for call in calls]
    said = {utterance[kind] for call in shown for utterance in call["utterances"] for kind in ("recognised", "translated")} - {""}
    assert len(calls) >= 5, "the acceptance calls"
    assert len(said) >= 10
    in_node(node, "appliance support-bundle -o /root/support.tgz")
    assert in_node(node, "stat -c %a /root/support.tgz").strip() == "600"
    with tarfile.open(node.written / "root/support.tgz") as tar:
        parts = {entry.name: tar.extractfile(entry).read().decode() for entry in tar if entry.isfile()}  # type: ignore[union-attr]
    in_node(node, "rm /root/support.tgz")
    for part in ("doctor.json", "status.json", "calls.json", "log/appliance-gateway@1.service.log"):
        assert len(parts[f"support/{part}"]) > 100, part
    assert any(name.startswith("support/log/asterisk/messages") for name in parts)
    assert {name for name, text in parts.items() if text.startswith("not to be had")} <= {"support/machine/graphics.txt"}
    private = {call["caller_number"] for call in calls} | said | {*vaulted_secrets().values(), *secrets_of(node).values()}
    for name, text in parts.items():
        assert not [word for word in private if word in text], name
        assert not re.search("[\u0900-\u0dff]", text), f"{name} has letters of an Indian script"


def test_a_backup_brings_back_what_was_lost(node: Node) -> None:
    kept = f"cd {CREDENTIALS} && sha256sum {CONFIGURATION} *-password *-key && stat -c '%U %G %a' {DATABASE} {CONFIGURATION}"
    before, calls = in_node(node, kept), in_node(node, "appliance transcripts list --json")
    in_node(node, "appliance backup /var/backups/setu.tgz")
    assert in_node(node, "stat -c '%U %a' /var/backups/setu.tgz").strip() == "root 600"
    in_node(node, "systemctl stop appliance.target")
    in_node(node, f"sed -i 's/^company_number = .*/company_number = \"9999\"/' {CONFIGURATION} && grep -q 9999 {CONFIGURATION}")
    in_node(node, f"echo lost >{CREDENTIALS}/ari-password && rm {CREDENTIALS}/agent1-password {DATABASE}*")
    said = in_node(node, "appliance restore /var/backups/setu.tgz")
    assert said.startswith("restored ")
    assert in_node(node, kept) == before
    in_node(node, "systemctl start appliance.target && appliance status --wait 60 >/dev/null")
    assert in_node(node, "appliance transcripts list --json") == calls
    in_node(node, f"rm /var/backups/setu.tgz {CREDENTIALS}/*.before-restore {CONFIGURATION}.before-restore")


def test_a_changed_value_is_applied_by_a_user_who_is_root_by_sudo(node: Node) -> None:
    changed = {"ansible_user": ADMINISTRATOR, "appliance_settings": {"play": {"original_voice_db": -26.0}}}
    asterisk = in_node(node, "systemctl show -P MainPID asterisk")
    gateway = in_node(node, "systemctl show -P MainPID appliance-gateway@1")
    status, output, _ = run_play("site.yml", node, "--tags", "appliance", variables=changed, name="changed")
    assert status == 0, output[-3000:]
    assert recap(output, node)["changed"] > 0
    assert "original_voice_db = -26" in in_node(node, f"cat {CONFIGURATION}")
    assert in_node(node, "systemctl show -P MainPID appliance-gateway@1") != gateway, "it must read the new value"
    assert in_node(node, "systemctl show -P MainPID asterisk") == asterisk, "calls without interpreter must not be cut for it"
    status, output, _ = run_play("site.yml", node, "--tags", "appliance", variables=changed, name="changed-again")
    assert status == 0, output[-3000:]
    assert (recap(output, node)["changed"], changed_tasks(output)) == (0, [])
