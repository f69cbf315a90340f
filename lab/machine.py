"""One node: made from the image, booted, reached over SSH, stopped, removed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from lab import layout
from lab.commands import LabError, inside, run, succeeds
from lab.image import package_caches
from lab.layout import Node
from lab.ssh import answers, public_key, ssh_command

BOOT_S = 60.0
STOP_S = 40.0
_started: dict[str, subprocess.Popen[bytes]] = {}
"""Machines this very process has booted, which it must also wait for."""
_BOOT = Path(__file__).with_name("boot.sh")


def make(node: Node, image: Path, *, disk_megabytes: int = 0, isolated: bool = False) -> None:
    """Lays the node's own layer over the image: its name, address and keys. Nothing happens where there is one.

    Args:
        disk_megabytes: size of the node's disk, held in memory; 0: as large as the folder of the lab is.
        isolated: it has no route to anything beyond the lab's own network, and no packages of earlier nodes.
    """
    if node.folder.is_dir():
        return
    disk = node.folder / "disk"
    disk.mkdir(parents=True)
    node.root.mkdir()
    if disk_megabytes:
        run("mount", "-t", "tmpfs", "-o", f"size={disk_megabytes}m,mode=755", "setu-lab-disk", str(disk))
    node.work.mkdir()
    if isolated:
        (node.folder / "isolated").touch()
    gateway = "" if isolated else f"Gateway={layout.CONTROLLER}\n"
    etc = node.written / "etc"
    for folder in (etc / "ssh", etc / "systemd/network"):
        folder.mkdir(parents=True)
    (node.folder / "image").write_text(str(image))
    (etc / "hostname").write_text(f"{node.name}\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {node.name}\n")
    (etc / "machine-id").write_text("")
    shutil.copy("/etc/resolv.conf", etc / "resolv.conf")
    # Before 80-container-host0.network, which would ask for a lease.
    (etc / "systemd/network/10-host0.network").write_text(
        f"[Match]\nName=host0\n[Link]\nMTUBytes={layout.MTU}\n"
        f"[Network]\nAddress={node.address}/{layout.NETWORK.prefixlen}\n{gateway}LinkLocalAddressing=no\n"
    )
    run("ssh-keygen", "-q", "-A", "-f", str(node.written))
    keys = node.written / "root/.ssh"
    keys.mkdir(parents=True, mode=0o700)
    (node.written / "root").chmod(0o700)
    (keys / "authorized_keys").write_text(public_key())


def boot(node: Node) -> None:
    """Starts the node and waits until it answers over SSH.

    Raises:
        LabError: it did not within a minute.
    """
    if is_running(node):
        return
    caches = {} if (node.folder / "isolated").exists() else package_caches()
    binds = [f"--bind={host}:{there}" for host, there in caches.items()]
    image = (node.folder / "image").read_text()
    script = ["sh", str(_BOOT), node.machine, image, str(node.folder / "disk"), str(node.root), layout.BRIDGE, *binds]
    command = ["unshare", "--mount", "--propagation", "private", *script]
    if Path("/run/systemd/system").is_dir():
        # The host's systemd would clean up a control group it does not know.
        command = ["systemd-run", "--quiet", "--scope", "--property=Delegate=yes", f"--unit={node.machine}", *command]
    with node.console.open("ab") as console:
        process = subprocess.Popen(
            inside(layout.CONTROLLER_NAMESPACE, command), stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
        )
    node.pid_file.write_text(str(process.pid))
    _started[node.name] = process
    deadline = time.monotonic() + BOOT_S
    while not answers(node):
        if process.poll() is not None:
            raise LabError(f"{node.name} ended while it booted; see {node.console}")
        if time.monotonic() > deadline:
            raise LabError(f"{node.name} does not answer over SSH after {BOOT_S:.0f} s; see {node.console}")
        time.sleep(0.3)


def in_node(node: Node, *command: str) -> str:
    """Output of a command in the node, as root; one argument alone is a line for its shell."""
    return run(*ssh_command(node, *command))


def is_running(node: Node) -> bool:
    pid = _pid(node)
    return pid is not None and Path(f"/proc/{pid}").exists() and node.machine in Path(f"/proc/{pid}/cmdline").read_text()


def stop(node: Node) -> None:
    """Shuts the node down as its power button would."""
    pid = _pid(node)
    if pid is not None and is_running(node):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while is_running(node) and time.monotonic() < deadline:
            if node.name in _started:
                _started[node.name].poll()
            time.sleep(0.2)
        if is_running(node):
            os.killpg(pid, signal.SIGKILL)
            time.sleep(0.5)
    if (process := _started.pop(node.name, None)) is not None:
        process.wait()
    node.pid_file.unlink(missing_ok=True)
    group = Path("/sys/fs/cgroup/unified" if Path("/sys/fs/cgroup/unified").is_dir() else "/sys/fs/cgroup") / node.machine
    for folder in sorted(group.rglob("*"), reverse=True):
        if folder.is_dir():
            with contextlib.suppress(OSError):
                folder.rmdir()
    with contextlib.suppress(OSError):
        group.rmdir()


def remove(node: Node) -> None:
    """Stops the node and throws its disk away."""
    stop(node)
    succeeds("umount", str(node.folder / "disk"))
    if node.folder.is_dir():
        shutil.rmtree(node.folder)


def _pid(node: Node) -> int | None:
    try:
        return int(node.pid_file.read_text())
    except (FileNotFoundError, ValueError):
        return None
