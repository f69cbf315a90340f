"""The conversations of the demo, one file a call (`ta.tsv`, ...), composed from the phrasebook.

Each row is one turn: `speaker`, `sentences` (what it is composed of: `template slot=value ...`, several divided by `;`),
and what follows from that: `said` (in the speaker's language), `heard` (what the other should hear) and `values` (the slot
values in it, divided by `|`). Every sentence with slots belongs to the phrasebook's test split.

    python -m appliance.phone.demo.scripts      writes the last three columns anew, after the phrasebook has changed
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.events import Party
from appliance.phone.errors import DemoScriptError
from appliance.training import phrasebook
from appliance.training.phrasebook import Example, Phrasebook, SlotValue

FOLDER = Path(__file__).parent
LANGUAGES = ("ta", "te", "kn", "mr", "hi")
"""In the order of the calls."""
AGENT_LANGUAGE = "hinglish"
COLUMNS = ("speaker", "sentences", "said", "heard", "values")


@dataclass(frozen=True, slots=True)
class Line:
    """One turn."""

    speaker: Party
    sentences: str
    said: str
    heard: str
    values: tuple[str, ...]


def load(language: str, folder: Path = FOLDER) -> list[Line]:
    """The conversation with a caller of this language.

    Raises:
        DemoScriptError: naming file and line.
    """
    path = folder / f"{language}.tsv"
    lines = []
    for number, row in _rows(path):
        speaker = row["speaker"]
        if speaker not in ("caller", "agent"):
            raise DemoScriptError(f"{path}:{number}: speaker {speaker!r}, allowed: caller, agent")
        if not row["said"] or not row["heard"]:
            raise DemoScriptError(f"{path}:{number}: nothing is said or heard", hint="python -m appliance.phone.demo.scripts")
        party: Party = "caller" if speaker == "caller" else "agent"
        lines.append(Line(party, row["sentences"], row["said"], row["heard"], tuple(filter(None, row["values"].split("|")))))
    return lines


def compose(speaker: Party, sentences: str, language: str, book: Phrasebook) -> tuple[Line, list[Example]]:
    """The turn that `sentences` describes, and the phrasebook's examples it consists of.

    Raises:
        DemoScriptError: naming what the phrasebook does not have.
    """
    examples = [_example(sentence, book) for sentence in sentences.split(";")]
    source, target = (language, AGENT_LANGUAGE) if speaker == "caller" else (AGENT_LANGUAGE, language)
    values = dict.fromkeys(value.text[target] for example in examples for value in example.values)
    said, heard = (" ".join(example.text[code] for example in examples) for code in (source, target))
    return Line(speaker, sentences, said, heard, tuple(values)), examples


def rewrite(book: Phrasebook, folder: Path = FOLDER) -> None:
    """Write the columns that follow from `sentences` anew."""
    for language in LANGUAGES:
        path = folder / f"{language}.tsv"
        composed = []
        for _, row in _rows(path):
            party: Party = "caller" if row["speaker"] == "caller" else "agent"
            composed.append(compose(party, row["sentences"], language, book)[0])
        rows = [
            "\t".join(COLUMNS),
            *("\t".join([line.speaker, line.sentences, line.said, line.heard, "|".join(line.values)]) for line in composed),
        ]
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _example(sentence: str, book: Phrasebook) -> Example:
    name, *assignments = sentence.split()
    template = next((item for item in book.templates if item.id == name), None)
    if template is None:
        raise DemoScriptError(f"the phrasebook has no template {name!r}")
    given = dict(assignment.split("=", 1) for assignment in assignments)
    if sorted(given) != sorted(template.slots):
        raise DemoScriptError(f"{sentence.strip()!r}: the slots of {name} are {', '.join(template.slots) or 'none'}")
    return book.fill(template, [_value(slot, given[slot], book) for slot in template.slots])


def _value(slot: str, name: str, book: Phrasebook) -> SlotValue:
    if slot in book.patterns:
        return SlotValue(slot, name, dict.fromkeys(phrasebook.LANGUAGES, name))
    for value in book.values[slot]:
        if value.value == name:
            return value
    raise DemoScriptError(f"slot {slot} has no value {name!r}, allowed: {', '.join(value.value for value in book.values[slot])}")


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        file = path.open(encoding="utf-8", newline="")
    except FileNotFoundError:
        raise DemoScriptError(f"{path}: there is no such conversation") from None
    with file:
        reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tuple(next(reader, ())) != COLUMNS:
            raise DemoScriptError(f"{path}:1: columns must be {', '.join(COLUMNS)}")
        for number, row in enumerate(reader, start=2):
            if len(row) != len(COLUMNS):
                raise DemoScriptError(f"{path}:{number}: {len(row)} columns, expected {len(COLUMNS)}")
            yield number, dict(zip(COLUMNS, row, strict=True))


if __name__ == "__main__":
    rewrite(phrasebook.load(Path(sys.argv[1] if len(sys.argv) > 1 else "models/phrasebook")))
