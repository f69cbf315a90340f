"""The command `appliance`: its sub-commands are imported when they are used, so that each starts fast and one that cannot be
imported harms no other."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import click

from appliance import __version__
from appliance.errors import ApplianceError

ERROR_STATUS = 2
"""Exit status when the appliance refuses: bad configuration, missing model, no such call."""


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a sub-command is."""

    module: str
    attribute: str
    help: str
    """One line for the list of commands."""


COMMANDS = {
    "up": LazyCommand("appliance.cli.up", "up_command", "Run the stack in the foreground."),
    "demo": LazyCommand("appliance.phone.cli", "demo_command", "Five real calls, one per caller language."),
    "call": LazyCommand("appliance.phone.cli", "call_command", "Place one real call with given speech."),
    "bench": LazyCommand("appliance.cli.bench", "bench_command", "Measure engines, batching, the gateway and real calls."),
    "doctor": LazyCommand("appliance.cli.doctor", "doctor_command", "Check everything a call needs, one line each."),
    "status": LazyCommand("appliance.cli.status", "status_command", "What runs, how many calls, drained or not."),
    "drain": LazyCommand("appliance.cli.drain", "drain_command", "Take no new calls, wait for those that run to end."),
    "undrain": LazyCommand("appliance.cli.drain", "undrain_command", "Take calls again."),
    "accept": LazyCommand("appliance.cli.accept", "accept_command", "A call in each language through this node, judged by its figures."),
    "backup": LazyCommand("appliance.cli.backup", "backup_command", "Write configuration, secrets and database to one file."),
    "restore": LazyCommand("appliance.cli.backup", "restore_command", "Put back what `backup` wrote."),
    "expire": LazyCommand("appliance.cli.expire", "expire_command", "Delete records that are older than they may be."),
    "support-bundle": LazyCommand("appliance.cli.support", "support_command", "Logs and state in one file, without numbers and texts."),
    "bundle": LazyCommand("appliance.cli.bundle", "bundle_group", "One file for sites without internet."),
    "models": LazyCommand("appliance.cli.models", "models_group", "The models: list, verify and train them."),
    "evaluate": LazyCommand("appliance.cli.evaluate", "evaluate_group", "Measure the active engines: manifests in, scores out."),
    "transcripts": LazyCommand("appliance.cli.transcripts", "transcripts_group", "What was said in calls: list, show, export."),
}


class CommandMissing(ApplianceError):
    """A sub-command whose code or packages are not installed."""


class Frame(click.Group):
    """A group of lazy commands that turns an `ApplianceError` into one message and exit status 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Raises: CommandMissing."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        try:
            command = getattr(importlib.import_module(place.module), place.attribute)
        except (ImportError, AttributeError) as error:
            raise CommandMissing(f"the command `{cmd_name}` is not part of this installation: {error}") from error
        if not isinstance(command, click.Command):
            raise CommandMissing(f"the command `{cmd_name}` is not part of this installation: {place.attribute} is no command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.help) for name, place in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ApplianceError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(ERROR_STATUS)


@click.group(cls=Frame, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="Setu %(version)s")
def appliance() -> None:
    """Setu: two parties on one phone call, each heard in the other's language."""
