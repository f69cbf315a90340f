"""The Vagrantfile is one that Vagrant takes, and shows no password to whoever lists the processes of the workstation."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
VAGRANTFILE = (REPOSITORY / "Vagrantfile").read_text()
NODES = ("1", "3")


def validate(folder: Path, nodes: str) -> subprocess.CompletedProcess[str]:
    """With folders of its own: what Vagrant keeps for the machines of this workstation stays as it is."""
    environment = {
        "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(folder), "VAGRANT_HOME": str(folder / "home"), "SETU_NODES": nodes,
        "VAGRANT_DOTFILE_PATH": str(folder / "state"), "VAGRANT_CHECKPOINT_DISABLE": "1", "VAGRANT_NO_PLUGINS": "1",
    }  # fmt: skip
    command = ["vagrant", "validate", "--ignore-provider"]
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture(params=NODES)
def validated(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, subprocess.CompletedProcess[str]]:
    if shutil.which("vagrant") is None:
        pytest.skip("vagrant is not installed: apt-get install vagrant")
    return tmp_path, validate(tmp_path, request.param)


def test_vagrant_takes_it_and_only_the_owner_can_read_the_passwords(validated: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = validated
    assert done.returncode == 0, done.stdout + done.stderr
    file = folder / "state" / "setu.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    passwords = json.loads(file.read_text())["site_agent_passwords"]
    assert set(passwords) == {agent["name"] for agent in json.loads(file.read_text())["site_agents"]}
    assert len(set(passwords.values())) == len(passwords)
    assert min(map(len, passwords.values())) >= 12


def test_passwords_stay_what_they_are(tmp_path: Path) -> None:
    if shutil.which("vagrant") is None:
        pytest.skip("vagrant is not installed: apt-get install vagrant")
    file = tmp_path / "state" / "setu.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"site_agent_passwords": {"agent1": "of-the-first-start"}}))
    done = validate(tmp_path, "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(file.read_text())["site_agent_passwords"]["agent1"] == "of-the-first-start"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_no_variable_goes_to_the_command_line() -> None:
    given = re.findall(r"^\s*ansible\.(extra_vars|raw_arguments|host_vars)\s*=\s*(.*)$", VAGRANTFILE, re.MULTILINE)
    assert given == [("extra_vars", '"@#{variables}"')]
    assert re.search(r"^\.vagrant/$", (REPOSITORY / ".gitignore").read_text(), re.MULTILINE)


def test_no_password_is_written_down() -> None:
    assert re.findall(r"password\w*['\"]?\s*(?::|=>|=)\s*['\"]", VAGRANTFILE) == []


def test_every_variable_of_it_is_one_that_a_role_has() -> None:
    told = re.search(r"^told = \{$(.*?)^\}$", VAGRANTFILE, re.MULTILINE | re.DOTALL)
    assert told is not None
    names = set(re.findall(r"^  (\w+):", told[1], re.MULTILINE)) - {"ansible_become"}
    specs = "\n".join(file.read_text() for file in (REPOSITORY / "ansible" / "roles").glob("*/meta/argument_specs.yml"))
    assert len(names) > 4
    assert {name for name in names if not re.search(rf"^      {name}:$", specs, re.MULTILINE)} == set()
