"""The checks of `appliance doctor`: each asks one thing a call needs and changes nothing."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from functools import partial

import redis

from appliance.cli.findings import Check, Finding, Refused
from appliance.cli.node_checks import node_checks
from appliance.config.load import LoadedConfig
from appliance.config.secrets import GENERATED_BYTES, PREFIX, secret_folders, secret_values
from appliance.errors import ApplianceError
from appliance.node.ask import ASK_S
from appliance.node.parts import NoAnswer, model_health, model_instances, worker_place, worker_status, workers
from appliance.stack.errors import PortTaken
from appliance.stack.models import check_models
from appliance.stack.preflight import check_ports, listeners
from appliance.store.database import database_url, sqlite_file
from appliance.store.spool import waiting_lines

DISK_WARN_BYTES = 2 * 1024**3
DISK_FAIL_BYTES = 200 * 1024**2
"""Below it a day of records may not fit."""


def checks(loaded: LoadedConfig) -> Iterator[tuple[str, Check]]:
    """Every check of this configuration, by name, in the order in which they are best read."""
    yield "secrets", _secrets
    yield "models", _models
    yield "disk", _disk
    yield "database", _database
    yield "ports", _ports
    yield "redis", _redis
    for name in model_instances(loaded):
        yield f"model-{name}", partial(_model_server, name)
    for number in workers(loaded):
        yield f"gateway-{number}", partial(_gateway, number)
    yield from node_checks(loaded)


def run(name: str, check: Check, loaded: LoadedConfig) -> Finding:
    """The finding of one check; an error of any kind is a finding too."""
    try:
        return check(loaded)
    except (ApplianceError, Refused) as error:
        return Finding(name, "failed", "; ".join(str(error).splitlines()))
    except Exception as error:  # noqa: BLE001 - the doctor itself must not fall ill
        return Finding(name, "failed", f"{type(error).__name__}: {error}")


def _secrets(loaded: LoadedConfig) -> Finding:
    values = secret_values(loaded.config)
    names = sorted({value.removeprefix(PREFIX) for value in values if value.startswith(PREFIX)})
    missing, open_to_others = [], []
    for name in names:
        file = next((folder / name for folder in secret_folders(loaded.state_dir, loaded.folder) if (folder / name).exists()), None)
        if file is None:
            if name not in GENERATED_BYTES:
                missing.append(name)
        elif file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            open_to_others.append(str(file))
    if missing:
        raise Refused(f"missing in {loaded.state_dir}: {', '.join(missing)}")
    if open_to_others:
        return Finding("secrets", "warning", f"other users may read {', '.join(open_to_others)}: chmod 600")
    in_file = len(values) - len([value for value in values if value.startswith(PREFIX)])
    if in_file:
        return Finding("secrets", "warning", f"{in_file} written in {loaded.file} itself; better file:NAME")
    return Finding("secrets", "ok", f"{len(names)} in place or made at the first start")


def _models(loaded: LoadedConfig) -> Finding:
    check_models(loaded)
    config = loaded.config
    served = ", ".join(part.engine if part.engine == "stub" else part.model or part.engine for part in (config.stt, config.mt, config.tts))
    return Finding("models", "ok", f"{served} in {loaded.path(config.models.folder)}: files as in the catalogue")


def _disk(loaded: LoadedConfig) -> Finding:
    folder = next(path for path in (loaded.state_dir, *loaded.state_dir.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 1024**3:.1f} GiB free for {loaded.state_dir}"
    if free < DISK_FAIL_BYTES:
        raise Refused(f"{text}: make room, records of calls will not fit")
    return Finding("disk", "warning" if free < DISK_WARN_BYTES else "ok", text)


def _database(loaded: LoadedConfig) -> Finding:
    file = sqlite_file(database_url(loaded.config.store.database, loaded.folder))
    spool = loaded.state_dir / "spool"
    waiting = waiting_lines(spool)
    if waiting:
        return Finding("database", "warning", f"{waiting} events of calls wait in {spool}: the database could not be written")
    if file is None:
        return Finding("database", "ok", "nothing waits for it")
    size = f"{file.stat().st_size / 1024**2:.1f} MiB" if file.exists() else "made at the first start"
    return Finding("database", "ok", f"{file}: {size}, nothing waits for it")


def _ports(loaded: LoadedConfig) -> Finding:
    wanted = listeners(loaded)
    numbers = ", ".join(str(port) for port in dict.fromkeys(listener.port for listener in wanted))
    taken: list[str] = []
    free = 0
    for listener in wanted:
        try:
            check_ports([listener])
            free += 1
        except PortTaken as error:
            taken.append(error.message)
    if not taken:
        return Finding("ports", "ok", f"{numbers} are free")
    if _runs(loaded):
        own = Finding("ports", "ok", f"{numbers} are in use by this stack")
        return own if not free else Finding("ports", "warning", f"{free} of {len(wanted)} of the stack's ports are not in use: {numbers}")
    raise Refused("; ".join(dict.fromkeys(taken)))


def _redis(loaded: LoadedConfig) -> Finding:
    url = loaded.config.redis.url
    with redis.Redis.from_url(url, socket_timeout=ASK_S, socket_connect_timeout=ASK_S) as client:
        try:
            info = client.info("server")
        except (redis.RedisError, OSError) as error:
            raise Refused(f"{url} does not answer ({error}): calls work, but caller languages and live events do not") from error
    return Finding("redis", "ok", f"{url}: version {info['redis_version']}")


def _model_server(instance: str, loaded: LoadedConfig) -> Finding:
    health = model_health(loaded, instance)
    name = f"model-{instance}"
    text = f"{health.engine} for {' '.join(health.languages)}{f': {health.detail}' if health.detail else ''}"
    if health.status == "failed":
        raise Refused(text)
    return Finding(name, "ok" if health.status == "ready" else "warning", text if health.status == "ready" else f"warming up: {text}")


def _gateway(number: int, loaded: LoadedConfig) -> Finding:
    host, port = worker_place(loaded, number)
    address = f"http://{host}:{port}"
    status = worker_status(loaded, number)
    if not status.asterisk:
        raise Refused(f"{address} runs, but Asterisk is not connected: calls go straight to the agents' queue")
    if status.drained:
        return Finding(f"gateway-{number}", "warning", f"{address} is drained, {status.calls} calls are left: appliance undrain")
    if not status.accepting:
        return Finding(f"gateway-{number}", "warning", f"{address} takes no new calls")
    return Finding(f"gateway-{number}", "ok", f"{address}: Asterisk connected, {status.calls} of {status.max_calls} calls")


def _runs(loaded: LoadedConfig) -> bool:
    """Whether it is this stack that holds the ports: its first worker answers."""
    try:
        worker_status(loaded, 1)
    except NoAnswer:
        return False
    return True
