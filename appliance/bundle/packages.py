"""Debian packages of a node, as the roles in `ansible/` install them; apt finds what they depend on."""

from __future__ import annotations

SUITES = {"14": "forky"}
"""Debian releases that package all of it."""
BASE = ("ca-certificates", "nftables", "python3-apt", "systemd-timesyncd", "tzdata", "unattended-upgrades")
TELEPHONY = ("asterisk", "asterisk-modules", "asterisk-config", "fail2ban", "logrotate", "redis-server")
MODULE = ("asterisk-dev", "gcc", "libc6-dev")
"""What compiling Asterisk's module of our own takes; a node has it only meanwhile."""
APPLIANCE = ("python3", "python3-venv", "python3-systemd", "espeak-ng", "baresip-core")
MONITORING = ("prometheus", "prometheus-node-exporter", "prometheus-redis-exporter", "prometheus-process-exporter")
ALL = (*BASE, *TELEPHONY, *MODULE, *APPLIANCE, *MONITORING)
