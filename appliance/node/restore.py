"""Putting a backup back: everything is unpacked and checked beside its place first, then moved there, or nothing is."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from appliance.config.load import LoadedConfig, parse
from appliance.config.secrets import BESIDE
from appliance.node import archive
from appliance.node.archive import Manifest
from appliance.node.backup import CONFIGURATION, DATABASE
from appliance.node.errors import ArchiveError
from appliance.node.snapshot import SIDE_FILES, check
from appliance.store.database import database_url, sqlite_file

KEPT = ".before-restore"
"""End of the name of what was there before; an earlier one of the kind is replaced."""
ROOMY = Path("/var/tmp")  # noqa: S108 - the folder in it is private; /tmp may be in memory, and a database is large
MODES = {"configuration": 0o640, "credentials": 0o600, "state": 0o600, "database": 0o600}


@dataclass(frozen=True, slots=True)
class Restored:
    manifest: Manifest
    places: tuple[Path, ...]
    """Files that were put back."""


@dataclass(frozen=True, slots=True)
class _Move:
    source: Path
    """Nothing is put there, only what is there goes away, when it does not exist."""
    place: Path


def restore(file: Path, config_file: Path) -> Restored:
    """Put back what `file` holds, the configuration as `config_file`, the rest where it says.

    Raises:
        ArchiveError: the backup is refused, or a place cannot be written; then everything is as it was.
    """
    with tempfile.TemporaryDirectory(prefix="setu-restore-", dir=ROOMY if ROOMY.is_dir() else None) as name:
        unpacked = Path(name)
        manifest = archive.unpack(file, unpacked)
        places = _places(file, manifest, unpacked, config_file)
        if DATABASE in places:
            check(unpacked / DATABASE, f"{file}: {DATABASE}")
        try:
            _put_back(unpacked, places)
        except OSError as error:
            raise ArchiveError(f"{error.filename or file}: {error.strerror or error}; nothing was changed") from error
    return Restored(manifest, tuple(places.values()))


def _places(file: Path, manifest: Manifest, unpacked: Path, config_file: Path) -> dict[str, Path]:
    """Where each member goes."""
    if CONFIGURATION not in manifest.members:
        raise ArchiveError(f"{file}: incomplete: it has no {CONFIGURATION}")
    config_file = config_file.absolute()
    loaded = LoadedConfig(parse((unpacked / CONFIGURATION).read_text(), config_file), config_file)
    database = sqlite_file(database_url(loaded.config.store.database, loaded.folder))
    places = {}
    for name in manifest.members:
        kind, plain = name.split("/")
        if kind == "database":
            if database is None or name != DATABASE:
                raise ArchiveError(f"{file}: it has a database, but its configuration says that there is none in a file")
            places[name] = database
        else:
            places[name] = {
                "configuration": config_file,
                "credentials": loaded.folder / BESIDE / plain,
                "state": loaded.state_dir / plain,
            }[kind]
    return places


def _put_back(unpacked: Path, places: dict[str, Path]) -> None:
    with ExitStack() as cleanup:
        moves: list[_Move] = []
        for name, place in places.items():
            _made(place.parent, private=not name.startswith("configuration"))
            draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=".restore-"))
            cleanup.callback(shutil.rmtree, draft, ignore_errors=True)
            source = draft / place.name
            shutil.copyfile(unpacked / name, source)
            _give(source, place, MODES[name.split("/")[0]])
            moves.append(_Move(source, place))
            if name == DATABASE:
                moves += [_Move(draft / f"none{end}", place.with_name(place.name + end)) for end in SIDE_FILES]
        done: list[_Move] = []
        try:
            for move in moves:
                _swap(move)
                done.append(move)
        except OSError:
            for move in reversed(done):
                _swap_back(move)
            raise


def _swap(move: _Move) -> None:
    kept = _kept(move.place)
    kept.unlink(missing_ok=True)
    if move.place.exists():
        move.place.rename(kept)
    try:
        if move.source.exists():
            move.source.rename(move.place)
    except OSError:
        if kept.exists():
            kept.rename(move.place)
        raise


def _swap_back(move: _Move) -> None:
    move.place.unlink(missing_ok=True)
    if _kept(move.place).exists():
        _kept(move.place).rename(move.place)


def _kept(place: Path) -> Path:
    return place.with_name(place.name + KEPT)


def _made(folder: Path, *, private: bool) -> None:
    missing = [path for path in _upward(folder) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o700 if private else 0o755)
        _chown(path, path.parent)


def _upward(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.parents


def _give(file: Path, place: Path, mode: int) -> None:
    """Mode, and the owner of what it replaces, else of its folder; on disk before it is moved."""
    file.chmod(mode)
    _chown(file, place if place.exists() else place.parent)
    with file.open("rb") as content:
        os.fsync(content.fileno())


def _chown(path: Path, like: Path) -> None:
    if os.geteuid() == 0:
        found = like.stat()
        os.chown(path, found.st_uid, found.st_gid)
