"""What `appliance call` and `appliance demo` share: calls one after another, shown while they go on, and their report."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from appliance.phone.conversation import CallPlan
from appliance.phone.live import LiveDisplay, summary_table, totals, utterance_table
from appliance.phone.report import CallReport, Report, summarise, write
from appliance.phone.station import Station
from appliance.phone.versions import versions


@dataclass(frozen=True)
class NamedCall:
    plan: CallPlan
    name: str
    """Begin of its audio files' names."""
    title: str = ""


async def run_calls(station: Station, calls: Sequence[NamedCall], audio_dir: Path, report_file: Path, console: Console) -> Report:
    """Place the calls one after another, so that each one's delays are its own; show them, write the report.

    Raises:
        PhoneError: a telephone cannot be used.
    """
    started = datetime.datetime.now(datetime.UTC)
    reports: list[CallReport] = []
    for call in calls:
        display = LiveDisplay(console, call.title)
        try:
            report = await station.call(call.plan, display, audio_dir, call.name, report_file.parent)
        finally:
            display.over()
        console.print(utterance_table(report))
        console.print()
        reports.append(report)
    whole = Report(
        versions=versions(station.program.programs, station.program),
        started=started.isoformat(timespec="seconds").replace("+00:00", "Z"),
        calls=reports,
        summary=summarise(reports),
    )
    write(whole, report_file)
    console.print(summary_table(whole))
    console.print(totals(whole))
    console.print(f"report: {report_file}   recordings: {audio_dir}", style="dim")
    return whole
