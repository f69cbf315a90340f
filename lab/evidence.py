"""What stays of a node whose acceptance calls went badly, to listen to when the node itself is gone.

Of each attempt that was out of bounds: what was said and heard (`*.wav`: left said, right heard), the events of the calls with the
gateway's and the recogniser's times, and what gateway, model servers and Asterisk wrote meanwhile.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from lab import layout
from lab.commands import LabError
from lab.layout import Node
from lab.machine import in_node

FOLDER = layout.FOLDER / "failed"
_STATE = "var/lib/appliance"
_JOURNAL = "journalctl --quiet --no-pager --output=short-precise"
_QUESTIONS = {
    "journal-gateway.log": f"{_JOURNAL} --unit='appliance-gateway@*'",
    "journal-models.log": f"{_JOURNAL} --unit='appliance-model@*'",
    "journal-asterisk.log": f"{_JOURNAL} --unit=asterisk",
    "journal-everything.log": f"{_JOURNAL} --since=-15min",
    "asterisk-messages.log": "cat /var/log/asterisk/messages",
    "events.txt": "redis-cli --raw XREVRANGE setu:events + - COUNT 3000",
    "calls.json": "appliance transcripts export",
    "load.txt": "cat /proc/loadavg /proc/pressure/cpu /proc/pressure/io; ps -eo pid,ni,pcpu,etimes,args --sort=-pcpu | head -n 40",
}
_kept: dict[str, float] = {}
"""By node: when the newest recording that has been taken along was written."""


def keep(node: Node, name: str) -> Path | None:
    """Takes along what a node has kept of attempts that failed since the last time.

    Args:
        name: of what was being done; part of the folder's name.

    Returns:
        The folder; None when no attempt has failed.
    """
    recordings = node.written / _STATE / "acceptance-failed"
    newest = max((file.stat().st_mtime for file in recordings.glob("*.wav")), default=0.0)
    if newest <= _kept.get(node.name, 0.0):
        return None
    _kept[node.name] = newest
    folder = FOLDER / f"{time.strftime('%Y%m%d-%H%M%S')}-{node.name}-{name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o700)  # it holds what was said
    shutil.copytree(recordings, folder)
    figures = node.written / _STATE / "acceptance.json"
    if figures.exists():
        shutil.copyfile(figures, folder / figures.name)
    for file, question in _QUESTIONS.items():
        try:
            (folder / file).write_text(in_node(node, question))
        except LabError as error:  # the rest matters all the more
            (folder / file).write_text(f"{error}\n")
    print(f"recordings of failed acceptance calls: {folder}", flush=True)
    return folder
