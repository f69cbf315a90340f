"""`appliance evaluate`: how well the active engines recognise, translate, find languages, and refuse what they do not know."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from appliance.cli.options import FILE_NAME, config_option, config_path
from appliance.config.errors import ConfigError
from appliance.config.load import LoadedConfig, load
from appliance.evaluation import calls, document, heldout, refusal, results, run, tables, testset
from appliance.evaluation.audio import Line
from appliance.evaluation.errors import EvaluationError
from appliance.evaluation.results import EvaluationReport

REPOSITORY_MODELS = Path(__file__).parents[2] / "models"
WIDE = 200
"""Columns of a table that no terminal limits."""

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)
_manifest = click.option("--manifest", type=_FILE, required=True, metavar="FILE.tsv", help="What was said, or written, and what it means.")
_report = click.option("--report", type=_FILE, default=None, metavar="FILE.json", help="Write everything that was found, row by row.")


@click.group("evaluate", short_help="Measure the active engines: manifests in, scores out.")
def evaluate_group() -> None:
    """Measure the active engines through the model servers, as a call uses them.

    The servers of a running stack are asked; where none runs, they are started for as long as the evaluation takes.
    """


def _speech_options(function: Decorated) -> Decorated:
    options = (
        _manifest,
        click.option("--bandlimit", is_flag=True, help="Send the audio through 8 kHz and G.711 first."),
        click.option("--noise", default="", metavar="KIND:DB", help="Lay noise over it, as babble:10; the kind `mixed` is all in turn."),
        click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the noise."),
        _report,
        config_option,
    )
    for option in reversed(options):
        function = option(function)
    return function


@evaluate_group.command("stt")
@_speech_options
@click.option(
    "--language",
    "how",
    type=click.Choice(["given", "found"]),
    default="given",
    show_default=True,
    help="Whether the recogniser is told the language of the manifest.",
)
@click.option("--translate", is_flag=True, help="Translate what is recognised, too, where the manifest has target_language.")
def stt_command(
    manifest: Path, bandlimit: bool, noise: str, seed: int, report: Path | None, config_file: Path | None, how: str, translate: bool
) -> None:
    """Recognise the utterances of a manifest with columns audio, text and language."""
    line = Line.parse(bandlimit, noise, seed)
    with _configuration(config_file) as loaded, _progress() as progress:
        found = asyncio.run(run.speech(loaded, manifest, line, held=how == "given", translate=translate, progress=progress))
    _tell(found, report)


@evaluate_group.command("lid")
@_speech_options
def lid_command(manifest: Path, bandlimit: bool, noise: str, seed: int, report: Path | None, config_file: Path | None) -> None:
    """Find the language of each utterance of a manifest, as a call does after a caller's first one."""
    line = Line.parse(bandlimit, noise, seed)
    with _configuration(config_file) as loaded, _progress() as progress:
        found = asyncio.run(run.speech(loaded, manifest, line, kind="lid", held=False, progress=progress))
    _tell(found, report)


@evaluate_group.command("mt")
@_manifest
@_report
@config_option
def mt_command(manifest: Path, report: Path | None, config_file: Path | None) -> None:
    """Translate the sentences of a manifest with columns source_language, source, target_language and reference."""
    with _configuration(config_file) as loaded, _progress() as progress:
        found = asyncio.run(run.text(loaded, manifest, progress=progress))
    _tell(found, report)


@evaluate_group.command("call")
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@_report
def call_command(reports: tuple[Path, ...], report: Path | None) -> None:
    """Put the reports of real calls together: REPORTS are files of `appliance call --report`, or folders with report.json in them."""
    found = calls.evaluate(reports)
    console = _console()
    summary = found.summary
    console.print(
        f"{summary.calls} calls, {summary.calls_through} through; {summary.interpreted} of {summary.utterances} utterances interpreted"
    )
    console.print(f"language right: {summary.language_right} of {summary.language_known}", end="; ")
    console.print(f"slot values right: {summary.values_right} of {summary.values_utterances}")
    delays = Table("delay", "count", "p50", "p95", "longest")
    for name, delay in found.stages_s.items():
        delays.add_row(name, str(delay.count), *("-" if value is None else f"{value:.2f} s" for value in (delay.p50, delay.p95, delay.max)))
    console.print(delays)
    _print_table(console, *tables.table(found.scores, tables.columns("stt")))
    if report is not None:
        results.write(found, report)


@evaluate_group.command("testset")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR", help="Folder to write.")
@click.option("--per-language", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Utterances of each language.")
@click.option("--split", type=click.Choice(["test", "dev"]), default="test", show_default=True, help="dev is for tuning, test for the end.")
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--phrasebook", type=click.Path(path_type=Path, file_okay=False, exists=True), default=REPOSITORY_MODELS / "phrasebook")
def testset_command(out: Path, per_language: int, split: Any, seed: int, phrasebook: Path) -> None:
    """Write held-out speech of the phrasebook and its manifests: stt.tsv, mt.tsv, offtopic.tsv and quiet.tsv."""
    with _progress() as progress:
        testset.write(out, phrasebook, split=split, per_language=per_language, seed=seed, progress=progress)
    click.echo(f"{out}: stt.tsv, mt.tsv, offtopic.tsv, quiet.tsv")


@evaluate_group.command("heldout")
@click.option("--out", type=_FILE, default=REPOSITORY_MODELS / "starter" / "heldout.txt", metavar="FILE", help="File to write.")
@click.option("--phrasebook", type=click.Path(path_type=Path, file_okay=False, exists=True), default=REPOSITORY_MODELS / "phrasebook")
def heldout_command(out: Path, phrasebook: Path) -> None:
    """List what no training sees: the rules, the voices, and every combination that can be counted up."""
    text = heldout.read_and_list(phrasebook)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{out}: cannot be written: {error.strerror}") from error
    click.echo(f"{out}: {len(text.splitlines())} lines")


@evaluate_group.command("refusal")
@click.option("--report", "reports", type=_FILE, multiple=True, required=True, metavar="FILE.json", help="Of `stt`, from development data.")
@click.option("--check", "checks", type=_FILE, multiple=True, metavar="FILE.json", help="Of `stt`, from other data: only measured.")
@click.option("--out", type=_FILE, default=None, metavar="FILE.json", help="Write the weights and the threshold.")
def refusal_command(reports: tuple[Path, ...], checks: tuple[Path, ...], out: Path | None) -> None:
    """Weigh what the engines say of an utterance into one score, and set the threshold below which it is refused.

    The reports must hold both utterances that are to be understood and such that are not (an empty text in the manifest).
    """
    outcomes = [row for path in reports for row in results.read(path).rows]
    made = refusal.calibrate(outcomes)
    console = _console()
    weights = ", ".join(f"{name} {weight:+.3f}" for name, weight in made.weights.items())
    console.print(f"{made.in_domain} utterances to understand, {made.out_of_domain} others; weights: {weights}, bias {made.bias:+.3f}")
    shown = Table("threshold", "refused in domain", "refused out of domain")
    for point in made.curve:
        mark = " *" if point.threshold == made.threshold else ""
        shown.add_row(f"{point.threshold:.3f}{mark}", f"{100 * point.in_domain:.1f} %", f"{100 * point.out_of_domain:.1f} %")
    console.print(shown)
    for path in checks:
        rows = results.read(path).rows
        known, unknown = (refusal.scores(made, rows, in_domain=sort) for sort in (True, False))
        point = refusal.point(known, unknown, made.threshold)
        told = [f"{100 * share:.1f} % of {len(some)}" for share, some in ((point.in_domain, known), (point.out_of_domain, unknown))]
        console.print(f"{path}: refused {told[0]} in domain, {told[1]} out of domain")
    if out is not None:
        results.write(made, out)
        click.echo(f"{out}: written; seal the model anew if it belongs to one: python -m appliance.catalog seal starter/stt", err=True)


@evaluate_group.command("document")
@click.argument("reports", nargs=-1, required=True, type=_FILE)
@click.option("--file", type=_FILE, default=REPOSITORY_MODELS.parent / "docs" / "models.md", show_default=False, metavar="FILE.md")
def document_command(reports: tuple[Path, ...], file: Path) -> None:
    """Put the tables of REPORTS, in their order, between the marks of docs/models.md."""
    document.fill(file, [results.read(path) for path in reports])
    click.echo(f"{file}: {len(reports)} tables written")


@contextmanager
def _configuration(given: Path | None) -> Iterator[LoadedConfig]:
    """The configuration that is meant; without any, the defaults with the models of the repository."""
    try:
        file = config_path(given)
    except ConfigError:
        with tempfile.TemporaryDirectory(prefix="evaluate-") as folder:
            file = Path(folder) / FILE_NAME
            file.write_text(f"[models]\nfolder = {msgspec.json.encode(str(REPOSITORY_MODELS)).decode()}\n", encoding="utf-8")
            yield load(file)
    else:
        yield load(file)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    shape = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shape, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda done, total: bar.update(task, description="evaluating", completed=done, total=total)


def _tell(found: EvaluationReport, report: Path | None) -> None:
    console = _console()
    engines = ", ".join(f"{kind} {used.engine} {used.model}".rstrip() for kind, used in found.engines.items())
    console.print(f"{found.kind} of {found.manifest}{f', {found.line}' if found.line else ''}; {engines}", markup=False)
    _print_table(console, *tables.table(found.scores, tables.columns(found.kind)))
    if found.confusion:
        _print_table(console, *tables.confusion(found.confusion))
    if report is not None:
        results.write(found, report)


def _print_table(console: Console, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    shown = Table(*head)
    for row in rows:
        shown.add_row(*row)
    console.print(shown, markup=False)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)
