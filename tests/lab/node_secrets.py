"""The secrets of a node, and where they lie in the open."""

from __future__ import annotations

import json
from collections.abc import Mapping

from process_list import needles

from lab.commands import run
from lab.layout import Node
from lab.machine import in_node
from lab.ssh import ssh_command

CREDENTIALS = "/etc/appliance/credentials"
TLS_KEY = "/etc/asterisk/tls/key.pem"
_READ = """
import json, pathlib, sys
files = [*pathlib.Path(sys.argv[1]).iterdir(), pathlib.Path(sys.argv[2])]
print(json.dumps({file.name: file.read_text().strip() for file in files if file.is_file()}))
"""
_SEARCH = """
import json, pathlib, subprocess
secrets = json.loads(pathlib.Path("/run/lab-secrets").read_text())
found = {}
def look(where, text):
    for name, needles in secrets.items():
        if any(needle.encode() in text for needle in needles):
            found.setdefault(name, []).append(where)
# Everything that a user without any right can read, but what the kernel shows and packages that were downloaded; and all logs, whoever may
# read them. Not -xdev: on the disk of a node, which has two layers, find would leave out the files of the upper one.
not_these = ["-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/dev", "-o", "-path", "/var/cache/apt/archives"]
find = ["find", "/", "(", *not_these, ")", "-prune", "-o", "-type", "f", "-readable", "-print0"]
command = ["runuser", "-u", "nobody", "--", *find]
files = set(subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.split(b"\\0")) - {b""}
for folder in ("/var/log", "/var/spool", "/tmp", "/var/tmp", "/root", "/home", "/opt/appliance"):
    files |= {bytes(path) for path in pathlib.Path(folder).rglob("*") if path.is_file() and not path.is_symlink()}
files = {file for file in files if not file.startswith(b"/root/.cache/")}
for file in files:
    try:
        look(file.decode(errors="replace"), pathlib.Path(file.decode("utf-8", "surrogateescape")).read_bytes())
    except OSError:
        continue
look("the journal", subprocess.run(["journalctl", "--no-pager", "--quiet", "--output=export"], stdout=subprocess.PIPE).stdout)
for process in pathlib.Path("/proc").iterdir():
    if process.name.isdecimal():
        for kind in ("cmdline", "environ"):
            try:
                look(f"{kind} of {(process / 'comm').read_text().strip()}", (process / kind).read_bytes())
            except OSError:
                continue
print(json.dumps(found))
"""


def secrets_of(node: Node) -> dict[str, str]:
    """Every secret that lies on the node, by the name of its file; none on one that has not been installed."""
    if "there" not in in_node(node, f"test -d {CREDENTIALS} && echo there || true"):
        return {}
    found: dict[str, str] = json.loads(run(*ssh_command(node, "python3", "-", CREDENTIALS, TLS_KEY), stdin=_READ))
    return found


def in_the_open(node: Node, secrets: Mapping[str, str]) -> dict[str, list[str]]:
    """Where on the node secrets stand that must not: files anybody may read, logs, the journal, command lines, environments."""
    wanted = json.dumps({name: needles(secret) for name, secret in secrets.items()})
    run(*ssh_command(node, "umask 077; cat >/run/lab-secrets"), stdin=wanted)
    try:
        found: dict[str, list[str]] = json.loads(run(*ssh_command(node, "python3", "-"), stdin=_SEARCH))
    finally:
        in_node(node, "rm", "/run/lab-secrets")
    return found
