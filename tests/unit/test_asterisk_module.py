"""Compiling Asterisk's module: where it goes, when it is out of date, what is said when it fails."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.stack import asterisk_module
from appliance.stack.errors import NotInstalled

COMPILER = ["sh", "-c", 'while [ "$1" != -o ]; do shift; done; cat > "$TOP$2"', "sh"]
"""Puts its input where the compiler would put the module."""


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "usr/lib/x86_64-linux-gnu/asterisk/modules"
    folder.mkdir(parents=True)
    (folder / "chan_websocket.so").touch()
    monkeypatch.setenv("TOP", str(tmp_path))
    return tmp_path


def test_it_goes_into_asterisks_module_folder_and_is_current_then(top: Path) -> None:
    assert not asterisk_module.is_compiled(top)
    asterisk_module.compile_module(top, COMPILER)
    assert asterisk_module.is_compiled(top)
    folder = asterisk_module.module_folder(top)
    assert folder is not None
    assert (folder / "func_unnumbered.so").read_bytes() == asterisk_module.SOURCE.read_bytes()
    assert sorted(path.name for path in folder.iterdir()) == ["chan_websocket.so", "func_unnumbered.so"]


def test_it_is_out_of_date_when_asterisk_was_replaced(top: Path) -> None:
    asterisk_module.compile_module(top, COMPILER)
    folder = asterisk_module.module_folder(top)
    assert folder is not None
    os.utime(folder / "func_unnumbered.so", (0, 0))
    assert not asterisk_module.is_compiled(top)


def test_what_the_compiler_said_is_told_and_nothing_is_left(top: Path) -> None:
    with pytest.raises(NotInstalled, match=r"func_unnumbered\.c could not be compiled: asterisk\.h: no such file"):
        asterisk_module.compile_module(top, ["sh", "-c", "echo asterisk.h: no such file >&2; exit 1", "sh"])
    folder = asterisk_module.module_folder(top)
    assert folder is not None
    assert [path.name for path in folder.iterdir()] == ["chan_websocket.so"]


def test_an_asterisk_without_chan_websocket_is_too_old(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match="no chan_websocket module"):
        asterisk_module.compile_module(tmp_path)


def test_the_name_of_the_module_is_the_one_that_is_loaded() -> None:
    modules = (asterisk_module.SOURCE.parents[1] / "modules.conf.j2").read_text()
    assert f"load = {asterisk_module.SOURCE.stem}.so\n" in modules
