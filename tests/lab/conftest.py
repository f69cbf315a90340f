"""The lab's tests need root, a network for packages and 25 minutes: `make test-lab` asks for them, `make test` does not.

Files run in the order of their names; those that begin with `test_2_` share one node, from its installation to its removal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

WANTED = os.environ.get("SETU_LAB", "")
"""Empty: none of these tests. `quick`: a wrong machine, an installation, a second run. `full`: a Debian 13 node as well. Else: the rest."""
_QUICK = ("test_1_preflight.py", "test_2_life.py")
_FOLDER = Path(__file__).parent
collect_ignore_glob = [] if WANTED else ["test_*.py"]
if WANTED == "quick":
    collect_ignore_glob = [file.name for file in _FOLDER.glob("test_*.py") if file.name not in _QUICK]

if WANTED:
    sys.path.insert(0, str(_FOLDER.parents[1]))


@pytest.fixture(scope="session")
def lab() -> Iterator[None]:
    """Programs, network and the trunks' providers; everything is removed at the end, unless `SETU_LAB_KEEP` is set."""
    from lab.__main__ import bring_up, locked, take_down
    from lab.trunk import TrunkSimulator

    with locked():
        bring_up(0)
    with TrunkSimulator():
        yield
    if not os.environ.get("SETU_LAB_KEEP"):
        with locked():
            take_down()


@pytest.fixture(scope="session")
def times():
    from install_times import Times

    return Times()


@pytest.fixture
def node(lab: None):
    """The node that `test_2_life.py` has installed."""
    from lab.layout import Node

    found = Node(1)
    if not (found.written / "etc/appliance/.started-with").exists():
        pytest.fail("the node was not installed")
    return found
