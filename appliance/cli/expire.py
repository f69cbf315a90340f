"""`appliance expire`: deletes records, texts and audio of calls that are older than they may be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
import msgspec

from appliance.cli.options import config_option, loaded_config
from appliance.config.schema import Store
from appliance.store.retention import Expired, expire


@click.command("expire", short_help="Delete records that are older than they may be.")
@config_option
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def expire_command(config_file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Delete calls, with all that was said in them, after store.keep_days, and audio of flagged utterances after store.keep_audio_days.

    Calls may run meanwhile. On a node a timer does it every night. Exit status 1 when something could not be deleted.
    """
    loaded = loaded_config(config_file)
    done = asyncio.run(expire(loaded, dry_run=dry_run))
    if as_json:
        click.echo(msgspec.json.encode(done).decode())
    else:
        click.echo(_told(done, loaded.config.store, dry_run=dry_run))
    for problem in done.problems:
        click.echo(f"not deleted: {problem}", err=True)
    if done.problems:
        raise click.exceptions.Exit(1)


def _told(done: Expired, store: Store, *, dry_run: bool) -> str:
    if not store.keep_days and not store.keep_audio_days:
        return "nothing is ever deleted: store.keep_days and store.keep_audio_days are 0"
    days = [f"{name} {count} days" for name, count in (("calls", store.keep_days), ("audio", store.keep_audio_days)) if count]
    return (
        f"{'would delete' if dry_run else 'deleted'} {done.calls} calls with {done.utterances} utterances, "
        f"{done.audio_files} files of audio, {done.spooled_events} spooled and {done.live_events} live events; kept: {', '.join(days)}"
    )
