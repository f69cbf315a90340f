"""`appliance bundle`: everything a node is installed from, as one signed file."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.bundle import Request, create
from appliance.bundle.packages import SUITES

REPOSITORY = Path(__file__).parents[2]
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group("bundle", short_help="One file for sites without internet.")
def bundle_group() -> None:
    """Everything a node is installed from as one signed file, for sites without internet: docs/offline.md."""


@bundle_group.command("create")
@click.option("--release", default="", metavar="TAG", help="Tag or commit to bundle; without it the files as they are now.")
@click.option("--profile", type=click.Choice(["starter", "production"]), default="starter", show_default=True)
@click.option("--debian", type=click.Choice(sorted(SUITES)), default="14", show_default=True, help="Release on the nodes.")
@click.option("--models", type=_FILE, default=None, help="tar.gz with the models of the production profile.")
@click.option("--grafana", type=_FILE, default=None, help="Grafana's Debian package.")
@click.option("--key", type=_FILE, default=Path("build/bundle.key"), show_default=True, help="ed25519 key that signs; made when missing.")
@click.option("-o", "--output", type=_FILE, required=True, help="The file to write.")
def create_command(release: str, profile: str, debian: str, models: Path | None, grafana: Path | None, key: Path, output: Path) -> None:
    """Fetch what a fresh machine would install, add the release, sign it. Needs root and the package mirrors."""
    create(Request(REPOSITORY, output, key, debian, profile, models, grafana, release), click.echo)
    click.echo(f"{output}: {output.stat().st_size / 1e6:.0f} MB, signed; give the site {key}.pub by another way than the file")
