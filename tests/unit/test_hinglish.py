from pathlib import Path

import pytest

from appliance.interpreter.hinglish import Hinglish, LexiconError, read_lexicon

ROOT = Path(__file__).parents[2]
LEXICON = ROOT / "models/lexicon/it_terms.tsv"
HINGLISH = Hinglish(read_lexicon(LEXICON))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("मेरा पासवर्ड रिसेट करो", "मेरा password reset करो"),
        ("आपका password reset हो गया है.", "आपका password reset हो गया है."),
        ("मेरा प्रिंटर, खराब है।", "मेरा printer, खराब है."),
        ("एरर ४०७ दिख रहा है ।", "error 407 दिख रहा है."),
        ("पेन ड्राइव निकालिए", "pen drive निकालिए"),
        ("पुरानी फ़ाइलें डिलीट कीजिए", "पुरानी files delete कीजिए"),
        ("यूज़र और यूजर", "user और user"),
        ("बार बार वही हो रहा है", "बार बार वही हो रहा है"),
        ("वाई-फाई ऑन कीजिए?", "wifi on कीजिए?"),
        ("ticket   45721", "ticket 45721"),
        ("", ""),
    ],
)
def test_canonical(text: str, expected: str) -> None:
    assert HINGLISH.canonical(text) == expected
    assert HINGLISH.canonical(expected) == expected


def test_phrasebook_text_is_canonical_already() -> None:
    """No Hindi word of the domain is mistaken for an English one."""
    rows = (ROOT / "models/phrasebook/templates.tsv").read_text(encoding="utf-8").splitlines()
    column = rows[0].split("\t").index("hinglish")
    for row in rows[1:]:
        sentence = row.split("\t")[column]
        assert HINGLISH.canonical(sentence) == sentence


def test_a_phrase_does_not_reach_across_a_comma() -> None:
    assert HINGLISH.canonical("पेन, ड्राइव") == "पेन, ड्राइव"


def test_the_lexicon_has_the_terms_of_the_domain() -> None:
    terms = set(read_lexicon(LEXICON).values())
    assert len(terms) >= 150
    assert {"printer", "password", "login", "VPN", "router", "ticket", "OTP", "restart"} <= terms


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "term, devanagari, kind"),
        ("a\tb\n", "term, devanagari, kind"),
        ("term\tdevanagari\tkind\nprinter\tप्रिंटर\n", ":2: 3 filled columns"),
        ("term\tdevanagari\tkind\nprinter\tप्रिंटर\tx\nplotter\tप्रिंटर\tx\n", ":3: 'प्रिंटर' already stands for 'printer'"),
    ],
)
def test_a_bad_lexicon_is_named_with_its_line(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "terms.tsv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(LexiconError, match=message):
        read_lexicon(path)


def test_a_missing_lexicon_is_named(tmp_path: Path) -> None:
    with pytest.raises(LexiconError, match=r"missing\.tsv"):
        read_lexicon(tmp_path / "missing.tsv")
