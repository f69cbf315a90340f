"""Names, addresses and folders of the lab."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("SETU_LAB_DIR", REPOSITORY / "build" / "lab"))
"""Keys, inventory, and what the nodes wrote; thrown away by `lab-down`."""

CONTROLLER_NAMESPACE = "setu-lab"
TRUNK_NAMESPACE = "setu-trunk"
PHONE_NAMESPACE = "setu-phone"
BRIDGE = "setu0"
NETWORK = IPv4Network("10.88.0.0/24")
CONTROLLER = IPv4Address("10.88.0.1")
TRUNK = IPv4Address("10.88.0.100")
REGISTRAR = IPv4Address("10.88.0.102")
"""Of a second provider, who wants a registration; in the trunk's namespace too."""
PHONE = IPv4Address("10.88.0.101")
FIRST_NODE = IPv4Address("10.88.0.10")
"""Node N has this plus N."""
UPLINK = IPv4Network("10.88.1.0/30")
"""Between the controller's namespace and the host, for the way to the package mirrors."""
MTU = 1400
"""Of the whole lab: an uplink of the host may carry no more, and nodes behind a bridge are not told."""
MAX_NODES = 9


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the lab."""

    number: int
    """From 1."""

    @property
    def name(self) -> str:
        return f"node{self.number}"

    @property
    def machine(self) -> str:
        """Name of the nspawn machine."""
        return f"setu-{self.name}"

    @property
    def address(self) -> IPv4Address:
        return FIRST_NODE + self.number

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def written(self) -> Path:
        """Everything that was written since the node's first boot: the upper layer of its root."""
        return self.folder / "disk" / "written"

    @property
    def work(self) -> Path:
        return self.folder / "disk" / "work"

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def pid_file(self) -> Path:
        return self.folder / "nspawn.pid"


def nodes_there() -> list[Node]:
    """Nodes that were made and not removed, running or not."""
    return [node for node in map(Node, range(1, MAX_NODES + 1)) if node.folder.is_dir()]
