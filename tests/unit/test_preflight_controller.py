"""What preflight finds on the controller: variables that would go wrong late, and files that roles could not bring."""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_plugins import ANSIBLE, plugin

ENGINES = {
    "stt": {"engine": "faster-whisper", "model": "production/stt"},
    "mt": {"model": "production/mt"},
    "tts": {"engine": "vits-onnx", "model": "production/tts"},
}


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> Any:
    return plugin("action_plugins/preflight_variables.py", monkeypatch)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> Any:
    return plugin("action_plugins/preflight_files.py", monkeypatch)


def found(problems: list[dict[str, str]]) -> list[str]:
    return [problem["found"] for problem in problems]


# Variables


def test_secrets_of_the_example_inventory_are_found_wherever_they_are(variables: Any) -> None:
    example = yaml.safe_load((ANSIBLE / "inventory/example/group_vars/all/vault.yml").read_text())
    assert found(variables.example_problems(example)) == [
        f"site_agent_passwords.{name} is still that of the example inventory" for name in example["site_agent_passwords"]
    ]
    given = {"appliance_secrets": {"key": "a-secret"}, "site_trunks": [{"name": "a", "username": "change-me"}], "site_workers": 2}
    problems = variables.example_problems(given)
    assert found(problems) == ["site_trunks[0].username is still that of the example inventory"]
    assert "change-me" not in str(problems)


def test_names_that_the_appliance_uses_itself_and_names_given_twice(variables: Any) -> None:
    own = variables.own_names(ANSIBLE / "roles")
    assert own == {"ari", "acceptance", "acceptance-trunk"}
    agents = [{"name": "desk1"}, {"name": "ari"}, {"name": "desk1"}, "no account"]
    assert found(variables.name_problems(agents, [{"name": "acceptance"}, {"name": "provider"}], own)) == [
        "agent ari has a name that the appliance uses itself",
        "agent desk1 is there twice",
        "trunk acceptance has a name that the appliance uses itself",
    ]


def test_the_accounts_the_appliance_adds_are_the_names_nobody_else_may_have(variables: Any) -> None:
    telephony = yaml.safe_load((ANSIBLE / "roles/appliance/vars/main.yml").read_text())["appliance_document"]["telephony"]
    added = re.findall(r"\{'name': '([^']+)'", telephony["trunks"] + telephony["agents"])
    assert len(added) == 2
    assert set(added) <= variables.own_names(ANSIBLE / "roles")


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        (ENGINES, None),
        ({}, "stt.model, mt.model, tts.engine"),
        ({**ENGINES, "mt": {"model": "starter/mt", "device": "cuda"}}, "mt.model"),
        ({**ENGINES, "tts": {"rate_wpm": 150}}, "tts.engine"),
        ({**ENGINES, "stt": "faster-whisper"}, "stt.model"),
    ],
)
def test_the_production_profile_needs_engines(variables: Any, settings: dict[str, Any], missing: str | None) -> None:
    problems = variables.engine_problems(settings)
    assert problems == [] if missing is None else found(problems)[0].endswith(f"the starter's for {missing}")


def test_the_engines_of_the_guide_are_enough(variables: Any) -> None:
    guide = (ANSIBLE.parent / "docs" / "install.md").read_text().split("## The production profile", 1)[1]
    block = re.search(r"```yaml\n(.*?)```", guide, re.DOTALL)
    assert block is not None
    assert variables.engine_problems(yaml.safe_load(block[1])["appliance_settings"]) == []


def test_text_alone_is_no_list(variables: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Content:
        error_messages = ()

    monkeypatch.setattr(variables, "ArgumentSpecValidator", lambda _spec: SimpleNamespace(validate=lambda _values: Content))
    spec = {"base_management_networks": {"type": "list", "elements": "str"}, "site_user": {"type": "str"}}
    assert variables.argument_problems("base", spec, {"base_management_networks": ["192.0.2.0/24"], "site_user": "a"}) == []
    problems = variables.argument_problems("base", spec, {"base_management_networks": "192.0.2.0/24", "site_user": "a"})
    assert found(problems) == ["base_management_networks is no list"]


def test_preflight_is_given_the_defaults_of_every_role_it_looks_at() -> None:
    play = yaml.safe_load((ANSIBLE / "site.yml").read_text())[0]
    listed = {role["role"]: role["tags"] for role in play["roles"]}
    role = ANSIBLE / "roles" / "preflight"
    text = "".join((role / name).read_text() for name in ("tasks/preflight.yml", "vars/main.yml"))
    text += "".join((ANSIBLE / "action_plugins" / f"preflight_{name}.py").read_text() for name in ("files", "variables"))
    prefixes = "|".join(path.name for path in (ANSIBLE / "roles").iterdir() if path.is_dir())
    used = set(re.findall(rf"\b({prefixes})_[a-z_]+\b", text)) - {"preflight", "redis"}
    assert {"base", "monitoring", "appliance", "models", "site"} <= used <= set(listed)
    assert {name for name, tags in listed.items() if tags != ["never"]} == {"preflight", "site"}


# Files


def openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates `a.crt` and `b.crt` with their keys, and the key of `a` with a pass phrase."""
    folder = tmp_path_factory.mktemp("pairs")
    for name in "ab":
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(folder / f"{name}.key")]
        openssl("req", "-x509", *key, "-subj", f"/CN={name}", "-days", "2", "-out", str(folder / f"{name}.crt"))
    openssl("pkey", "-in", str(folder / "a.key"), "-aes256", "-passout", "pass:word", "-out", str(folder / "locked.key"))
    (folder / "text.crt").write_text("no certificate\n")
    (folder / "name.pem").write_bytes((folder / "a.crt").read_bytes())
    return folder


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("a.crt", "a.key", None),
        ("a.crt", "b.key", "appliance_tls_certificate and appliance_tls_key do not belong together"),
        ("a.crt", "locked.key", "appliance_tls_key: the key has a pass phrase"),
        ("a.crt", "text.crt", "appliance_tls_key: the file has no private key in PEM"),
        ("a.key", "a.key", "appliance_tls_certificate: the file has no certificate in PEM"),
    ],
)
def test_a_certificate_and_its_key_belong_together(files: Any, pairs: Path, certificate: str, key: str, said: str | None) -> None:
    assert found(files.pair_problems(pairs / certificate, pairs / key)) == ([said] if said else [])


def test_a_certificate_of_the_site_is_one_that_nodes_take(files: Any, pairs: Path) -> None:
    assert files.authority_problems(pairs / "a.crt") == []
    assert "has no certificate in PEM" in found(files.authority_problems(pairs / "text.crt"))[0]
    assert "does not end in .crt" in found(files.authority_problems(pairs / "name.pem"))[0]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of Debian 14 on amd64, as far as it is read before it is verified."""
    manifest = json.dumps({"format": 1, "debian": "14", "machine": "x86_64", "files": {"release/r.tar.gz": "1"}}).encode()
    with tarfile.open(tmp_path / "site.bundle", "w") as archive:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(manifest)
        archive.addfile(entry, io.BytesIO(manifest))
    return tmp_path / "site.bundle"


def test_a_bundle_is_for_these_nodes(files: Any, bundle: Path) -> None:
    suites = {"14": "forky"}
    assert files.bundle_problems(bundle, False, "x86_64", "forky", suites) == []
    assert files.bundle_problems(bundle, False, None, None, suites) == []
    assert found(files.bundle_problems(bundle, True, "aarch64", "forky", suites)) == [
        "the bundle is for forky on x86_64, this is forky on aarch64",
        "the bundle has no production models",
    ]
    bundle.write_text("something else")
    assert found(files.bundle_problems(bundle, True, "x86_64", "forky", suites)) == [f"bundle: {bundle} is no bundle"]


class Loader:
    """Ansible's loader: finds a file in the folders of a role, and decrypts nothing."""

    def __init__(self, error: type[Exception]) -> None:
        self.error = error

    def path_dwim_relative_stack(self, folders: list[str], inside: str, given: str) -> str:
        for path in [Path(folder, part, given) for folder in folders for part in (inside, "")]:
            if path.exists():
                return str(path)
        raise self.error(given)

    def get_real_file(self, path: str) -> str:
        if "vault" in path:
            raise self.error("A vault password or secret must be specified to decrypt it\nand more")
        return path

    def cleanup_tmp_file(self, path: str) -> None: ...


def look(files: Any, roles: Path, **given: Any) -> list[str]:
    action = files.ActionModule()
    action._task = SimpleNamespace(args={"roles": str(roles)})
    action._templar = SimpleNamespace(template=lambda value: value)
    action._loader = Loader(files.AnsibleError)
    result = action.run(None, given)
    assert result["changed"] is False
    return found(result["problems"])


def test_every_file_that_is_missing_is_named_with_its_variable(files: Any, tmp_path: Path) -> None:
    given = {
        "site_tls_port": "5061", "appliance_tls_certificate": "/none/chain.pem", "appliance_tls_key": "",
        "base_ca_certificates": ["/none/ca.crt"], "site_bundle": "/none/site.bundle", "site_profile": "production",
        "models_bundle": "/none/models.tar.gz", "monitoring_grafana": "package", "monitoring_grafana_package": "/none/grafana.deb",
    }  # fmt: skip
    assert look(files, tmp_path, **given) == [
        "appliance_tls_certificate: there is no file /none/chain.pem on the controller",
        "appliance_tls_key is not set",
        "base_ca_certificates: there is no file /none/ca.crt on the controller",
        "bundle_key: there is no file /none/site.bundle.pub on the controller",
        "bundle: there is no file /none/site.bundle on the controller",
        "models_bundle: there is no file /none/models.tar.gz on the controller",
        "monitoring_grafana_package: there is no file /none/grafana.deb on the controller",
    ]
    repository = {"monitoring_grafana": "repository", "monitoring_grafana_repository": "", "monitoring_grafana_key": ""}
    assert look(files, tmp_path, **repository) == ["monitoring_grafana_repository is not set", "monitoring_grafana_key is not set"]


def test_what_is_not_used_is_not_looked_for(files: Any, tmp_path: Path) -> None:
    assert look(files, tmp_path) == []
    given = {"appliance_tls_certificate": "/none", "models_bundle": "/none", "monitoring_grafana_package": "/none", "bundle_key": "/none"}
    assert look(files, tmp_path, site_tls_port=0, site_profile="starter", monitoring_grafana="none", **given) == []
    assert look(files, tmp_path, monitoring_grafana="package", monitoring_enabled=False) == []


def test_a_key_that_the_vault_has_encrypted_needs_its_password(files: Any, pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "appliance" / "files").mkdir(parents=True)
    (tmp_path / "appliance" / "files" / "vault.key").write_text("$ANSIBLE_VAULT;1.1;AES256\n")
    given = {"site_tls_port": 5061, "appliance_tls_certificate": str(pairs / "a.crt")}
    said = look(files, tmp_path, **given, appliance_tls_key="vault.key")
    assert len(said) == 1
    assert said[0].startswith("appliance_tls_key: ")
    assert said[0].endswith("cannot be read: A vault password or secret must be specified to decrypt it")
    assert look(files, tmp_path, **given, appliance_tls_key=str(pairs / "a.key")) == []
