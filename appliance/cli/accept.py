"""`appliance accept`: the acceptance call of a node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import click
import msgspec

from appliance.cli.options import config_option, loaded_config
from appliance.cli.table import table
from appliance.node.acceptance import NAMES, Acceptance, Bounds
from appliance.node.acceptance_calls import accept, agent_of, installed_languages, keep
from appliance.node.errors import NodeError
from appliance.node.units import is_node
from appliance.phone.station import station
from appliance.stack import install
from appliance.stack.programs import Programs

_USUAL = Bounds()


@click.command("accept", short_help="A call in each language through this node, judged by its figures.")
@config_option
@click.option("--language", "languages", multiple=True, metavar="CODE", help="Only these (ta, te, kn, mr, hi); all installed by default.")
@click.option("--max-delay", type=float, default=_USUAL.delay_s, show_default=True, metavar="S", help="Speech end to translated audio.")
@click.option("--min-words", type=click.FloatRange(0, 1), default=_USUAL.words, show_default=True, help="Share of words heard right.")
@click.option("--max-greeting", type=float, default=_USUAL.first_audio_s, show_default=True, metavar="S", help="INVITE to first sound.")
@click.option("--attempts", type=click.IntRange(1, 5), default=2, show_default=True, help="Calls in a language, at most.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def accept_command(
    config_file: Path | None,
    languages: tuple[str, ...],
    max_delay: float,
    min_words: float,
    max_greeting: float,
    attempts: int,
    as_json: bool,
) -> None:
    """Place a synthetic call in each installed language through this node's own Asterisk: caller and agent say one sentence each.

    Checked are the language, the delay, and the words that were heard at the other end. Real agents' telephones do not
    ring. Exit status 1 when a figure is out of bounds.
    """
    loaded = loaded_config(config_file)
    tell = _err if as_json else click.echo
    installed = installed_languages(loaded)
    unknown = [code for code in languages if code not in installed]
    if unknown or not installed:
        raise NodeError(f"not installed here: {', '.join(unknown) or 'any language'}; installed: {', '.join(installed) or 'none'}")
    telephones = station(loaded, _programs(tell), agent=agent_of(loaded))
    bounds = Bounds(max_delay, min_words, max_greeting)
    result = asyncio.run(accept(telephones, languages or installed, bounds, attempts, tell))
    keep(result, loaded.state_dir)
    click.echo(msgspec.json.format(msgspec.json.encode(result)).decode() if as_json else shown(result))
    if not result.passed:
        raise click.exceptions.Exit(1)


def shown(result: Acceptance) -> str:
    """For people: a row a direction, then what is out of bounds."""
    rows = []
    for call in result.calls:
        for lane, figures in call.lanes.items():
            delay = "-" if figures.delay_s is None else f"{figures.delay_s:.2f} s"
            tries = "" if call.attempts == 1 else f"attempt {call.attempts}"
            verdict = "ok" if call.passed else "FAIL"
            rows.append((call.language, NAMES[lane], call.detected or "-", delay, f"{figures.words:.0%}", verdict, tries))
    bounds = result.bounds
    lines = [table(("language", "direction", "detected", "delay", "words", "", ""), rows), ""]
    lines += [f"{call.language}: {problem}" for call in result.calls for problem in call.problems]
    lines += [
        f"  expected {figures.expected!r}, heard {figures.heard!r}, recognised {figures.recognised!r}"
        for call in result.calls
        for figures in call.lanes.values()
        if figures.words < bounds.words
    ]
    whole = "accepted" if result.passed else "not accepted"
    right = sum(call.passed for call in result.calls)
    lines.append(
        f"{whole}: {right} of {len(result.calls)} calls within delay {bounds.delay_s:g} s, words {bounds.words:.0%},"
        f" greeting {bounds.first_audio_s:g} s; took {result.took_s:.0f} s"
    )
    return "\n".join(lines)


def _programs(tell: Callable[[str], None]) -> Programs:
    """The telephones' program: a node has it, a demo's stack brings it along."""
    return Programs(None) if is_node() else install.programs(tell)


def _err(line: str) -> None:
    click.echo(line, err=True)
