"""Seconds that installations take, for people to compare."""

from __future__ import annotations

import json
from pathlib import Path

FILE = Path(__file__).parents[2] / "build" / "bench" / "install.json"


class Times:
    """By what took them, written at once: a test that fails afterwards has measured too."""

    def note(self, what: str, seconds: float) -> None:
        found: dict[str, float] = json.loads(FILE.read_text()) if FILE.exists() else {}
        FILE.parent.mkdir(parents=True, exist_ok=True)
        draft = FILE.with_suffix(".part")
        draft.write_text(json.dumps({**found, what: round(seconds, 1)}, indent=2) + "\n")
        draft.replace(FILE)
