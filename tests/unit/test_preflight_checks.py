"""What preflight finds on a machine: each check where all is well, and where it is not; programs it asks are stubs."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_plugins import plugin, problems_of, stub_tool

Usage = namedtuple("Usage", "total used free")
SOURCES = """\
# deb http://commented.example/debian forky main
deb http://one.example/debian forky main  # the site's
deb-src [signed-by=/usr/share/keyrings/x.gpg arch=amd64] https://two.example:8443/debian forky main
deb cdrom:[Debian]/ forky main
deb file:/srv/mirror forky main
deb tor+http://hidden.onion/debian forky main
"""
DEB822 = """\
Types: deb
# http://commented.example/debian
URIs: http://three.example/debian
 mirror+https://four.example/list
Suites: forky

Types: deb
Enabled: no
URIs: http://disabled.example/debian
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The whole `PATH`: a program that a test has not put there is not installed."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tools: Path) -> Any:
    return plugin("library/preflight_node.py", monkeypatch)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tools: Path) -> Any:
    return plugin("library/preflight_installed.py", monkeypatch)


@pytest.fixture
def reach(monkeypatch: pytest.MonkeyPatch, tools: Path) -> Any:
    return plugin("library/preflight_reach.py", monkeypatch)


def found(problems: list[dict[str, str]]) -> list[str]:
    return [problem["found"] for problem in problems]


# The machine


def test_a_clock_that_is_off_is_found_in_both_directions(node: Any) -> None:
    assert node.clock_problems(time.time() - 1, 5.0) == []
    assert node.clock_problems(None, 5.0) == []
    assert found(node.clock_problems(time.time() - 100, 5.0)) == ["the clock is +100 s off the controller's"]
    assert found(node.clock_problems(time.time() + 100, 5.0)) == ["the clock is -100 s off the controller's"]


def test_memory_is_counted_in_megabytes(node: Any) -> None:
    assert node.memory_problems("MemTotal:        2048000 kB\nMemFree: 5 kB\n", 2000) == []
    assert found(node.memory_problems("MemTotal:        2047999 kB\n", 2000)) == ["1999 MB of memory"]
    assert found(node.memory_problems("", 1)) == ["0 MB of memory"]


def test_folders_of_one_file_system_share_its_space(node: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0, 0, 300 * 2**20))
    assert node.disk_problems({str(tmp_path / "a/missing"): 200, str(tmp_path / "b"): 100}) == []
    (problem,) = node.disk_problems({str(tmp_path / "a/missing"): 200, str(tmp_path / "b"): 101})
    assert problem["found"] == f"300 MB free for {tmp_path}/a/missing, {tmp_path}/b"
    assert problem["mend"].startswith("301 MB are needed")


@pytest.fixture(params=["tcp", "udp"])
def taken(request: pytest.FixtureRequest) -> Iterator[str]:
    """A port that this very process holds."""
    kind = socket.SOCK_STREAM if request.param == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as holder:
        holder.bind(("127.0.0.1", 0))
        if request.param == "tcp":
            holder.listen()
        yield f"{request.param}/{holder.getsockname()[1]}"


def test_a_port_that_is_held_is_named_with_its_holder_and_its_variable(node: Any, taken: str) -> None:
    (problem,) = node.port_problems({taken: "site_sip_port"}, [])
    protocol, number = taken.split("/")
    assert problem["found"].startswith(f"{protocol.upper()} port {number} is taken by {Path('/proc/self/comm').read_text().strip()} (")
    assert problem["mend"] == "stop and disable that service, or set site_sip_port to a free port"
    assert node.port_problems({taken: ""}, [])[0]["mend"] == "stop and disable that service"


def test_only_an_installation_of_ours_is_excused(
    node: Any, taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tools: Path
) -> None:
    monkeypatch.setattr(node, "unit_of", lambda _inode: ("prometheus", "prometheus.service"))
    mark = tmp_path / "packages"
    given = {"supported": [], "ports": {taken: ""}, "own_units": ["asterisk", "prometheus"], "mark": str(mark)}
    assert "port" in {problem["check"] for problem in problems_of(node, monkeypatch, **given)}
    mark.touch()
    assert "port" not in {problem["check"] for problem in problems_of(node, monkeypatch, **given)}
    monkeypatch.setattr(node, "unit_of", lambda _inode: ("prometheus", "session-3.scope"))
    assert "port" in {problem["check"] for problem in problems_of(node, monkeypatch, **given)}


def test_where_systemd_listens_for_another_that_one_is_named(node: Any, taken: str, monkeypatch: pytest.MonkeyPatch, tools: Path) -> None:
    monkeypatch.setattr(node, "unit_of", lambda _inode: ("systemd", "init.scope"))
    assert "(init.scope)" in node.port_problems({taken: ""}, [])[0]["found"]
    port = taken.split("/")[1]
    stub_tool(tools, "systemctl", f"echo '[::]:22 ssh.socket ssh.service'\necho '[::]:{port} cockpit.socket cockpit.service'")
    assert "systemd (cockpit.socket)" in node.port_problems({taken: ""}, [])[0]["found"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "nvidia-smi does not run"),
        ("echo 'NVIDIA-SMI has failed because it could not communicate' >&2; exit 9", "no usable GPU: NVIDIA-SMI has"),
        ("echo 'No devices were found'", "no usable GPU: No devices"),
        ("echo 8192; echo 15000", "the largest GPU has 15000 MB"),
        ("echo 8192; echo 24564", None),
    ],
)
def test_one_gpu_must_have_the_memory(node: Any, tools: Path, script: str | None, said: str | None) -> None:
    assert node.gpu_problems(False, 16_000) == []
    if script is not None:
        stub_tool(tools, "nvidia-smi", script)
    problems = node.gpu_problems(True, 16_000)
    assert found(problems) == [] if said is None else found(problems)[0].startswith(said)


# What is installed


DPKG = """
echo 'asterisk installed'
echo 'fail2ban config-files'
echo 'prometheus half-configured'
echo 'dpkg-query: no packages found matching redis-server' >&2
exit 1
"""


def test_packages_of_somebody_else_are_found_until_we_have_installed(
    installed: Any, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "packages"
    taken_over = {"asterisk": "", "redis-server": "", "prometheus": "set monitoring_enabled: false", "fail2ban": ""}
    given = {"mark": str(mark), "prefix": str(tmp_path), "taken_over": taken_over}
    assert problems_of(installed, monkeypatch, **given) == []  # no dpkg at all
    stub_tool(tools, "dpkg-query", DPKG)
    problems = problems_of(installed, monkeypatch, **given)
    assert [line.split(":")[0] for line in found(problems)] == [f"{name} is installed and not by us" for name in ("asterisk", "prometheus")]
    assert problems[0]["mend"].endswith("apt-get purge asterisk there")
    assert problems[1]["mend"].endswith(", or set monitoring_enabled: false")
    mark.touch()
    assert problems_of(installed, monkeypatch, **given) == []


def test_a_release_to_go_back_to_must_be_there_and_whole(installed: Any, tmp_path: Path) -> None:
    assert installed.release_problems("", tmp_path) == []
    assert installed.release_problems("1.0-a", tmp_path)[0]["mend"] == "leave release away: no release is installed here"
    for name in ("1.0-a", "1.1-b", "broken"):
        (tmp_path / "releases" / name).mkdir(parents=True)
    for name in ("1.0-a", "1.1-b"):
        (tmp_path / "releases" / name / ".complete").touch()
    assert installed.release_problems("1.0-a", tmp_path) == []
    assert found(installed.release_problems("broken", tmp_path)) == [f"there is no release broken in {tmp_path}/releases"]
    (problem,) = installed.release_problems("previous", tmp_path)
    assert problem["found"].startswith("there is no release before the present one")
    assert problem["mend"].endswith("1.0-a, 1.1-b")
    (tmp_path / "previous").symlink_to(tmp_path / "releases" / "1.0-a")
    assert installed.release_problems("previous", tmp_path) == []


def test_production_models_lie_there_or_are_brought(installed: Any, tmp_path: Path) -> None:
    assert installed.model_problems("") == []
    assert f"there is no {tmp_path}/catalog.toml" in found(installed.model_problems(str(tmp_path)))[0]
    (tmp_path / "catalog.toml").touch()
    assert installed.model_problems(str(tmp_path)) == []


def test_a_time_zone_is_looked_for_on_the_machine_that_will_use_it(installed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "ZONES", tmp_path)
    assert installed.zone_problems("Asia/Kolkata", True) == []
    assert installed.zone_problems("", False) == []
    (problem,) = installed.zone_problems("Asia/Kolkatta", False)
    assert "base_time_zone: there is no time zone 'Asia/Kolkatta'" in problem["found"]
    for folder in ("Etc", "Asia"):
        (tmp_path / folder).mkdir()
    (tmp_path / "Asia" / "Kolkata").touch()
    assert installed.zone_problems("Asia/Kolkata", False) == []
    assert len(installed.zone_problems("Asia/Calcutta", True)) == len(installed.zone_problems("Asia", True)) == 1


def test_time_servers_would_not_reach_another_time_service(installed: Any, tools: Path) -> None:
    stub_tool(tools, "dpkg-query", "echo 'chrony installed'")
    assert installed.service_problems([]) == []
    assert "and chrony keeps the time" in found(installed.service_problems(["chrony", "ntpsec"]))[0]


# What it reaches


def test_every_mirror_of_apt_is_known_with_its_file(reach: Any, tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(SOURCES)
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    (tmp_path / "sources.list.d" / "old.list.save").write_text("deb http://saved.example/debian forky main\n")
    hosts = reach.wanted_hosts([], {}, reach.apt_sources(tmp_path))
    one, other = f"{tmp_path}/sources.list", f"{tmp_path}/sources.list.d/debian.sources"
    assert hosts == {"one.example": one, "two.example": one, "three.example": other, "four.example": other}


@pytest.mark.parametrize(
    ("settings", "environment", "asked"),
    [
        ("", {}, {"plain.example", "tls.example"}),
        ('Acquire::http::Proxy "http://apt-proxy:3142";', {}, {"apt-proxy"}),
        ('Acquire::http::Proxy "http://apt-proxy:3142";\\nAcquire::https::Proxy "DIRECT";', {}, {"apt-proxy", "tls.example"}),
        ('Acquire::http::Proxy "http://apt-proxy:31";\\nAcquire::http::Proxy::plain.example "DIRECT";', {}, {"apt-proxy", "plain.example"}),
        ('Acquire::http::Proxy-Auto-Detect "/usr/bin/which-proxy";', {}, set()),
        ("", {"https_proxy": "http://proxy.example:3128"}, {"plain.example", "proxy.example"}),
        ("", {"http_proxy": "proxy.example:3128", "no_proxy": "localhost,.example"}, {"plain.example", "tls.example"}),
    ],
)
def test_a_name_that_a_proxy_looks_up_is_not_asked_for(
    reach: Any, tools: Path, monkeypatch: pytest.MonkeyPatch, settings: str, environment: dict[str, str], asked: set[str]
) -> None:
    stub_tool(tools, "apt-config", f"printf '{settings}\\n'")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    mirrors = {"http://plain.example/debian": "a.list", "https://tls.example/debian": "b.list"}
    assert set(reach.wanted_hosts([], {}, mirrors)) == asked


def test_each_name_that_does_not_resolve_is_named_with_where_it_is_written(reach: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(name: str, _port: None) -> list[object]:
        if name.startswith("gone"):
            raise socket.gaierror(-2, "Name or service not known")
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(reach, "apt_sources", lambda _folder: {"http://gone.mirror/debian": "/etc/apt/sources.list"})
    given = {"names": ["sip.example", "gone.sip"], "addresses": {"appliance_pip_index": "https://gone.index:8443/simple", "other": ""}}
    assert len(problems_of(reach, monkeypatch, **given)) == 2
    problems = problems_of(reach, monkeypatch, mirrors=True, **given)
    assert [line.split(":")[0] for line in found(problems)] == [
        f"{name} does not resolve" for name in ("gone.sip", "gone.mirror", "gone.index")
    ]
    places = ("preflight_names or site_trunks", "/etc/apt/sources.list", "appliance_pip_index")
    assert [problem["mend"].split(",")[0] for problem in problems] == [f"correct it in {place}" for place in places]


class Answering(threading.Thread):
    """A server on loopback that gives one connection one answer after the other; what it was told is kept."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        self.answers, self.told = answers, b""
        self.start()

    def run(self) -> None:
        with self.server, self.server.accept()[0] as connection:
            for answer in self.answers:
                self.told += connection.recv(1000)
                connection.sendall(answer)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([b"+OK\r\n", b"+PONG\r\n"], None),
        ([b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"], "does not take the password"),
        ([b"+OK\r\n", b"-LOADING Redis is loading the dataset in memory\r\n"], "answers: LOADING Redis"),
        ([b"HTTP/1.1 400 Bad Request\r\n"], "is no Redis"),
    ],
)
def test_a_redis_elsewhere_must_answer_as_one(reach: Any, answers: list[bytes], said: str | None) -> None:
    server = Answering(*answers)
    problems = reach.redis_problems(f"redis://setu:s%40cret@127.0.0.1:{server.port}/0", 3.0)
    server.join(5)
    assert server.told.startswith(b"*3\r\n$4\r\nAUTH\r\n$4\r\nsetu\r\n$6\r\ns@cret\r\n")
    assert found(problems) == [] if said is None else said in found(problems)[0]
    assert "cret" not in str(problems)


def test_a_redis_that_does_not_answer_is_named_without_its_password(reach: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (problem,) = reach.redis_problems(f"redis://:secret@127.0.0.1:{port}/0", 3.0)
    assert problem["found"] == f"no Redis answers at 127.0.0.1 port {port}: Connection refused"
    assert "cannot be read" in found(reach.redis_problems("redis://host:port/0", 3.0))[0]
    assert reach.redis_problems("unix:///run/redis.sock", 3.0) == []


# Who reaches it


@pytest.mark.parametrize(
    ("networks", "session", "words"),
    [
        (["192.0.2.0/24"], ("192.0.2.7", "192.0.2.11", 22), []),
        (["198.51.100.0/24", "2001:db8::/32"], ("2001:db8::7", "2001:db8::1", 22), []),
        (["192.0.2.0/24"], ("::ffff:192.0.2.7", "::ffff:192.0.2.11", 22), []),
        ([], ("203.0.113.7", "192.0.2.11", 22), []),
        (["198.51.100.0/24"], ("127.0.0.1", "127.0.0.1", 22), []),
        (["198.51.100.0/24"], ("192.0.2.11", "192.0.2.11", 22), []),
        (["198.51.100.0/24"], None, []),
        (["198.51.100.0/24"], ("192.0.2.7", "192.0.2.11", 22), ["192.0.2.7, which is in none of base_management_networks (198"]),
        ([], ("192.0.2.7", "192.0.2.11", 2222), ["port 2222, and the firewall would open base_ssh_port 22"]),
        (["office"], None, ["'office' is no IP address or network"]),
    ],
)
def test_who_installs_is_not_locked_out(reach: Any, networks: list[str], session: tuple[str, str, int] | None, words: list[str]) -> None:
    problems = reach.admin_problems(networks, 22, session)
    assert len(problems) == len(words)
    assert all(word in line for word, line in zip(words, found(problems), strict=True))


def test_the_session_is_found_above_a_process_that_does_not_know_it(reach: Any) -> None:
    """As below sudo: the first process has the variable, the second has not."""
    script = "env -u SSH_CONNECTION sh -c 'echo $$; exec sleep 60' & wait"
    environment = {"PATH": "/usr/bin:/bin", "SSH_CONNECTION": "fe80::7%eth0 40000 192.0.2.11 2222"}
    with subprocess.Popen(["/bin/sh", "-c", script], env=environment, stdout=subprocess.PIPE, text=True) as shell:
        assert shell.stdout is not None
        below = int(shell.stdout.readline())
        try:
            assert b"SSH_" not in Path(f"/proc/{below}/environ").read_bytes()
            assert reach.ssh_session(below) == ("fe80::7", "192.0.2.11", 2222)
        finally:
            shell.kill()
            subprocess.run(["/bin/kill", str(below)], check=False)
    assert reach.ssh_session(1) is None
