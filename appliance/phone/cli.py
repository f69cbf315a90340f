"""`appliance call` and `appliance demo`: real calls, measured.

Exit status of both: 0 when every call went through and every utterance was interpreted, 1 when not, 2 for wrong arguments.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape

from appliance.config.load import LoadedConfig, load
from appliance.phone import wav
from appliance.phone.conversation import Turn
from appliance.phone.report import Report
from appliance.phone.run_calls import NamedCall, run_calls
from appliance.phone.spread import SpreadCommand
from appliance.phone.station import station
from appliance.stack import install
from appliance.stack.background import running_stack
from appliance.stack.defaults import CONFIG_NAME, stack_config
from appliance.text.languages import language

STACK_DIR = Path("build/stack")
DEMO_DIR = Path("build/demo")
PIPE_WIDTH = 150
"""Columns where the output is no terminal."""
_PROCESS_LINE = re.compile(r"\d\d:\d\d:\d\d \S+ *\|")
"""What the processes of a stack print, as against the stack's own words."""
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command("call", cls=SpreadCommand, short_help="Place one real call with given speech.")
@click.option("--caller-audio", multiple=True, required=True, type=_FILE, metavar="A.wav [B.wav ...]", help="What the caller says.")
@click.option("--agent-audio", multiple=True, required=True, type=_FILE, metavar="C.wav [D.wav ...]", help="What the agent says.")
@click.option("--number", default="", help="Number to call; the company's by default.")
@click.option("--from", "caller", default="", metavar="NUMBER", help="Caller's number; by default one that never called before.")
@click.option("--report", type=_FILE, default=Path("build/call/report.json"), show_default=True, help="Where to write the report.")
@click.option("--audio-dir", type=_FOLDER, default=None, help="Where to write the recordings; beside the report by default.")
@click.option("--dir", "stack_dir", type=_FOLDER, default=STACK_DIR, show_default=True, help="Folder of the running stack.")
@click.option("--agent", default="", help="Agent account that answers; the first one of the configuration by default.")
def call_command(
    caller_audio: tuple[Path, ...],
    agent_audio: tuple[Path, ...],
    number: str,
    caller: str,
    report: Path,
    audio_dir: Path | None,
    stack_dir: Path,
    agent: str,
) -> None:
    """Place one real call to a running stack. The sides take turns, the caller first: the next file starts when the other
    party has heard the last interpretation, or after a time-out."""
    console = _console()
    turns = _taking_turns(caller_audio, agent_audio)
    loaded = load(stack_dir / CONFIG_NAME)
    telephones = station(loaded, install.programs(console.print), agent=agent, keep_logs=report.parent / "phones")
    plan = telephones.plan(turns, number=number, caller=caller)
    whole = asyncio.run(run_calls(telephones, [NamedCall(plan, "call")], audio_dir or report.parent, report, console))
    sys.exit(_status(whole))


@click.command("demo", short_help="Five real calls, one per caller language.")
@click.option("--dir", "stack_dir", type=_FOLDER, default=STACK_DIR, show_default=True, help="Folder of the stack; started unless it runs.")
@click.option("--port-offset", type=int, default=None, metavar="N", help="Shift all ports of the stack by N, as in `appliance up`.")
@click.option("--out", type=_FOLDER, default=DEMO_DIR, show_default=True, help="Where report and recordings go.")
@click.option("--language", "languages", multiple=True, help="Only calls of these languages (ta, te, kn, mr, hi).")
def demo_command(stack_dir: Path, port_offset: int | None, out: Path, languages: tuple[str, ...]) -> None:
    """Start the stack and place five real calls: Tamil, Telugu, Kannada, Marathi and Hindi callers, a Hinglish agent."""
    from appliance.phone.demo.calls import QUIET_CALL, demo_calls  # needs espeak-ng, which the stack may still have to install

    console = _console()
    loaded = load(stack_config(stack_dir, port_offset))
    programs = install.programs(console.print)
    if not loaded.config.play.quiet_numbers and (not languages or QUIET_CALL in languages):
        console.print(
            f"{loaded.file}: no play.quiet_numbers, so the {language(QUIET_CALL).english_name} call is placed as the others are",
            highlight=False,
        )
    with _stack(loaded, console):
        telephones = station(loaded, programs, keep_logs=out / "phones")
        calls = demo_calls(telephones, out / "speech", languages)
        whole = asyncio.run(run_calls(telephones, calls, out, out / "report.json", console))
    sys.exit(_status(whole))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def _taking_turns(caller_audio: tuple[Path, ...], agent_audio: tuple[Path, ...]) -> list[Turn]:
    """The files in turn; when one party's are used up the other goes on alone."""
    turns: list[Turn] = []
    for said, answered in itertools.zip_longest(caller_audio, agent_audio):
        if said is not None:
            turns.append(Turn("caller", said, wav.read(said)))
        if answered is not None:
            turns.append(Turn("agent", answered, wav.read(answered)))
    return turns


@contextlib.contextmanager
def _stack(loaded: LoadedConfig, console: Console) -> Iterator[None]:
    """The stack of this configuration: the one that runs in its folder, else one of our own while the block lasts."""
    if _runs(loaded):
        console.print(f"the stack in {loaded.folder} is running", style="dim")
        yield
        return
    with contextlib.ExitStack() as until_stopped:
        with console.status("starting the stack") as status:

            def tell(line: str) -> None:
                if _PROCESS_LINE.match(line):
                    status.update(f"starting the stack: {escape(line[:100])}")
                else:
                    console.print(line, style="dim", highlight=False)

            until_stopped.enter_context(running_stack(loaded.file, progress=tell))
        yield


def _runs(loaded: LoadedConfig) -> bool:
    """Whether a stack runs in this folder: it holds a lock on its pid file."""
    try:
        with (loaded.run_dir / "stack.pid").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _status(report: Report) -> int:
    return 0 if report.summary.passed else 1
