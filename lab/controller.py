"""Ansible on the controller: its programs, in an environment of their own, and the vault of the lab's inventory."""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from pathlib import Path

from lab import layout
from lab.commands import run

VENV = layout.REPOSITORY / "build" / "ansible-venv"
VAULT_PASSWORD = layout.FOLDER / "vault-password"
_LOCK = layout.REPOSITORY / "ansible" / "requirements.lock"


def ansible() -> Path:
    """Folder of Ansible's programs; installed when the lock has changed."""
    wanted = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    mark = VENV / ".has"
    if not mark.exists() or mark.read_text() != wanted:
        print("installing Ansible", flush=True)
        run(sys.executable, "-m", "venv", "--clear", str(VENV))
        pip = [str(VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
        run(*pip, "install", "--quiet", "--require-hashes", "-r", str(_LOCK))
        mark.write_text(wanted)
    return VENV / "bin"


def vault_password() -> str:
    """The password of the vault, made at the first use."""
    if not VAULT_PASSWORD.exists():
        write_private(VAULT_PASSWORD, secrets.token_urlsafe(24))
    return VAULT_PASSWORD.read_text()


def write_vault(file: Path, text: str) -> None:
    """Leaves `file` encrypted by the vault. One that holds this text already stays, for Ansible takes a second to start."""
    mark = file.with_name(f".{file.name}.holds")
    wanted = hashlib.sha256(f"{vault_password()}\n{text}".encode()).hexdigest()
    if file.exists() and mark.exists() and mark.read_text() == wanted:
        return
    draft = file.with_name(f".{file.name}.plain")
    write_private(draft, text)
    try:
        command = [str(ansible() / "ansible-vault"), "encrypt", "--vault-password-file", str(VAULT_PASSWORD)]
        run(*command, "--output", str(file), str(draft))
    finally:
        draft.unlink()
    mark.write_text(wanted)


def write_private(file: Path, text: str) -> None:
    """A file that nobody else could read at any moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
