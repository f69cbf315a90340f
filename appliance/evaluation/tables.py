"""Scores as rows of text, for the terminal and for `docs/models.md`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.evaluation.results import EvaluationReport, Scores

NONE = "-"

Columns = Sequence[tuple[str, str]]
"""Heading and name of a field of `Scores`."""

RECOGNITION: Columns = (
    ("rows", "rows"),
    ("WER", "wer"),
    ("CER", "cer"),
    ("exact", "exact"),
    ("numbers", "numbers"),
    ("values", "values"),
    ("language", "language"),
    ("refused", "refused_in_domain"),
    ("outside refused", "refused_out_of_domain"),
    ("nothing heard", "silent"),
    ("RTF", "real_time_factor"),
    ("p50", "latency_p50_s"),
    ("p95", "latency_p95_s"),
)
TRANSLATION: Columns = (
    ("chrF", "chrf"),
    ("exact after translation", "translation_exact"),
    ("numbers after translation", "translation_numbers"),
    ("values after translation", "translation_values"),
)
_LATENCIES = frozenset({"latency_p50_s", "latency_p95_s"})
_PLAIN = frozenset({"rows", "out_of_domain"})


def columns(kind: str) -> Columns:
    """What can be told of an evaluation of this kind."""
    if kind == "mt":
        renamed = [(heading.removesuffix(" after translation"), name) for heading, name in TRANSLATION]
        return (RECOGNITION[0], *renamed, ("refused", "refused_in_domain"), *RECOGNITION[-2:])
    return (*RECOGNITION, *TRANSLATION)


def table(scores: Mapping[str, Scores], chosen: Columns) -> tuple[list[str], list[list[str]]]:
    """Heads and cells; columns with nothing in them are left out."""
    kept = [item for item in chosen if any(getattr(row, item[1]) is not None for row in scores.values())]
    return ["", *(heading for heading, _ in kept)], [
        [group, *(cell(name, getattr(row, name)) for _, name in kept)] for group, row in scores.items()
    ]


def cell(name: str, value: float | None) -> str:
    """A share as percent, a latency in milliseconds, other figures as they are."""
    if value is None:
        return NONE
    if name in _PLAIN:
        return str(value)
    if name in _LATENCIES:
        return f"{1000 * value:.0f} ms"
    if name == "chrf":
        return f"{value:.1f}"
    if name == "real_time_factor":
        return f"{value:.3f}"
    return f"{100 * value:.1f} %"


def confusion(table: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[list[str]]]:
    """Right language by row, found language by column."""
    found = sorted({code for row in table.values() for code in row} | set(table))
    return ["right / found", *found], [[code, *(str(row.get(other, 0)) for other in found)] for code, row in sorted(table.items())]


def markdown(report: EvaluationReport) -> str:
    """The report as a section of a document."""
    engines = ", ".join(f"{kind} {used.engine} {used.model}".rstrip() for kind, used in report.engines.items())
    how = [report.line] if report.line else []
    if report.kind != "mt":
        how.append("language given" if report.held else "language found")
    lines = [
        f"### {report.kind}: {report.manifest}{''.join(f', {item}' for item in how)}",
        "",
        f"{report.started[:10]}; engines: {engines}.",
        "",
        grid(*table(report.scores, columns(report.kind))),
    ]
    if report.confusion:
        lines += ["", grid(*confusion(report.confusion))]
    return "\n".join(lines)


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
