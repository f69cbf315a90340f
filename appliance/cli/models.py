"""`appliance models`: what the catalogue knows, and whether the files on this machine are the right ones; the starter's making."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from appliance.catalog import Catalog, Model, load, verify
from appliance.catalog.entries import FILE_NAME
from appliance.cli.options import config_option, config_path
from appliance.cli.table import table
from appliance.cli.train import train_command
from appliance.config.errors import ConfigError
from appliance.config.load import load as load_config

REPOSITORY_MODELS = Path(__file__).parents[2] / "models"


@click.group("models", short_help="The models: list, verify and train them.")
def models_group() -> None:
    """The models of the catalogue, models/catalog.toml."""


models_group.add_command(train_command)


@models_group.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="Everything the catalogue says, as JSON.")
def list_command(config_file: Path | None, as_json: bool) -> None:
    """List the models: stage, languages, licence, and whether the files are there."""
    catalog = _catalog(config_file)
    if as_json:
        entries = [msgspec.to_builtins(model) | {"state": _state(model, catalog)} for model in catalog.models.values()]
        click.echo(json.dumps(entries, ensure_ascii=False, indent=2))
        return
    rows = [
        (
            model.id,
            model.stage,
            " ".join(model.languages),
            model.licence,
            "yes" if model.commercial else "no",
            f"{model.memory_mb} MB",
            _state(model, catalog),
        )
        for model in catalog.models.values()
    ]
    click.echo(table(("id", "stage", "languages", "licence", "commercial", "memory", "files"), rows))


@models_group.command("verify")
@click.argument("model", nargs=-1)
@config_option
def verify_command(config_file: Path | None, model: tuple[str, ...]) -> None:
    """Compare the files of each MODEL (all of them by default) with their checksums; exit status 1 when any differs."""
    catalog = _catalog(config_file)
    failed = False
    for name in model or catalog.models:
        problems = verify(catalog.get(name), catalog.folder)
        failed = failed or bool(problems)
        click.echo("\n".join(map(str, problems)) if problems else f"model {name}: verified, {len(catalog.get(name).files)} files")
    if failed:
        raise click.exceptions.Exit(1)


def _catalog(config_file: Path | None) -> Catalog:
    """The catalogue of the configured models folder; without any configuration that of the repository."""
    try:
        file = config_path(config_file)
    except ConfigError:
        return load(REPOSITORY_MODELS / FILE_NAME)
    loaded = load_config(file)
    return load(loaded.path(loaded.config.models.folder) / FILE_NAME)


def _state(model: Model, catalog: Catalog) -> str:
    folder = model.location(catalog.folder)
    if folder is None or not folder.is_dir():
        return "missing"
    absent = [name for name in model.files if not (folder / name).is_file()]
    if absent:
        return f"{len(absent)} of {len(model.files)} missing"
    return "present" if model.files else "no checksums"
