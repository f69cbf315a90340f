"""More calls than a node can carry, and how those it can carry are shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sip_call import SipCall
from tone_stack import ToneStack, tone_stack

from appliance.stack.programs import Programs

pytestmark = pytest.mark.timeout(120)


@asynccontextmanager
async def calls(stack: ToneStack, count: int) -> AsyncIterator[list[SipCall]]:
    """So many calls, one after the other."""
    server = f"127.0.0.1:{stack.loaded.config.telephony.sip_port}"
    async with AsyncExitStack() as exits:
        yield [await exits.enter_async_context(SipCall(server, stack.number, f"98400{number:05}")) for number in range(count)]


def shares(stack: ToneStack, workers: int) -> list[int]:
    return [stack.status(number)["calls"] for number in range(1, workers + 1)]


async def test_workers_share_calls_evenly(programs: Programs) -> None:
    with tone_stack(programs, workers=2) as stack:
        async with calls(stack, 10) as made:
            assert [call.final.status for call in made] == [200] * 10
            assert shares(stack, 2) == [5, 5]
        await asyncio.to_thread(stack.settled)
        server = f"127.0.0.1:{stack.loaded.config.telephony.sip_port}"
        async with AsyncExitStack() as exits:  # all at the same moment
            at_once = [exits.enter_async_context(SipCall(server, stack.number, f"98401{number:05}")) for number in range(10)]
            assert [call.final.status for call in await asyncio.gather(*at_once)] == [200] * 10
            first, second = shares(stack, 2)
            print(f"ten calls at once: {first} and {second}")
            assert first + second == 10
            assert abs(first - second) <= 2
        await asyncio.to_thread(stack.settled)


@pytest.mark.parametrize("policy", ["reject", "queue"])
async def test_calls_beyond_the_capacity(programs: Programs, policy: str) -> None:
    edit = {"[gateway]\n": f'[gateway]\nmax_calls = 2\nwhen_full = "{policy}"\n'}
    with tone_stack(programs, workers=2, edit=edit) as stack:
        async with calls(stack, 7) as made:
            assert [call.final.status for call in made[:4]] == [200] * 4
            assert shares(stack, 2) == [2, 2]
            assert stack.get(1, "/health")["status"] == stack.get(2, "/health")["status"] == "full"
            statuses = [call.final.status for call in made[4:]]
            if policy == "reject":
                assert statuses == [503] * 3
            else:
                assert statuses == [200] * 3
                assert stack.console("core show channels concise").count("without-interpreter") == 3
            assert shares(stack, 2) == [2, 2], "those inside notice nothing"
            asked = sum(stack.metric(number, 'setu_calls_refused_total{reason="full"}') for number in (1, 2))
            assert asked >= 3, "refused calls are counted"
        await asyncio.to_thread(stack.settled)
        async with calls(stack, 1) as made:
            assert made[0].final.status == 200, "there is room again"
            assert sum(shares(stack, 2)) == 1
