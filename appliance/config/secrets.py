"""Secrets: text in the file itself, or `file:NAME` for a systemd credential or a file in the state folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from pathlib import Path

from appliance.config.errors import SecretError
from appliance.config.schema import Config

PREFIX = "file:"
CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
"""Set by systemd for units with `LoadCredential=`."""

BESIDE = "credentials"
"""Folder next to the configuration file from which the units of a node get theirs; commands that root runs read it themselves."""

GENERATED_BYTES = {"ari-password": 24, "caller-hash-key": 32}
"""Secrets nobody needs to choose: random bytes in each, written as text when the file is missing."""


def read_secret(value: str, state_dir: Path, etc: Path | None = None) -> str:
    """The secret behind `value`; `etc` is the folder of the configuration file.

    Raises:
        SecretError: the file is missing (and not one of `GENERATED_BYTES`), empty or unreadable.
    """
    if not value.startswith(PREFIX):
        return value
    name = value.removeprefix(PREFIX)
    folders = secret_folders(state_dir, etc)
    for folder in folders:
        try:
            text = (folder / name).read_text().strip()
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise SecretError(f"the secret {folder / name} cannot be read: {error}") from error
        if not text:
            raise SecretError(f"the secret {folder / name} is empty")
        return text
    if name in GENERATED_BYTES:
        return _generate(state_dir / name, GENERATED_BYTES[name])
    tried = ", ".join(str(folder / name) for folder in folders)
    raise SecretError(f"the secret {name!r} is missing", hint=f"looked for {tried}")


def secret_values(config: Config) -> list[str]:
    """Every value of a configuration that is a secret, or names one."""
    telephony = config.telephony
    registrations = [trunk.password for trunk in telephony.trunks if trunk.server]
    return [config.gateway.ari_password, config.identify.hash_key, *(agent.password for agent in telephony.agents), *registrations]


def secret_folders(state_dir: Path, etc: Path | None = None) -> list[Path]:
    """Where `file:NAME` is looked for, in this order: what systemd gave this process, what it gives from, the state folder."""
    credentials = os.environ.get(CREDENTIALS_VARIABLE)
    given = [Path(credentials)] if credentials else []
    beside = etc / BESIDE if etc is not None else None
    return [*given, *([beside] if beside is not None and beside.is_dir() else []), state_dir]


def _generate(file: Path, size: int) -> str:
    """Make the secret, or read the one another process made in the same moment."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # mode 0600
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(secrets.token_urlsafe(size) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, file)  # unlike rename, never replaces what is there
        finally:
            Path(draft).unlink()
        return file.read_text().strip()
    except OSError as error:
        raise SecretError(f"the secret {file} cannot be made: {error}") from error
