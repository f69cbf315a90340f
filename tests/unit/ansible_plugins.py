"""Modules and plugins of Ansible's as modules of Python. Ansible has an environment of its own; what they import of it is made here."""

from __future__ import annotations

import importlib.util
import stat
import sys
import types
from pathlib import Path
from typing import Any

import pytest

ANSIBLE = Path(__file__).parents[2] / "ansible"


class Ended(Exception):
    """A module has said what it found."""


class ModuleStub:
    """Ansible's `AnsibleModule` as far as modules use it: arguments with their defaults, and an answer."""

    given: dict[str, Any]
    """Arguments of the next module."""
    said: dict[str, Any]

    def __init__(self, argument_spec: dict[str, dict[str, Any]], supports_check_mode: bool) -> None:
        assert supports_check_mode
        assert set(self.given) <= set(argument_spec)
        assert all(self.given.get(name) is not None for name, option in argument_spec.items() if option.get("required"))
        self.params = {name: option.get("default") for name, option in argument_spec.items()} | self.given

    def exit_json(self, **said: Any) -> None:
        type(self).said = said
        raise Ended


class ActionStub:
    """Ansible's `ActionBase`; a test gives it a loader, a templar and a task."""

    def run(self, _tmp: object = None, _task_vars: object = None) -> dict[str, Any]:
        return {}


NAMES = {
    "ansible.module_utils.basic": {"AnsibleModule": ModuleStub},
    "ansible.module_utils.common.arg_spec": {"ArgumentSpecValidator": object},
    "ansible.plugins.action": {"ActionBase": ActionStub},
    "ansible.errors": {"AnsibleError": type("AnsibleError", (Exception,), {})},
}


def plugin(path: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file below `ansible/`."""
    for name, contents in NAMES.items():
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            parent = ".".join(parts[:length])
            if parent not in sys.modules:
                monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        for key, value in contents.items():
            monkeypatch.setattr(sys.modules[name], key, value, raising=False)
    spec = importlib.util.spec_from_file_location(f"ansible_{Path(path).stem}", ANSIBLE / path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def problems_of(module: Any, monkeypatch: pytest.MonkeyPatch, **arguments: Any) -> list[dict[str, str]]:
    """What a module finds; it never fails, changes nothing, and names what it found and how to mend it."""
    monkeypatch.setattr(ModuleStub, "given", arguments, raising=False)
    with pytest.raises(Ended):
        module.main()
    assert ModuleStub.said["changed"] is False
    found: list[dict[str, str]] = ModuleStub.said["problems"]
    assert all(set(problem) == {"check", "found", "mend"} and all(problem.values()) for problem in found)
    return found


def stub_tool(folder: Path, name: str, script: str) -> None:
    """A program of that name, in a folder that a test makes its whole `PATH`."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
