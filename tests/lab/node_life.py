"""What the tests of a node's life share: playing books and reading their recap, calls."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab import evidence, layout
from lab.commands import inside
from lab.inventory import write_inventory
from lab.layout import Node
from lab.machine import in_node
from lab.provision import LONGEST_S, play

LOGS = layout.FOLDER / "logs"
ADMINISTRATOR = "technician"
"""A user of the node who is root by `sudo`, as there is one where nobody logs in as root."""


def run_play(
    book: str, node: Node, *arguments: str, variables: Mapping[str, Any] | None = None, name: str = "", longest_s: float = LONGEST_S
) -> tuple[int, str, float]:
    """Status, output and seconds of a playbook on one node; the output is kept in the folder of the lab.

    Recordings of acceptance calls that failed in it are kept there too, before anything else happens to the node.
    """
    write_inventory([node], variables)
    name = name or Path(book).stem
    try:
        return play(book, *arguments, log=LOGS / f"{name}.log", longest_s=longest_s)
    finally:
        evidence.keep(node, name)


def recap(output: str, node: Node) -> dict[str, int]:
    """The numbers of a node in the last lines of a play."""
    lines = [line for line in output.splitlines() if re.match(rf"{node.name}\s+:", line)]
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", lines[-1])} if lines else {}


def changed_tasks(output: str) -> list[str]:
    """Names of the tasks that changed something, for whoever wonders why a recap is not 0."""
    name, found = "", []
    for line in output.splitlines():
        if started := re.match(r"(?:TASK|RUNNING HANDLER) \[(.*)\] \**$", line):
            name = started[1]
        elif line.startswith("changed: ") and name not in found:
            found.append(name)
    return found


def seconds_of_acceptance(output: str) -> float | None:
    """What the acceptance calls of a play took, by its output; the line may be folded."""
    found = re.search(r"took\s+(\d+)\s+s", output)
    return float(found[1]) if found else None


def await_task(name: str, log: str, over: Callable[[], bool], longest_s: float = 300.0) -> None:
    """Returns when a play that runs has come to a task.

    Args:
        log: name of the play, as `run_play` has it.
        over: whether the play has ended.
    """
    file, deadline = LOGS / f"{log}.log", time.monotonic() + longest_s
    while f"{name}]" not in (file.read_text() if file.exists() else ""):
        assert not over(), f"the play ended without {name!r}:\n{file.read_text()[-3000:]}"
        assert time.monotonic() < deadline, f"the play did not come to {name!r} within {longest_s:.0f} s, see {file}"
        time.sleep(0.2)


def call_command(*arguments: str) -> list[str]:
    return inside(layout.CONTROLLER_NAMESPACE, [sys.executable, "-m", "lab.call", *arguments])


def call(node: Node, language: str, name: str, *more: str) -> subprocess.CompletedProcess[str]:
    """One measured call over the network; exit status 0 when everything was interpreted."""
    command = call_command("--node", str(node.number), "--language", language, "--out", str(layout.FOLDER / "calls" / name), *more)
    return subprocess.run(command, cwd=layout.REPOSITORY, capture_output=True, text=True, check=False, timeout=200)


def accept(node: Node, language: str) -> str:
    """The node's own acceptance call; raises when it fails."""
    try:
        return in_node(node, f"appliance status --wait 60 >/dev/null && appliance accept --language {language}")
    finally:
        evidence.keep(node, f"accept-{language}")
