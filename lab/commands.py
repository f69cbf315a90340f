"""Running programs of the host."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence


class LabError(Exception):
    """The lab could not do what was asked; the message says what, and what to do."""


def run(*command: str, stdin: str | None = None) -> str:
    """Output of a program.

    Raises:
        LabError: it failed; the message has the end of its output.
    """
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        tail = " | ".join((done.stdout + done.stderr).strip().splitlines()[-3:])
        raise LabError(f"{' '.join(command)} ended with {done.returncode}: {tail}")
    return done.stdout


def succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def inside(namespace: str, command: Sequence[str]) -> list[str]:
    """The argument list that runs `command` in a network namespace, with the host's files."""
    return ["nsenter", f"--net=/run/netns/{namespace}", "--", *command]
