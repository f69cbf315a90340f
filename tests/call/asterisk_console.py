"""What Asterisk's console prints, which is nothing of use while Asterisk starts, and may be so for a moment on a busy machine."""

from __future__ import annotations

import re

NO_ANSWER = "the console does not answer"


def active_channels(shown: str) -> int:
    """From `core show channels count`; -1 when that was not answered."""
    found = re.search(r"^(\d+) active channel", shown, re.MULTILINE)
    return int(found[1]) if found else -1


def bridge_ids(shown: str) -> list[str]:
    """From `bridge show all`; `NO_ANSWER` alone when that was not answered."""
    lines = [line for line in shown.splitlines() if line.strip()]
    return [line.split()[0] for line in lines[1:]] if lines and lines[0].startswith("Bridge-ID") else [NO_ANSWER]
