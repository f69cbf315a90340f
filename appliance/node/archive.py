"""The file of a backup: a gzipped tar whose first member, `manifest.json`, names every other one with size and SHA-256.

    manifest.json
    configuration/appliance.toml
    credentials/NAME, state/NAME      secrets
    database/setu.sqlite              a snapshot

A file is read back only as a whole: one bit that is other than it was, a member too few or too many, and it is refused.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Annotated

import msgspec
from msgspec import Meta

from appliance.node.errors import ArchiveError

FORMAT = 1
MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 1_000_000
_NAME = re.compile(r"(configuration|credentials|state|database)/[A-Za-z0-9][A-Za-z0-9._-]*")
_CHUNK = 1 << 20


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=0)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    node: str
    version: str
    """Of the appliance that made it."""
    made_at: str
    """UTC, ISO 8601."""
    members: dict[str, Member]


def write(archive: Path, files: Mapping[str, Path], *, node: str, version: str, made_at: str) -> Manifest:
    """Make the archive of these files, by name in it; mode 0600, there whole or not at all, on disk when this returns.

    Raises:
        ArchiveError: it cannot be written.
    """
    try:
        manifest = Manifest(FORMAT, node, version, made_at, {name: _member(path) for name, path in files.items()})
        descriptor, draft = tempfile.mkstemp(dir=archive.parent, prefix=f".{archive.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as stream:
                with (
                    gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=6, mtime=0) as packed,
                    tarfile.open(fileobj=packed, mode="w") as tar,
                ):
                    first = msgspec.json.format(msgspec.json.encode(manifest))
                    _add(tar, MANIFEST, io.BytesIO(first), len(first))
                    for name, path in files.items():
                        with path.open("rb") as content:
                            _add(tar, name, content, manifest.members[name].size)
                stream.flush()
                os.fsync(stream.fileno())
            Path(draft).replace(archive)
        except BaseException:
            Path(draft).unlink()
            raise
    except OSError as error:
        raise ArchiveError(f"{archive}: cannot be written: {error.strerror or error}") from error
    return manifest


def unpack(archive: Path, folder: Path) -> Manifest:
    """Everything in it, into an empty folder, each file under its name; checked before this returns.

    Raises:
        ArchiveError: it is damaged, incomplete, of a newer format or no backup; what is in `folder` then is to be thrown away.
    """
    try:
        with gzip.open(archive, "rb") as packed:
            with tarfile.open(fileobj=packed, mode="r|") as tar:
                manifest = _unpacked(archive, tar, folder)
            while packed.read(_CHUNK):
                pass  # to the end, where gzip checks what it has read
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ArchiveError(f"{archive}: damaged, or no backup: {error}") from error
    except OSError as error:
        raise ArchiveError(f"{archive}: {error.strerror or error}") from error
    return manifest


def _unpacked(archive: Path, tar: tarfile.TarFile, folder: Path) -> Manifest:
    manifest: Manifest | None = None
    left: set[str] = set()
    for entry in tar:
        content = tar.extractfile(entry) if entry.isreg() else None
        if content is None:
            raise ArchiveError(f"{archive}: damaged, or no backup: {entry.name!r} is no file")
        if manifest is None:
            manifest = _manifest(archive, entry, content.read(MOST_MANIFEST_BYTES))
            left = set(manifest.members)
        elif entry.name not in left:
            raise ArchiveError(f"{archive}: damaged: {entry.name!r} is not in its list, or there twice")
        else:
            left.remove(entry.name)
            path = folder / entry.name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _copied(content, path) != manifest.members[entry.name]:
                raise ArchiveError(f"{archive}: damaged: {entry.name} is not what was written")
    if manifest is None:
        raise ArchiveError(f"{archive}: no backup: it is empty")
    if left:
        raise ArchiveError(f"{archive}: incomplete: {', '.join(sorted(left))} missing")
    return manifest


def _manifest(archive: Path, entry: tarfile.TarInfo, content: bytes) -> Manifest:
    try:
        if entry.name != MANIFEST:
            raise ArchiveError(f"{archive}: no backup: it begins with {entry.name!r}")
        known = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        number = msgspec.json.decode(known.get("format", msgspec.Raw(b"0")), type=int)
        if number > FORMAT:
            raise ArchiveError(f"{archive}: of format {number}, this release knows up to {FORMAT}", hint="take the newer release")
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{archive}: damaged, or no backup: {error}") from error
    for name in manifest.members:
        if not _NAME.fullmatch(name):
            raise ArchiveError(f"{archive}: no backup of ours: it has {name!r}")
    return manifest


def _copied(content: IO[bytes], path: Path) -> Member:
    digest, size = hashlib.sha256(), 0
    with contextlib.closing(content), path.open("xb") as file:
        while chunk := content.read(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return Member(size, digest.hexdigest())


def _member(path: Path) -> Member:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Member(file.tell(), digest)


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o600
    tar.addfile(entry, content)
