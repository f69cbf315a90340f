"""Every problem of a host's variables at once: names nobody knows, values of the wrong type, values that are missing.

A role checks its own arguments only when its turn comes, and never sees a misspelt name. This reads the argument
specifications of all roles and looks at every variable the inventory gives the host.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

OWN_PREFIX = "local_"
"""Names a site may give to variables of its own."""
MAGIC = {
    "ansible_facts", "environment", "gather_subset", "group_names", "groups", "hostvars", "inventory_dir", "inventory_file",
    "inventory_hostname", "inventory_hostname_short", "module_setup", "omit", "play_hosts", "playbook_dir", "role_name", "role_names",
    "role_path", "role_uuid", "vars", "discovered_interpreter_python",
}  # fmt: skip
EXAMPLE_SECRET = "change-me"  # noqa: S105 - how the example inventory's begin
ACCEPTANCE_TRUNK = "acceptance-trunk"
"""Over it a node calls itself; see the role appliance."""
ENGINES = {"stt": "model", "mt": "model", "tts": "engine"}
"""The key of each table of `appliance.toml` that the production profile leaves to the site; the starter's stands in for a missing one."""
_SPEC_ONLY = ("description", "version_added", "short_description")


class ActionModule(ActionBase):
    """`preflight_variables: {roles: FOLDER}` returns `problems`, a list of {check, found, mend}."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("roles", "extra"))

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        given = task_vars or {}
        roles = Path(self._task.args["roles"])
        specs = read_specs(roles)
        known = internal_names(roles) | {name for spec in specs.values() for name in spec} | set(self._task.args.get("extra", []))
        problems = unknown_names(given, known)
        for role, spec in sorted(specs.items()):
            values = {name: self._templar.template(given[name]) for name in spec if name in given}
            problems += argument_problems(role, spec, values) + example_problems(values)
        agents, trunks = self._given(given, "site_agents", []), self._given(given, "site_trunks", [])
        problems += password_problems(agents, self._given(given, "site_agent_passwords", {}))
        problems += trunk_problems(trunks, self._given(given, "site_trunk_passwords", {}), agents)
        problems += name_problems(agents, trunks, own_names(roles))
        if self._given(given, "site_profile", "") == "production":
            problems += engine_problems(self._given(given, "appliance_settings", {}))
        result.update(changed=False, problems=problems)
        return result

    def _given(self, variables, name: str, otherwise):
        value = self._templar.template(variables[name]) if name in variables else otherwise
        return value if isinstance(value, type(otherwise)) else otherwise


def read_specs(roles: Path) -> dict[str, dict]:
    """Options of every role, by role."""
    found = {}
    for file in sorted(roles.glob("*/meta/argument_specs.yml")):
        entry = yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]["main"]
        found[file.parents[1].name] = entry.get("options", {})
    return found


def internal_names(roles: Path) -> set[str]:
    """What roles set for themselves in `vars/main.yml`."""
    return {name for file in roles.glob("*/vars/main.yml") for name in yaml.safe_load(file.read_text(encoding="utf-8"))}


def password_problems(agents: list, passwords: dict) -> list[dict[str, str]]:
    """An agent whose telephone could never register."""
    names = [agent["name"] for agent in agents if isinstance(agent, dict) and "name" in agent]
    mend = "write it into site_agent_passwords in the vault"
    return [{"check": "secret", "found": f"agent {name} has no password", "mend": mend} for name in names if not passwords.get(name)]


def trunk_problems(trunks: list, passwords: dict, agents: list) -> list[dict[str, str]]:
    """A trunk that could never register, and a name that two accounts want for their password."""
    problems = []
    given = [trunk for trunk in trunks if isinstance(trunk, dict) and "name" in trunk]
    for trunk in [trunk for trunk in given if trunk.get("server")]:
        if not trunk.get("username"):
            found, mend = f"trunk {trunk['name']} registers without a username", "write it beside its server in site_trunks"
            problems.append({"check": "variable", "found": found, "mend": mend})
        if not passwords.get(trunk["name"]):
            found, mend = f"trunk {trunk['name']} has no password", "write it into site_trunk_passwords in the vault"
            problems.append({"check": "secret", "found": found, "mend": mend})
    registering = {trunk["name"] for trunk in given if trunk.get("server")}
    for name in sorted(set(passwords) - registering):
        mend = "site_trunk_passwords has the names of trunks with a server; did you misspell one?"
        problems.append({"check": "secret", "found": f"{name} is no trunk that registers", "mend": mend})
    named = {agent["name"] for agent in agents if isinstance(agent, dict) and "name" in agent}
    both, mend = sorted(named & {trunk["name"] for trunk in given}), "give one another name"
    return problems + [{"check": "variable", "found": f"{name} is an agent and a trunk", "mend": mend} for name in both]


def own_names(roles: Path) -> set[str]:
    """Names of accounts whose password a node makes by itself: somebody else's would be overwritten by it, or overwrite it."""
    generated = yaml.safe_load((roles / "appliance" / "vars" / "main.yml").read_text(encoding="utf-8"))["appliance_generated"]
    return {name.removesuffix("-password") for name in generated if name.endswith("-password")} | {ACCEPTANCE_TRUNK}


def name_problems(agents: list, trunks: list, own: set[str]) -> list[dict[str, str]]:
    """Names that the appliance needs for itself, and names given twice."""
    problems = []
    for kind, accounts in (("agent", agents), ("trunk", trunks)):
        names = [str(account["name"]) for account in accounts if isinstance(account, dict) and "name" in account]
        mend = f"give the {kind} another name in site_{kind}s"
        lines = [f"{kind} {name} has a name that the appliance uses itself" for name in sorted(set(names) & own)]
        lines += [f"{kind} {name} is there twice" for name in sorted({name for name in names if names.count(name) > 1})]
        problems += [{"check": "variable", "found": line, "mend": mend} for line in lines]
    return problems


def example_problems(values: dict) -> list[dict[str, str]]:
    """Secrets that anybody can read in the example inventory."""
    mend = "write one of your own into the vault"
    places = [place for name, value in values.items() for place in example_places(name, value)]
    return [{"check": "secret", "found": f"{place} is still that of the example inventory", "mend": mend} for place in places]


def example_places(place: str, value) -> Iterator[str]:
    if isinstance(value, str) and value.startswith(EXAMPLE_SECRET):
        yield place
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from example_places(f"{place}.{key}", inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from example_places(f"{place}[{number}]", inner)


def engine_problems(settings: dict) -> list[dict[str, str]]:
    """Engines of the production profile that nobody has chosen: the profile chooses none, and the starter models would go on."""
    missing = []
    for table, key in ENGINES.items():
        given = settings.get(table)
        chosen = str(given.get(key, "") or "") if isinstance(given, dict) else ""
        if not chosen or chosen.startswith("starter/"):
            missing.append(f"{table}.{key}")
    found = f"site_profile is production, and appliance_settings has none but the starter's for {', '.join(missing)}"
    mend = "choose the engines there (docs/install.md, The production profile), or take site_profile: starter"
    return [{"check": "engine", "found": found, "mend": mend}] if missing else []


def unknown_names(given, known: set[str]) -> list[dict[str, str]]:
    """Problems for the names that are neither Ansible's nor a role's nor begin with `local_`."""
    problems = []
    for name in sorted(set(given) - known - MAGIC):
        if name.startswith(("ansible_", OWN_PREFIX, "_", "private_")):
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        mend = f"did you mean {near[0]}?" if near else f"remove it, or begin its name with {OWN_PREFIX} when it is your own"
        problems.append({"check": "variable", "found": f"{name} is no variable of any role", "mend": mend})
    return problems


def argument_problems(role: str, spec: dict, values: dict) -> list[dict[str, str]]:
    """Problems of the values of one role's variables, as its argument specification has them."""
    validated = ArgumentSpecValidator({name: _bare(option) for name, option in spec.items()}).validate(values)
    mend = f"see ansible/roles/{role}/README.md"
    found = [{"check": "variable", "found": message, "mend": mend} for message in validated.error_messages]
    # The validator takes a number or text with commas for a list; templates would take the letters.
    alone = [name for name, option in spec.items() if option.get("type") == "list" and isinstance(values.get(name), (str, int, float))]
    return found + [{"check": "variable", "found": f"{name} is no list", "mend": "begin each entry with a dash"} for name in alone]


def _bare(option: dict) -> dict:
    kept = {key: value for key, value in option.items() if key not in _SPEC_ONLY}
    kept.pop("default", None)  # documentation; the value comes from the role's defaults
    if "options" in kept:
        kept["options"] = {name: _bare(inner) for name, inner in kept["options"].items()}
    return kept
