"""`appliance support-bundle`: logs and state in one file, without numbers and texts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

from appliance.cli.checks import checks, run
from appliance.cli.options import Since, config_option, loaded_config
from appliance.node.support import call_records, parts, write_bundle


@click.command("support-bundle", short_help="Logs and state in one file, without numbers and texts.")
@click.option("-o", "--output", "file", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE")
@click.option("--since", type=Since(), default="24h", show_default=True, help="Begin of logs and calls: a date, or an age such as 7d.")
@config_option
def support_command(file: Path, since: datetime, config_file: Path | None) -> None:
    """Write doctor, status, logs, metrics and the figures of calls to FILE (a gzipped tar).

    Telephone numbers have stand-ins, what was said and every password is taken out. Look through it before it leaves the site.
    """
    loaded = loaded_config(config_file)

    def findings() -> str:
        found = [run(name, check, loaded) for name, check in checks(loaded)]
        return msgspec.json.format(msgspec.json.encode(found)).decode()

    names = write_bundle(
        file, loaded, parts(loaded, findings, datetime.now(UTC) - since, lambda begin: asyncio.run(call_records(loaded, begin)))
    )
    click.echo(f"{file}: {len(names)} files, {file.stat().st_size / 1024:.0f} KiB")
