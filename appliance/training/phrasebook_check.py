"""Check phrasebook files: `python -m appliance.training.phrasebook_check DIR [DIR ...]`.

Every fault is printed as `file:line: what is wrong, what is allowed`; the exit status is 1 when there is one. A later
directory (a company's own phrasebook) may use the slots of the earlier ones.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.text.languages import language
from appliance.training.phrasebook import LANGUAGES

TEMPLATE_COLUMNS = ("id", "side", "intent", *LANGUAGES)
SLOT_COLUMNS = ("slot", "value", *LANGUAGES)
OFF_TOPIC_COLUMNS = ("language", "text")
SIDES = ("caller", "agent", "both")

LONGEST_SENTENCE = 14  # words, a slot counting as one
LONGEST_VALUE = 4  # words
MOST_SLOTS = 2
MARKED_FROM = 3
"""Words from which on a sentence needs its final mark; shorter ones may be a lone value."""
OFF_TOPIC_SENTENCES = 100
"""Fewest off-topic sentences per language, where a directory has that file."""

_SLOT = re.compile(r"\{(\w+)\}")
_LONE_SLOT = re.compile(r"(?:^|(?<= ))\{\w+\}(?=$|[ .,?])")
_DIGIT_PATTERN = re.compile(r"\[0-9\]\{\d+(?:,\d+)?\}")
_ID = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class _Row:
    path: Path
    line: int
    cells: dict[str, str]

    def fault(self, message: str) -> Fault:
        return Fault(self.path, self.line, message)


def check(*folders: Path) -> list[Fault]:
    """All faults of the phrasebooks, in the order of files and lines."""
    faults: list[Fault] = []
    templates: list[_Row] = []
    slots: list[_Row] = []
    for folder in folders:
        templates += _rows(folder / "templates.tsv", TEMPLATE_COLUMNS, faults)
        if (folder / "slots.tsv").exists():
            slots += _rows(folder / "slots.tsv", SLOT_COLUMNS, faults)
        if (folder / "offtopic.tsv").exists():
            faults += _off_topic_faults(_rows(folder / "offtopic.tsv", OFF_TOPIC_COLUMNS, faults), folder / "offtopic.tsv")
    known = {row.cells["slot"] for row in slots}
    for row in templates:
        faults += (row.fault(message) for message in _template_faults(row.cells, known))
    for row in slots:
        faults += (row.fault(message) for message in _value_faults(row.cells))
    faults += _duplicates(templates, ("id", "intent", *LANGUAGES))
    for slot in sorted(known):
        of_slot = [row for row in slots if row.cells["slot"] == slot]
        digits = [row for row in of_slot if row.cells["value"].startswith("[")]
        if digits and len(of_slot) > 1:
            faults.append(digits[0].fault(f"slot {slot!r} mixes a digit pattern with other values; a digit slot has one line"))
            continue
        faults += _duplicates(of_slot, ("value", *LANGUAGES) if not digits else ())
        if not any("{" + slot + "}" in row.cells["hinglish"] for row in templates):
            faults.append(of_slot[0].fault(f"slot {slot!r} is used by no template"))
    return sorted(set(faults))


def _rows(path: Path, columns: Sequence[str], faults: list[Fault]) -> list[_Row]:
    """The well-formed lines of a file; faults of the others are added to `faults`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(Fault(path, 1, f"cannot be read as UTF-8: {error}"))
        return []
    if tuple(lines[0].split("\t")) != tuple(columns):
        faults.append(Fault(path, 1, f"columns are {lines[0].split()}, expected {list(columns)} with tabs between them"))
        return []
    if lines[-1]:
        faults.append(Fault(path, len(lines), "the last line has no line end"))
        lines.append("")
    rows = []
    for number, line in enumerate(lines[1:-1], start=2):
        cells = line.split("\t")
        if len(cells) != len(columns):
            faults.append(Fault(path, number, f"{len(cells)} columns, expected {len(columns)}"))
        elif empty := [name for name, cell in zip(columns, cells, strict=True) if not cell.strip()]:
            faults.append(Fault(path, number, f"empty cell: {', '.join(empty)}"))
        else:
            rows.append(_Row(path, number, dict(zip(columns, cells, strict=True))))
    return rows


def _template_faults(cells: dict[str, str], known: set[str]) -> Iterator[str]:
    if cells["side"] not in SIDES:
        yield f"side {cells['side']!r}, allowed: {', '.join(SIDES)}"
    for name in ("id", "intent"):
        if not _ID.fullmatch(cells[name]):
            yield f"{name} {cells[name]!r}, allowed: small letters, digits and _"
    expected = sorted(_SLOT.findall(cells["hinglish"]))
    if len(expected) > MOST_SLOTS:
        yield f"{len(expected)} slots, allowed: {MOST_SLOTS}"
    if len(set(expected)) != len(expected):
        yield "a slot is used twice in one sentence"
    for slot in sorted(set(expected) - known):
        yield f"unknown slot {slot!r}, allowed: {', '.join(sorted(known))}"
    marks = {cells[code][-1] for code in LANGUAGES if cells[code][-1] in ".?"}
    if len(marks) > 1:
        yield "the languages do not agree whether it ends with . or ?"
    for code in LANGUAGES:
        text = cells[code]
        if sorted(_SLOT.findall(text)) != expected:
            yield f"{code}: slots {sorted(_SLOT.findall(text))}, hinglish has {expected}"
        if len(_LONE_SLOT.findall(text)) != len(_SLOT.findall(text)):
            yield f"{code}: a slot must stand alone between spaces, endings go into a word of their own"
        plain = _SLOT.sub("x", text)
        count = len(plain.split())
        if count > LONGEST_SENTENCE:
            yield f"{code}: {count} words, allowed: {LONGEST_SENTENCE}"
        if count >= MARKED_FROM and plain[-1] not in ".?":
            yield f"{code}: no final . or ?"
        if re.search(r"[.?].", plain):
            yield f"{code}: . or ? inside the sentence, allowed is one sentence with commas"
        if re.search(r"\d", plain):
            yield f"{code}: digits outside slots; use a slot"
        yield from _writing_faults(plain, code, ".,?")


def _value_faults(cells: dict[str, str]) -> Iterator[str]:
    if cells["value"].startswith("["):
        if not _DIGIT_PATTERN.fullmatch(cells["value"]):
            yield f"value {cells['value']!r}, allowed: [0-9]{{n}} or [0-9]{{n,m}}"
        if wrong := [code for code in LANGUAGES if cells[code] != "*"]:
            yield f"{', '.join(wrong)}: a digit pattern has * in every language"
        return
    numbers = {code: re.findall(r"\d+", cells[code]) for code in LANGUAGES}
    for code in LANGUAGES:
        if len(cells[code].split()) > LONGEST_VALUE:
            yield f"{code}: more than {LONGEST_VALUE} words"
        if numbers[code] != numbers["hinglish"]:
            yield f"{code}: numbers {numbers[code]}, hinglish has {numbers['hinglish']}"
        yield from _writing_faults(re.sub(r"[0-9]", "x", cells[code]), code, "")


def _writing_faults(text: str, code: str, marks: str) -> Iterator[str]:
    if text != unicodedata.normalize("NFC", text):
        yield f"{code}: not in Unicode normal form NFC"
    if text != " ".join(text.split()):
        yield f"{code}: spaces at the ends or doubled"
    if re.search(rf"\s[{re.escape('.,?')}]|,(?=\S)|,$", text):
        yield f"{code}: a comma or mark must follow its word, with a space after a comma"
    own = language(code)
    strange = sorted(
        {
            character
            for character in text
            if not (
                character == " "
                or character in marks
                or (character.isascii() and character.isalpha())
                or own.first <= ord(character) <= own.last
            )
            or character in "\u0964\u0965"
            or (not character.isascii() and character.isdecimal())
        }
    )
    if strange:
        names = ", ".join(f"{character!r} U+{ord(character):04X}" for character in strange)
        yield f"{code}: {names}, allowed: {own.script} and Latin letters, space{' and ' + marks if marks else ''}"


def _off_topic_faults(rows: Sequence[_Row], path: Path) -> Iterator[Fault]:
    counts = dict.fromkeys(LANGUAGES, 0)
    for row in rows:
        code = row.cells["language"]
        if code not in counts:
            yield row.fault(f"language {code!r}, allowed: {', '.join(LANGUAGES)}")
            continue
        counts[code] += 1
        for message in _writing_faults(re.sub(r"[0-9]", "x", row.cells["text"]), code, ".,?"):
            yield row.fault(message)
    for code, count in counts.items():
        if count < OFF_TOPIC_SENTENCES:
            yield Fault(path, 1, f"{count} sentences in {code}, at least {OFF_TOPIC_SENTENCES} are needed")
    yield from _duplicates(rows, ("text",), apart_by="language")


def _duplicates(rows: Sequence[_Row], columns: Sequence[str], *, apart_by: str = "") -> Iterator[Fault]:
    """Cells of a column that differ in letter case and punctuation at most."""
    for name in columns:
        seen: dict[tuple[str, str], _Row] = {}
        for row in rows:
            key = (row.cells[apart_by] if apart_by else "", re.sub(r"[\s.,?]+", " ", row.cells[name]).strip().casefold())
            if key in seen:
                yield row.fault(f"{name} {row.cells[name]!r} is already in {seen[key].path.name}:{seen[key].line}")
            seen.setdefault(key, row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR")
    faults = check(*parser.parse_args().folders)
    for fault in faults:
        print(fault)  # noqa: T201
    if faults:
        sys.exit(1)
    print("no fault found")  # noqa: T201


if __name__ == "__main__":
    main()
