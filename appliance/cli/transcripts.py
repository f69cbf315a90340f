"""`appliance transcripts`: what was said in calls."""

from __future__ import annotations

import asyncio
import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec

from appliance.cli.options import Since, config_option, loaded_config
from appliance.cli.table import table
from appliance.config.load import LoadedConfig
from appliance.store.errors import StoreError
from appliance.store.flagged_audio import FlaggedAudio
from appliance.store.transcripts import CallSummary, CallTranscript, Transcripts, UtteranceText

CSV_CALL_COLUMNS = ("id", "started_at", "caller_number", "called_number", "language", "outcome")
CSV_COLUMNS = tuple(name for name in UtteranceText.__struct_fields__ if name != "delays")
CSV_DELAYS = ("endpoint_wait", "recognise", "identify", "translate", "render", "speak", "play", "total")
_SHORT_LANES = {"caller_to_agent": "caller", "agent_to_caller": "agent"}


@click.group("transcripts", short_help="What was said in calls: list, show, export.")
def transcripts_group() -> None:
    """The records of calls: both texts of every utterance, with times, confidences, language votes and delays."""


@transcripts_group.command("list")
@config_option
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Most calls to list.")
@click.option("--since", type=Since(), default=None, help="Only calls from then on: a date, or an age such as 12h or 7d.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
def list_command(config_file: Path | None, limit: int, since: datetime | None, as_json: bool) -> None:
    """List the newest calls first."""
    calls = asyncio.run(_list(loaded_config(config_file), limit, since))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(calls)).decode())
    elif not calls:
        click.echo("no calls")
    else:
        click.echo(
            table(("call", "started (UTC)", "from", "language", "outcome", "length", "utterances", "delay"), [_row(c) for c in calls])
        )


@transcripts_group.command("show")
@click.argument("call")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
def show_command(config_file: Path | None, call: str, as_json: bool) -> None:
    """Show one CALL, named by its id or the beginning of it."""
    loaded = loaded_config(config_file)
    found = asyncio.run(_find(loaded, call))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        click.echo("\n".join(_shown(found, FlaggedAudio(loaded.state_dir))))


@transcripts_group.command("export")
@config_option
@click.option(
    "--format",
    "kind",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="One call per line, or one utterance per row.",
)
@click.option("--since", type=Since(), default=None, help="Only calls from then on: a date, or an age such as 12h or 7d.")
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), default=None, metavar="FILE", help="Write there instead of to the screen."
)
def export_command(config_file: Path | None, kind: str, since: datetime | None, output: Path | None) -> None:
    """Write all calls, oldest first, as JSON lines or as CSV."""
    loaded = loaded_config(config_file)
    with _opened(output) as stream:
        count = asyncio.run(_export(loaded, since, _jsonl_writer(stream) if kind == "jsonl" else _csv_writer(stream)))
    if output is not None:
        click.echo(f"{count} calls written to {output}", err=True)


async def _list(loaded: LoadedConfig, limit: int, since: datetime | None) -> list[CallSummary]:
    async with Transcripts.from_config(loaded) as transcripts:
        return await transcripts.calls(limit=limit, since=since)


async def _find(loaded: LoadedConfig, beginning: str) -> CallTranscript:
    async with Transcripts.from_config(loaded) as transcripts:
        return await transcripts.find(beginning)


async def _export(loaded: LoadedConfig, since: datetime | None, write: Callable[[CallTranscript], None]) -> int:
    count = 0
    async with Transcripts.from_config(loaded) as transcripts:
        async for call in transcripts.export(since=since):
            write(call)
            count += 1
    return count


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    """Raises: StoreError when the file cannot be written."""
    if output is None:
        yield sys.stdout
        return
    try:
        with output.open("w", encoding="utf-8", newline="") as stream:
            yield stream
    except OSError as error:
        raise StoreError(f"{output}: cannot be written: {error.strerror}") from error


def _jsonl_writer(stream: TextIO) -> Callable[[CallTranscript], None]:
    def write(call: CallTranscript) -> None:
        stream.write(msgspec.json.encode(call).decode() + "\n")

    return write


def _csv_writer(stream: TextIO) -> Callable[[CallTranscript], None]:
    writer = csv.writer(stream)
    writer.writerow([*(f"call_{name}" for name in CSV_CALL_COLUMNS), *CSV_COLUMNS, *(f"delay_{name}_s" for name in CSV_DELAYS)])

    def write(call: CallTranscript) -> None:
        head = [_cell(getattr(call, name)) for name in CSV_CALL_COLUMNS]
        for utterance in call.utterances:
            values = [_cell(getattr(utterance, name)) for name in CSV_COLUMNS]
            writer.writerow([*head, *values, *(utterance.delays.get(name, "") for name in CSV_DELAYS)])

    return write


def _cell(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _row(call: CallSummary) -> tuple[str, ...]:
    refused = f" (+{call.refused} refused)" if call.refused else ""
    return (
        call.id,
        _time(call.started_at),
        call.caller_number or "withheld",
        call.language or "-",
        call.outcome or "-",
        "-" if call.duration_s is None else f"{call.duration_s:.0f} s",
        f"{call.utterances}{refused}",
        "-" if call.delay_s is None else f"{call.delay_s:.2f} s",
    )


def _shown(call: CallTranscript, audio: FlaggedAudio) -> Iterator[str]:
    yield f"call {call.id}  {_time(call.started_at)} UTC  on {call.worker or call.node}"
    yield f"from {call.caller_number or 'withheld'} to {call.called_number or 'unknown'}"
    outcome = call.outcome or f"none recorded, last state {call.state or 'unknown'}"
    length = "" if call.duration_s is None else f", {call.duration_s:.0f} s"
    yield f"outcome: {outcome}{f' ({call.reason})' if call.reason else ''}{length}"
    if call.language is not None:
        yield (
            f"language: {call.language}, decided by {call.language_how} after {call.language_after_s or 0.0:.1f} s,"
            f" confidence {call.language_confidence or 0.0:.2f}"
        )
        for vote in call.votes:
            scores = " ".join(f"{code}={score:.2f}" for code, score in sorted(vote.scores.items(), key=lambda item: -item[1]))
            yield f"  vote {vote.source} (weight {vote.weight:g}): {scores}"
    for utterance in call.utterances:
        who = _SHORT_LANES.get(utterance.lane, utterance.lane)
        number = f"{utterance.utterance}.{utterance.segment}"
        yield f"{utterance.started_s:7.1f} s  {who:6} {number:>5} {utterance.source_language:>8}: {utterance.recognised}"
        if utterance.outcome == "interpreted":
            note = f"   [{utterance.confidence:.2f}, {utterance.delays.get('total', 0.0):.2f} s{', flagged' if utterance.flagged else ''}]"
            yield f"{'':23} {utterance.target_language:>8}: {utterance.translated}{note}"
            kept = audio.path(call.id, utterance.lane, utterance.utterance)
            if utterance.flagged and kept.exists():
                yield f"{'':23} {'audio':>8}: {kept}"
        else:
            yield f"{'':23} {utterance.outcome:>8}{f': {utterance.reason}' if utterance.reason else ''}"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
