"""The support bundle: what somebody far away needs to see why a node went badly, and nothing that callers said or dialled from.

Every text goes through `Redaction`. A part that cannot be had is a note in its place, never the end of the bundle.
"""

from __future__ import annotations

import io
import os
import platform
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from appliance import __version__
from appliance.config.load import LoadedConfig
from appliance.config.secrets import PREFIX, secret_values
from appliance.errors import ApplianceError
from appliance.node.ask import ask
from appliance.node.backup import secret_files
from appliance.node.errors import NodeError
from appliance.node.parts import model_instances, worker_place, workers
from appliance.node.redaction import Redaction
from appliance.node.status import node_status
from appliance.node.units import SHARED, TARGET, instance_units, is_node
from appliance.stack.layout import layout_of
from appliance.store.transcripts import CallTranscript, Transcripts

MOST_LOG_BYTES = 20_000_000
"""Of each log, its end."""
COMMAND_S = 60.0
ASTERISK_LOGS = Path("/var/log/asterisk")
COMMANDS = {
    "machine/processor.txt": ("lscpu",),
    "machine/memory.txt": ("free", "-m"),
    "machine/disks.txt": ("df", "-hT"),
    "machine/graphics.txt": ("nvidia-smi",),
    "machine/clock.txt": ("timedatectl",),
    "machine/listeners.txt": ("ss", "-Hlntup"),
    "machine/failed-units.txt": ("systemctl", "--no-pager", "--failed"),
    "asterisk/version.txt": ("asterisk", "-rx", "core show version"),
    "asterisk/endpoints.txt": ("asterisk", "-rx", "pjsip show endpoints"),
    "asterisk/registrations.txt": ("asterisk", "-rx", "pjsip show registrations"),
    "asterisk/channels.txt": ("asterisk", "-rx", "core show channels concise"),
    "asterisk/queue.txt": ("asterisk", "-rx", "queue show"),
}

Part = Callable[[], str]


def parts(loaded: LoadedConfig, findings: Part, since: timedelta, calls: Callable[[datetime], str]) -> Iterator[tuple[str, Part]]:
    """Every file of a bundle by name, and what makes it; as yet with everything in it.

    Args:
        findings: what the doctor says.
        calls: records of calls since a moment, already without numbers and texts.
    """
    yield "doctor.json", findings
    yield "status.json", lambda: _json(node_status(loaded))
    yield "appliance.toml", loaded.file.read_text
    yield "versions.txt", _versions
    yield "calls.json", lambda: calls(datetime.now(UTC) - since)
    for number in workers(loaded):
        yield f"metrics/gateway-{number}.txt", lambda number=number: _asked(worker_place(loaded, number))  # type: ignore[misc]
    for name in model_instances(loaded):
        yield f"metrics/model-{name}.txt", lambda name=name: _asked(loaded.socket(name))  # type: ignore[misc]
    for name, command in COMMANDS.items():
        yield name, lambda command=command: _printed(command)  # type: ignore[misc]
    if is_node():
        begin = (datetime.now(UTC) - since).strftime("%Y-%m-%d %H:%M:%S UTC")
        for unit in (TARGET, *SHARED, *instance_units(loaded.config)):
            command = ("journalctl", "--no-pager", "-o", "short-iso-precise", f"--since={begin}", f"--unit={unit}")
            yield f"log/{unit}.log", lambda command=command: _printed(command)  # type: ignore[misc]
    folders = {"asterisk": ASTERISK_LOGS if is_node() else layout_of(loaded).asterisk_log, "stack": layout_of(loaded).log}
    for name, folder in folders.items():
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if path.is_file():
                yield f"log/{name}/{path.name}", lambda path=path: _end(path)  # type: ignore[misc]


def write_bundle(file: Path, loaded: LoadedConfig, made: Iterator[tuple[str, Part]]) -> list[str]:
    """Write `file` (gzipped tar, mode 0600), whole or not at all; the names of its parts.

    Raises:
        NodeError: it cannot be written.
    """
    redaction = Redaction(known_secrets(loaded))
    names = []
    try:
        descriptor, draft = tempfile.mkstemp(dir=file.absolute().parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as tar:
                for name, part in made:
                    content = redaction.line(_tried(part)).encode()
                    entry = tarfile.TarInfo(f"support/{name}")
                    entry.size, entry.mtime = len(content), int(time.time())
                    tar.addfile(entry, io.BytesIO(content))
                    names.append(name)
            Path(draft).replace(file)
        except BaseException:
            Path(draft).unlink()
            raise
    except OSError as error:
        raise NodeError(f"{file}: cannot be written: {error.strerror or error}") from error
    return names


def known_secrets(loaded: LoadedConfig) -> list[str]:
    """Passwords and keys of this node, from the configuration and from their files."""
    found = [value for value in secret_values(loaded.config) if not value.startswith(PREFIX)]
    for path in secret_files(loaded).values():
        try:
            found.append(path.read_text().strip())
        except (OSError, UnicodeDecodeError):
            continue
    return found


async def call_records(loaded: LoadedConfig, since: datetime) -> str:
    """The calls since then as JSON: who called whom and what was said is left out, not only made unreadable."""
    try:
        async with Transcripts.from_config(loaded) as transcripts:
            return _json([without_content(call) async for call in transcripts.export(since=since)])
    except (ApplianceError, SQLAlchemyError) as error:
        return f"no records: {error}"


def without_content(call: CallTranscript) -> dict[str, Any]:
    """A call by its figures: lengths of texts in the place of texts."""
    kept: dict[str, Any] = msgspec.to_builtins(call)
    for name in ("caller_number", "called_number"):
        kept[name] = f"{len(kept[name])} digits"
    for utterance in kept["utterances"]:
        for name in ("recognised", "translated"):
            utterance[f"{name}_characters"] = len(utterance.pop(name))
    return kept


def _tried(part: Part) -> str:
    try:
        return part()
    except Exception as error:  # noqa: BLE001 - the rest of the bundle matters all the more
        return f"not to be had: {type(error).__name__}: {error}\n"


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode() + "\n"


def _asked(place: Path | tuple[str, int]) -> str:
    return ask(place, "/metrics").body.decode(errors="replace")


def _printed(command: tuple[str, ...]) -> str:
    done = subprocess.run(command, capture_output=True, timeout=COMMAND_S, check=False, env={**os.environ, "LC_ALL": "C.UTF-8"})
    return (done.stdout[-MOST_LOG_BYTES:] + done.stderr).decode(errors="replace")


def _end(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - MOST_LOG_BYTES))
        return file.read().decode(errors="replace")


def _versions() -> str:
    release = Path("/etc/os-release")
    system = release.read_text().splitlines()[0] if release.exists() else ""
    lines = [f"Setu {__version__}", f"Python {platform.python_version()}", f"Linux {platform.release()}", system]
    packages = sorted(f"{package.name}=={package.version}" for package in metadata.distributions() if package.name)
    return "\n".join([*lines, *packages]) + "\n"
