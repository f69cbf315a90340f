"""`python far_phones.py PLAN`: two telephones that hold a call, for a place from which only the exchange can be reached.

PLAN is a JSON file: `config` (appliance.toml), `server` (host:port), `addresses` (of caller and agent), `folder` (for the telephones)
and `turns` (pairs of party and WAV file). What the interpreter tells comes on standard input, an event as JSON in each line; what was
recognised of each turn goes to standard output, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from appliance.config.load import load
from appliance.events import Event, UtteranceInterpreted
from appliance.phone import wav
from appliance.phone.conversation import LANES, CallPlan, CallRecord, Turn, hold
from appliance.phone.live import LiveDisplay
from appliance.phone.phone_config import PhoneAccount
from appliance.phone.program import find_program
from appliance.stack import install

CALLER = "9840012345"


async def told(since: str) -> AsyncIterator[tuple[str, Event]]:
    """Events of standard input, all of which are new."""
    reader, decoder = asyncio.StreamReader(), msgspec.json.Decoder(Event)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield since, decoder.decode(line)


def recognised(record: CallRecord) -> list[str]:
    """What was understood of each turn."""
    begins = [spoken.asked_at for spoken in record.spoken]
    texts = []
    for spoken, end in zip(record.spoken, [*begins[1:], record.ended_at], strict=True):
        events = [item.event for item in record.received if spoken.asked_at <= item.at < end]
        lane = LANES[spoken.turn.speaker]
        texts.append(" ".join(event.recognised for event in events if isinstance(event, UtteranceInterpreted) and event.lane == lane))
    return texts


async def main(plan: dict[str, Any]) -> None:
    loaded = load(Path(plan["config"]))
    program = find_program(install.programs(lambda line: None))
    agent = loaded.config.telephony.agents[0]
    call = CallPlan(
        loaded.config.telephony.company_number,
        PhoneAccount(CALLER, plan["addresses"][0], plan["server"]),
        PhoneAccount(agent.name, plan["addresses"][1], plan["server"], loaded.secret(agent.password), registers=True, answer_after_s=0.5),
        [Turn(party, Path(file), wav.read(Path(file))) for party, file in plan["turns"]],
    )
    record = await hold(call, program, Path(plan["folder"]), told, LiveDisplay(Console(quiet=True)))
    if record.closed_early:
        raise SystemExit(f"the call has ended before everything was said: {record.closed_early}")
    sys.stdout.write(json.dumps(recognised(record)) + "\n")


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))
