"""Voices of our own for espeak-ng, drawn at random, so that the recogniser hears more kinds of speakers than the library has.

A voice is a variant file of espeak-ng, and its number decides everything in it: the same number is the same voice everywhere.
The ranges are those of speakers (length of the vocal tract, base pitch, hoarseness, age) and of the way to the telephone
(tone, echo). They end where a listener would no longer follow; espeak-ng's own variants go further in places.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

COUNT = 8000
"""Number of voices."""
DATA = "espeak-ng-data"
_FOLDER = ".drawn"
"""Within `voices/!v`. Hidden from the list that espeak-ng makes of its voices, which has room for 350 and drops languages beyond."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A kind of speaker, with the range of each property."""

    pitch: tuple[float, float]
    """Base, Hz; what espeak-ng varies while speaking lies above it."""
    tract: tuple[float, float]
    """Factor of all resonances, 1 for the library's plain voice, which is a man."""
    flutter: tuple[int, int] = (0, 8)
    roughness: tuple[int, int] = (0, 3)
    breath: tuple[int, int] = (0, 0)
    """Noise at the resonances; whispering begins at about 60."""
    voicing: tuple[float, float] = (70, 180)
    """Percent; loud against the consonants, or soft."""


SPEAKERS: dict[str, tuple[float, Speaker]] = {
    "man": (0.30, Speaker((70, 125), (0.90, 1.08))),
    "woman": (0.27, Speaker((125, 215), (1.05, 1.22))),
    "child": (0.08, Speaker((185, 245), (1.18, 1.36), flutter=(0, 10))),
    "old man": (0.07, Speaker((80, 150), (0.90, 1.06), (8, 25), (1, 6), (0, 10), (50, 120))),
    "old woman": (0.06, Speaker((120, 200), (1.00, 1.16), (8, 25), (1, 6), (0, 10), (50, 120))),
    "hoarse": (0.07, Speaker((70, 190), (0.92, 1.18), (0, 15), (3, 7), (10, 45), (40, 90))),
    "breathy": (0.07, Speaker((100, 210), (0.95, 1.20), (0, 8), (0, 2), (10, 40), (40, 100))),
    "unlike": (0.08, Speaker((65, 230), (0.84, 1.32), (0, 20), (0, 7), (0, 20), (50, 190))),
}
"""Kinds of speakers with their shares; `unlike` joins what hardly meets in one person."""

_SPREADS = (0.7, 1.3, 2.0, 3.0)
"""How far a voice strays from the even one; each voice has one."""
_KLATT = 0.25
"""Share of voices by the library's other synthesiser, whose sources of sound are numbered from 1 to 6."""


def name(number: int) -> str:
    """Name of a variant, as it stands behind the `+` of a voice."""
    return f"{_FOLDER}/{number}"


def variant(number: int) -> str:
    """Text of the variant file of a voice."""
    return draw(random.Random(f"voice {number}"))


def draw(rng: random.Random) -> str:
    """Text of a variant file."""
    speaker = rng.choices([kind for _, kind in SPEAKERS.values()], weights=[share for share, _ in SPEAKERS.values()])[0]
    spread = rng.choice(_SPREADS)
    base = rng.uniform(*speaker.pitch)
    lines = [
        "language variant",
        "name drawn",
        f"pitch {base:.0f} {base * rng.uniform(1.12, 1.6):.0f}",
        f"flutter {rng.randint(*speaker.flutter)}",
        f"roughness {rng.randint(*speaker.roughness)}",
        f"voicing {rng.uniform(*speaker.voicing):.0f}",
        f"consonants {_near(100, 0.30 * spread, rng, 45, 220)} {_near(95, 0.30 * spread, rng, 45, 220)}",
        *_formants(rng.uniform(*speaker.tract), spread, rng),
    ]
    if speaker.breath[1]:
        strength = rng.uniform(*speaker.breath)
        lines.append(_list("breath", (strength * rng.uniform(0.2, 1.0) for _ in range(8))))
        if rng.random() < 0.5:
            lines.append(_list("breathw", (width * rng.uniform(0.6, 1.6) for width in (150, 180, 220, 300, 400, 400, 500, 500))))
    if rng.random() < _KLATT:
        lines.append(f"klatt {rng.randint(1, 6)}")
    if rng.random() < 0.6:
        lines.append(_tone(spread, rng))
    if rng.random() < 0.15:
        lines.append(f"echo {rng.randint(15, 140)} {rng.randint(5, 35)}")
    if rng.random() < 0.35:
        lines.append(f"speed {rng.randint(85, 115)}")
    if rng.random() < 0.35:
        lines.append(f"intonation {rng.randint(1, 4)}")
    if rng.random() < 0.4:
        lines.append(_list("stressAdd", (rng.uniform(-25, 35) * spread for _ in range(8))))
    if rng.random() < 0.3:
        lines.append(_list("stressAmp", (usual + rng.uniform(-3, 3) * spread for usual in (16, 16, 20, 20, 20, 24, 24, 22))))
    return "\n".join(lines) + "\n"


def _formants(tract: float, spread: float, rng: random.Random) -> list[str]:
    """Frequency, height and width of each resonance in percent. The first three make the vowels and stay near each other."""
    lowest_sound = (_near(100, 0.1 * spread, rng, 70, 130), _near(100, 0.4 * spread, rng, 40, 190), _near(100, 0.3 * spread, rng, 60, 180))
    lines = [_list("formant 0", lowest_sound)]
    for number in range(1, 9):
        vowel = number <= 3
        strays = rng.lognormvariate(0, (0.04 if vowel else 0.08) * spread)
        frequency = 100 * tract * (max(0.85, min(1.17, strays)) if vowel else max(0.7, min(1.4, strays)))
        lowest = 58 if vowel else 15
        height = _near(100 - 4 * number, (0.16 if vowel else 0.45) * spread, rng, lowest, 150)
        width = _near(105, 0.28 * spread, rng, 75 if vowel else 50, 155 if vowel else 190)
        shift = max(-70.0, min(70.0, rng.gauss(0, 25 * spread))) if number == 2 or number > 3 else 0  # Hz
        lines.append(_list(f"formant {number}", (frequency, height, width, shift)))
    return lines


def _tone(spread: float, rng: random.Random) -> str:
    """Amplitudes (0 to 255) at some frequencies in Hz: a dull, shrill or hollow voice, or a telephone that makes it so."""
    first = amplitude = rng.uniform(120, 230)
    points = []
    for frequency in (rng.randint(200, 700), rng.randint(800, 1400), rng.randint(1600, 2400), rng.randint(2600, 3600)):
        points.append(f"{frequency} {round(amplitude)}")
        amplitude = max(0.35 * first, min(255.0, amplitude * rng.lognormvariate(-0.12, 0.35 * spread)))
    return "tone " + " ".join(points)


def _list(attribute: str, values: Iterable[float]) -> str:
    return f"{attribute} {' '.join(str(round(value)) for value in values)}"


def _near(middle: float, spread: float, rng: random.Random, least: int, most: int) -> int:
    """A number about `middle`, straying by a share of it."""
    return round(max(least, min(most, middle * rng.lognormvariate(0, spread))))


def write(installed: Path, folder: Path) -> None:
    """Make `folder`/espeak-ng-data: links to what is installed (its `espeak-ng-data`), and the drawn voices beside its variants."""
    data = folder / DATA
    variants = data / "voices" / "!v"
    drawn = variants / _FOLDER
    drawn.mkdir(parents=True)
    for part in (installed, installed / "voices", installed / "voices" / "!v"):
        place = data / part.relative_to(installed)
        for item in part.iterdir():
            if not (place / item.name).exists():
                (place / item.name).symlink_to(item)
    for number in range(COUNT):
        (drawn / str(number)).write_text(variant(number), encoding="utf-8")
