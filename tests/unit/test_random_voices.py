"""Drawn voices: what their variant files say, and that the real espeak-ng speaks with them."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from appliance.training import corpus, phrasebook, random_voices, recordings, speech

BOOK = Path(__file__).parents[2] / "models" / "phrasebook"
KEYWORDS = {
    *("language", "name", "pitch", "flutter", "roughness", "voicing", "consonants", "formant", "breath", "breathw"),
    *("klatt", "tone", "echo", "speed", "intonation", "stressAdd", "stressAmp"),
}


@pytest.fixture(scope="module")
def book() -> phrasebook.Phrasebook:
    return phrasebook.load(BOOK)


def attributes(text: str) -> dict[str, list[int]]:
    """Values of a variant by attribute; of `formant` those of number 1 to 3 are under `formant 1` and so on."""
    found: dict[str, list[int]] = {}
    for line in text.splitlines()[2:]:
        keyword, *values = line.split()
        key = f"{keyword} {values.pop(0)}" if keyword == "formant" else keyword
        found[key] = [int(value) for value in values]
    return found


def test_a_number_is_always_the_same_voice() -> None:
    assert random_voices.variant(7) == random_voices.variant(7)
    assert len({random_voices.variant(number) for number in range(300)}) == 300


def test_every_voice_is_within_what_a_listener_follows() -> None:
    for number in range(1500):
        text = random_voices.variant(number)
        assert {line.split()[0] for line in text.splitlines()} <= KEYWORDS, "espeak-ng complains about words it does not know"
        assert text.startswith("language variant\n"), "espeak-ng takes a file without it for no voice"
        values = attributes(text)
        low, high = values["pitch"]
        assert 60 <= low < high <= 400
        resonances = [values[f"formant {vowel}"] for vowel in (1, 2, 3)]
        assert all(65 <= frequency <= 165 and height >= 55 and 75 <= width <= 155 for frequency, height, width, _ in resonances)
        frequencies = [frequency for frequency, *_ in resonances]
        assert max(frequencies) / min(frequencies) < 1.42, "vowels would become others"
        assert values["voicing"][0] >= 40
        assert max(values.get("breath", [0])) <= 45
        assert len(values.get("breath", range(8))) == len(values.get("stressAdd", range(8))) == 8


def test_voices_differ_widely() -> None:
    pitches = [attributes(random_voices.variant(number))["pitch"][0] for number in range(400)]
    assert min(pitches) < 80
    assert max(pitches) > 220
    whole = "".join(random_voices.variant(number) for number in range(400))
    assert all(f"\n{keyword} " in whole for keyword in KEYWORDS - {"language"})


def test_drawn_voices_are_only_trained_on(book: phrasebook.Phrasebook) -> None:
    with pytest.raises(ValueError, match="own voices"):
        corpus.build(book, BOOK / "offtopic.tsv", "test", 0.5)


def test_other_speech_is_drawn_as_if_there_were_no_drawn_voices(book: phrasebook.Phrasebook) -> None:
    plain = corpus.build(book, BOOK / "offtopic.tsv", "dev")
    manners = [plain.manner("ta", random.Random(seed)) for seed in range(200)]
    assert {manner.voice.partition("+")[2] for manner in manners} <= set(speech.VOICES["dev"])
    assert all(25 <= manner.pitch <= 75 for manner in manners)


def test_a_share_of_speech_is_by_drawn_voices_and_goes_higher_and_lower(book: phrasebook.Phrasebook) -> None:
    varied = corpus.build(book, BOOK / "offtopic.tsv", "train", 0.75)
    rng = random.Random(3)
    manners = [varied.manner("kn", rng) for _ in range(1000)]
    variants = [manner.voice.partition("+")[2] for manner in manners]
    drawn = [variant for variant in variants if variant.startswith(".")]
    assert 700 < len(drawn) < 800
    assert len(set(drawn)) > 600
    assert set(variants) - set(drawn) <= set(speech.VOICES["train"])
    assert min(manner.pitch for manner in manners) < 20
    assert max(manner.pitch for manner in manners) > 80


SPEAK = """
import sys
from pathlib import Path
import numpy as np
from appliance.training import random_voices, speech

folder = Path(sys.argv[1])
installed = speech.installed_data()
random_voices.write(installed, folder)
pitch = {1: 80, 2: 80, 3: 240}
for number, hertz in pitch.items():
    place = folder / "espeak-ng-data" / "voices" / "!v" / random_voices.name(number)
    place.write_text(f"language variant\\nname drawn\\npitch {hertz} {hertz + 10}\\nflutter 0\\n")
speech.use_data(folder)
assert speech.installed_data() == folder / "espeak-ng-data"

def say(language, variant):
    return speech.say("10 20 30", speech.Manner(f"{language}+{variant}")).samples.astype(float)

def period(samples):
    middle = samples[len(samples) // 3 : 2 * len(samples) // 3]
    alike = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    return int(np.argmax(alike[20:200])) + 20

def hertz(variant):
    return np.median([8000 / period(part) for part in np.array_split(say("ta", variant), 6)])

low, same, high = (hertz(random_voices.name(number)) for number in pitch)
assert abs(low - same) < 15 and high > 2 * low, (low, same, high)
for language in ("ta", "te", "kn", "mr", "hi"):  # none of them crowded out of the library's list
    spoken = say(language, random_voices.name(4))
    assert len(spoken) > 4000, language
assert len(say("ta", "f1")) > 4000
try:
    say("ta", ".drawn/none")
except speech.SpeechError as error:
    print(error)
"""


def test_espeak_ng_speaks_with_drawn_voices_beside_its_own(tmp_path: Path) -> None:
    """In a process of its own: the data that the library reads belong to the process."""
    done = subprocess.run([sys.executable, "-c", SPEAK, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "espeak-ng has no variant '.drawn/none'"
    assert not done.stderr, "espeak-ng complains about a file, or that its list of voices is full"


def test_recordings_by_drawn_voices_join_those_made_before(tmp_path: Path, book: phrasebook.Phrasebook) -> None:
    off_topic = BOOK / "offtopic.tsv"
    plain = recordings.make(corpus.build(book, off_topic, "train"), 6, tmp_path / "plain", seed=1, processes=1)
    drawn = recordings.make(corpus.build(book, off_topic, "train", 1.0), 6, tmp_path / "drawn", seed=2, processes=1)
    assert all(clip.voice.partition("+")[2].startswith(".drawn/") for clip in drawn.clips)
    assert not any(".drawn" in clip.voice for clip in plain.clips)
    joined = plain + drawn
    assert joined.clips == plain.clips + drawn.clips
    assert drawn.clips
    for index in range(len(drawn.clips)):
        np.testing.assert_array_equal(joined[len(plain.clips) + index], drawn[index])
        assert np.abs(drawn[index]).max() > 10_000
    for index in range(len(plain.clips)):
        np.testing.assert_array_equal(joined[index], plain[index])
