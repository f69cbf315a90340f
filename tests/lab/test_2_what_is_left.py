"""Uninstalled, the node is the server it was: contents, users, packages, units, and what the network sees of it."""

from __future__ import annotations

from typing import Any

import pytest
from node_files import contents, files_of, listed, packages, remembered
from node_life import run_play
from probes import tcp

from lab import layout
from lab.layout import Node
from lab.machine import in_node

pytestmark = pytest.mark.timeout(400)
MADE_ANEW = ("etc/ld.so.cache", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-")
"""Caches, and what the programs that change users keep of the state before."""


@pytest.fixture(scope="module")
def was() -> dict[str, Any]:
    return remembered()


@pytest.fixture(scope="module")
def uninstalled(lab: None) -> Node:
    node = Node(1)
    status, output, _ = run_play("uninstall.yml", node, "-e", "uninstall=yes", name="uninstall")
    assert status == 0, output[-3000:]
    return node


def test_the_same_packages_are_installed(uninstalled: Node, was: dict[str, Any]) -> None:
    assert packages(uninstalled).keys() == was["packages"].keys()


def test_the_same_files_have_the_same_contents(uninstalled: Node, was: dict[str, Any]) -> None:
    before, after = was["contents"], {path: list(state) for path, state in contents(uninstalled).items()}
    assert sorted(after.keys() - before.keys()) == [], "left behind"
    # A library that came along in a newer version stays in that.
    now = packages(uninstalled)
    newer = files_of(uninstalled, [name for name, version in was["packages"].items() if now.get(name) != version])
    missing = before.keys() - after.keys() - newer
    assert sorted(missing) == [], "taken away"
    differing = [path for path, state in after.items() if before[path] != state and path not in newer and path not in MADE_ANEW]
    assert {path: (before[path], after[path]) for path in sorted(differing)} == {}


@pytest.mark.parametrize("kind", ["users", "groups", "units"])
def test_there_are_the_same_users_groups_and_enabled_units(uninstalled: Node, was: dict[str, Any], kind: str) -> None:
    now, before = set(listed(uninstalled, kind)), set(was[kind])
    assert (sorted(now - before), sorted(before - now)) == ([], []), "left behind, and taken away"


def test_no_unit_has_failed(uninstalled: Node) -> None:
    assert in_node(uninstalled, "systemctl --failed --no-legend --plain") == ""


def test_nothing_of_it_runs_or_filters(uninstalled: Node) -> None:
    names = "appliance asterisk redis-server prometheus fail2ban-server baresip"
    assert in_node(uninstalled, f"for name in {names}; do pgrep -x -- $name; done; pgrep -f '/opt/[a]ppliance' || true") == ""
    # Without the firewall the node itself says that nobody listens, even to those who were shut out.
    seen = tcp(layout.TRUNK_NAMESPACE, uninstalled, (22, 5060, 6379, 8088, 9090))
    assert seen == {22: "open", 5060: "refused", 6379: "refused", 8088: "refused", 9090: "refused"}
    assert set(tcp(layout.PHONE_NAMESPACE, uninstalled, (5060, 6379)).values()) == {"refused"}
