"""What was heard is cut where it may be cut, and slot values are looked for in it as whole words."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.phone import heard


@pytest.mark.parametrize(
    ("text", "value", "found"),
    [
        ("आपका ticket number 48213 है.", "48213", True),
        ("आपका ticket number 48 213 है.", "48213", True),
        ("आपका ticket number 482134 है.", "48213", False),
        ("code 1 48213.", "48213", True),
        ("30 minute लगेंगे", "30", True),
        ("130 minute लगेंगे", "30", False),
        ("error 407, 5 minute", "407", True),
        ("Chennai branch में", "chennai", True),
        ("कोयंबटूर branch में Outlook नहीं खुल रहा", "Outlook", True),
        ("सुबह 10 बजे call कीजिए", "सुबह 10 बजे", True),
        ("शाम 10 बजे call कीजिए", "सुबह 10 बजे", False),
        ("", "5", False),
    ],
)
def test_values_are_found_as_whole_words(text: str, value: str, found: bool) -> None:
    assert heard.values_in(text, (value,)) == ((value,) if found else ())


def test_long_audio_is_cut_in_its_pauses() -> None:
    rng = np.random.default_rng(3)
    speech = [(rng.standard_normal(round(length * 8000)) * 3000) for length in (4.0, 4.0, 4.0, 3.0)]
    samples = np.concatenate([np.concatenate([piece, np.zeros(4000)]) for piece in speech]).astype(np.int16)
    cut = heard.pieces(samples)
    assert np.array_equal(np.concatenate(cut), samples)
    assert [len(piece) / 8000 for piece in cut] == pytest.approx([8.75, 8.25], abs=0.1)
    assert heard.pieces(samples[: 8 * 8000])[0] is not None
    assert len(heard.pieces(samples[: 8 * 8000])) == 1
