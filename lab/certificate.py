"""The certificate of SIP over TLS that the lab's nodes show, and its key."""

from __future__ import annotations

from pathlib import Path

from lab import layout
from lab.commands import run, succeeds
from lab.layout import Node

CERTIFICATE = layout.FOLDER / "tls" / "certificate.pem"
_KEY = CERTIFICATE.with_name("key.pem")
DAYS = 60
WARNED_S = 22 * 86_400
"""Three weeks before the end `appliance doctor` warns: the lab takes a new one before that."""


def certificate() -> tuple[Path, str]:
    """The certificate's file and the text of its key; made at the first use, for the addresses of all nodes."""
    still_good = ["openssl", "x509", "-noout", "-checkend", str(WARNED_S), "-in", str(CERTIFICATE)]
    if not (_KEY.exists() and succeeds(*still_good)):
        CERTIFICATE.parent.mkdir(parents=True, exist_ok=True)
        CERTIFICATE.parent.chmod(0o700)
        names = ",".join(f"IP:{Node(number).address}" for number in range(1, layout.MAX_NODES + 1))
        run(
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(DAYS),
            "-subj", "/CN=setu-lab", "-addext", f"subjectAltName={names}", "-keyout", str(_KEY), "-out", str(CERTIFICATE),
        )  # fmt: skip
    return CERTIFICATE, _KEY.read_text()
