"""What a person sees of test calls: each utterance as it is interpreted, and tables at the end."""

from __future__ import annotations

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from appliance.interpreter.events import CallEnded, Event, LanguageDecided, UtteranceInterpreted
from appliance.phone.conversation import CallPlan, Turn
from appliance.phone.report import CallReport, DelaySummary, Report
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
    table = Table(title=f"{call.number}: {call.outcome}", title_justify="left", expand=True)
    table.add_column("lane", no_wrap=True)
    table.add_column("delay", justify="right", no_wrap=True)
    for name in ("recognised", "translated", "heard"):
        table.add_column(name, ratio=1, overflow="fold")
    for row in call.utterances:
        name, style = _LANES[row.lane]
        good = row.outcome == "interpreted" and row.delay_s.total is not None
        table.add_row(
            Text(name, style=style),
            _seconds(row.delay_s.total),
            row.recognised,
            row.translated if good else Text(row.outcome, style="red"),
            row.heard,
        )
    return table


def summary_table(report: Report) -> Table:
    """One line a call and the totals."""
    table = Table(title="Calls", title_justify="left")
    for name in ("call", "language", "decided in", "outcome"):
        table.add_column(name, no_wrap=True)
    for name in ("utterances", "delay p50", "delay max", "values", "greeting", "silence caller", "silence agent"):
        table.add_column(name, justify="right")
    for number, call in enumerate(report.calls, 1):
        delays = sorted(row.delay_s.total for row in call.utterances if row.delay_s.total is not None)
        good = sum(row.outcome == "interpreted" for row in call.utterances)
        valued = [row for row in call.utterances if row.values_expected]
        right = sum(set(row.values_expected) == set(row.values_heard) for row in valued)
        language = call.language
        known = language.expected is None or language.expected == language.detected
        table.add_row(
            f"{number} {call.number}",
            Text(
                f"{language.detected or '-'}" if known else f"{language.detected or '-'}, not {language.expected}",
                style="green" if known else "red",
            ),
            f"utterance {language.detected_in_utterance}" if language.detected_in_utterance else "-",
            Text(call.outcome if call.through else f"{call.outcome} {call.closed_early}", style="green" if call.through else "red"),
            f"{good}/{len(call.utterances)}",
            _seconds(delays[len(delays) // 2] if delays else None),
            _seconds(delays[-1] if delays else None),
            f"{right}/{len(valued)}" if valued else "-",
            _seconds(call.first_audio_s),
            _seconds(call.longest_silence_s.caller),
            _seconds(call.longest_silence_s.agent),
        )
    return table


def totals(report: Report) -> Table:
    """Delays per lane and the counts the exit status follows from."""
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
