import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from http_stubs import UnixServer, answering, handler, worker_answering

from appliance.cli import checks as checks_module
from appliance.cli.frame import appliance
from appliance.stack.defaults import free_offset, write_config


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration with free ports and nothing running; the models are the stubs."""
    stubs = "[stt]\nengine = 'stub'\n[mt]\nengine = 'stub'\n[tts]\nengine = 'stub'\n"
    return write_config(tmp_path, free_offset(), extra=stubs)


def doctor(config_file: Path) -> dict[str, dict[str, str]]:
    result = CliRunner().invoke(appliance, ["doctor", "--json", "--config", str(config_file)])
    findings = {finding["name"]: finding for finding in json.loads(result.output)}
    failed = any(finding["status"] == "failed" for finding in findings.values())
    assert result.exit_code == (1 if failed else 0)
    return findings


READY = {"status": "ready", "kind": "stt", "engine": "stub", "languages": ["ta", "hi"]}
WORKER = {"worker": "gateway-1", "asterisk": True, "accepting": True, "calls": 2, "max_calls": 200}


def test_nothing_runs(config_file: Path) -> None:
    findings = doctor(config_file)
    assert list(findings) == [
        "config", "secrets", "models", "disk", "database", "ports", "redis", "model-stt", "model-mt", "model-tts", "gateway-1",
    ]  # fmt: skip
    failed = [name for name, finding in findings.items() if finding["status"] == "failed"]
    assert failed == ["redis", "model-stt", "model-mt", "model-tts", "gateway-1"]
    assert findings["ports"]["detail"].endswith("are free")
    assert "there is no" in findings["model-stt"]["detail"]
    assert "does not answer" in findings["gateway-1"]["detail"]


def test_one_line_each_for_people(config_file: Path) -> None:
    result = CliRunner().invoke(appliance, ["doctor", "--config", str(config_file)])
    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert len(lines) == 11
    assert lines[0] == f"ok    config      {config_file}"
    assert lines[-1].startswith("FAIL  gateway-1   ")


def test_a_bad_configuration_is_the_only_finding(tmp_path: Path) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text("[node]\nx = 1\ny = 2\n")
    result = CliRunner().invoke(appliance, ["doctor", "--config", str(file)])
    assert result.exit_code == 1
    assert [line.split()[:2] for line in result.output.splitlines()] == [["FAIL", "config"]] * 2


def test_it_changes_nothing(config_file: Path) -> None:
    before = sorted(config_file.parent.rglob("*"))
    doctor(config_file)
    assert sorted(config_file.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("health", "http_status", "status", "words"),
    [
        (READY, 200, "ok", "stub for ta hi"),
        (READY | {"status": "warming"}, 503, "warning", "warming up"),
        (READY | {"status": "failed", "detail": "no such model"}, 503, "failed", "no such model"),
        (READY | {"kind": "mt"}, 200, "failed", "a server of kind mt"),
        (["what"], 200, "failed", "no health"),
    ],
)
def test_model_server(config_file: Path, health: object, http_status: int, status: str, words: str) -> None:
    run_dir = config_file.parent / "run"
    run_dir.mkdir()
    with answering(UnixServer(str(run_dir / "stt.sock"), handler(health, http_status))):
        finding = doctor(config_file)["model-stt"]
    assert finding["status"] == status
    assert words in finding["detail"]


def test_a_socket_nobody_listens_on(config_file: Path) -> None:
    run_dir = config_file.parent / "run"
    run_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(run_dir / "stt.sock"))
    assert "does not answer" in doctor(config_file)["model-stt"]["detail"]


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({}, "ok", "Asterisk connected, 2 of 200 calls"),
        ({"asterisk": False}, "failed", "Asterisk is not connected"),
        ({"accepting": False}, "warning", "takes no new calls"),
        ({"calls": "many"}, "failed", "no status"),
    ],
)
def test_gateway(config_file: Path, change: dict[str, object], status: str, words: str) -> None:
    with worker_answering(config_file, WORKER | change):
        findings = doctor(config_file)
    assert findings["gateway-1"]["status"] == status
    assert words in findings["gateway-1"]["detail"]


def test_a_stack_of_which_only_the_gateway_is_left(config_file: Path) -> None:
    with worker_answering(config_file, WORKER):
        finding = doctor(config_file)["ports"]
    assert finding["status"] == "warning"
    assert "4 of 5 of the stack's ports are not in use" in finding["detail"]


def test_a_port_of_somebody_else_is_named_with_its_owner(config_file: Path) -> None:
    from appliance.config.load import load

    port = load(config_file).config.telephony.sip_port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        finding = doctor(config_file)["ports"]
    assert finding["status"] == "failed"
    assert f"TCP port {port} (telephony.sip_port) is taken by " in finding["detail"]


def test_secrets_that_are_missing_or_open(config_file: Path) -> None:
    password = config_file.parent / "state" / "agent1-password"
    assert doctor(config_file)["secrets"]["status"] == "ok"
    password.chmod(0o644)
    assert "other users may read" in doctor(config_file)["secrets"]["detail"]
    password.unlink()
    finding = doctor(config_file)["secrets"]
    assert finding["status"] == "failed"
    assert "agent1-password" in finding["detail"]


def test_events_that_wait_for_the_database(config_file: Path) -> None:
    spool = config_file.parent / "state" / "spool"
    spool.mkdir()
    (spool / "gateway-1.jsonl").write_text("{}\n{}\n")
    finding = doctor(config_file)["database"]
    assert finding["status"] == "warning"
    assert finding["detail"].startswith("2 events of calls wait in")


def test_little_disk_is_a_warning_and_none_a_failure(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, status in (("DISK_WARN_BYTES", "warning"), ("DISK_FAIL_BYTES", "failed")):
        monkeypatch.setattr(checks_module, limit, 1 << 60)
        assert doctor(config_file)["disk"]["status"] == status


def test_an_unforeseen_error_of_a_check_is_its_finding(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(checks_module, "check_models", broken)
    assert doctor(config_file)["models"] == {"name": "models", "status": "failed", "detail": "RuntimeError: broken"}
