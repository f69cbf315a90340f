"""Runs the playbooks against the nodes of the lab, exactly as a site's controller would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from lab import layout
from lab.commands import LabError, inside, run
from lab.controller import VAULT_PASSWORD, ansible
from lab.inventory import FILE, write_inventory
from lab.layout import nodes_there
from lab.trunk import TrunkSimulator

SOURCE = layout.FOLDER / "source"
"""What is installed: a copy of the repository, so that a change of a file does not become a change of release between two runs."""
LONGEST_S = 900.0
"""For a playbook whose output is kept; nobody looks on who could stop it."""
STOP_S = 15.0
TOO_LONG = 124
"""As the program `timeout` says it."""
_PARTS = ("ansible", "appliance", "asterisk", "grafana", "models", "scripts", "systemd", "pyproject.toml", "requirements.lock")


def copy_source() -> None:
    """Brings the copy up to date with the repository."""
    SOURCE.mkdir(parents=True, exist_ok=True)
    parts = [str(layout.REPOSITORY / name) for name in _PARTS if (layout.REPOSITORY / name).exists()]
    run("rsync", "--archive", "--delete", "--exclude=__pycache__", *parts, f"{SOURCE}/")


def play(playbook: str, *arguments: str, log: Path | None = None, longest_s: float = LONGEST_S) -> tuple[int, str, float]:
    """Runs one playbook from the controller's namespace.

    Args:
        arguments: of `ansible-playbook`.
        log: where the output goes, while it runs; the terminal when there is none.
        longest_s: after which a play with a log is stopped; its status is 124 then, and the last line of the output says so.

    Returns:
        Exit status, the output (empty without `log`) and the seconds it took.
    """
    vault = ["--vault-password-file", str(VAULT_PASSWORD)]
    command = [str(ansible() / "ansible-playbook"), "-i", str(FILE), *vault, str(SOURCE / "ansible" / playbook), *arguments]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(SOURCE / "ansible" / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "LC_ALL": "C.UTF-8"}
    environment["ANSIBLE_HOME"] = str(layout.FOLDER / "ansible")
    started = time.monotonic()
    with TrunkSimulator():
        if log is None:
            done = subprocess.run(
                inside(layout.CONTROLLER_NAMESPACE, command), env=environment, cwd=SOURCE, check=False, stdin=subprocess.DEVNULL
            )
            return done.returncode, "", time.monotonic() - started
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as output:
            # In a session of its own, so that its workers and SSH connections can be stopped with it.
            process = subprocess.Popen(
                inside(layout.CONTROLLER_NAMESPACE, command), env=environment, cwd=SOURCE, stdin=subprocess.DEVNULL,
                stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            status = _wait(process, longest_s)
            if status is None:
                status = TOO_LONG
                output.write(f"\n{playbook} was stopped: it had not ended after {longest_s:.0f} s\n")
    return status, log.read_text(), time.monotonic() - started


def _wait(process: subprocess.Popen[bytes], longest_s: float) -> int | None:
    """Exit status; None when the process had to be stopped, and everything it had started with it."""
    try:
        return process.wait(longest_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise


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
