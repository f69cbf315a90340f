"""Real calls at once: telephones, Asterisk, gateway and the starter models, all on this machine."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from appliance.bench.errors import BenchError
from appliance.bench.figures import spread_ms
from appliance.bench.results import Result, Row
from appliance.bench.sip_levels import LEVEL_S, LEVELS, QUICK_LEVEL_S, QUICK_LEVELS, levels, utterances
from appliance.bench.sip_stack import sip_stack
from appliance.bench.workplace import workplace
from appliance.config.load import LoadedConfig
from appliance.events import Event
from appliance.modelserver.client import ModelClient
from appliance.phone.call_report import report_call
from appliance.phone.conversation import CallPlan, CallRecord, Turn, hold
from appliance.phone.demo import scripts, speech
from appliance.phone.program import work_folder
from appliance.phone.report import CallReport, Utterance
from appliance.phone.station import Station, station
from appliance.stack import install
from appliance.stack.background import running_stack
from appliance.stack.defaults import AGENTS, free_offset, write_config
from appliance.store.event_stream import EventStream
from appliance.store.redis_link import RedisLink

CALLS = 4
QUICK_TURNS = 4
"""Of each call; a full measurement takes the whole conversation."""
CONNECT_S = 30.0
LONGEST_S = 240.0
"""From the first INVITE to the end of the last call."""
_AGENTS_OPEN = "agents = [\n"

Note = Callable[[str], None]


class Connected:
    """A `Watcher` of a call that only wants to know when both parties are there."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def calling(self, plan: CallPlan) -> None:
        pass

    def connected(self, after_s: float) -> None:
        self.event.set()

    def speaks(self, turn: Turn) -> None:
        pass

    def told(self, event: Event) -> None:
        pass


def measure(*, quick: bool, port_offset: int | None = None, tell: Note = lambda text: None, calls: int = CALLS) -> Result:
    """
    Raises:
        PortTaken, StackError, NotInstalled, PhoneError: the stack or a telephone does not start.
        BenchError: the calls did not come about or did not end.
    """
    programs = install.programs(tell)
    names = [*AGENTS, *(f"agent{number}" for number in range(len(AGENTS) + 1, calls + 1))][:calls]
    with workplace() as folder:
        config = write_config(folder / "stack", free_offset() if port_offset is None else port_offset)
        add_agents(config, names)
        with running_stack(config, progress=lambda line: tell("starting the stack")) as loaded:
            stations = [station(loaded, programs, agent=name) for name in names]
            reports = asyncio.run(_hold(loaded, stations, folder, QUICK_TURNS if quick else None, tell))
    rows = [*(_call_row(report) for report in reports), total_row(reports)]
    rows += _by_sipp(QUICK_LEVELS if quick else LEVELS, QUICK_LEVEL_S if quick else LEVEL_S, port_offset, tell)
    return Result("calls", f"{calls} real calls at once, starter models; then calls by SIPp, models of fixed times", rows)


def _by_sipp(wanted: Sequence[int], level_s: float, port_offset: int | None, tell: Note) -> list[Row]:
    with workplace() as folder, sip_stack(folder, port_offset=port_offset) as stack:
        found = levels(stack, wanted, level_s, tell)
        said = asyncio.run(utterances(stack))
    return [level.row(said) for level in found]


def add_agents(config: Path, names: Sequence[str]) -> None:
    """Accounts for as many telephones as there are calls, in a configuration of `write_config`."""
    text = config.read_text()
    more = [name for name in names if f'name = "{name}"' not in text]
    if _AGENTS_OPEN not in text:
        raise BenchError(f"{config} has no list of agents")
    lines = "".join(f'    {{ name = "{name}", password = "{secrets.token_urlsafe(12)}" }},\n' for name in more)
    config.touch(mode=0o600)
    config.write_text(text.replace(_AGENTS_OPEN, _AGENTS_OPEN + lines))


async def _hold(loaded: LoadedConfig, stations: Sequence[Station], folder: Path, most_turns: int | None, tell: Note) -> list[CallReport]:
    """All calls at once; each is measured only when all are over, since that takes the models too."""
    plans = []
    for number, telephones in enumerate(stations):
        code = scripts.LANGUAGES[number % len(scripts.LANGUAGES)]
        turns = speech.turns(code, scripts.load(code)[:most_turns], folder / f"speech-{number}")
        plans.append(telephones.plan(turns, language=code))
    records = await _records(loaded, stations, plans, tell)
    models = ModelClient(loaded.run_dir)
    try:
        tell("measuring what was recorded")
        return [
            await report_call(record, models, folder / "audio", f"{number}-{record.plan.language}", folder)
            for number, record in enumerate(records, 1)
        ]
    finally:
        await models.aclose()


async def _records(loaded: LoadedConfig, stations: Sequence[Station], plans: Sequence[CallPlan], tell: Note) -> list[CallRecord]:
    running: list[asyncio.Task[CallRecord]] = []
    link = RedisLink(loaded.config.redis.url)
    async with AsyncExitStack() as cleaning:
        cleaning.push_async_callback(link.aclose)
        cleaning.push_async_callback(_ended, running)
        for telephones, plan in zip(stations, plans, strict=True):
            tell(f"call {len(running) + 1} of {len(plans)}")
            place = work_folder()
            cleaning.callback(shutil.rmtree, place, ignore_errors=True)
            seen = Connected()
            call = asyncio.create_task(hold(plan, telephones.program, place, EventStream(link).read, seen), name=f"call {plan.caller.user}")
            running.append(call)
            # An agent's telephone logs in with its call: only when this one is taken may the next be offered a call.
            waiting = asyncio.create_task(seen.event.wait())
            await asyncio.wait((call, waiting), timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if not seen.event.is_set():
                if call.done():
                    raise BenchError(f"call {len(running)} did not come about: {call.result().closed_early}")
                raise BenchError(f"call {len(running)} had no agent after {CONNECT_S:g} s")
        tell(f"{len(plans)} calls at once")
        try:
            async with asyncio.timeout(LONGEST_S):
                return list(await asyncio.gather(*running))
        except TimeoutError:
            raise BenchError(f"the calls had not ended after {LONGEST_S:g} s") from None


async def _ended(tasks: Sequence[asyncio.Task[CallRecord]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _call_row(report: CallReport) -> Row:
    return _row(f"{report.language.expected or '-'}, {report.outcome}", [report])


def total_row(reports: Sequence[CallReport]) -> Row:
    return _row("all", reports)


def _row(name: str, reports: Sequence[CallReport]) -> Row:
    rows = [row for report in reports for row in report.utterances]
    delays = spread_ms([row.delay_s.total for row in rows if row.delay_s.total is not None])
    lost = Counter(how for row in rows if (how := how_lost(row)))
    greetings = [report.first_audio_s for report in reports if report.first_audio_s is not None]
    return {
        "call": name,
        "utterances": len(rows),
        "lost": sum(lost.values()),
        "lost how": ", ".join(f"{count} {how}" for how, count in sorted(lost.items())) or None,
        "delay p50 s": round(delays.p50 / 1000, 3) if delays else None,
        "delay p95 s": round(delays.p95 / 1000, 3) if delays else None,
        "delay max s": round(delays.worst / 1000, 3) if delays else None,
        "INVITE to greeting s": max(greetings, default=None),
        "went through": all(report.through for report in reports),
    }


def how_lost(row: Utterance) -> str:
    """Why the other party did not hear it, as the report's outcome; empty when it did."""
    if row.outcome == "interpreted":
        return "not heard" if row.delay_s.total is None else ""
    return row.outcome
