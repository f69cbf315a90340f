"""What a person sees of test calls: each utterance as it is interpreted, and tables at the end."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from appliance.events import CallEnded, Event, LanguageDecided, UtteranceInterpreted
from appliance.phone.conversation import CallPlan, Turn
from appliance.phone.report import CallReport, DelaySummary, Language, Report, percentile, values_right
from appliance.text.languages import BY_CODE

_LANES = {"caller_to_agent": ("caller → agent", "cyan"), "agent_to_caller": ("agent → caller", "magenta")}


class LiveDisplay:
    """A `Watcher` that prints; the last line shows who speaks, where the output is a terminal."""

    def __init__(self, console: Console, title: str = "") -> None:
        self._console = console
        self._title = title
        self._status: Status | None = None

    def calling(self, plan: CallPlan) -> None:
        head = Text(f"{self._title}  " if self._title else "", style="bold")
        self._console.print(head.append(f"{plan.caller.user} calls {plan.number}", style="bold"))
        self._show(f"{plan.number} rings")

    def connected(self, after_s: float) -> None:
        self._console.print(f"  agent on the line after {after_s:.1f} s", style="dim")

    def speaks(self, turn: Turn) -> None:
        self._show(f"the {turn.speaker} speaks ({turn.file.name})")

    def told(self, event: Event) -> None:
        if isinstance(event, LanguageDecided):
            name = BY_CODE[event.language].english_name if event.language in BY_CODE else event.language
            self._console.print(f"  language: {name}, {event.confidence:.0%} sure after {event.after_s:.1f} s ({event.how})", style="green")
        elif isinstance(event, UtteranceInterpreted) and event.outcome != "silence":
            self._utterance(event)
        elif isinstance(event, CallEnded):
            self._console.print(
                f"  {event.outcome}{': ' + event.reason if event.reason else ''} after {event.duration_s:.1f} s", style="dim"
            )

    def over(self) -> None:
        """Take the last line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _utterance(self, event: UtteranceInterpreted) -> None:
        name, style = _LANES[event.lane]
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=16, style=style)
        grid.add_column(width=7, justify="right")
        grid.add_column(overflow="fold")
        grid.add_row(f"  {name}", f"{event.delays.total:.2f} s", Text(event.recognised or "…"))
        answer = (
            Text(f"→ {event.translated}", style="bold")
            if event.outcome == "interpreted"
            else Text(f"{event.outcome}: {event.reason}", style="red")
        )
        grid.add_row("", "", answer)
        self._console.print(grid)

    def _show(self, text: str) -> None:
        if not self._console.is_terminal:
            return
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        else:
            self._status.update(text)


def utterance_table(call: CallReport) -> Table:
    """Each utterance of a call as measured: delays by the telephones' recordings, and what was heard."""
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    table.add_column("measured", no_wrap=True)
    table.add_column("delay", justify="right", no_wrap=True)
    for name in ("recognised", "translated", "heard"):
        table.add_column(name, ratio=1, overflow="fold")
    for row in call.utterances:
        name, style = _LANES[row.lane]
        good = row.outcome == "interpreted" and row.delay_s.total is not None
        translated = Text(row.translated) if good else Text(row.outcome, style="red")
        table.add_row(Text(name, style=style), _seconds(row.delay_s.total), row.recognised, translated, row.heard)
    return table


def summary_table(report: Report) -> Table:
    """One line a call."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="calls: delays and silences in seconds", title_justify="left")
    for name in ("number", "language", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in ("heard", "p50", "max", "values", "greeting", "silence"):
        table.add_column(name, justify="right", no_wrap=True)
    for call in report.calls:
        delays = [row.delay_s.total for row in call.utterances if row.delay_s.total is not None]
        valued = [row for row in call.utterances if row.values_expected]
        table.add_row(
            call.number,
            _language(call.language),
            Text(call.outcome, style="green") if call.through else Text(f"{call.outcome} {call.closed_early}".strip(), style="red"),
            f"{sum(row.outcome == 'interpreted' for row in call.utterances)}/{len(call.utterances)}",
            f"{percentile(delays, 0.5):.2f}" if delays else "-",
            f"{max(delays):.2f}" if delays else "-",
            f"{sum(values_right(row) for row in valued)}/{len(valued)}" if valued else "-",
            "-" if call.first_audio_s is None else f"{call.first_audio_s:.2f}",
            f"{call.longest_silence_s.caller:.1f} {call.longest_silence_s.agent:.1f}",
        )
    return table


def _language(language: Language) -> Text:
    detected = language.detected or "-"
    where = f" ({language.detected_in_utterance})" if language.detected_in_utterance else ""
    if language.expected in (None, language.detected):
        return Text(detected + where, style="green")
    return Text(f"{detected}, not {language.expected}", style="red")


def totals(report: Report) -> Table:
    """Delays per lane and the counts; the exit status follows from the first two of these."""
    summary = report.summary
    table = Table.grid(padding=(0, 2))
    for lane, delays in summary.delay_s.items():
        table.add_row(f"delay {lane.replace('_', ' ')}", _delays(delays))
    table.add_row("calls through", f"{summary.calls_through} of {summary.calls}")
    table.add_row("utterances interpreted", f"{summary.interpreted} of {summary.utterances}")
    if summary.language_known:
        table.add_row("language right by the second utterance", f"{summary.language_right} of {summary.language_known}")
    if summary.values_utterances:
        table.add_row("numbers, ids and names heard right", f"{summary.values_right} of {summary.values_utterances} utterances")
    table.add_row("INVITE to greeting, slowest", _seconds(summary.first_audio_max_s))
    return table


def _delays(delays: DelaySummary) -> str:
    if not delays.count:
        return "-"
    return f"p50 {_seconds(delays.p50)}   p95 {_seconds(delays.p95)}   max {_seconds(delays.max)}   ({delays.count})"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
