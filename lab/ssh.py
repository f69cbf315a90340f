"""The lab's SSH key, and how a node is reached with it."""

from __future__ import annotations

import shlex

from lab import layout
from lab.commands import inside, run, succeeds
from lab.layout import Node

KEY = layout.FOLDER / "id_ed25519"
KNOWN_HOSTS = layout.FOLDER / "known_hosts"


def public_key() -> str:
    """The key the nodes let in; made at the first use."""
    if not KEY.exists():
        KEY.parent.mkdir(parents=True, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "setu-lab", "-f", str(KEY))
    return KEY.with_suffix(".pub").read_text()


def write_known_hosts(nodes: list[Node]) -> None:
    """The nodes' host keys, which their making left on their disks: none is taken on trust."""
    lines = [
        f"{node.address},{node.name} {' '.join(key.read_text().split()[:2])}\n"
        for node in nodes
        for key in sorted((node.written / "etc/ssh").glob("ssh_host_*_key.pub"))
    ]
    KNOWN_HOSTS.write_text("".join(lines))


def options() -> list[str]:
    return [
        "-i", str(KEY), "-o", f"UserKnownHostsFile={KNOWN_HOSTS}", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
        "-o", "ConnectTimeout=3", "-F", "none", "-o", "LogLevel=ERROR",
    ]  # fmt: skip


def ssh_command(node: Node, *command: str, terminal: bool = False) -> list[str]:
    """The argument list that runs `command` in the node, or a login shell without one."""
    mode = ["-t"] if terminal else ["-o", "BatchMode=yes"]
    # One argument is a line for the node's shell, several are a program and its arguments.
    words = ["--", command[0] if len(command) == 1 else shlex.join(command)] if command else []
    return inside(layout.CONTROLLER_NAMESPACE, ["ssh", *options(), *mode, f"root@{node.address}", *words])


def answers(node: Node) -> bool:
    return succeeds(*ssh_command(node, "true"))
