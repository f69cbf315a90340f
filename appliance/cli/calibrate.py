"""The last stage of the starter models: measure them on development data and set the threshold below which a call refuses."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from appliance.interpreter.calibration import FILE_NAME

PER_LANGUAGE = 60
"""Utterances of each language that are to be understood, and half as many that are not."""
LINES: dict[str, tuple[str, ...]] = {"clean": (), "noise": ("--noise", "mixed:10")}
"""What each manifest is heard over: a threshold for clean lines alone would refuse every other caller on a noisy one."""
CONFIGURATION = "appliance.toml"
MANIFESTS = ("stt", "offtopic")

Step = Callable[[Sequence[str]], None]
"""Runs a command to its end. Raises when it fails."""


def calibrate(models: Path, recogniser: Path, step: Step) -> None:
    """Write `refusal.json` into the recogniser's folder, from what it and the translator in place make of the development split."""
    with tempfile.TemporaryDirectory(prefix="calibrate-") as folder:
        (Path(folder) / CONFIGURATION).write_text(f"[models]\nfolder = {json.dumps(str(models))}\n", encoding="utf-8")
        for command in commands(Path(folder), recogniser / FILE_NAME):
            step(command)


def commands(folder: Path, out: Path) -> Iterator[Sequence[str]]:
    """The commands of `appliance evaluate`, in order; `folder` takes what lies between."""
    evaluate = (sys.executable, "-m", "appliance", "evaluate")
    yield (*evaluate, "testset", "--split", "dev", "--per-language", str(PER_LANGUAGE), "--out", str(folder))
    reports = []
    for manifest in MANIFESTS:
        for line, options in LINES.items():
            report = str(folder / f"{manifest}-{line}.json")
            reports += ["--report", report]
            given = ("--config", str(folder / CONFIGURATION), "--manifest", str(folder / f"{manifest}.tsv"), "--report", report)
            yield (*evaluate, "stt", *given, "--bandlimit", *options, "--translate")
    yield (*evaluate, "refusal", *reports, "--out", str(out))
