"""What a backup of a node holds, and making one while calls run."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance import __version__
from appliance.config.load import LoadedConfig
from appliance.config.secrets import BESIDE, PREFIX, secret_values
from appliance.node import archive
from appliance.node.snapshot import snapshot
from appliance.store.database import database_url, sqlite_file
from appliance.store.spool import waiting_lines

CONFIGURATION = "configuration/appliance.toml"
DATABASE = "database/setu.sqlite"
LARGEST_SECRET = 100_000
"""Bytes; what else lies in the state folder is no secret."""


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made."""

    members: tuple[str, ...]
    left_out: tuple[str, ...]
    """What the node has and the backup does not, in words."""


def secret_files(loaded: LoadedConfig) -> dict[str, Path]:
    """The secrets the configuration names, by name in an archive: from beside the configuration, and from the state folder."""
    names = {value.removeprefix(PREFIX) for value in secret_values(loaded.config) if value.startswith(PREFIX)}
    found: dict[str, Path] = {}
    beside = loaded.folder / BESIDE
    if beside.is_dir():
        found |= {f"credentials/{path.name}": path for path in sorted(beside.iterdir()) if path.is_file()}
    for name in sorted(names):
        path = loaded.state_dir / name
        if path.is_file() and path.stat().st_size <= LARGEST_SECRET:
            found[f"state/{name}"] = path
    return found


def back_up(loaded: LoadedConfig, file: Path) -> Made:
    """Raises: ArchiveError, StoreError."""
    left_out = []
    files = {CONFIGURATION: loaded.file, **secret_files(loaded)}
    database = sqlite_file(database_url(loaded.config.store.database, loaded.folder))
    with tempfile.TemporaryDirectory(dir=file.absolute().parent, prefix=".backup-") as folder:
        if database is None:
            left_out.append("the database: it is PostgreSQL's, which has its own tools (pg_dump)")
        elif not database.exists():
            left_out.append(f"the database: there is none yet at {database}")
        else:
            copy = Path(folder) / "setu.sqlite"
            snapshot(database, copy)
            files[DATABASE] = copy
        waiting = waiting_lines(loaded.state_dir / "spool")
        if waiting:
            left_out.append(f"{waiting} events of calls that wait for the database in {loaded.state_dir / 'spool'}")
        made_at = datetime.now(UTC).isoformat(timespec="seconds")
        archive.write(file, files, node=loaded.config.node.name, version=__version__, made_at=made_at)
    return Made(tuple(files), tuple(left_out))
