import asyncio
import io
import json
import logging
from collections.abc import Iterator

import pytest

from appliance.telemetry import logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    text = io.StringIO()
    logs.configure("info", "gateway-1", stream=text)
    yield text
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


log = logging.getLogger("test.logs")


def test_one_line_with_fields(stream: io.StringIO) -> None:
    with logs.about(call="c1", lane="caller_to_agent"):
        log.info("agent %s answered", "one", extra={"after_s": 2.41234567, "state": "x=1 y"})
    log.debug("not shown")
    (line,) = stream.getvalue().splitlines()
    time, rest = line.split(" ", 1)
    assert len(time) == len("2026-11-21T02:00:00.123Z")
    assert time.endswith("Z")
    assert rest == 'info gateway-1 test.logs call=c1 lane=caller_to_agent msg="agent one answered" after_s=2.41235 state="x=1 y"'


def test_line_breaks_and_tracebacks_stay_on_one_line(stream: io.StringIO) -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.exception("broken\nmessage")
    assert stream.getvalue().count("\n") == 1
    assert r'msg="broken\nmessage"' in stream.getvalue()
    assert r"ValueError: first\nsecond" in stream.getvalue()


def test_json_lines_hold_the_same(stream: io.StringIO) -> None:
    logs.configure("info", "gateway-1", style="json", stream=stream)
    with logs.about(call="c1"):
        log.warning("वाक्य", extra={"after_s": 2.5})
    record = json.loads(stream.getvalue())
    assert record.pop("time")
    expected = {"level": "warning", "process": "gateway-1", "logger": "test.logs", "call": "c1", "msg": "वाक्य", "after_s": 2.5}
    assert record == expected


async def test_each_task_keeps_its_own_call(stream: io.StringIO) -> None:
    async def work(call: str) -> None:
        with logs.about(call=call):
            await asyncio.sleep(0)
            log.info("at work", extra={"expected": call})

    await asyncio.gather(*(work(f"c{number}") for number in range(5)))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert all(
        f"call=c{number}" in line and f"expected=c{number}" in line for number, line in enumerate(sorted(lines, key=lambda text: text[-1]))
    )
    log.info("outside")
    assert "call=" not in stream.getvalue().splitlines()[-1]
