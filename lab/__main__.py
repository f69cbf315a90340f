"""`python -m lab up|shell|down|status`: see `make help`."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lab import layout, machine, network
from lab.commands import LabError, inside
from lab.image import SUITES, image
from lab.install import install_programs
from lab.layout import Node, nodes_there
from lab.provision import lint, provision
from lab.ssh import ssh_command, write_known_hosts


def main() -> int:
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="boot nodes")
    up.add_argument("--nodes", type=int, default=1, choices=range(1, layout.MAX_NODES + 1))
    up.add_argument("--debian", default="14", choices=sorted(SUITES))
    shell = commands.add_parser("shell", help="a shell, or one command, in a node")
    shell.add_argument("--node", type=int, default=1)
    shell.add_argument("words", nargs=argparse.REMAINDER)
    provisioning = commands.add_parser("provision", help="run site.yml on the nodes; words after it go to ansible-playbook")
    provisioning.add_argument("--same", action="store_true", help="what was installed last, whatever has changed in the repository since")
    provisioning.add_argument("words", nargs=argparse.REMAINDER)
    calling = commands.add_parser("call", help="a measured call from the trunk to an agent's telephone; see lab/call.py")
    calling.add_argument("words", nargs=argparse.REMAINDER)
    commands.add_parser("lint", help="ansible-lint on the playbooks")
    commands.add_parser("down", help="stop the nodes and remove everything")
    commands.add_parser("status", help="what there is")
    given = parser.parse_args()
    if given.command != "lint" and os.geteuid() != 0:
        print("error: the lab makes machines and networks: run it as root", file=sys.stderr)
        return 1
    try:
        match given.command:
            case "up":
                with locked():
                    bring_up(given.nodes, given.debian)
            case "shell":
                words = [word for word in given.words if word != "--"]
                os.execvp("nsenter", ssh_command(Node(given.node), *words, terminal=not words))
            case "provision":
                provision(*(word for word in given.words if word != "--"), same=given.same)
            case "lint":
                return lint()
            case "call":
                os.chdir(layout.REPOSITORY)
                words = [word for word in given.words if word != "--"]
                os.execvp("nsenter", inside(layout.CONTROLLER_NAMESPACE, [sys.executable, "-m", "lab.call", *words]))
            case "down":
                with locked():
                    take_down()
            case "status":
                status()
    except LabError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def bring_up(count: int, release: str = "14") -> None:
    """The network and nodes 1 to `count`, all answering over SSH."""
    install_programs()
    root = image(release)
    network.up()
    nodes = [Node(number) for number in range(1, count + 1)]
    for node in nodes:
        machine.make(node, root)
    write_known_hosts(nodes_there())
    for node in nodes:
        machine.boot(node)
        print(f"{node.name} answers at {node.address}", flush=True)


def take_down() -> None:
    """Nodes, network and everything they wrote."""
    for node in nodes_there():
        machine.remove(node)
        print(f"{node.name} removed", flush=True)
    network.down()


def status() -> None:
    print(f"network: {'up' if network.is_up() else 'down'}")
    for node in nodes_there():
        print(f"{node.name} {node.address}: {'running' if machine.is_running(node) else 'stopped'}")


@contextmanager
def locked() -> Iterator[None]:
    """One change of the lab at a time: its names are those of the whole machine."""
    layout.FOLDER.mkdir(parents=True, exist_ok=True)
    with open("/run/lock/setu-lab.lock", "w") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    sys.exit(main())
