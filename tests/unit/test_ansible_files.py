"""The roles are whole: every default is described, every package of theirs is in a bundle, the parts that decide decide rightly."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from appliance.bundle import packages
from appliance.config.schema import TrunkAddress

REPOSITORY = Path(__file__).parents[2]
ANSIBLE = REPOSITORY / "ansible"
ROLES = sorted(path for path in (ANSIBLE / "roles").iterdir() if path.is_dir())


def load(path: Path):
    return yaml.safe_load(path.read_text()) or {}


def module(path: Path):
    """A file of Ansible's as a module; Ansible itself is not installed here."""
    spec = importlib.util.spec_from_file_location(f"ansible_file_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def preflight(monkeypatch: pytest.MonkeyPatch):
    for name in ("ansible", "ansible.module_utils"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    basic = types.ModuleType("ansible.module_utils.basic")
    basic.AnsibleModule = object
    monkeypatch.setitem(sys.modules, "ansible.module_utils.basic", basic)
    return module(ANSIBLE / "library" / "preflight_node.py")


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_is_described_and_every_role_explained(role: Path) -> None:
    defaults = load(role / "defaults" / "main.yml") if (role / "defaults" / "main.yml").exists() else {}
    options = load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    assert set(defaults) <= set(options)
    assert {name for name, option in options.items() if not option.get("required")} == set(defaults)
    assert all(option.get("description") and option.get("type") for option in options.values())
    assert (role / "README.md").read_text().startswith(f"# {role.name}\n")


def test_every_file_is_yaml() -> None:
    files = list(ANSIBLE.rglob("*.yml"))
    assert len(files) > 50
    for file in files:
        load(file)


def test_the_example_inventory_has_only_names_that_roles_know() -> None:
    known = {name for role in ROLES for name in load(role / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]}
    given = {name for file in (ANSIBLE / "inventory/example/group_vars/all").glob("*.yml") for name in load(file)}
    assert given - known == set()


def test_a_bundle_has_every_package_the_roles_install() -> None:
    text = "\n".join(
        file.read_text() for file in ANSIBLE.glob("roles/*/[tv]a*/*.yml") if file.parts[-3] != "uninstall" and file.name != "build.yml"
    )
    listed = re.findall(r"^\s+name: \[(.*?)\]$", text, re.MULTILINE) + re.findall(r"_packages: \[(.*?)\]$", text, re.MULTILINE)
    installed = {name.strip() for names in listed for name in names.split(",")}
    installed |= set(re.findall(r"^\s+package: ([a-z][\w.+-]+)$", text, re.MULTILINE))
    installed |= set(load(ANSIBLE / "roles/base/vars/main.yml")["base_packages"])
    assert len(installed) > 10
    assert installed - set(packages.ALL) == set()


def test_what_the_roles_install_is_removed_again() -> None:
    text = "\n".join(file.read_text() for file in ANSIBLE.glob("roles/*/[tv]a*/*.yml"))
    listed = re.findall(r"^\s+name: \[(.*?)\]$", text, re.MULTILINE) + re.findall(r"asterisk_packages: \[(.*?)\]$", text, re.MULTILINE)
    installed = {name.strip() for names in listed for name in names.split(",")}
    installed |= set(re.findall(r"^\s+package: ([a-z][\w.+-]+)$", text, re.MULTILINE))
    installed |= set(load(ANSIBLE / "roles/base/vars/main.yml")["base_packages"])
    # Without these two nothing could be removed.
    removed = {*load(ANSIBLE / "roles/uninstall/vars/main.yml")["uninstall_packages"].split(), "python3", "ca-certificates"}
    assert len(installed) > 15
    assert installed - removed == set()


def test_handlers_run_although_a_later_role_fails() -> None:
    plays = load(ANSIBLE / "site.yml")
    changing = [play for play in plays if any(role["tags"] == [role["role"]] for role in play["roles"])]
    assert len(changing) == 2
    assert all(play["force_handlers"] is True for play in changing)


def texts_of(role: Path) -> str:
    return "\n".join(file.read_text() for file in sorted(role.rglob("*")) if file.suffix in (".yml", ".j2"))


def tasks_of(role: Path) -> Iterator[dict]:
    waiting = [task for file in sorted((role / "tasks").glob("*.yml")) for task in load(file)]
    while waiting:
        task = waiting.pop()
        waiting += [inner for part in ("block", "rescue", "always") for inner in task.get(part, [])]
        yield task


def found_out_by(role: Path) -> set[str]:
    """Variables that tasks of a role make."""
    made: set[str] = set()
    for task in tasks_of(role):
        made |= {task["register"]} if "register" in task else set()
        made |= set(task.get("ansible.builtin.set_fact", {}))
    return made


@pytest.mark.parametrize("role", [role for role in ROLES if role.name not in ("preflight", "uninstall")], ids=lambda role: role.name)
def test_a_role_runs_under_its_tag_alone(role: Path) -> None:
    """What it needs of another role's tasks, that role does always, or this one has it done."""
    text = texts_of(role)
    always = {entry["role"] for play in load(ANSIBLE / "site.yml") for entry in play["roles"] if "always" in entry["tags"]}
    done = {role.name, *always, *re.findall(r"_role:\n\s+name: (\w+)", text)}
    needed = {other.name for other in ROLES if any(re.search(rf"\b{name}\b", text) for name in found_out_by(other))}
    assert needed - done == set()


def test_the_facts_of_a_role_are_seen() -> None:
    assert {"models_archives", "models_packed"} <= found_out_by(ANSIBLE / "roles/models")
    assert {"bundle_release", "bundle_wheels"} <= found_out_by(ANSIBLE / "roles/bundle")


def test_needrestart_leaves_every_unit_that_carries_calls_alone() -> None:
    text = (ANSIBLE / "roles/base/templates/needrestart.conf.j2").read_text()
    pattern = re.search(r"override_rc}{qr\((.*)\)} = 0;", text)
    assert pattern is not None
    units = [path.name.replace("@", "@1") for path in (REPOSITORY / "systemd").glob("*.service")]
    assert len(units) > 2
    for unit in [*units, "asterisk.service", "redis-server.service"]:
        assert re.search(pattern[1], unit), unit
    assert not re.search(pattern[1], "ssh.service")


def test_the_module_of_our_own_is_compiled_started_and_removed_under_one_name() -> None:
    variables = load(ANSIBLE / "roles/asterisk/vars/main.yml")
    source = REPOSITORY / variables["asterisk_module_source"].removeprefix("{{ playbook_dir }}/../")
    assert source.is_file()
    installed = [f"/usr/lib/{folder}asterisk/modules/{source.stem}.so" for folder in ("*/", "")]
    assert load(ANSIBLE / "roles/appliance/vars/main.yml")["appliance_asterisk_module"].split() == installed
    rooted = [f'"$root"{path}' for path in installed]
    assert f"rm -f {' '.join(rooted)}\n" in (ANSIBLE / "roles/uninstall/files/forget.sh").read_text()
    assert f"module load {source.stem}.so" in (ANSIBLE / "roles/asterisk/handlers/main.yml").read_text()


def test_a_changed_module_or_version_starts_asterisk_anew_and_nothing_else_does(tmp_path: Path) -> None:
    command = load(ANSIBLE / "roles/appliance/vars/main.yml")["appliance_asterisk_digest_command"]
    compiled, query = tmp_path / "func_unnumbered.so", tmp_path / "dpkg-query"
    digests = []
    for content, version in (("one", "1"), ("one", "1"), ("two", "1"), ("one", "2")):
        compiled.write_text(content)
        query.write_text(f"#!/bin/sh\necho {version} $*\n")
        query.chmod(0o755)
        filled = command.replace("{{ appliance_asterisk_module }}", str(compiled))
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        digests.append(subprocess.run(["sh", "-c", filled], capture_output=True, check=True, env=environment).stdout)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_headers_are_among_the_packages_built_but_not_installed() -> None:
    assert "asterisk-dev_*.deb" in (ANSIBLE / "roles/asterisk/files/build.sh").read_text()
    assert "reject('search', '/asterisk-dev_')" in (ANSIBLE / "roles/asterisk/tasks/build.yml").read_text()


def test_no_address_of_a_mirror_but_debians_own_is_written_down() -> None:
    for path in [*ANSIBLE.rglob("*.yml"), *ANSIBLE.rglob("*.j2"), *ANSIBLE.rglob("*.sh")]:
        for host in re.findall(r"https?://([^/\s'\"{]+)", path.read_text()):
            assert host.startswith(("deb.debian.org", "127.0.0.1")), f"{path}: {host}"


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ('ID=debian\nVERSION_CODENAME=forky\nPRETTY_NAME="Debian GNU/Linux forky/sid"\n', True),
        ('ID=debian\nVERSION_ID="13"\nVERSION_CODENAME=trixie\n', True),
        ('ID=ubuntu\nVERSION_ID="22.04"\n', False),
        ("", False),
    ],
)
def test_the_operating_system_is_recognised(preflight, text: str, fine: bool) -> None:
    assert (preflight.system_problems(text, ["debian 13", "debian forky"]) == []) is fine


def test_only_sockets_that_listen_hold_a_port(preflight) -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 00000000:13C4 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1\n"
        "   1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  0 0 4712 1\n"
    )
    assert preflight.listening("tcp", table) == {5060: "4711"}


def test_a_trunk_must_be_an_address_and_answer(preflight, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "answers_options", lambda address, port, wait: address == "192.0.2.1")
    trunks = [{"name": name, "address": address} for name, address in (("a", "192.0.2.1"), ("b", "192.0.2.2"), ("c", "192.0.2.300"))]
    found = preflight.trunk_problems([*trunks, {"name": "net", "address": "192.0.2.0/28"}], 5060, True, 1.0)
    assert [problem["found"].split(":")[0] for problem in found] == ["b", "c"]
    assert preflight.trunk_problems(trunks[:2], 5060, False, 1.0) == []


def test_toml_is_what_it_was_written_from() -> None:
    tables = {
        "node": {"name": 'a "b" \\ c', "on": True, "count": 3, "share": 0.5, "text": "कॉल\x7f"},
        "telephony": {"trunks": [{"name": "t", "address": "192.0.2.1"}], "none": []},
    }
    assert tomllib.loads(module(ANSIBLE / "filter_plugins" / "toml.py").to_toml(tables)) == tables


PROVIDER = {"name": "provider", "address": "192.0.2.0/28", "server": "sip.example.net:5070", "username": "u", "transport": "tcp"}


def test_a_trunk_that_registers_names_its_password_and_writes_none() -> None:
    accounts = module(ANSIBLE / "filter_plugins" / "accounts.py")
    assert accounts.trunk_entry(PROVIDER) == {**PROVIDER, "password": "file:provider-password"}
    assert accounts.trunk_entry({"name": "plain", "address": "192.0.2.1"}) == {"name": "plain", "address": "192.0.2.1"}
    assert accounts.agent_account({"name": "desk1", "srtp": "required"}) == {
        "name": "desk1",
        "srtp": "required",
        "password": "file:desk1-password",
    }
    assert accounts.password_files({"provider": "x", "desk1": "y"}) == {"provider-password": "x", "desk1-password": "y"}
    assert accounts.registrar_names([PROVIDER, {"name": "plain"}, {**PROVIDER, "outbound_proxy": "edge"}]) == ["sip.example.net", "edge"]


def test_the_role_knows_every_key_of_a_trunk_but_the_password() -> None:
    options = load(ANSIBLE / "roles/site/meta/argument_specs.yml")["argument_specs"]["main"]["options"]["site_trunks"]["options"]
    assert set(options) == set(TrunkAddress.__struct_fields__) - {"password"}


@pytest.mark.parametrize(
    ("trunk", "passwords", "words"),
    [
        (PROVIDER, {"provider": "x"}, None),
        ({"name": "plain", "address": "192.0.2.1"}, {}, None),
        (PROVIDER, {}, "trunk provider has no password"),
        ({**PROVIDER, "username": ""}, {"provider": "x"}, "registers without a username"),
        (PROVIDER, {"provider": "x", "provder": "x"}, "provder is no trunk that registers"),
        ({**PROVIDER, "name": "desk1"}, {"desk1": "x"}, "desk1 is an agent and a trunk"),
    ],
)
def test_a_trunk_that_could_not_register_is_found_before_anything_is_changed(
    monkeypatch: pytest.MonkeyPatch, trunk: dict, passwords: dict, words: str | None
) -> None:
    for name in ("ansible", "ansible.module_utils", "ansible.module_utils.common", "ansible.plugins"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    for name, attribute in (("ansible.module_utils.common.arg_spec", "ArgumentSpecValidator"), ("ansible.plugins.action", "ActionBase")):
        fake = types.ModuleType(name)
        setattr(fake, attribute, object)
        monkeypatch.setitem(sys.modules, name, fake)
    plugin = module(ANSIBLE / "action_plugins" / "preflight_variables.py")
    found = [problem["found"] for problem in plugin.trunk_problems([trunk], passwords, [{"name": "desk1"}])]
    assert (found == []) if words is None else (len(found) == 1 and words in found[0])


def test_the_same_files_make_the_same_release(tmp_path: Path) -> None:
    script = [sys.executable, str(REPOSITORY / "scripts" / "release_archive.py")]
    one, two = (json.loads(subprocess.run([*script, str(tmp_path / name)], capture_output=True, check=True).stdout) for name in "ab")
    assert (one["name"], one["sha256"], one["models_sha256"]) == (two["name"], two["sha256"], two["models_sha256"])
    assert one["name"].endswith(one["sha256"][:8])


def signed(folder: Path, key: Path) -> Path:
    """A small bundle: one release archive, signed as `appliance bundle create` signs."""
    from appliance.bundle import making

    making._make_key(key)
    for name in ("debs", "wheels", "release"):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{name}.bin").write_text(name)
    making._write_manifest(folder, {"format": 1, "release": {"name": "r", "archive": "release.bin", "models_archive": "release.bin"}}, key)
    making._write_tar(folder, folder.parent / "site.bundle")
    return folder.parent / "site.bundle"


def test_a_bundle_that_was_changed_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    bundle = signed(tmp_path / "content", key)
    opened = [sys.executable, str(REPOSITORY / "scripts" / "open_bundle.py"), str(bundle), f"{key}.pub"]
    done = subprocess.run([*opened, str(tmp_path / "good")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["release"]["archive"] == str(tmp_path / "good" / "release" / "release.bin")
    raw = bundle.read_bytes()
    place = raw.rindex(b"wheels", 0, raw.rindex(b"wheels.bin") + 2000)
    bundle.write_bytes(raw[:place] + b"wheelS" + raw[place + 6 :])
    refused = subprocess.run([*opened, str(tmp_path / "bad")], capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "cannot be used" in refused.stderr
    assert not (tmp_path / "bad").exists()
    other = tmp_path / "other"
    from appliance.bundle import making

    making._make_key(other)
    bundle.write_bytes(raw)
    stranger = [sys.executable, str(REPOSITORY / "scripts" / "open_bundle.py"), str(bundle), f"{other}.pub", str(tmp_path / "stranger")]
    assert "not of this key" in subprocess.run(stranger, capture_output=True, text=True, check=False).stderr
