"""Looks at what a machine has already: programs of somebody else, releases, production models, time zones."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: preflight_installed
short_description: Every problem with what is installed on a machine at once, changing nothing
description: Returns C(problems), a list of mappings with C(check), C(found) and C(mend). Always succeeds.
options:
  mark:
    description: A file that the first installation leaves; without it nothing on the machine is ours.
    type: str
    required: true
  taken_over:
    description: Packages that the installation takes for its own, each with another way to mend it, or nothing where there is none.
    type: dict
    default: {}
  prefix:
    description: Where releases are installed.
    type: str
    required: true
  release:
    description: The release to go back to, C(previous) for the one before; empty for a new one.
    type: str
    default: ""
  models:
    description: Folder in which production models must lie already; empty when none are needed, or they are brought.
    type: str
    default: ""
  time_zone:
    description: Time zone that the machine must know.
    type: str
    default: ""
  time_zone_known:
    description: Whether the controller knows it. Decides where the machine has no time zones, for they come with the installation.
    type: bool
    default: true
  time_services:
    description: Packages of time services beside which C(base_ntp_servers) would be without effect; empty where it names none.
    type: list
    elements: str
    default: []
"""
EXAMPLES = "- preflight_installed:\n    mark: /etc/appliance/before/packages\n    prefix: /opt/appliance\n"
RETURN = "problems:\n  description: What was found, empty when all is well.\n  type: list\n  returned: always\n"

Problem = dict[str, str]
ZONES = Path("/usr/share/zoneinfo")


def problem(check: str, found: str, mend: str) -> Problem:
    return {"check": check, "found": found, "mend": mend}


def package_problems(taken_over: dict[str, str], mark: Path) -> list[Problem]:
    """Packages that were there before us: they would get our settings now, and be gone with theirs after uninstall.yml."""
    if mark.exists() or not taken_over:
        return []
    found = []
    for name in sorted(installed(list(taken_over))):
        mend = f"take a fresh server, or keep what you need of it and run apt-get purge {name} there"
        mend += f", or {taken_over[name]}" if taken_over[name] else ""
        found.append(problem("package", f"{name} is installed and not by us: it would be taken over", mend))
    return found


def installed(packages: list[str]) -> set[str]:
    """Those of the packages that are there; removed ones of which settings are left are not."""
    command = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *packages]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return set()  # no Debian; the system is a problem of its own
    states = [line.split() for line in done.stdout.splitlines()]
    return {state[0] for state in states if len(state) == 2 and state[1] not in ("not-installed", "config-files")}


def release_problems(wanted: str, prefix: Path) -> list[Problem]:
    """A release to go back to that is not there, or was never complete."""
    if not wanted:
        return []
    there = sorted(mark.parent.name for mark in prefix.glob("releases/*/.complete"))
    previous = prefix / "previous"
    name = previous.readlink().name if wanted == "previous" and previous.is_symlink() else wanted
    if name in there:
        return []
    found = "there is no release before the present one" if wanted == "previous" else f"there is no release {wanted}"
    mend = f"take one that is there, -e release=NAME: {', '.join(there)}" if there else "leave release away: no release is installed here"
    return [problem("release", f"{found} in {prefix}/releases", mend)]


def model_problems(folder: str) -> list[Problem]:
    if not folder or Path(folder, "catalog.toml").is_file():
        return []
    mend = "set models_bundle to a tar.gz with the folder production, or put that folder there"
    return [problem("models", f"the production models are missing: there is no {folder}/catalog.toml", mend)]


def zone_problems(zone: str, known_elsewhere: bool) -> list[Problem]:
    has_zones = (ZONES / "Etc").is_dir()
    if not zone or ((ZONES / zone).is_file() if has_zones else known_elsewhere):
        return []
    return [problem("time", f"base_time_zone: there is no time zone {zone!r}", "write it as in /usr/share/zoneinfo, such as Asia/Kolkata")]


def service_problems(services: list[str]) -> list[Problem]:
    """A time service that the site's time servers would not reach."""
    names = ", ".join(sorted(installed(services))) if services else ""
    mend = "name the servers in its own configuration and leave base_ntp_servers empty, or remove it"
    found = f"base_ntp_servers is for systemd-timesyncd, and {names} keeps the time of this machine"
    return [problem("time", found, mend)] if names else []


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "mark": {"type": "str", "required": True},
            "taken_over": {"type": "dict", "default": {}},
            "prefix": {"type": "str", "required": True},
            "release": {"type": "str", "default": ""},
            "models": {"type": "str", "default": ""},
            "time_zone": {"type": "str", "default": ""},
            "time_zone_known": {"type": "bool", "default": True},
            "time_services": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    problems = [
        *package_problems(given["taken_over"], Path(given["mark"])),
        *release_problems(given["release"], Path(given["prefix"])),
        *model_problems(given["models"]),
        *zone_problems(given["time_zone"], given["time_zone_known"]),
        *service_problems(given["time_services"]),
    ]
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
