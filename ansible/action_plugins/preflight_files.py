"""Every problem with the files on the controller at once: those that roles bring to the nodes, each when its turn comes, and late."""

from __future__ import annotations

import json
import os
import ssl
import tarfile
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

Problem = dict[str, str]


class ActionModule(ActionBase):
    """`preflight_files: {roles: FOLDER}` returns `problems`, a list of {check, found, mend}."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("roles",))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        self._roles = Path(self._task.args["roles"])
        self._variables = task_vars or {}
        problems = [*self._tls(), *self._authorities(), *self._bundle(), *self._models(), *self._grafana()]
        result.update(changed=False, problems=problems)
        return result

    def _tls(self) -> list[Problem]:
        port = str(self._given("site_tls_port", 0))
        if not port.isdigit() or int(port) == 0:
            return []
        problems, readable = [], {}
        for variable in ("appliance_tls_certificate", "appliance_tls_key"):
            given = self._given(variable, "")
            path = self._find("appliance", given)
            if path is None:
                problems.append(missing(variable, given, "SIP over TLS needs it: write its path there, or site_tls_port: 0"))
                continue
            try:
                readable[variable] = Path(self._loader.get_real_file(str(path)))  # decrypted, where the vault has encrypted it
            except AnsibleError as error:
                found = f"{variable}: {path} cannot be read: {first_line(error)}"
                problems.append(problem(found, "give the vault's password, --ask-vault-pass"))
        try:
            return problems + (pair_problems(*readable.values()) if len(readable) == 2 else [])
        finally:
            for path in readable.values():
                self._loader.cleanup_tmp_file(str(path))

    def _authorities(self) -> list[Problem]:
        problems = []
        for given in self._given("base_ca_certificates", []):
            path = self._find("base", str(given))
            if path is None:
                problems.append(missing("base_ca_certificates", str(given), "correct its path, or take it out"))
            else:
                problems += authority_problems(path)
        return problems

    def _bundle(self) -> list[Problem]:
        bundle = self._given("site_bundle", "")
        if not bundle:
            return []
        key = self._given("bundle_key", "") or f"{bundle}.pub"
        problems = []
        if not here(key).is_file():
            mend = "bundle_key is the file with the public key, KEY.pub beside the key the bundle was made with"
            problems.append(missing("bundle_key", key, mend))
        if not here(bundle).is_file():
            return [*problems, missing("bundle", bundle, "make it with appliance bundle create, docs/offline.md")]
        production = self._given("site_profile", "") == "production" and not self._given("models_bundle", "")
        facts = self._given("ansible_facts", {})
        suites = self._given("bundle_suites", {})
        return problems + bundle_problems(here(bundle), production, facts.get("architecture"), facts.get("distribution_release"), suites)

    def _models(self) -> list[Problem]:
        given = self._given("models_bundle", "")
        if self._given("site_profile", "") != "production" or not given or self._find("models", given):
            return []
        return [missing("models_bundle", given, "correct its path; empty where the models lie on the node already")]

    def _grafana(self) -> list[Problem]:
        source = self._given("monitoring_grafana", "none")
        if source not in ("package", "repository") or not truth(self._given("monitoring_enabled", True)):
            return []
        problems = []
        if source == "repository" and not self._given("monitoring_grafana_repository", ""):
            mend = "write the repository's line there, or monitoring_grafana: none"
            problems.append(problem("monitoring_grafana_repository is not set", mend))
        variable = "monitoring_grafana_package" if source == "package" else "monitoring_grafana_key"
        given = self._given(variable, "")
        if self._find("monitoring", given) is None:
            problems.append(missing(variable, given, "write its path there, or monitoring_grafana: none"))
        return problems

    def _given(self, name: str, otherwise):
        """A variable's value; `otherwise` where it is missing or of another kind, which is a problem of the variables."""
        value = self._templar.template(self._variables[name]) if name in self._variables else otherwise
        return value if isinstance(value, type(otherwise)) or isinstance(otherwise, (bool, int)) else otherwise

    def _find(self, role: str, given: str) -> Path | None:
        """A file as a task of that role would find it."""
        try:
            found = self._loader.path_dwim_relative_stack([str(self._roles / role)], "files", given) if given else ""
        except AnsibleError:
            return None
        return Path(found) if found and Path(found).is_file() else None


def problem(found: str, mend: str) -> Problem:
    return {"check": "file", "found": found, "mend": mend}


def missing(variable: str, given: str, mend: str) -> Problem:
    return problem(f"{variable}: there is no file {given} on the controller" if given else f"{variable} is not set", mend)


def here(given: str) -> Path:
    """A path as a command on the controller takes it."""
    return Path(os.path.expandvars(given)).expanduser()


def truth(value) -> bool:
    return str(value).lower() in ("true", "yes", "on", "1", "y", "t")


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def is_certificate(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ssl.SSLError):
        return False
    return True


class Encrypted(Exception):
    """A key that asks for a pass phrase."""


def pair_problems(certificate: Path, key: Path) -> list[Problem]:
    """A certificate and a key that Asterisk could not show."""

    def refuse() -> str:
        raise Encrypted

    if not is_certificate(certificate):
        return [problem("appliance_tls_certificate: the file has no certificate in PEM", "name the certificate, its chain after it")]
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=refuse)
    except Encrypted:
        mend = "openssl pkey takes it off, then ansible-vault encrypt the file: Asterisk can ask nobody"
        return [problem("appliance_tls_key: the key has a pass phrase", mend)]
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            mend = "name the key that the certificate was asked for with"
            return [problem("appliance_tls_certificate and appliance_tls_key do not belong together", mend)]
        return [problem("appliance_tls_key: the file has no private key in PEM", "name the key of the certificate")]
    return []


def authority_problems(path: Path) -> list[Problem]:
    """A certificate of the site that the nodes would pass over."""
    if path.suffix != ".crt":
        return [problem(f"base_ca_certificates: the name of {path} does not end in .crt", "rename it: others are passed over")]
    if not is_certificate(path):
        return [problem(f"base_ca_certificates: {path} has no certificate in PEM", "openssl x509 -inform der -in FILE -out NAME.crt")]
    return []


def bundle_problems(bundle: Path, production: bool, machine: str | None, suite: str | None, suites: dict[str, str]) -> list[Problem]:
    """A file that is no bundle, or one for other nodes. Its signature is verified when it is opened.

    Args:
        production: whether it must have production models.
        machine: the node's processor, as `uname -m`.
        suite: code name of the node's Debian.
        suites: code names by number.
    """
    try:
        with tarfile.open(bundle) as archive:
            first = archive.next()  # the manifest comes first, so nothing else is read
            content = archive.extractfile(first) if first is not None else None
            manifest = json.loads(content.read()) if content is not None else {}
        files, made_for = manifest["files"], (manifest["machine"], suites.get(manifest["debian"], f"Debian {manifest['debian']}"))
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError):
        return [problem(f"bundle: {bundle} is no bundle", "make it with appliance bundle create, docs/offline.md")]
    problems = []
    if machine and suite and made_for != (machine, suite):
        found = f"the bundle is for {made_for[1]} on {made_for[0]}, this is {suite} on {machine}"
        problems.append(problem(found, "make one for such machines, docs/offline.md"))
    if production and "production-models.tar.gz" not in files:
        mend = "make it with --models FILE, or set models_bundle"
        problems.append(problem("the bundle has no production models", mend))
    return problems
