"""The doctor's checks of an installed node: what systemd, Asterisk, the graphics card and the certificate say, and what follows."""

import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from appliance.cli import node_checks
from appliance.cli.findings import Finding, Refused
from appliance.cli.node_checks import retention, services, trunk_finding
from appliance.config.load import LoadedConfig, load
from appliance.config.schema import TrunkAddress
from appliance.gateway.draining import DrainMarks
from appliance.node import machine
from appliance.node.acceptance import Acceptance, Bounds, CallFigures
from appliance.node.acceptance_calls import keep
from appliance.node.certificate import valid_until
from appliance.node.errors import NodeError
from appliance.node.units import UnitState
from appliance.stack.defaults import write_config


def unit(name: str = "appliance-gateway@1.service", **change: object) -> UnitState:
    state = UnitState(name=name, loaded=True, active="active", sub="running", result="success", restarts=0, status="", since="")
    return msgspec.structs.replace(state, **change)


def test_all_services_run() -> None:
    assert services([unit(), unit("asterisk.service")]) == Finding("services", "ok", "2 units are active")


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (unit(active="failed", result="watchdog"), "appliance-gateway@1.service is failed (watchdog)"),
        (unit(active="inactive"), "is inactive"),
        (unit(loaded=False, active="inactive"), "is not installed"),
    ],
)
def test_a_service_that_does_not_run(state: UnitState, words: str) -> None:
    with pytest.raises(Refused) as refused:
        services([unit(), state])
    assert words in str(refused.value)


def test_whether_old_records_are_deleted() -> None:
    timer, service = unit("appliance-expire.timer"), unit("appliance-expire.service", active="inactive", sub="dead")
    assert retention(90, timer, service) == Finding("retention", "ok", "records are deleted after 90 days")
    assert retention(0, timer, service).detail == "records are kept for ever, as configured"
    assert retention(90, unit("appliance-expire.timer", active="inactive"), service).status == "warning"
    with pytest.raises(Refused, match="journalctl -u appliance-expire"):
        retention(90, timer, unit("appliance-expire.service", active="failed", result="exit-code"))


@pytest.mark.parametrize(("state", "words"), [(unit(active="activating"), "starting: appliance"), (unit(restarts=3), "@1.service 3 times")])
def test_a_service_that_was_restarted_or_starts(state: UnitState, words: str) -> None:
    finding = services([unit("asterisk.service"), state])
    assert finding.status == "warning"
    assert words in finding.detail


REGISTRATIONS = """
 <Registration/ServerURI..............................>  <Auth....................>  <Status.......>
==========================================================================================

 provider/sip:sip.example.net                            provider-registration       Registered        (exp. 271s)
 other/sip:10.1.2.3:5060                                 other-registration          Rejected          (exp. 20s ago)

Objects found: 2
"""
ENDPOINT = " Endpoint:  provider                                             Not in use    0 of inf"


def test_registrations_are_read() -> None:
    assert machine.registrations(REGISTRATIONS) == {"provider": "Registered", "other": "Rejected"}
    assert machine.registrations("No objects found.\n") == {}


def test_a_registered_trunk_and_one_known_by_address() -> None:
    trunk = TrunkAddress(name="provider", address="10.1.2.3")
    assert trunk_finding(trunk, REGISTRATIONS, ENDPOINT).detail == "registered; calls come from 10.1.2.3"
    assert "known by its address" in trunk_finding(trunk, "No objects found.", ENDPOINT).detail


def test_a_trunk_that_is_rejected_or_unknown() -> None:
    trunk = TrunkAddress(name="other", address="10.1.2.3", server="10.1.2.3", username="u", password="p")
    with pytest.raises(Refused, match="registration: Rejected"):
        trunk_finding(trunk, REGISTRATIONS, ENDPOINT.replace("provider", "other"))
    with pytest.raises(Refused, match="no registration is tried"):
        trunk_finding(trunk, "No objects found.", ENDPOINT.replace("provider", "other"))
    with pytest.raises(Refused, match="does not know other"):
        trunk_finding(trunk, REGISTRATIONS, "Unable to find object other.")


def test_graphics_cards_are_read() -> None:
    (card,) = machine.cards("NVIDIA L4, 1000, 23034\n")
    assert (card.name, card.used_mib, card.total_mib) == ("NVIDIA L4", 1000, 23034)


def test_a_program_that_fails_or_is_missing_says_so() -> None:
    assert machine.printed(("echo", "x")) == "x\n"
    with pytest.raises(NodeError, match="exit status 1"):
        machine.printed(("false",))
    with pytest.raises(NodeError, match="no-such-program"):
        machine.printed(("no-such-program",))


def certificate(folder: Path, days: int) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=node1"]
    subprocess.run([*command, "-days", str(days), "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@needs_openssl
def test_a_certificate_and_its_end(tmp_path: Path) -> None:
    assert valid_until(*certificate(tmp_path, 30)) == pytest.approx(time.time() + 30 * 86_400, abs=120)


@needs_openssl
def test_a_certificate_with_another_key_and_one_that_is_not_there(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path, 30)
    (tmp_path / "other").mkdir()
    _, other = certificate(tmp_path / "other", 30)
    with pytest.raises(NodeError, match="KEY_VALUES_MISMATCH"):
        valid_until(cert, other)
    with pytest.raises(NodeError, match="No such file"):
        valid_until(tmp_path / "none.pem", other)
    cert.write_text("no certificate")
    with pytest.raises(NodeError):
        valid_until(cert, other)


@needs_openssl
@pytest.mark.parametrize(("days", "status"), [(90, "ok"), (10, "warning")])
def test_the_doctor_warns_before_a_certificate_ends(tmp_path: Path, days: int, status: str) -> None:
    cert, key = certificate(tmp_path, days)
    file = write_config(tmp_path / "node")
    keys = f'tls_port = 5061\ntls_certificate = "{cert}"\ntls_key = "{key}"\n'
    file.write_text(file.read_text().replace("[telephony]\n", f"[telephony]\n{keys}"))
    found = dict(node_checks.node_checks(load(file)))
    assert found["certificate"](load(file)).status == status


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedConfig:
    monkeypatch.setattr(node_checks, "is_node", lambda: True)
    return load(write_config(tmp_path))


def check(node: LoadedConfig, name: str) -> Finding:
    return dict(node_checks.node_checks(node))[name](node)


def test_a_node_has_all_checks_and_a_stack_has_none_of_them(node: LoadedConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [name for name, _ in node_checks.node_checks(node)] == ["services", "clock", "trunk-test", "retention", "drained", "acceptance"]
    monkeypatch.setattr(node_checks, "is_node", lambda: False)
    assert list(node_checks.node_checks(node)) == []


def test_a_drained_node_is_a_warning(node: LoadedConfig) -> None:
    assert check(node, "drained").status == "ok"
    DrainMarks(node.state_dir).set()
    assert check(node, "drained").detail == "node takes no new calls: appliance undrain"


def accepted(node: LoadedConfig, *, passed: bool = True, release: str = "") -> None:
    call = CallFigures(
        language="ta", passed=passed, attempts=1, detected="ta", outcome="interpreted", first_audio_s=0.4, lanes={},
        problems=[] if passed else ["caller to agent: delay never"],
    )  # fmt: skip
    keep(Acceptance(1.8e9, 20.0, "1", release, "n", passed, Bounds(), [call]), node.state_dir)


def test_the_last_acceptance_call(node: LoadedConfig) -> None:
    assert check(node, "acceptance").status == "warning"
    accepted(node)
    assert check(node, "acceptance").status == "ok"
    accepted(node, release="of-last-year")
    assert "of release of-last-year" in check(node, "acceptance").detail
    accepted(node, passed=False)
    with pytest.raises(Refused, match="failed: caller to agent: delay never"):
        check(node, "acceptance")


@pytest.mark.parametrize(("said", "status"), [("yes\n", "ok"), ("no\n", "warning")])
def test_the_clock(node: LoadedConfig, monkeypatch: pytest.MonkeyPatch, said: str, status: str) -> None:
    monkeypatch.setattr(node_checks.shutil, "which", lambda _: "/usr/bin/timedatectl")
    monkeypatch.setattr(machine, "printed", lambda _: said)
    assert check(node, "clock").status == status


def test_a_model_that_needs_a_graphics_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(write_config(tmp_path, extra='[stt]\ndevice = "cuda"\n'))
    monkeypatch.setattr(node_checks.shutil, "which", lambda _: None)
    with pytest.raises(Refused, match="there is no nvidia-smi"):
        check(loaded, "graphics")
    monkeypatch.setattr(node_checks.shutil, "which", lambda name: name)
    monkeypatch.setattr(machine, "printed", lambda _: "NVIDIA L4, 22900, 23034\n")
    assert check(loaded, "graphics").status == "warning"
    monkeypatch.setattr(machine, "printed", lambda _: "NVIDIA L4, 900, 23034\n")
    assert check(loaded, "graphics") == Finding("graphics", "ok", "NVIDIA L4: 900 of 23034 MiB")
