"""What a host lacks, what its apt says, and what is said to somebody who may not install."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.stack import apt, install, programs, root
from appliance.stack.errors import NotInstalled
from appliance.stack.programs import Programs

DEB822 = """\
Types: deb
# http://snapshot.debian.org/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian/
Suites: bookworm bookworm-updates
Components: main

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
"""


@pytest.mark.parametrize(
    ("sources", "mirror"),
    [
        (DEB822, "http://mirror.example/debian"),
        ("deb [signed-by=/a.gpg arch=amd64] https://deb.example/debian trixie main\n", "https://deb.example/debian"),
        ("# deb http://old.example/debian stretch main\ndeb http://new.example/debian forky main\n", "http://new.example/debian"),
        ("deb http://archive.ubuntu.com/ubuntu noble main\n", None),
        ("deb cdrom:[Debian]/ bookworm main\n", None),
        ("", None),
    ],
)
def test_the_mirror_is_the_hosts_own(sources: str, mirror: str | None) -> None:
    assert apt.mirror_in(sources) == mirror


def test_a_named_mirror_comes_before_the_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETU_DEBIAN_MIRROR", "http://here.example/debian")
    assert apt.debian_mirror() == "http://here.example/debian"


def test_apts_proxy_reaches_what_does_not_ask_apt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.setenv("https_proxy", "http://own:1")
    settings = 'Acquire::http::Proxy "http://proxy:3142";\nAcquire::https::Proxy "http://proxy:3142";\n'
    environment = apt.download_environment(settings)
    assert environment["http_proxy"] == "http://proxy:3142"
    assert environment["https_proxy"] == "http://own:1"
    assert "http_proxy" not in apt.download_environment('Acquire::http::Proxy "DIRECT";\n')


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("1:22.10.1~dfsg+~cs6.15.60671435-1", True),
        ("1:22.11.0~dfsg-1", True),
        ("1:23.0.0-1", True),
        ("1:22.9.0~dfsg-1", False),
        ("1:20.6.0~dfsg+~cs6.13.40431414-2build5", False),
        (None, False),
    ],
)
def test_only_a_new_enough_asterisk_is_taken_from_the_host(monkeypatch: pytest.MonkeyPatch, version: str | None, enough: bool) -> None:
    monkeypatch.setattr(apt, "candidate", lambda package: version)
    monkeypatch.setattr(apt, "debian_release", lambda: 12.0)
    assert install.host_has_asterisk() is enough


@pytest.mark.parametrize(
    ("text", "release"),
    [
        ('ID=debian\nVERSION_ID="13"\n', 13.0),
        ("ID=debian\nVERSION_CODENAME=sid\n", float("inf")),
        ('ID=ubuntu\nVERSION_ID="26.04"\n', 0.0),
    ],
)
def test_the_release_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, release: float) -> None:
    (tmp_path / "os-release").write_text(text)
    monkeypatch.setattr(apt, "OS_RELEASE", tmp_path / "os-release")
    assert apt.debian_release() == release


@pytest.fixture
def bare_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user on a machine that has none of the programs."""
    monkeypatch.setenv("SETU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(install, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(programs, "SEARCH_PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.usefixtures("bare_host")
@pytest.mark.parametrize(
    ("from_host", "named"),
    [
        (True, ["asterisk", "redis-server", "baresip-core", "espeak-ng"]),
        (False, ["debootstrap", "espeak-ng", "the Debian 14 root for Asterisk"]),
    ],
)
def test_who_may_not_install_is_told_the_command_in_one_line(monkeypatch: pytest.MonkeyPatch, from_host: bool, named: list[str]) -> None:
    monkeypatch.setattr(install, "host_has_asterisk", lambda: from_host)
    with pytest.raises(NotInstalled) as refusal:
        install.programs(print)
    text = str(refusal.value)
    assert "\n" not in text
    assert all(name in text for name in named)
    assert "sudo make -C " in text
    assert (" setup" if from_host else " demo") in text, "root's cache is another one: who is not root could not use what it makes"


@pytest.mark.usefixtures("bare_host")
def test_a_program_the_host_lacks_is_named() -> None:
    with pytest.raises(NotInstalled, match="asterisk"):
        Programs(None).command("asterisk", "-V")


def test_folders_inside_one_another_are_shown_once(tmp_path: Path) -> None:
    (tmp_path / "stack" / "state").mkdir(parents=True)
    (tmp_path / "stack-2").mkdir()
    shown = [tmp_path / "stack-2", tmp_path / "stack" / "state", tmp_path / "stack"]
    command = Programs(Path("/root-of-it")).command("asterisk", "-f", visible=shown)
    begin, end = command.index("/root-of-it") + 1, command.index("--")
    assert command[begin:end] == [str(tmp_path / "stack"), str(tmp_path / "stack-2")]
    assert command[end + 1 :] == ["asterisk", "-f"]


def test_the_root_changes_its_name_with_its_recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SETU_CACHE", str(tmp_path))
    before = root.root_folder()
    monkeypatch.setattr(root, "PACKAGES", (*root.PACKAGES, "sngrep"))
    assert root.root_folder() != before
    assert root.root_folder().parent == tmp_path
