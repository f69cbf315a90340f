"""The role's settings for logrotate, tried with logrotate itself on a folder of our own."""

from __future__ import annotations

import getpass
import grp
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import jinja2
import pytest

TEMPLATE = Path(__file__).parents[2] / "ansible/roles/asterisk/templates/logrotate.conf.j2"
LOGROTATE = shutil.which("logrotate", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
DAYS = 30


@pytest.mark.skipif(LOGROTATE is None, reason="logrotate is not installed")
def test_logs_are_rotated_and_old_ones_go(tmp_path: Path) -> None:
    assert LOGROTATE is not None
    logs = tmp_path / "logs"
    logs.mkdir(mode=0o750)
    own = f"{getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name}"
    text = jinja2.Template(TEMPLATE.read_text()).render(ansible_managed="x", asterisk_log_days=DAYS)
    settings = tmp_path / "logrotate.conf"
    settings.write_text(text.replace("/var/log/asterisk", str(logs)).replace("asterisk asterisk", own))
    settings.chmod(0o644)
    ages = {"messages": 0, "security": 0, "security-20260101.gz": 40, "security-20260201.gz": 5, "messages.0": 40, "messages.1": 5}
    for name, age_days in ages.items():
        (logs / name).write_text("a line\n")
        os.utime(logs / name, (time.time() - age_days * 86_400,) * 2)
    (logs / "queue_log").write_text("of the package's own rule\n")
    done = subprocess.run(
        [LOGROTATE, "--force", "--state", str(tmp_path / "state"), str(settings)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert {re.sub(r"-\d{8}$", "-TODAY", path.name) for path in logs.iterdir()} == {
        "messages", "security", "messages-TODAY", "security-TODAY", "security-20260201.gz", "messages.1", "queue_log"
    }  # fmt: skip
    assert (logs / "security").stat().st_size == 0
    assert (logs / "security").stat().st_mode & 0o777 == 0o640
    assert (logs / "queue_log").read_text()
