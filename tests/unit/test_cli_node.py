"""`appliance status`, `drain` and `undrain` against workers that answer as real ones do."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from http_stubs import UnixServer, answering, handler, worker_answering

from appliance.cli import drain
from appliance.cli.frame import appliance
from appliance.config.load import load
from appliance.gateway.draining import DrainMarks
from appliance.node import status as node_status
from appliance.node.units import read_states
from appliance.stack.defaults import free_offset, write_config

WORKER = {"worker": "gateway-1", "asterisk": True, "accepting": True, "drained": False, "calls": 2, "max_calls": 200}


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return write_config(tmp_path, free_offset())


def run(config_file: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(appliance, [*arguments, "--config", str(config_file)])
    return result.exit_code, result.output


@contextmanager
def models(config_file: Path, **states: str) -> Iterator[None]:
    run_dir = config_file.parent / "run"
    run_dir.mkdir(exist_ok=True)
    health = {"kind": "stt", "engine": "stub", "languages": ["ta"]}
    servers = [
        UnixServer(str(run_dir / f"{kind}.sock"), handler(health | {"kind": kind, "status": states.get(kind, "ready")}))
        for kind in ("stt", "mt", "tts")
    ]
    with answering(servers[0]), answering(servers[1]), answering(servers[2]):
        yield


class Stub:
    """A worker that follows its mark, with calls that end one by one."""

    def __init__(self, config_file: Path, calls: list[int], *, follows: bool = True) -> None:
        self._marks = DrainMarks(load(config_file).state_dir)
        self._calls, self._follows = calls, follows
        self.asked_while_drained = 0

    def __call__(self) -> dict[str, Any]:
        drained = self._follows and self._marks.holds(1)
        self.asked_while_drained += drained
        calls = self._calls.pop(0) if drained and len(self._calls) > 1 else self._calls[0]
        return WORKER | {"drained": drained, "calls": calls}


def test_status_of_a_node_that_takes_calls(config_file: Path) -> None:
    with worker_answering(config_file, lambda: WORKER), models(config_file):
        code, output = run(config_file, "status")
        assert code == 0, output
        assert "takes calls, 2 in progress" in output.splitlines()[0]
        told = json.loads(run(config_file, "status", "--json")[1])
    assert [part["name"] for part in told["parts"]] == ["model-stt", "model-mt", "model-tts", "gateway-1"]
    assert told["calls"] == 2
    assert told["ready"] is True


@pytest.mark.parametrize("change", [{"asterisk": False}, {"accepting": False}, {"drained": True}])
def test_a_worker_that_takes_no_calls(config_file: Path, change: dict[str, bool]) -> None:
    with worker_answering(config_file, lambda: WORKER | change), models(config_file):
        code, output = run(config_file, "status")
    assert code == 1
    assert "takes no calls, 2 in progress" in output


def test_a_model_server_that_is_not_well(config_file: Path) -> None:
    with worker_answering(config_file, lambda: WORKER), models(config_file, mt="failed"):
        assert run(config_file, "status")[0] == 1


def test_waiting_until_calls_are_taken(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.cli.status.LOOK_EVERY_S", 0.02)
    answers = iter([False, False])
    with worker_answering(config_file, lambda: WORKER | {"accepting": next(answers, True)}), models(config_file):
        assert run(config_file, "status", "--wait", "5")[0] == 0
    assert next(answers, None) is None
    assert run(config_file, "status", "--wait", "0.1")[0] == 1


def test_the_units_of_a_configuration(tmp_path: Path) -> None:
    more = "[stt]\ninstances = 2\nfallback = true\n"
    file = write_config(tmp_path, free_offset(), extra=more)
    file.write_text(file.read_text().replace("[gateway]\n", "[gateway]\nworkers = 2\n"))
    assert run(file, "status", "--units")[1].split() == [
        "appliance-model@stt-1.service", "appliance-model@stt-2.service", "appliance-model@stt-fallback.service",
        "appliance-model@mt.service", "appliance-model@tts.service", "appliance-gateway@1.service", "appliance-gateway@2.service",
    ]  # fmt: skip


def test_drain_returns_when_the_last_call_has_ended(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "LOOK_EVERY_S", 0.02)
    stub = Stub(config_file, [3, 2, 1, 0])
    with worker_answering(config_file, stub):
        code, output = run(config_file, "drain")
        assert (code, output) == (0, "drained, no call is running\n")
        assert stub.asked_while_drained == 4
        assert node_status.drained(load(config_file)) == ["node"]
        assert run(config_file, "undrain") == (0, "calls are taken again\n")
        assert not stub()["drained"]


def test_drain_does_not_wait_for_calls_that_are_no_longer_interpreted(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "LOOK_EVERY_S", 0.02)
    answers = iter([{"calls": 3, "direct": 1}, {"calls": 3, "direct": 2}])
    marks = DrainMarks(load(config_file).state_dir)

    def worker() -> dict[str, Any]:
        drained = marks.holds(1)
        return WORKER | {"drained": drained} | (next(answers, {"calls": 2, "direct": 2}) if drained else {})

    with worker_answering(config_file, worker):
        code, output = run(config_file, "drain", "--timeout", "20")
    assert (code, output.splitlines()[0]) == (0, "drained, no call is interpreted")
    assert output.splitlines()[1].startswith("2 go on without interpreter")
    assert next(answers, None) is None, "it did not wait for the one that was interpreted"


def test_drain_gives_up_waiting_but_stays_drained(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "LOOK_EVERY_S", 0.02)
    with worker_answering(config_file, Stub(config_file, [1])):
        code, output = run(config_file, "drain", "--timeout", "0.2")
    assert (code, "1 calls still run" in output) == (1, True)
    assert DrainMarks(load(config_file).state_dir).holds(1)


def test_a_worker_that_goes_on_taking_calls_is_named(config_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(drain, "SEEN_S", 0.2)
    with worker_answering(config_file, Stub(config_file, [0], follows=False)):
        code, output = run(config_file, "drain")
    assert (code, "gateway-1 still takes calls" in output) == (2, True)


def test_nothing_runs_so_nothing_is_waited_for(config_file: Path) -> None:
    assert run(config_file, "drain", "--timeout", "0")[0] == 0


def test_one_worker(config_file: Path) -> None:
    marks = DrainMarks(load(config_file).state_dir)
    assert run(config_file, "drain", "--worker", "1")[0] == 0
    assert marks.file(1).exists()
    assert not marks.file().exists()
    assert run(config_file, "drain", "--worker", "2")[0] == 2
    marks.set()
    code, output = run(config_file, "undrain", "--worker", "1")
    assert (code, "the whole node is" in output) == (2, True)


SHOWN = """\
Id=appliance-gateway@1.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
NRestarts=2
StatusText=3 of 200 calls
ActiveEnterTimestamp=Sat 2026-11-21 05:00:00 UTC

Id=appliance.target
LoadState=not-found
ActiveState=inactive
SubState=dead
"""


def test_what_systemd_says_of_units() -> None:
    gateway, target = read_states(SHOWN)
    assert gateway.name == "appliance-gateway@1.service"
    assert (gateway.active, gateway.restarts, gateway.status) == ("active", 2, "3 of 200 calls")
    assert (target.loaded, target.restarts, target.since) == (False, 0, "")
