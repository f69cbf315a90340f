"""What a process tells systemd, and what it sends to the journal."""

import asyncio
import io
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.telemetry import journal, logs
from appliance.telemetry.systemd import Unit


@pytest.fixture
def told(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(10)
        yield systemd


@pytest.fixture(autouse=True)
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library reads the real environment; here the messages are written by the module itself."""
    monkeypatch.setitem(sys.modules, "systemd", None)


def environment(told: socket.socket, watchdog_s: float = 0.3, pid: int | None = None) -> dict[str, str]:
    return {"NOTIFY_SOCKET": told.getsockname(), "WATCHDOG_USEC": str(round(watchdog_s * 1e6)), "WATCHDOG_PID": str(pid or os.getpid())}


def test_ready_status_and_stopping(told: socket.socket) -> None:
    unit = Unit(environment(told))
    unit.ready("takes calls")
    assert told.recv(1000) == b"READY=1\nSTATUS=takes calls"
    unit.status("3 calls")
    assert told.recv(1000) == b"STATUS=3 calls"
    unit.stopping("ends its calls")
    assert told.recv(1000) == b"STOPPING=1\nSTATUS=ends its calls"


def test_a_socket_without_a_file() -> None:
    name = f"\0setu-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(name)
        systemd.settimeout(10)
        Unit({"NOTIFY_SOCKET": f"@{name[1:]}"}).ready("x")
        assert systemd.recv(1000).startswith(b"READY=1")


async def test_signs_of_life_come_three_times_in_the_watchdogs_time_and_only_while_alive(told: socket.socket) -> None:
    unit = Unit(environment(told, 0.09))
    assert unit.beat_s == pytest.approx(0.03)
    answers = iter([True, True, False, False, True])
    asked = 0

    async def alive() -> bool:
        nonlocal asked
        asked += 1
        return next(answers, False)

    told.setblocking(False)
    loop = asyncio.get_running_loop()
    beating = asyncio.create_task(unit.beat(alive))
    async with asyncio.timeout(10):
        assert [await loop.sock_recv(told, 100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        while asked < 10:
            await asyncio.sleep(0.01)
    beating.cancel()
    with pytest.raises(BlockingIOError):
        told.recv(100)


async def test_nobody_waits_for_the_beat_of_another_process(told: socket.socket) -> None:
    other = environment(told, pid=os.getpid() + 1)
    for unit in (Unit(other), Unit({}), Unit({"WATCHDOG_USEC": "1000000"})):
        assert unit.beat_s is None

        async def never() -> bool:
            raise AssertionError

        await asyncio.wait_for(unit.beat(never), 10)


def test_without_systemd_nothing_happens_and_a_dead_socket_is_no_error(tmp_path: Path) -> None:
    Unit({}).ready("x")
    Unit({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).ready("x")


class Journal:
    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, str]]] = []

    def send(self, message: str, *, CODE_LINE: int, **fields: str) -> None:  # noqa: N803 - as systemd-python writes it
        """As the real one: it takes the number of the line as a number, everything else as text."""
        self.entries.append((message, fields | {"CODE_LINE": f"{CODE_LINE:d}"}))


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, str]]]]:
    there = Journal()
    monkeypatch.setattr(logs, "journal_sender", lambda: there.send)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure("info", "gateway-1")
    yield there.entries
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


log = logging.getLogger("test.journal")


def test_call_and_lane_are_fields_of_the_journal(entries: list[tuple[str, dict[str, str]]]) -> None:
    with logs.about(call="c1", lane="agent_to_caller"):
        log.warning("agent %s\nanswered", "one", extra={"after_s": 2.4, "odd-name": "x y"})
    ((message, fields),) = entries
    assert message == 'agent one answered call=c1 lane=agent_to_caller after_s=2.4 odd-name="x y"'
    assert fields.pop("CODE_FILE") == __file__
    assert int(fields.pop("CODE_LINE")) > 1
    assert fields.pop("CODE_FUNC") == "test_call_and_lane_are_fields_of_the_journal"
    assert fields == {
        "CALL_ID": "c1",
        "LANE": "agent_to_caller",
        "SETU_AFTER_S": "2.4",
        "SETU_ODD_NAME": "x y",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "gateway-1",
        "LOGGER": "test.journal",
    }


def test_an_exception_is_in_the_journal(entries: list[tuple[str, dict[str, str]]]) -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("it broke")
    ((message, fields),) = entries
    assert "ValueError: broken" in fields["SETU_EXC"]
    assert message.startswith("it broke exc=")
    assert fields["PRIORITY"] == "3"


@pytest.mark.parametrize(
    ("level", "number"), [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)]
)
def test_priorities_are_those_of_syslog(level: int, number: int) -> None:
    assert journal.priority(level) == number


def test_the_journal_is_used_only_where_standard_error_goes_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        class journal:  # noqa: N801
            send: Any = staticmethod(lambda *_, **__: None)

    monkeypatch.setitem(sys.modules, "systemd", Library)  # type: ignore[arg-type]
    with (tmp_path / "log").open("w") as stream:
        status = os.fstat(stream.fileno())
        named = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert journal.journal_sender(stream, named) is Library.journal.send
        assert journal.journal_sender(stream, {"JOURNAL_STREAM": "1:2"}) is None
        assert journal.journal_sender(stream, {}) is None
        monkeypatch.setitem(sys.modules, "systemd", None)
        assert journal.journal_sender(stream, named) is None
    assert journal.journal_sender(io.StringIO(), named) is None
