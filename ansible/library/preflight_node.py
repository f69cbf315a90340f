"""Looks at a machine before anything is installed on it: every reason why an installation would fail or calls would go badly."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: preflight_node
short_description: Every problem of a machine at once, changing nothing
description: Returns C(problems), a list of mappings with C(check), C(found) and C(mend). Always succeeds.
options:
  supported:
    description: Operating systems as C(ID VERSION_ID) of os-release; a testing release has no VERSION_ID and is named by codename.
    type: list
    elements: str
    required: true
  disk_mb:
    description: Free megabytes needed, by folder. A folder that is missing stands for the nearest one above it.
    type: dict
    default: {}
  installed:
    description: A path that exists where an earlier release is installed; C(disk_again_mb) then stands for C(disk_mb).
    type: str
    default: ""
  disk_again_mb:
    description: As C(disk_mb).
    type: dict
    default: {}
  memory_mb:
    description: Memory the machine must have, in megabytes.
    type: int
    default: 0
  ports:
    description: Ports that must be free, as C(udp/5060), each with the variable that sets it, or nothing where none does.
    type: dict
    default: {}
  own_units:
    description: Start of the names of systemd units whose ports are no problem where C(mark) exists.
    type: list
    elements: str
    default: []
  mark:
    description: A file that the first installation leaves; without it nothing on the machine is ours.
    type: str
    default: ""
  controller_time:
    description: Seconds since 1970 on the controller, now.
    type: float
  clock_tolerance_s:
    description: Largest difference of the clocks.
    type: float
    default: 5
  trunks:
    description: Trunks, each with C(name) and C(address).
    type: list
    elements: dict
    default: []
  trunk_port:
    description: UDP port of the trunk that SIP OPTIONS are sent to.
    type: int
    default: 5060
  probe_trunks:
    description: Whether a trunk with a single address must answer SIP OPTIONS.
    type: bool
    default: true
  probe_s:
    description: Seconds to wait for that answer.
    type: float
    default: 3
  gpu:
    description: Whether an NVIDIA GPU with a working driver is needed.
    type: bool
    default: false
  gpu_memory_mb:
    description: Memory one GPU must have.
    type: int
    default: 0
"""
EXAMPLES = "- preflight_node:\n    supported: [debian 14]\n"
RETURN = "problems:\n  description: What was found, empty when all is well.\n  type: list\n  returned: always\n"

Problem = dict[str, str]


def problem(check: str, found: str, mend: str) -> Problem:
    return {"check": check, "found": found, "mend": mend}


def system_problems(os_release: str, supported: list[str]) -> list[Problem]:
    fields = dict(re.findall(r"""^(\w+)=["']?(.*?)["']?$""", os_release, re.MULTILINE))
    name = fields.get("ID", "unknown")
    version = fields.get("VERSION_ID") or fields.get("VERSION_CODENAME", "")
    if f"{name} {version}" in supported:
        return []
    return [problem("system", f"this is {name} {version}", f"install one of: {', '.join(supported)}")]


def disk_problems(wanted: dict[str, int]) -> list[Problem]:
    """Folders on the same file system share its free space."""
    need: dict[int, list] = {}
    for folder, megabytes in wanted.items():
        there = Path(folder)
        while not there.exists():
            there = there.parent
        entry = need.setdefault(there.stat().st_dev, [there, 0, []])
        entry[1] += int(megabytes)
        entry[2].append(folder)
    found = []
    for there, megabytes, folders in need.values():
        free = shutil.disk_usage(there).free // 2**20
        if free < megabytes:
            what = f"{free} MB free for {', '.join(folders)}"
            found.append(problem("disk", what, f"{megabytes} MB are needed: free space or take a larger disk"))
    return found


def memory_problems(meminfo: str, megabytes: int) -> list[Problem]:
    match = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    total = int(match[1]) // 1024 if match else 0
    if total >= megabytes:
        return []
    return [problem("memory", f"{total} MB of memory", f"{megabytes} MB are needed")]


def listening(protocol: str, table: str) -> dict[int, str]:
    """Inode of the socket by local port, from /proc/net/{tcp,udp}{,6}."""
    ports = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 9 and fields[3] == ("0A" if protocol == "tcp" else "07"):
            ports[int(fields[1].rsplit(":", 1)[1], 16)] = fields[9]
    return ports


def unit_of(inode: str) -> tuple[str, str]:
    """Name of the process that has this socket, and its systemd unit; empty when nobody is seen to have it."""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(descriptor.readlink()) == f"socket:[{inode}]":
                process = descriptor.parents[1]
                group = (process / "cgroup").read_text().strip().rsplit("/", 1)[-1]
                return (process / "comm").read_text().strip(), group
        except OSError:
            continue
    return "", ""


def socket_unit(port: str) -> str:
    """The unit for which systemd itself listens; empty when it tells none."""
    try:
        done = subprocess.run(["systemctl", "list-sockets", "--no-legend"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    units = [fields[1] for fields in map(str.split, done.stdout.splitlines()) if len(fields) > 1 and fields[0].endswith(f":{port}")]
    return units[0] if units else ""


def port_problems(wanted: dict[str, str], own_units: list[str]) -> list[Problem]:
    found = []
    tables = {}
    for protocol in ("tcp", "udp"):
        tables[protocol] = {}
        for file in (f"/proc/net/{protocol}", f"/proc/net/{protocol}6"):
            if Path(file).exists():
                tables[protocol].update(listening(protocol, Path(file).read_text()))
    for entry, variable in wanted.items():
        protocol, _, number = entry.partition("/")
        inode = tables[protocol].get(int(number))
        if inode is None:
            continue
        name, unit = unit_of(inode)
        if name == "systemd":
            unit = socket_unit(number) or unit
        if not unit.startswith(tuple(own_units)):
            what = f"{protocol.upper()} port {number} is taken by {name or 'an unknown process'} ({unit or 'no unit'})"
            mend = "stop and disable that service" + (f", or set {variable} to a free port" if variable else "")
            found.append(problem("port", what, mend))
    return found


def clock_problems(controller_time: float | None, tolerance_s: float) -> list[Problem]:
    if controller_time is None:
        return []
    difference = time.time() - controller_time
    if abs(difference) <= tolerance_s:
        return []
    return [problem("clock", f"the clock is {difference:+.0f} s off the controller's", "set both by NTP")]


def options_request(address: str, port: int, local: str, local_port: int) -> bytes:
    """A SIP OPTIONS request that any SIP server answers, if only with a refusal."""
    token = os.urandom(6).hex()
    lines = [
        f"OPTIONS sip:{address}:{port} SIP/2.0",
        f"Via: SIP/2.0/UDP {local}:{local_port};branch=z9hG4bK{token};rport",
        f"From: <sip:preflight@{local}>;tag={token}",
        f"To: <sip:{address}:{port}>",
        f"Call-ID: {token}@{local}",
        "CSeq: 1 OPTIONS",
        f"Contact: <sip:preflight@{local}:{local_port}>",
        "Max-Forwards: 70",
        "Content-Length: 0",
        "",
        "",
    ]
    return "\r\n".join(lines).encode()


def answers_options(address: str, port: int, wait_s: float) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, port))
            local, local_port = probe.getsockname()[:2]
            deadline = time.monotonic() + wait_s
            while time.monotonic() < deadline:
                probe.send(options_request(address, port, local, local_port))
                probe.settimeout(min(1.0, wait_s))
                try:
                    if probe.recv(4096).startswith(b"SIP/2.0"):
                        return True
                except TimeoutError:
                    continue
        except OSError:
            return False
    return False


def trunk_problems(trunks: list[dict], port: int, probe: bool, wait_s: float) -> list[Problem]:
    found = []
    for trunk in trunks:
        name, address = trunk.get("name", "?"), str(trunk.get("address", ""))
        try:
            network = ipaddress.ip_network(address, strict=False)
        except ValueError:
            found.append(problem("trunk", f"{name}: {address!r} is no IP address or network", "write it as 192.0.2.10 or 192.0.2.0/28"))
            continue
        if probe and network.num_addresses == 1 and not answers_options(str(network.network_address), port, wait_s):
            mend = "check its address, the route and the firewalls; preflight_probe_trunks: false when this provider answers no OPTIONS"
            found.append(problem("trunk", f"{name}: nothing at {address} port {port} answers SIP OPTIONS", mend))
    return found


def gpu_problems(needed: bool, megabytes: int) -> list[Problem]:
    if not needed:
        return []
    mend = "install the NVIDIA driver (nvidia-smi must list the GPU), or choose the starter profile"
    try:
        command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return [problem("gpu", "nvidia-smi does not run", mend)]
    sizes = [int(line) for line in done.stdout.split() if line.isdigit()]
    if done.returncode != 0 or not sizes:
        return [problem("gpu", f"no usable GPU: {(done.stdout + done.stderr).strip()[:100]}", mend)]
    if max(sizes) < megabytes:
        return [problem("gpu", f"the largest GPU has {max(sizes)} MB", f"the profile needs {megabytes} MB on one GPU")]
    return []


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "supported": {"type": "list", "elements": "str", "required": True},
            "disk_mb": {"type": "dict", "default": {}},
            "installed": {"type": "str", "default": ""},
            "disk_again_mb": {"type": "dict", "default": {}},
            "memory_mb": {"type": "int", "default": 0},
            "ports": {"type": "dict", "default": {}},
            "own_units": {"type": "list", "elements": "str", "default": []},
            "mark": {"type": "str", "default": ""},
            "controller_time": {"type": "float"},
            "clock_tolerance_s": {"type": "float", "default": 5},
            "trunks": {"type": "list", "elements": "dict", "default": []},
            "trunk_port": {"type": "int", "default": 5060},
            "probe_trunks": {"type": "bool", "default": True},
            "probe_s": {"type": "float", "default": 3},
            "gpu": {"type": "bool", "default": False},
            "gpu_memory_mb": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    given = module.params
    problems = [
        *clock_problems(given["controller_time"], given["clock_tolerance_s"]),
        *system_problems(Path("/etc/os-release").read_text(), given["supported"]),
        *disk_problems(given["disk_again_mb" if given["installed"] and Path(given["installed"]).exists() else "disk_mb"]),
        *memory_problems(Path("/proc/meminfo").read_text(), given["memory_mb"]),
        *port_problems(given["ports"], given["own_units"] if given["mark"] and Path(given["mark"]).exists() else []),
        *trunk_problems(given["trunks"], given["trunk_port"], given["probe_trunks"], given["probe_s"]),
        *gpu_problems(given["gpu"], given["gpu_memory_mb"]),
    ]
    if os.geteuid() != 0:
        problems.append(problem("user", "Ansible is not root on this machine", "set ansible_become: true, or connect as root"))
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
