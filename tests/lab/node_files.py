"""What is on a node's disk, and what changed there."""

from __future__ import annotations

import json
from typing import Any

from lab import layout
from lab.commands import run
from lab.layout import Node
from lab.machine import in_node
from lab.ssh import ssh_command

BEFORE = layout.FOLDER / "before.json"
"""What the fresh server was, for the tests that it is that again: `remember` writes it, `remembered` reads it."""
_LISTS = {
    "users": "getent passwd",
    "groups": "getent group",
    # Sessions and what else is made for as long as it runs are no part of the machine.
    "units": "systemctl list-unit-files --no-legend --plain | grep -v ' transient '",
}
NEVER_MINE = (
    "var/log/", "var/tmp/", "tmp/", "var/lib/systemd/", "var/cache/", "root/.ansible", "etc/machine-id", "var/lib/apt/", "var/lib/dpkg/",
    "var/lib/ucf/", "var/backups/", "etc/ssh/", "root/.bash_history", "etc/.pwd.lock", "etc/.updated", "var/.updated", "root/.cache",
    "home/technician/.ansible",
)  # fmt: skip
"""What a machine writes by itself when it runs, when somebody logs in, and when apt is used."""
_CONTENTS = """
import hashlib, json, os, stat, sys
found, disk = {}, os.stat("/").st_dev
for folder, folders, files in os.walk("/"):
    folders[:] = [name for name in folders if os.lstat(os.path.join(folder, name)).st_dev == disk]
    for name in folders + files:
        path = os.path.join(folder, name)
        if path[1:].startswith(tuple(sys.argv[1:])):
            continue
        try:
            state = os.lstat(path)
            content = ""
            if stat.S_ISLNK(state.st_mode):
                content = os.readlink(path)
            elif stat.S_ISREG(state.st_mode):
                with open(path, "rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:  # gone meanwhile
            continue
        found[path[1:]] = [stat.filemode(state.st_mode), state.st_uid, state.st_gid, content]
print(json.dumps(found))
"""

State = tuple[str, int, int, str]
"""Mode, owner, group, and checksum or link target."""


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


def contents(node: Node) -> dict[str, State]:
    """Everything on the node's disk but what a machine writes by itself, whoever wrote it, by path."""
    printed = run(*ssh_command(node, "python3", "-", *NEVER_MINE), stdin=_CONTENTS)
    return {path: (mode, owner, group, content) for path, (mode, owner, group, content) in json.loads(printed).items()}


def remember(node: Node) -> None:
    """Writes down what a fresh server is."""
    lists = {name: listed(node, name) for name in _LISTS}
    BEFORE.write_text(json.dumps({"contents": contents(node), "packages": packages(node), **lists}))


def remembered() -> dict[str, Any]:
    """What was written down: `contents` and `packages` as here, `users`, `groups` and `units` as lines."""
    found: dict[str, Any] = json.loads(BEFORE.read_text())
    return found


def listed(node: Node, name: str) -> list[str]:
    """`users`, `groups` or `units` of the node as they are now."""
    return in_node(node, _LISTS[name]).splitlines()


def packages(node: Node) -> dict[str, str]:
    """Versions of the packages dpkg knows, removed ones whose settings are left among them."""
    lines = in_node(node, "dpkg-query -W -f '${Package}\\t${Version}\\n'").splitlines()
    return dict(line.split("\t", 1) for line in lines)


def files_of(node: Node, names: list[str]) -> set[str]:
    """Paths that belong to packages."""
    return {path.lstrip("/") for path in in_node(node, "dpkg", "--listfiles", *names).splitlines()} if names else set()
