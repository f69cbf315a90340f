"""The scripts that roles run on a node: what `forget.sh` leaves on a machine that had some of it before, which models are whole."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROLES = Path(__file__).parents[2] / "ansible" / "roles"
FORGET = ROLES / "uninstall" / "files" / "forget.sh"
REMEMBER = ROLES / "base" / "files" / "remember.sh"
INTACT = ROLES / "models" / "files" / "intact.py"

SILENT = ("apt-get", "apt-mark", "getent", "groupdel", "id", "nft", "update-ca-certificates", "userdel")
GUARD = """\
#!/bin/sh
# The script under test runs as root: nothing outside of its own tree may be touched.
for path; do :; done
case $0 in
    */rm | */rmdir) for path; do case $path in "$TREE"/* | -*) ;; *) echo "outside: $0 $*" >&2; exit 99 ;; esac; done ;;
    *) case $path in "$TREE"/*) ;; *) echo "outside: $0 $*" >&2; exit 99 ;; esac ;;
esac
exec /bin/${0##*/} "$@"
"""
"""The last word of `cp` and `ln` is what they write."""
SED = """\
#!/bin/sh
for path; do :; done
case "$1 $path" in "-i $TREE"/*) ;; -i*) echo "outside: sed $*" >&2; exit 99 ;; esac
exec /bin/sed "$@"
"""
OURS = (
    "etc/asterisk/pjsip.conf", "etc/asterisk/tls/key.pem", "var/lib/asterisk/announcements/wait.sln16", "etc/redis/appliance.conf",
    "etc/fail2ban/jail.d/appliance.conf", "etc/apt/apt.conf.d/60appliance-upgrades", "etc/needrestart/conf.d/appliance.conf",
    "etc/logrotate.d/appliance-asterisk", "var/cache/appliance-bundle/1234/debs/x.deb", "usr/local/bin/appliance", "run/appliance/stt.sock",
    "opt/appliance/current/asterisk/pjsip.conf.j2", "var/lib/appliance/setu.sqlite",
)  # fmt: skip
DROP_IN = "etc/systemd/system/asterisk.service.d/theirs.conf"
THEIRS = {
    "asterisk": ("etc/asterisk/voicemail.conf", "var/lib/asterisk/astdb.sqlite3", "var/spool/asterisk/voicemail/1"),
    "redis-server": ("var/lib/redis/dump.rdb", "etc/redis/users.acl", "var/log/redis/redis-server.log"),
    "fail2ban": ("etc/fail2ban/jail.d/ours.conf", "var/lib/fail2ban/fail2ban.sqlite3", "var/log/fail2ban.log.1"),
    "prometheus": ("etc/prometheus/rules.d/a.yml", "var/lib/prometheus/metrics2/wal/1"),
    "grafana": ("etc/grafana/grafana.ini", "var/lib/grafana/grafana.db"),
}
OVERWRITTEN = {
    "asterisk": "etc/asterisk/pjsip.conf",
    "prometheus": "etc/prometheus/prometheus.yml",
    "grafana": "etc/default/grafana-server",
}


class Machine:
    """A tree that stands for a machine, and programs that only say that they were run."""

    def __init__(self, folder: Path) -> None:
        self.tree, self.programs, self.calls = folder / "tree", folder / "programs", folder / "calls"
        self.programs.mkdir()
        for name in SILENT:
            self.program(name, "#!/bin/sh\nexit 1\n")
        self.program("apt-get", f'#!/bin/sh\necho "apt-get $*" >>{self.calls}\n')
        self.program("systemctl", f'#!/bin/sh\necho "systemctl $*" >>{self.calls}\n')
        self.program("dpkg-query", "#!/bin/sh\nexit 0\n")
        self.program("sed", SED)
        for name in ("rm", "rmdir", "cp", "ln"):
            self.program(name, GUARD)

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(text)
        (self.programs / name).chmod(0o755)

    def write(self, name: str, text: str = "") -> Path:
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or name)
        return path

    def there(self, name: str) -> bool:
        return (self.tree / name).exists()

    def forget(self) -> str:
        """What the programs were told."""
        done = self.run()
        assert (done.returncode, done.stderr) == (0, "")
        return self.calls.read_text()

    def run(self) -> subprocess.CompletedProcess[str]:
        folders = [str(self.tree / name) for name in ("etc/appliance", "opt/appliance", "var/lib/appliance")]
        return self.script(FORGET, *folders, "asterisk redis-server fail2ban prometheus grafana", "asterisk redis", "site.crt")

    def script(self, script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.programs}:{os.environ['PATH']}", "root": str(self.tree), "TREE": str(self.tree)}
        return subprocess.run(["sh", str(script), *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    for name in (*OURS, DROP_IN):
        made.write(name)
    for names in THEIRS.values():
        for name in names:
            made.write(name)
    for name in OVERWRITTEN.values():
        made.write(name, "ours")
    made.write("etc/asterisk/acl.conf", "; Everything as Asterisk has it.\n")
    made.write("etc/redis/redis.conf", "port 6380\ninclude /etc/redis/appliance.conf\n")
    made.write("etc/nftables.conf", "ours")
    made.write("etc/appliance/before/users")
    made.write("etc/appliance/before/groups")
    made.write("etc/appliance/before/certificates")
    made.write("etc/appliance/before/packages", "bash\n")
    return made


def remember(machine: Machine, *packages: str, enabled: tuple[str, ...] = ()) -> None:
    """What base/files/remember.sh would have written."""
    machine.write("etc/appliance/before/packages", "".join(f"{name}\n" for name in ("bash", *packages)))
    machine.write("etc/appliance/before/enabled", "".join(f"{name}.service\n" for name in enabled) or "ssh.service\n")
    for package, name in OVERWRITTEN.items():
        if package in packages:
            machine.write(f"etc/appliance/before/files/{name}", "theirs")


def test_a_fresh_machine_loses_all_of_it(machine: Machine) -> None:
    remember(machine)
    calls = machine.forget()
    left = sorted(str(path.relative_to(machine.tree)) for path in machine.tree.rglob("*") if path.is_file())
    assert left == [DROP_IN]
    assert "apt-get -q -y purge asterisk redis-server fail2ban prometheus grafana\n" in calls
    assert "restart asterisk" not in calls


@pytest.mark.parametrize("package", THEIRS)
def test_what_was_there_before_stays(machine: Machine, package: str) -> None:
    remember(machine, package)
    calls = machine.forget()
    assert all(machine.there(name) for name in THEIRS[package])
    assert not any(machine.there(name) for other, names in THEIRS.items() for name in names if other != package)
    ours = [name for name in OURS if machine.there(name) and name not in OVERWRITTEN.values()]
    assert ours == []
    assert f" {package}" not in next(line for line in calls.splitlines() if "purge" in line)
    if package in OVERWRITTEN:
        assert (machine.tree / OVERWRITTEN[package]).read_text() == "theirs"


def test_its_redis_no_longer_reads_our_settings(machine: Machine) -> None:
    remember(machine, "redis-server", enabled=("redis-server",))
    assert "systemctl restart redis-server\n" in machine.forget()
    assert (machine.tree / "etc/redis/redis.conf").read_text() == "port 6380\n"


def test_a_file_of_asterisks_that_only_we_have_goes(machine: Machine) -> None:
    remember(machine, "asterisk")
    (machine.tree / "etc/appliance/before/files/etc/asterisk/pjsip.conf").unlink()
    assert "systemctl disable --now asterisk\n" in machine.forget()
    assert not machine.there("etc/asterisk/pjsip.conf")
    assert not machine.there("etc/asterisk/acl.conf")
    assert machine.there("etc/asterisk/voicemail.conf")


def test_what_is_remembered_comes_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.program("dpkg-query", "#!/bin/sh\necho bash; echo asterisk; echo nftables\n")
    machine.program("systemctl", f'#!/bin/sh\necho "systemctl $*" >>{machine.calls}\necho "asterisk.service enabled enabled"\n')
    theirs = ("etc/nftables.conf", "etc/asterisk/pjsip.conf", "usr/local/share/ca-certificates/old.crt", "usr/share/zoneinfo/UTC")
    for name in theirs:
        machine.write(name)
    (machine.tree / "etc/localtime").symlink_to("/usr/share/zoneinfo/UTC")
    done = machine.script(REMEMBER, str(machine.tree / "etc/appliance/before"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (machine.tree / "etc/appliance/before").stat().st_mode & 0o777 == 0o700
    for name in (*theirs[:2], "usr/local/share/ca-certificates/site.crt", "etc/asterisk/queues.conf"):
        machine.write(name, "ours")
    for name in ("pjsip", "queues"):
        machine.write(f"opt/appliance/current/asterisk/{name}.conf.j2")
    assert "systemctl restart asterisk\n" in machine.forget()
    assert sorted(str(path.relative_to(machine.tree)) for path in machine.tree.rglob("*") if path.is_file()) == sorted(theirs)
    assert all((machine.tree / name).read_text() == name for name in theirs)


def test_a_machine_that_an_earlier_release_remembered(machine: Machine) -> None:
    machine.write("etc/appliance/before/packages", "bash\nprometheus\nnftables\n")
    machine.write("etc/appliance/before/nftables.conf", "theirs")
    calls = machine.forget()
    assert (machine.tree / "etc/nftables.conf").read_text() == "theirs"
    assert (machine.tree / OVERWRITTEN["prometheus"]).read_text() == "ours"
    assert "systemctl restart prometheus\n" in calls
    assert "nftables" not in calls


@pytest.mark.parametrize(("enabled", "said"), [(("nftables",), "systemctl reload nftables\n"), ((), "systemctl disable nftables\n")])
def test_the_firewall_that_was_there_is_loaded_again(machine: Machine, enabled: tuple[str, ...], said: str) -> None:
    remember(machine, "nftables", enabled=enabled)
    machine.write("etc/appliance/before/files/etc/nftables.conf", "theirs")
    assert said in machine.forget()
    assert (machine.tree / "etc/nftables.conf").read_text() == "theirs"


def test_without_a_release_no_configuration_is_taken_for_ours(machine: Machine) -> None:
    remember(machine, "asterisk")
    (machine.tree / "opt/appliance/current/asterisk/pjsip.conf.j2").unlink()
    machine.forget()
    assert (machine.tree / "etc/asterisk/pjsip.conf").read_text() == "ours"
    assert machine.there("etc/asterisk/voicemail.conf")


def test_a_machine_that_nobody_remembered_is_left_alone(machine: Machine) -> None:
    (machine.tree / "etc/appliance/before/packages").unlink()
    done = machine.run()
    assert done.returncode == 1
    assert "this machine was not installed by site.yml" in done.stderr
    assert machine.there("var/lib/appliance/setu.sqlite")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    entries = ['[[model]]\nid = "fasttext/lid"\nfolder = "package:some/where"\n[model.files]\n"lid.ftz" = "00"\n']
    for part in ("starter/stt", "starter/mt"):
        (tmp_path / part).mkdir(parents=True)
        (tmp_path / part / "model.bin").write_text(part)
        entries.append(f'[[model]]\nid = "{part}"\n[model.files]\n"model.bin" = "{hashlib.sha256(part.encode()).hexdigest()}"\n')
    (tmp_path / "catalog.toml").write_text("\n".join(entries))
    return tmp_path


def looked(folder: Path, part: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(INTACT), str(folder), part], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.strip().replace(f"{folder}/", "")


def test_whole_models_are_whole(models: Path) -> None:
    assert looked(models, "starter") == (0, "")
    assert looked(models, ".") == (0, "")


def test_models_that_are_missing_or_damaged_are_named(models: Path) -> None:
    (models / "starter/stt/model.bin").write_text("something else")
    (models / "starter/mt/model.bin").unlink()
    status, said = looked(models, "starter")
    assert status == 1
    assert said.splitlines() == ["starter/stt/model.bin is not what the catalogue says", "starter/mt/model.bin: No such file or directory"]


def test_a_folder_of_which_only_the_catalogue_was_unpacked_is_not_whole(models: Path) -> None:
    for part in ("stt", "mt"):
        (models / f"starter/{part}/model.bin").unlink()
        (models / "starter" / part).rmdir()
    assert looked(models, "starter")[0] == 1
    assert looked(models, ".") == (1, "catalog.toml has no models in " + str(models))


@pytest.mark.parametrize("text", [None, "[[model]", "title = 1"])
def test_a_catalogue_that_cannot_be_read_is_a_problem(models: Path, text: str | None) -> None:
    (models / "catalog.toml").unlink()
    if text is not None:
        (models / "catalog.toml").write_text(text)
    assert looked(models, "starter")[0] == 1
