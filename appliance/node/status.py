"""What a node does at the moment: units, model servers, workers and their calls."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance import __version__
from appliance.config.load import LoadedConfig
from appliance.gateway.draining import DrainMarks
from appliance.node.parts import NoAnswer, WorkerStatus, model_health, model_instances, worker_status, workers
from appliance.node.units import SHARED, TARGET, UnitState, instance_units, is_node, unit_states

CURRENT = Path("/opt/appliance/current")


class Part(msgspec.Struct, frozen=True):
    """A model server or a worker."""

    name: str
    ready: bool
    detail: str
    calls: int = 0


class NodeStatus(msgspec.Struct, frozen=True):
    node: str
    version: str
    release: str
    """Folder name of the release that `current` means; empty where nothing is installed that way."""
    ready: bool
    """Whether calls are interpreted: a worker takes them, and each kind of model server has one that answers."""
    drained: list[str]
    """`node`, or the workers, that somebody wants no new calls for."""
    calls: int
    parts: list[Part]
    units: list[UnitState]
    """Empty where systemd does not run the appliance."""


def node_status(loaded: LoadedConfig) -> NodeStatus:
    """Never fails: what does not answer is a part that is not ready."""
    models = [_model(loaded, name) for name in model_instances(loaded)]
    gateways = [_worker(loaded, number) for number in workers(loaded)]
    kinds = {kind: any(part.ready for part in models if part.name.removeprefix("model-").startswith(kind)) for kind in ("stt", "mt", "tts")}
    return NodeStatus(
        node=loaded.config.node.name,
        version=__version__,
        release=CURRENT.resolve().name if CURRENT.is_symlink() else "",
        ready=any(part.ready for part in gateways) and all(kinds.values()),
        drained=drained(loaded),
        calls=sum(part.calls for part in gateways),
        parts=[*models, *gateways],
        units=unit_states([TARGET, *SHARED, *instance_units(loaded.config)]) if is_node() else [],
    )


def drained(loaded: LoadedConfig) -> list[str]:
    """`node` or `gateway-N`, by the marks that workers follow."""
    marks = DrainMarks(loaded.state_dir)
    node = ["node"] if marks.file().exists() else []
    return node or [f"gateway-{number}" for number in workers(loaded) if marks.file(number).exists()]


def say_worker(status: WorkerStatus) -> str:
    calls = f"{status.calls} of {status.max_calls} calls"
    if not status.asterisk:
        return f"Asterisk is not connected, {calls}"
    if status.drained:
        return f"drained, {calls}"
    return f"takes calls, {calls}" if status.accepting else f"takes no calls yet, {calls}"


def _model(loaded: LoadedConfig, name: str) -> Part:
    try:
        health = model_health(loaded, name)
    except NoAnswer as error:
        return Part(f"model-{name}", ready=False, detail=str(error))
    detail = f"{health.status}: {health.engine}{f', {health.detail}' if health.detail else ''}"
    return Part(f"model-{name}", ready=health.status == "ready", detail=detail)


def _worker(loaded: LoadedConfig, number: int) -> Part:
    try:
        status = worker_status(loaded, number)
    except NoAnswer as error:
        return Part(f"gateway-{number}", ready=False, detail=str(error))
    return Part(f"gateway-{number}", ready=status.ready, detail=say_worker(status), calls=status.calls)
