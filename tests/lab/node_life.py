"""What the tests of a node's life share: playing books and reading their recap, files of a node, calls."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import layout
from lab.commands import inside
from lab.inventory import write_inventory
from lab.layout import Node
from lab.machine import in_node
from lab.provision import play

NEVER_MINE = (
    "var/log/", "var/tmp/", "tmp/", "var/lib/systemd/", "var/cache/", "root/.ansible", "etc/machine-id", "var/lib/apt/", "var/lib/dpkg/",
    "var/lib/ucf/", "var/backups/", "etc/ssh/", "root/.bash_history", "etc/.pwd.lock", "etc/.updated", "var/.updated", "root/.cache",
)  # fmt: skip
"""What a machine writes by itself when it runs, when somebody logs in, and when apt is used."""


def run_play(book: str, node: Node, *arguments: str, variables: Mapping[str, Any] | None = None, name: str = "") -> tuple[int, str, float]:
    """Status, output and seconds of a playbook on one node; the output is kept in the folder of the lab."""
    write_inventory([node], variables)
    return play(book, *arguments, log=layout.FOLDER / "logs" / f"{name or Path(book).stem}.log")


def recap(output: str, node: Node) -> dict[str, int]:
    """The numbers of a node in the last lines of a play."""
    lines = [line for line in output.splitlines() if re.match(rf"{node.name}\s+:", line)]
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", lines[-1])} if lines else {}


def written(node: Node) -> dict[str, tuple[int, int, str]]:
    """Everything the node has written since it was made: mode, size and link target or time of change, by path."""
    found = {}
    for path in sorted(node.written.rglob("*")):
        name = str(path.relative_to(node.written))
        if name.startswith(NEVER_MINE):
            continue
        state = path.lstat()
        if path.is_symlink():
            found[name] = (state.st_mode, 0, str(path.readlink()))
        elif path.is_dir():
            found[name] = (state.st_mode, 0, "")
        else:
            found[name] = (state.st_mode, state.st_size, str(state.st_mtime_ns))
    return found


def call_command(*arguments: str) -> list[str]:
    return inside(layout.CONTROLLER_NAMESPACE, [sys.executable, "-m", "lab.call", *arguments])


def call(node: Node, language: str, name: str) -> subprocess.CompletedProcess[str]:
    """One measured call over the network; exit status 0 when everything was interpreted."""
    command = call_command("--node", str(node.number), "--language", language, "--out", str(layout.FOLDER / "calls" / name))
    return subprocess.run(command, cwd=layout.REPOSITORY, capture_output=True, text=True, check=False, timeout=200)


def accept(node: Node, language: str) -> str:
    """The node's own acceptance call; raises when it fails."""
    return in_node(node, f"appliance status --wait 60 >/dev/null && appliance accept --language {language}")
