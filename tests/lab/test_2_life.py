"""A fresh Debian 14 server becomes a node; again nothing changes. The tests take the node as the one before has left it."""

from __future__ import annotations

import pytest
from install_times import Times
from node_files import remember, written
from node_life import ADMINISTRATOR, changed_tasks, recap, run_play, seconds_of_acceptance
from node_secrets import CREDENTIALS, secrets_of
from process_list import ProcessList

from lab import machine
from lab.image import image, package_caches
from lab.inventory import TLS_KEY, VAULT, vaulted_secrets
from lab.layout import Node, nodes_there
from lab.machine import in_node
from lab.provision import copy_source
from lab.ssh import write_known_hosts

pytestmark = pytest.mark.timeout(1000)
NODE = Node(1)
FIRST_PROVISION_S = 600.0
"""With Debian packages that were downloaded before."""


@pytest.fixture(scope="module")
def fresh_server(lab: None) -> Node:
    machine.make(NODE, image())
    write_known_hosts(nodes_there())
    machine.boot(NODE)
    in_node(NODE, "systemctl is-system-running --wait || true")
    home, root = f"/home/{ADMINISTRATOR}", f"{ADMINISTRATOR} ALL=(ALL) NOPASSWD: ALL"
    in_node(
        NODE,
        f"useradd --create-home --shell /bin/sh {ADMINISTRATOR} && cp -r /root/.ssh {home} && chown -R {ADMINISTRATOR}: {home}/.ssh"
        f" && echo '{root}' >/etc/sudoers.d/{ADMINISTRATOR}",
    )
    remember(NODE)
    copy_source()
    return NODE


def test_check_mode_on_a_fresh_server_tells_and_changes_nothing(fresh_server: Node) -> None:
    before = written(fresh_server)
    status, output, _ = run_play("site.yml", fresh_server, "--check", name="check-fresh")
    assert status == 0, output[-3000:]
    assert "would install" in " ".join(output.split())
    after = written(fresh_server)
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set()


def test_it_becomes_a_node_that_has_passed_a_call_and_no_process_list_shows_a_secret(fresh_server: Node, times: Times) -> None:
    cached = any(any(folder.glob("*.deb")) for folder in package_caches())
    with ProcessList() as processes:
        status, output, seconds = run_play("site.yml", fresh_server, name="first")
        # Something short that must be seen, or this proves nothing.
        in_node(fresh_server, "sh", "-c", "sleep 0.5; : canary")
    times.note("first provision, s" if cached else "first provision with nothing cached, s", seconds)
    accepted = seconds_of_acceptance(output)
    if accepted is not None:
        times.note("acceptance calls in it, s", accepted)
    assert processes.showing({**vaulted_secrets(), **secrets_of(fresh_server)}) == {}
    assert status == 0, output[-3000:]
    assert accepted is not None, "the play does not say what the acceptance calls took"
    assert in_node(fresh_server, "systemctl --failed --no-legend --plain") == ""
    for line in (b"sh\0-c\0sleep 0.5; : canary", b"/opt/appliance/current/venv/bin/python\0-m\0appliance.gateway"):
        assert any(seen.startswith(line) for seen in processes.seen), f"a process of the node was not seen: {line!r}"
    assert any(b"/ansible-playbook\0" in seen for seen in processes.seen), "the controller's processes were not seen"
    if cached:
        assert seconds < FIRST_PROVISION_S


def test_every_secret_of_the_inventory_is_encrypted(node: Node) -> None:
    assert all(file.read_text().startswith("$ANSIBLE_VAULT;") for file in (VAULT, TLS_KEY))
    plain = "".join(file.read_text() for file in VAULT.parents[2].rglob("*") if file.is_file())
    assert not any(line in plain for secret in vaulted_secrets().values() for line in secret.splitlines() if "-----" not in line)
    given = {name: secret for name, secret in vaulted_secrets().items() if name.startswith("password of ") and "vault" not in name}
    on_it = secrets_of(node)
    assert set(on_it) == {
        "ari-password", "caller-hash-key", "acceptance-password", *(f"{name.removeprefix('password of ')}-password" for name in given),
        "key.pem",
    }  # fmt: skip
    for name, secret in given.items():
        assert on_it[f"{name.removeprefix('password of ')}-password"] == secret
    assert on_it["key.pem"].split() == vaulted_secrets()["key of SIP over TLS"].split()
    modes = in_node(node, f"stat -c '%U %G %a' {CREDENTIALS} {CREDENTIALS}/* /etc/asterisk/tls /etc/asterisk/tls/key.pem").splitlines()
    assert set(modes) == {"root root 700", "root root 600", "root asterisk 750", "root asterisk 640"}


def test_a_second_run_changes_nothing(node: Node, times: Times) -> None:
    status, output, seconds = run_play("site.yml", node, name="second")
    times.note("second run, s", seconds)
    assert status == 0, output[-3000:]
    assert (recap(output, node)["changed"], changed_tasks(output)) == (0, [])


def test_check_mode_finds_nothing_to_change(node: Node) -> None:
    status, output, _ = run_play("site.yml", node, "--check", name="check")
    assert status == 0, output[-3000:]
    assert (recap(output, node)["changed"], changed_tasks(output)) == (0, [])
