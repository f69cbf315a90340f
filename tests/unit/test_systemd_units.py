"""The units in `systemd/`: systemd reads them without a complaint, they are confined, and they agree with the program."""

import os
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.cli.frame import appliance
from appliance.config.secrets import GENERATED_BYTES
from appliance.gateway.__main__ import main as gateway
from appliance.modelserver.__main__ import main as model_server

UNITS = Path(__file__).parents[2] / "systemd"
OURS = ("appliance-gateway@1.service", "appliance-model@stt.service", "appliance-model@tts-fallback.service")
NIGHTLY = ("appliance-expire.service", "appliance-expire.timer")
EXTENDED = ("asterisk.service", "redis-server.service")
MOST_EXPOSED = 2.5
ANALYZE = shutil.which("systemd-analyze")
PROGRAMS = ("opt/appliance/current/venv/bin/python", "usr/sbin/asterisk", "usr/bin/redis-server")
BASE = "[Service]\nType=notify\nExecStart={}\n"
"""In place of the distribution's units, which our files extend: the least there is, so that what is measured is ours."""


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """Section, key, values in order."""
    sections: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            current.setdefault(key, []).append(value)
    return sections


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(UNITS, root / "etc/systemd/system")
    distribution = root / "usr/lib/systemd/system"
    distribution.mkdir(parents=True)
    for target in ("multi-user", "network-online", "network", "basic", "sysinit", "shutdown", "timers", "time-set", "time-sync"):
        (distribution / f"{target}.target").write_text("[Unit]\nDescription=as on any machine\n")
    for service, program in zip(EXTENDED, PROGRAMS[1:], strict=True):
        (distribution / service).write_text(BASE.format(f"/{program}"))
    for program in PROGRAMS:
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).touch(mode=0o755)
    return root


def analyze(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    environment = {**os.environ, "SYSTEMD_LOG_LEVEL": "warning", "SYSTEMD_COLORS": "0", "SYSTEMD_EMOJI": "0"}
    command = [ANALYZE, *arguments[:1], f"--root={root}", *arguments[1:]]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
def test_systemd_has_nothing_to_complain_about(root: Path) -> None:
    done = analyze(root, "verify", "--man=no", "appliance.target", *OURS, *NIGHTLY, *EXTENDED)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("name", [*OURS, NIGHTLY[0], "asterisk.service"])
def test_units_are_confined(root: Path, name: str) -> None:
    done = analyze(root, "security", "--offline=true", name)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= MOST_EXPOSED


@pytest.mark.parametrize("name", ["appliance-gateway@.service", "appliance-model@.service"])
def test_what_units_share(name: str) -> None:
    parts = unit(name)
    service = parts["Service"]
    assert service["Type"] == ["notify"]
    assert service["Restart"] == ["always"]
    assert int(service["WatchdogSec"][0]) <= 30
    assert service["RuntimeDirectory"] == ["appliance"]
    assert service["RuntimeDirectoryPreserve"] == ["yes"], "the others' sockets are in it"
    assert service["User"] == ["appliance"]
    assert parts["Unit"]["PartOf"] == parts["Install"]["WantedBy"] == ["appliance.target"]
    assert {"StartLimitIntervalSec", "StartLimitBurst"} <= parts["Unit"].keys()
    assert {"MemoryMax", "TasksMax", "LimitNOFILE", "LimitCORE", "OOMScoreAdjust"} <= service.keys()


@pytest.mark.parametrize(("name", "program"), [("appliance-gateway@.service", gateway), ("appliance-model@.service", model_server)])
def test_the_program_takes_the_arguments_of_its_unit(
    name: str, program: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (command,) = unit(name)["Service"]["ExecStart"]
    words = command.replace("%i", "1" if "gateway" in name else "mt").replace("/etc/appliance", str(tmp_path)).split()
    assert words[:2] == ["/opt/appliance/current/venv/bin/python", "-m"]
    assert callable(program)
    assert program(words[3:]) == 2
    assert f"{tmp_path}/appliance.toml: there is no such file" in capsys.readouterr().err


def test_workers_get_the_secrets_that_a_start_needs_and_model_servers_none() -> None:
    loaded = unit("appliance-gateway@.service")["Service"]["LoadCredential"]
    assert sorted(line.split(":")[0] for line in loaded) == sorted(GENERATED_BYTES)
    assert "LoadCredential" not in unit("appliance-model@.service")["Service"]
    encrypted = unit("appliance-gateway@.service.d/encrypted.conf.example")["Service"]
    assert sorted(line.split(":")[0] for line in encrypted["LoadCredentialEncrypted"]) == sorted(GENERATED_BYTES)


def test_old_records_are_deleted_every_night_whatever_runs(tmp_path: Path) -> None:
    service, timer = unit(NIGHTLY[0]), unit(NIGHTLY[1])
    (command,) = service["Service"]["ExecStart"]
    words = command.replace("/etc/appliance", str(tmp_path)).split()
    assert words[:4] == ["/opt/appliance/current/venv/bin/python", "-m", "appliance", "expire"]
    (tmp_path / "appliance.toml").write_text("[redis]\nurl = 'unix:///nowhere.sock'\n")
    result = CliRunner().invoke(appliance, words[3:])
    assert "deleted 0 calls" in result.output
    assert service["Service"]["User"] == ["appliance"]
    assert timer["Timer"]["Persistent"] == ["yes"]
    assert timer["Install"]["WantedBy"] == ["timers.target"]
    assert not any("appliance.target" in line for part in (service, timer) for key in part["Unit"] for line in part["Unit"][key])


def test_a_flood_cannot_fill_the_disk_with_asterisks_logs() -> None:
    """What Asterisk does at that limit is in tests/integration/test_asterisk_logs.py."""
    assert unit("asterisk.service.d/appliance.conf")["Service"]["LimitFSIZE"] == ["100M"]
    settings = (UNITS.parent / "asterisk/logger.conf.j2").read_text()
    assert "\nrotatestrategy = rotate\nexec_after_rotate = rm -f ${filename:0:-1}2\n" in settings


def test_drop_ins_are_drop_ins() -> None:
    for file in UNITS.glob("*.service.d/*.conf"):
        parser = ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment, method-assign]
        parser.read(file)
        assert set(parser.sections()) <= {"Unit", "Service"}, file
