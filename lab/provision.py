"""Runs the playbooks against the nodes of the lab, exactly as a site's controller would."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

from lab import layout
from lab.commands import LabError, inside, run
from lab.inventory import FILE, write_inventory
from lab.layout import nodes_there
from lab.trunk import TrunkSimulator

VENV = layout.REPOSITORY / "build" / "ansible-venv"
_LOCK = layout.REPOSITORY / "ansible" / "requirements.lock"


SOURCE = layout.FOLDER / "source"
"""What is installed: a copy of the repository, so that a change of a file does not become a change of release between two runs."""
_PARTS = ("ansible", "appliance", "asterisk", "grafana", "models", "scripts", "systemd", "pyproject.toml", "requirements.lock")


def copy_source() -> None:
    """Brings the copy up to date with the repository."""
    SOURCE.mkdir(parents=True, exist_ok=True)
    parts = [str(layout.REPOSITORY / name) for name in _PARTS if (layout.REPOSITORY / name).exists()]
    run("rsync", "--archive", "--delete", "--exclude=__pycache__", *parts, f"{SOURCE}/")


def ansible() -> Path:
    """Folder of Ansible's programs, in an environment of their own; installed when the lock has changed."""
    wanted = hashlib.sha256(_LOCK.read_bytes()).hexdigest()[:16]
    mark = VENV / ".has"
    if not mark.exists() or mark.read_text() != wanted:
        print("installing Ansible", flush=True)
        run(sys.executable, "-m", "venv", "--clear", str(VENV))
        pip = [str(VENV / "bin/python"), "-m", "pip", "--disable-pip-version-check"]
        run(*pip, "install", "--quiet", "--require-hashes", "-r", str(_LOCK))
        mark.write_text(wanted)
    return VENV / "bin"


def play(playbook: str, *arguments: str, log: Path | None = None) -> tuple[int, str, float]:
    """Runs one playbook from the controller's namespace.

    Args:
        arguments: of `ansible-playbook`.
        log: where the output goes; the terminal when there is none.

    Returns:
        Exit status, the output (empty without `log`) and the seconds it took.
    """
    command = [str(ansible() / "ansible-playbook"), "-i", str(FILE), str(SOURCE / "ansible" / playbook), *arguments]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(SOURCE / "ansible" / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "LC_ALL": "C.UTF-8"}
    environment["ANSIBLE_HOME"] = str(layout.FOLDER / "ansible")
    started = time.monotonic()
    with TrunkSimulator():
        done = subprocess.run(
            inside(layout.CONTROLLER_NAMESPACE, command), env=environment, cwd=SOURCE, check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if log else None, stderr=subprocess.STDOUT if log else None, text=True,
        )  # fmt: skip
    seconds = time.monotonic() - started
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(done.stdout)
    return done.returncode, done.stdout or "", seconds


def provision(*arguments: str, same: bool = False) -> None:
    """`site.yml` for every node of the lab.

    Args:
        same: install what the last copy of the repository has.

    Raises:
        LabError: it failed.
    """
    nodes = nodes_there()
    if not nodes:
        raise LabError("there is no node: make lab-up")
    write_inventory(nodes)
    if not (same and SOURCE.exists()):
        copy_source()
    status, _, seconds = play("site.yml", *arguments)
    if status != 0:
        raise LabError(f"site.yml ended with {status} after {seconds:.0f} s")
    print(f"site.yml: {seconds:.0f} s", flush=True)


def lint() -> int:
    """Exit status of ansible-lint; the production profile, without exceptions."""
    programs = ansible()
    environment = {**os.environ, "PATH": f"{programs}:{os.environ.get('PATH', '')}"}
    command = [str(programs / "ansible-lint"), "--nocolor", "-q"]
    return subprocess.run(command, cwd=layout.REPOSITORY / "ansible", env=environment, check=False).returncode
