"""`appliance drain` and `appliance undrain`: no new calls for the interpreter, and again some."""

from __future__ import annotations

import time
from pathlib import Path

import click

from appliance.cli.options import config_option, loaded_config
from appliance.config.load import LoadedConfig
from appliance.gateway.draining import DrainMarks
from appliance.node.errors import NodeError
from appliance.node.parts import NoAnswer, WorkerStatus, worker_status, workers

LOOK_EVERY_S = 0.5
SAY_EVERY_S = 30.0
SEEN_S = 5.0
"""A worker looks for its mark twice a second; one that has not seen it by then is stuck, or of a release that knows no marks."""

_worker_option = click.option("--worker", type=click.IntRange(1), default=None, metavar="N", help="Only worker N.")


@click.command("drain", short_help="Take no new calls, wait for those that run to end.")
@config_option
@_worker_option
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), default=3600.0, show_default=True, metavar="S", help="Longest wait.")
def drain_command(config_file: Path | None, worker: int | None, timeout_s: float) -> None:
    """Take no new calls on this node, or on one worker, and return when those that are interpreted have ended by themselves.

    New callers reach the agents without an interpreter meanwhile, in a cluster another node. Calls that need no interpreter
    any more are not waited for: they go on when the worker is stopped. It holds over restarts until `appliance undrain`.
    Exit status 1 when calls still run after the longest wait; they are left alone, and so is the mark.
    """
    loaded = loaded_config(config_file)
    numbers = _numbers(loaded, worker)
    _mark(loaded, worker, on=True)
    began = said = time.monotonic()
    while True:
        running, direct, unaware = _running(loaded, numbers)
        now = time.monotonic()
        if unaware and now - began > SEEN_S:
            raise NodeError(f"{' '.join(unaware)} still takes calls", hint="systemctl restart its unit, which gives its calls away")
        if not running and not unaware:
            click.echo(f"drained, no call is {'interpreted' if direct else 'running'}")
            if direct:
                click.echo(f"{direct} go on without interpreter, also when the workers are stopped; Asterisk must stay")
            return
        if now - began > timeout_s:
            click.echo(f"{running} calls still run after {timeout_s:g} s", err=True)
            raise click.exceptions.Exit(1)
        if now - said > SAY_EVERY_S:
            click.echo(f"{running} calls still run")
            said = now
        time.sleep(LOOK_EVERY_S)


@click.command("undrain", short_help="Take calls again.")
@config_option
@_worker_option
def undrain_command(config_file: Path | None, worker: int | None) -> None:
    """Take calls again: on the whole node, whatever was drained, or on one worker."""
    loaded = loaded_config(config_file)
    _numbers(loaded, worker)
    _mark(loaded, worker, on=False)
    marks = DrainMarks(loaded.state_dir)
    if worker is not None and marks.holds(worker):
        raise NodeError(f"worker {worker} is still drained, as the whole node is", hint="appliance undrain, without --worker")
    click.echo("calls are taken again")


def _numbers(loaded: LoadedConfig, worker: int | None) -> list[int]:
    known = list(workers(loaded))
    if worker is not None and worker not in known:
        raise NodeError(f"there is no worker {worker}; allowed: 1 to {known[-1]}")
    return known if worker is None else [worker]


def _mark(loaded: LoadedConfig, worker: int | None, *, on: bool) -> None:
    marks = DrainMarks(loaded.state_dir)
    try:
        if on:
            marks.set(worker)
        else:
            marks.clear(worker)
    except OSError as error:
        raise NodeError(f"{marks.file(worker)}: {error.strerror}", hint="run it as root") from error


def _running(loaded: LoadedConfig, numbers: list[int]) -> tuple[int, int, list[str]]:
    """Calls of these workers that need them, those that do not, and which workers have not seen the mark.

    One that does not answer has no calls.
    """
    found: list[WorkerStatus] = []
    for number in numbers:
        try:
            found.append(worker_status(loaded, number))
        except NoAnswer:
            continue
    direct = sum(status.direct for status in found)
    return sum(status.calls for status in found) - direct, direct, [status.worker for status in found if not status.drained]
