"""The lab's network: three namespaces on one bridge, and a way out to the package mirrors through the host."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from lab import layout
from lab.commands import inside, run, succeeds

NAMESPACES = (layout.CONTROLLER_NAMESPACE, layout.TRUNK_NAMESPACE, layout.PHONE_NAMESPACE)
HOST_END = "setu-uplink"
TABLE = "setu_lab"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_FORWARDING_WAS = layout.FOLDER / "host-ip-forward"
"""What the host had before, so that `down` can set it again."""


def is_up() -> bool:
    return Path("/run/netns", layout.CONTROLLER_NAMESPACE).exists()


def up() -> None:
    """Makes the network unless it is there."""
    if is_up():
        return
    for namespace in NAMESPACES:
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
    lab = ["ip", "-n", layout.CONTROLLER_NAMESPACE]
    run(*lab, "link", "add", layout.BRIDGE, "mtu", str(layout.MTU), "type", "bridge", "stp_state", "0", "forward_delay", "0")
    run(*lab, "addr", "add", f"{layout.CONTROLLER}/{layout.NETWORK.prefixlen}", "dev", layout.BRIDGE)
    run(*lab, "link", "set", layout.BRIDGE, "up")
    # Programs here choose ports for telephones in the other namespaces, whose addresses they therefore must be able to bind.
    run(*inside(layout.CONTROLLER_NAMESPACE, ["sysctl", "-qw", "net.ipv4.ip_nonlocal_bind=1"]))
    _join(layout.TRUNK_NAMESPACE, layout.TRUNK)
    run("ip", "-n", layout.TRUNK_NAMESPACE, "addr", "add", f"{layout.REGISTRAR}/{layout.NETWORK.prefixlen}", "dev", "eth0")
    _join(layout.PHONE_NAMESPACE, layout.PHONE)
    _uplink()


def down() -> None:
    """Removes all of it from the host; nothing happens where there is none."""
    succeeds("nft", "delete", "table", "ip", TABLE)
    succeeds("ip", "link", "delete", HOST_END)
    for namespace in NAMESPACES:
        if Path("/run/netns", namespace).exists():
            run("ip", "netns", "delete", namespace)
    if _FORWARDING_WAS.exists():
        FORWARDING.write_text(_FORWARDING_WAS.read_text())
        _FORWARDING_WAS.unlink()


def _join(namespace: str, address: IPv4Address) -> None:
    port = namespace.removeprefix("setu-")
    run(
        "ip", "-n", layout.CONTROLLER_NAMESPACE, "link", "add", port, "mtu", str(layout.MTU),
        "type", "veth", "peer", "name", "eth0", "mtu", str(layout.MTU), "netns", namespace,
    )  # fmt: skip
    run("ip", "-n", layout.CONTROLLER_NAMESPACE, "link", "set", port, "master", layout.BRIDGE, "up")
    run("ip", "-n", namespace, "addr", "add", f"{address}/{layout.NETWORK.prefixlen}", "dev", "eth0")
    run("ip", "-n", namespace, "link", "set", "eth0", "up")


def _uplink() -> None:
    host, lab = list(layout.UPLINK.hosts())
    length = layout.UPLINK.prefixlen
    namespace = layout.CONTROLLER_NAMESPACE
    run(
        "ip", "link", "add", HOST_END, "mtu", str(layout.MTU),
        "type", "veth", "peer", "name", "uplink", "mtu", str(layout.MTU), "netns", namespace,
    )  # fmt: skip
    run("ip", "addr", "add", f"{host}/{length}", "dev", HOST_END)
    run("ip", "link", "set", HOST_END, "up")
    run("ip", "-n", namespace, "addr", "add", f"{lab}/{length}", "dev", "uplink")
    run("ip", "-n", namespace, "link", "set", "uplink", "up")
    run("ip", "-n", namespace, "route", "add", "default", "via", str(host))
    # The nodes' addresses end in the controller's namespace; the host only ever sees one address of the lab.
    run(*inside(namespace, ["sysctl", "-qw", "net.ipv4.ip_forward=1"]))
    run(*inside(namespace, ["nft", "-f", "-"]), stdin=_masquerade(f"ip saddr {layout.NETWORK} oifname uplink"))
    layout.FOLDER.mkdir(parents=True, exist_ok=True)
    if not _FORWARDING_WAS.exists():
        _FORWARDING_WAS.write_text(FORWARDING.read_text())
    FORWARDING.write_text("1\n")
    run("nft", "-f", "-", stdin=_masquerade(f"ip saddr {layout.UPLINK} oifname != {HOST_END}"))


def _masquerade(match: str) -> str:
    return f"table ip {TABLE} {{\nchain out {{\ntype nat hook postrouting priority srcnat\n{match} masquerade\n}}\n}}\n"
