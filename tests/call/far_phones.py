"""`python far_phones.py PLAN`: two telephones that hold a call, for a place from which only the exchange can be reached.

PLAN is a JSON file: `config` (appliance.toml), `server` (host:port), `addresses` (of caller and agent), `folder` (for the telephones)
and `turns` (pairs of party and WAV file).
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from appliance.config.load import load
from appliance.phone import wav
from appliance.phone.baresip import Phone
from appliance.phone.phone_config import PhoneAccount
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.phone.program import find_program
from appliance.stack import install

GREETINGS_S = 7.0
ANSWER_S = 5.0
"""After each turn, for its translation."""


async def hold(plan: dict[str, Any]) -> None:
    loaded = load(Path(plan["config"]))
    program = find_program(install.programs(lambda line: None))
    folder = Path(plan["folder"])
    agent = loaded.config.telephony.agents[0]
    accounts = (
        PhoneAccount("9840012345", plan["addresses"][0], plan["server"]),
        PhoneAccount(agent.name, plan["addresses"][1], plan["server"], loaded.secret(agent.password), registers=True, answer_after_s=0.5),
    )
    async with (
        Phone.start(folder / "agent", program, accounts[1]) as agent_phone,
        Phone.start(folder / "caller", program, accounts[0]) as caller_phone,
    ):
        phones = {"caller": caller_phone, "agent": agent_phone}
        await caller_phone.dial(loaded.config.telephony.company_number)
        await agent_phone.wait_for(CallEstablished, 30)
        await asyncio.sleep(GREETINGS_S)
        for party, file in plan["turns"]:
            samples = wav.read(Path(file))
            await phones[party].say(samples)
            await asyncio.sleep(len(samples) / wav.TELEPHONE_HZ + ANSWER_S)
        if caller_phone.seen(CallClosed) is not None:
            raise SystemExit("the call has ended before everything was said")
        await caller_phone.hang_up()
        await agent_phone.wait_for(CallClosed, 20)


if __name__ == "__main__":
    asyncio.run(hold(json.loads(Path(sys.argv[1]).read_text())))
