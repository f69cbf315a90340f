"""The acceptance calls: one in each language that the node speaks, one utterance each way, over telephones on loopback."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance import __version__
from appliance.config.load import LoadedConfig
from appliance.events import Event
from appliance.node.acceptance import Acceptance, Bounds, CallFigures, judge
from appliance.node.errors import NodeError
from appliance.node.parts import model_health, model_instances
from appliance.node.status import CURRENT
from appliance.phone.conversation import LANES, CallPlan, Turn
from appliance.phone.demo import scripts, speech
from appliance.phone.demo.scripts import Line
from appliance.phone.station import Station

AGENT = "acceptance"
NUMBER_PREFIX = "000"
"""Of the caller: nobody has such a number, and the dialplan lets it ring at the acceptance agent only."""
RESULT = "acceptance.json"
"""In the state folder."""
RECORDINGS = "acceptance-failed"
"""In the state folder: what was said and heard in the attempts that were out of bounds, in the last run that had any."""
RING_S = 15.0
"""The telephone that is called is there, or it is not."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Silent:
    """A watcher of a call who says nothing: the figures come at the end."""

    def calling(self, plan: CallPlan) -> None: ...

    def connected(self, after_s: float) -> None: ...

    def speaks(self, turn: Turn) -> None: ...

    def told(self, event: Event) -> None: ...


def installed_languages(loaded: LoadedConfig) -> list[str]:
    """Caller languages that recognition and speech of this node have, in the order of the calls.

    Raises:
        NodeError: a model server does not answer.
    """
    spoken: dict[str, set[str]] = {"stt": set(), "tts": set()}
    for name in model_instances(loaded):
        health = model_health(loaded, name)
        if health.kind in spoken:
            spoken[health.kind] |= set(health.languages)
    return [code for code in scripts.LANGUAGES if all(code in languages for languages in spoken.values())]


def agent_of(loaded: LoadedConfig) -> str:
    """The account that answers: the one kept for it; the first one where every trunk is on loopback, so that nobody is disturbed.

    Raises:
        NodeError: there is none.
    """
    telephony = loaded.config.telephony
    names = [account.name for account in telephony.agents]
    if AGENT in names:
        return AGENT
    if names and telephony.trunks and all(trunk.address.startswith("127.") for trunk in telephony.trunks):
        return names[0]
    raise NodeError(f"{loaded.file} has no agent {AGENT!r}", hint='add { name = "acceptance", password = "file:acceptance-password" }')


def lines_of(language: str) -> tuple[Line, Line]:
    """What caller and agent say: the caller one sentence with much of his language in it, the agent a short one."""
    lines = scripts.load(language)
    single = [line for line in lines if line.speaker == "caller" and ";" not in line.sentences]
    own = {line: sum(letter.isalpha() and not letter.isascii() for letter in line.said) for line in single}
    agent = [line for line in lines if line.speaker == "agent"]
    return max(single, key=lambda line: own[line]), min(agent, key=lambda line: len(line.said))


async def accept(station: Station, languages: Sequence[str], bounds: Bounds, attempts: int, tell: Tell) -> Acceptance:
    """Place the calls one after another; recordings of those that are out of bounds are kept until there are others.

    Args:
        attempts: calls in one language at most; a next one is placed when one is out of bounds, and is counted in the result.

    Raises:
        PhoneError: a telephone cannot be used.
    """
    began = time.monotonic()
    calls = []
    with tempfile.TemporaryDirectory(prefix="setu-accept-") as name:
        for language in languages:
            figures = await _one(station, language, bounds, attempts, Path(name), tell)
            calls.append(figures)
        _keep_recordings(Path(name), calls, station.loaded.state_dir / RECORDINGS)
    loaded = station.loaded
    return Acceptance(
        at=time.time(),
        took_s=round(time.monotonic() - began, 1),
        version=__version__,
        release=CURRENT.resolve().name if CURRENT.is_symlink() else "",
        node=loaded.config.node.name,
        passed=bool(calls) and all(call.passed for call in calls),
        bounds=bounds,
        calls=calls,
    )


async def _one(station: Station, language: str, bounds: Bounds, attempts: int, folder: Path, tell: Tell) -> CallFigures:
    lines = lines_of(language)
    expected = {LANES[line.speaker]: line.heard for line in lines}
    turns = await asyncio.to_thread(speech.turns, language, list(lines), folder / "said")
    for attempt in range(1, attempts + 1):
        caller = f"{NUMBER_PREFIX}{secrets.randbelow(10**7):07}"  # a new one each time: languages of known numbers are remembered
        plan = station.plan(turns, caller=caller, language=language)
        plan = CallPlan(plan.number, plan.caller, plan.agent, plan.turns, plan.language, RING_S)
        report = await station.call(plan, _Silent(), folder, f"{language}-{attempt}", folder)
        figures = judge(report, language, expected, bounds, attempt)
        if figures.passed:
            break
        if attempt < attempts:
            tell(f"{language}: once more, since {'; '.join(figures.problems)}")
    return figures


def _keep_recordings(folder: Path, calls: Sequence[CallFigures], kept: Path) -> None:
    failed = [f"{call.language}-{attempt}" for call in calls for attempt in range(1, call.attempts + (not call.passed))]
    if not failed:
        return
    try:
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(mode=0o700)
        for file in (file for name in failed for file in folder.glob(f"{name}*.wav")):
            shutil.copyfile(file, kept / file.name)
    except OSError as error:
        raise NodeError(f"{kept}: cannot be written: {error.strerror}") from error


def keep(result: Acceptance, state_dir: Path) -> None:
    """Write the result for the doctor, whole. Raises: NodeError."""
    file = state_dir / RESULT
    draft = file.with_name(f".{file.name}")
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
        draft.replace(file)
    except OSError as error:
        raise NodeError(f"{file}: cannot be written: {error.strerror}") from error


def kept(state_dir: Path) -> Acceptance | None:
    """The last result; None when there is none. Raises: NodeError."""
    file = state_dir / RESULT
    try:
        return msgspec.json.decode(file.read_bytes(), type=Acceptance)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise NodeError(f"{file}: cannot be read: {error}") from error
