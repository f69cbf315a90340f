"""`appliance backup` and `appliance restore`: configuration, secrets and database in one file."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.cli.options import FILE_NAME, config_option, config_path, loaded_config
from appliance.config.errors import ConfigError
from appliance.config.load import LoadedConfig, load
from appliance.node.backup import back_up
from appliance.node.errors import NodeError
from appliance.node.parts import NoAnswer, worker_status, workers
from appliance.node.restore import KEPT, restore

NODE_FILE = Path("/etc/appliance") / FILE_NAME
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("backup", short_help="Write configuration, secrets and database to one file.")
@click.argument("file", type=_FILE)
@config_option
@click.option("--force", is_flag=True, help="Replace FILE when it is there.")
def backup_command(file: Path, config_file: Path | None, force: bool) -> None:
    """Write the configuration, its secrets and a snapshot of the database to FILE, while calls run.

    The file has passwords and what callers said: its mode is 0600, keep it so.
    """
    if file.exists() and not force:
        raise NodeError(f"{file} is there already", hint="take another name, or --force")
    made = back_up(loaded_config(config_file), file)
    click.echo(f"{file}: {len(made.members)} files, {file.stat().st_size / 1024**2:.1f} MiB")
    for line in made.left_out:
        click.echo(f"not in it: {line}", err=True)


@click.command("restore", short_help="Put back what `backup` wrote.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@config_option
def restore_command(file: Path, config_file: Path | None) -> None:
    """Put back FILE, whole or not at all. The workers must be stopped: systemctl stop appliance.target.

    A damaged or incomplete file is refused before anything is touched. What was there before stays beside it, with
    the ending .before-restore.
    """
    place = _place(config_file)
    running = _running(place)
    if running:
        raise NodeError(f"{running} is running", hint="systemctl stop appliance.target")
    restored = restore(file, place)
    manifest = restored.manifest
    click.echo(f"restored {len(restored.places)} files of {manifest.node}, Setu {manifest.version}, of {manifest.made_at}")
    for path in restored.places:
        click.echo(f"  {path}{f' (before: {path.name}{KEPT})' if path.with_name(path.name + KEPT).exists() else ''}")


def _place(given: Path | None) -> Path:
    """Where the configuration goes: a new node has none yet."""
    try:
        return config_path(given)
    except ConfigError:
        return NODE_FILE


def _running(config_file: Path) -> str:
    """A worker that answers; empty when none does, or nobody knows where it would."""
    try:
        loaded: LoadedConfig = load(config_file)
    except ConfigError:
        return ""
    for number in workers(loaded):
        try:
            return worker_status(loaded, number).worker
        except NoAnswer:
            continue
    return ""
