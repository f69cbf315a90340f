"""Programs inside the Debian root: they are the process that was started, and the host's mounts stay as they are."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from appliance.stack import install
from appliance.stack.programs import Programs

HOST_HAS_ASTERISK = install.host_has_asterisk()
pytestmark = pytest.mark.skipif(HOST_HAS_ASTERISK, reason="this host's own distribution has Asterisk: no root is made")


@pytest.fixture(scope="module")
def programs() -> Programs:
    return install.programs(print)


def test_a_shown_folder_has_its_own_name_inside_and_can_be_written_to(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from outside")
    script = f"cat {tmp_path}/in && echo from inside > {tmp_path}/out && ls /root"
    done = subprocess.run(programs.command("sh", "-c", script, visible=[tmp_path]), capture_output=True, text=True, check=True)
    assert done.stdout == "from outside"  # and nothing of the host's /root
    assert (tmp_path / "out").read_text() == "from inside\n"


def test_mounts_are_private(programs: Programs, tmp_path: Path) -> None:
    before = Path("/proc/self/mounts").read_text()
    command = programs.command("cat", "/proc/self/mounts", visible=[tmp_path])
    inside = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) in inside
    assert Path("/proc/self/mounts").read_text() == before


def test_signals_and_exit_status_are_the_programs_own(programs: Programs) -> None:
    with subprocess.Popen(programs.command("sleep", "60"), start_new_session=True) as process:
        deadline = time.monotonic() + 10
        while psutil.Process(process.pid).name() != "sleep":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(5) == -signal.SIGTERM
    assert subprocess.run(programs.command("sh", "-c", "exit 7"), check=False).returncode == 7


def test_what_is_shown_must_exist(programs: Programs, tmp_path: Path) -> None:
    done = subprocess.run(programs.command("true", visible=[tmp_path / "nothing"]), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "nothing" in done.stderr
