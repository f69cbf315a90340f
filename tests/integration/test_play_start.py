"""What the role `appliance` does to a running node, and in which order: its own tasks run by Ansible, against programs that write down how
they are called. What the real ones do then is seen in the lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
ANSIBLE = REPOSITORY / "build/ansible-venv/bin/ansible-playbook"
TASKS = REPOSITORY / "ansible/roles/appliance/tasks/start.yml"
VARIABLES = TASKS.parents[1] / "vars/main.yml"
UNITS = ("appliance-model@stt.service", "appliance-gateway@1.service")

pytestmark = pytest.mark.skipif(not ANSIBLE.exists(), reason="Ansible is not installed: make check-ansible")

PROGRAM = """\
#!/bin/sh
echo "$(basename "$0") $*" >>"$NODE/log"
"""
SYSTEMCTL = """
case "$1" in
show) printf 'Id=%s\\nLoadState=loaded\\nActiveState=active\\nUnitFileState=enabled\\n' "$2" ;;
is-enabled) echo enabled ;;
is-active) echo active ;;
esac
"""
ASTERISK = """
calls=$(head -n 1 "$NODE/channels")
sed -i 1d "$NODE/channels"
echo "${calls:-0} active channels"
echo "0 active calls"
"""
APPLIANCE = """
case "$1" in
drain) touch "$NODE/state/drained"; exit "$(cat "$NODE/drain")" ;;
status)
    [ "$2" != --units ] || exec printf '%s\\n' appliance-model@stt.service appliance-gateway@1.service
    exit "$(cat "$NODE/ready")" ;;
esac
"""


class Node:
    """A machine with a release `old` that runs, and a release `new` beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("bin", "etc", "state", "opt/releases/old/venv/bin", "opt/releases/new/venv/bin"):
            (folder / name).mkdir(parents=True)
        self.program("systemctl", SYSTEMCTL)
        self.program("asterisk", ASTERISK)
        self.program("appliance", APPLIANCE)
        self.program("journalctl", "")
        for release in ("old", "new"):
            (folder / f"opt/releases/{release}/venv/bin/python").symlink_to("/bin/true")
            (folder / f"opt/releases/{release}/venv/bin/appliance").symlink_to(folder / "bin/appliance")
        (folder / "opt/current").symlink_to(folder / "opt/releases/old")
        self.say(drain="0", ready="0", channels="", asterisk="settings\n")
        self.note_asterisk()

    def program(self, name: str, does: str) -> None:
        path = self.folder / "bin" / name
        path.write_text(PROGRAM + does)
        path.chmod(0o755)

    def say(self, **files: str) -> None:
        """Exit status of `drain` and of `status --wait`, numbers of channels one a line, Asterisk's settings."""
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def note_asterisk(self) -> None:
        digest = subprocess.run(["sh", "-c", self.digest], capture_output=True, text=True, check=True).stdout
        (self.folder / "etc/.asterisk-started-with").write_text(digest)

    @property
    def digest(self) -> str:
        return f"sha256sum <{self.folder}/asterisk | cut -c 1-32"

    def start(self, **variables: object) -> tuple[bool, str, list[str]]:
        """Whether it went well, what Ansible printed, and the programs that were called."""
        given = {
            "site_prefix": f"{self.folder}/opt", "site_etc": f"{self.folder}/etc", "site_state": f"{self.folder}/state", "site_workers": 1,
            "site_redis_url": "redis://127.0.0.1:6379/0", "appliance_was": "old", "appliance_target": "new",
            "appliance_python": f"{self.folder}/opt/releases/new/venv/bin/python", "appliance_asterisk_digest_command": self.digest,
            "appliance_drain_s": 5, "appliance_ready_s": 1, "appliance_now": "now", "appliance_end_calls": False,
            "appliance_restart_command": "systemctl restarts-what-ran-before", "ansible_python_interpreter": sys.executable, **variables,
        }  # fmt: skip
        user, group = os.getuid(), os.getgid()
        tasks = self.folder / "start.yml"
        tasks.write_text(TASKS.read_text().replace("owner: root", f'owner: "{user}"').replace("group: root", f'group: "{group}"'))
        play = {"hosts": "localhost", "connection": "local", "gather_facts": False}
        book = [play | {"tasks": [{"ansible.builtin.include_tasks": str(tasks)}]}]
        (self.folder / "book.yml").write_text(json.dumps(book))
        environment = {
            **os.environ, "NODE": str(self.folder), "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "LC_ALL": "C.UTF-8",
            "ANSIBLE_HOME": str(self.folder / "home"), "ANSIBLE_CONFIG": str(REPOSITORY / "ansible/ansible.cfg"),
            "ANSIBLE_FORCE_COLOR": "0",
        }  # fmt: skip
        command = [str(ANSIBLE), "-i", "localhost,", str(self.folder / "book.yml"), "-e", f"@{VARIABLES}", "-e", json.dumps(given)]
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False)
        log = (self.folder / "log").read_text().splitlines() if (self.folder / "log").exists() else []
        asked = ("systemctl show", "systemctl is-")
        return done.returncode == 0, done.stdout + done.stderr, [line for line in log if not line.startswith(asked)]

    @property
    def drained(self) -> bool:
        return (self.folder / "state/drained").exists()

    @property
    def current(self) -> str:
        return (self.folder / "opt/current").readlink().name


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def restarts_asterisk(log: list[str]) -> bool:
    ends_calls = ("systemctl restart asterisk", "systemctl stop asterisk", "systemctl stop appliance.target")
    return any(line.startswith(ends_calls) for line in log)


def test_a_new_release_leaves_asterisk_alone(node: Node) -> None:
    node.say(channels="2\n2\n2\n")
    fine, output, log = node.start()
    assert fine, output
    wanted = [
        "appliance drain --timeout 5",
        "systemctl stop appliance-gateway@*.service appliance-model@*.service",
        "systemctl restart redis-server.service",
        f"systemctl start appliance.target {' '.join(UNITS)}",
        "appliance status --wait 1",
    ]
    assert [line for line in log if line in wanted] == wanted
    assert not restarts_asterisk(log)
    assert node.current == "new"
    assert not node.drained


def test_what_somebody_has_drained_stays_drained(node: Node) -> None:
    (node.folder / "state/drained").touch()
    node.start()
    assert node.drained


def test_other_settings_of_asterisk_wait_for_every_call(node: Node) -> None:
    node.say(asterisk="other settings\n", channels="10\n0\n")
    fine, output, log = node.start(appliance_drain_s=15)
    assert fine, output
    assert log.count("asterisk -rx core show channels count") == 2
    assert log.index("systemctl restart asterisk.service") > max(place for place, line in enumerate(log) if line.startswith("asterisk"))
    assert node.start()[0]
    assert (node.folder / "log").read_text().count("systemctl restart asterisk.service") == 1, "the second time it was noted"


@pytest.mark.parametrize(
    ("said", "more"), [({"drain": "1"}, "quieter hour"), ({"asterisk": "other\n", "channels": "2\n2\n2\n2\n"}, "appliance_end_calls=true")]
)
def test_calls_that_outlast_the_wait_are_not_cut(node: Node, said: dict[str, str], more: str) -> None:
    node.say(**said)
    fine, output, log = node.start()
    assert not fine
    assert more in " ".join(output.split())
    assert not node.drained
    assert not any(line.startswith(("systemctl stop", "systemctl restart", "systemctl start")) for line in log)
    assert node.current == "old"


def test_somebody_says_that_calls_may_be_cut(node: Node) -> None:
    node.say(asterisk="other\n", channels="2\n2\n2\n2\n")
    fine, output, log = node.start(appliance_end_calls="true")
    assert fine, output
    assert "systemctl restart asterisk.service" in log


def test_a_release_that_takes_no_calls_is_replaced_by_the_one_before(node: Node) -> None:
    node.say(ready="1")
    fine, output, log = node.start()
    assert not fine
    assert "release new did not start" in output
    assert log[-1] == "systemctl restarts-what-ran-before"
    assert not restarts_asterisk(log)
    assert node.current == "old"


def test_a_first_installation_waits_for_nobody(node: Node) -> None:
    (node.folder / "etc/.asterisk-started-with").unlink()
    fine, output, log = node.start(appliance_was="")
    assert fine, output
    assert not any(line.startswith(("appliance drain", "asterisk", "systemctl stop")) for line in log)
    assert "systemctl restart asterisk.service" in log
