"""Numbers, ids and terms survive a translation exactly."""

from __future__ import annotations

import pytest

from appliance.text.placeholders import LIMIT, foreign_words, numbers, protect, restore, same_numbers


@pytest.mark.parametrize(
    ("text", "expected", "values"),
    [
        ("ticket नंबर 45123 {open}", "ticket नंबर <n1> {open}", ["45123"]),
        ("காலை 9 மணிக்கு error 404.", "காலை <n1> மணிக்கு error <n2>.", ["9", "404"]),
        ("code 00120045678901234567.", "code <n1>.", ["00120045678901234567"]),
        ("id AB12-77 है, 2 बार.", "id <n1> है, <n2> बार.", ["AB12-77", "2"]),
        ("10:30 पर, 1,200 रुपये.", "<n1> पर, <n2> रुपये.", ["10:30", "1,200"]),
        ("नंबर ४५१ है.", "नंबर <n1> है.", ["451"]),
        ("phone 98765 43210 पर, 5 बार", "phone <n1> पर, <n2> बार", ["98765 43210", "5"]),
        ("code 12 34B5 है", "code <n1> <n2> है", ["12", "34B5"]),
        ("error404", "<n1>", ["error404"]),
        ("mail help@example.co.in पर.", "mail <t1> पर.", ["help@example.co.in"]),
        ("see https://example.com/a1 now", "see <t1> now", ["https://example.com/a1"]),
        ("a <n1> in the text, 5", "a <t1> in the text, <n1>", ["<n1>", "5"]),
        ("வணக்கம்.", "வணக்கம்.", []),
        ("", "", []),
    ],
)
def test_protect(text: str, expected: str, values: list[str]) -> None:
    protected = protect(text)
    assert protected.text == expected
    assert list(protected.values.values()) == values


@pytest.mark.parametrize("text", ["error 404, 404 again.", "9, 8, 7, 6, 5, 4, 3, 2, 1", "mail a@b.in code 12", "<t1> <n1> 77", "AB1C2"])
def test_restore_of_the_same_text_is_the_identity(text: str) -> None:
    protected = protect(text)
    restored = restore(protected.text, protected.values)
    assert restored.text == text
    assert restored.exact


def test_numbers_may_change_places() -> None:
    protected = protect("2 error 404")
    assert restore("error <n2>, <n1>.", protected.values).text == "error 404, 2."


def test_lost_repeated_and_invented_values_are_told() -> None:
    values = protect("code 4521, 30 मिनट").values
    lost = restore("code <n1>.", values)
    assert (lost.missing, lost.exact) == (("30",), False)
    repeated = restore("<n1> <n1> <n2>", values)
    assert (repeated.repeated, repeated.exact) == (("4521",), False)
    invented = restore("code <n1>, <n2> मिनट <n5>.", values)
    assert (invented.text, invented.invented, invented.exact) == ("code 4521, 30 मिनट.", 1, False)


def test_more_numbers_than_placeholders_stay_in_the_text() -> None:
    text = ", ".join(str(index) for index in range(LIMIT + 3))
    protected = protect(text)
    assert len(protected.values) == LIMIT
    assert protected.text.endswith(f"<n{LIMIT}>, 8, 9, 10")
    assert restore(protected.text, protected.values).text == text


def test_glossary_terms_become_their_translation() -> None:
    glossary = {"field officer": "क्षेत्र अधिकारी", "field": "खेत", "कवच": "Kavach"}
    protected = protect("Field Officer का कवच, कवचधारी fielding field 7", glossary)
    assert protected.text == "<t1> का <t2>, कवचधारी fielding <t3> <n1>"
    assert restore(protected.text, protected.values).text == "क्षेत्र अधिकारी का Kavach, कवचधारी fielding खेत 7"


def test_a_glossary_term_with_digits_wins_over_the_number() -> None:
    assert protect("open SAP4 now, 12", {"sap4": "SAP4 portal"}).values == {"<t1>": "SAP4 portal", "<n1>": "12"}


def test_numbers_of_a_sentence() -> None:
    assert numbers("२ बार error 404, id A7.") == ["2", "404", "A7"]
    assert same_numbers("2 error 404", "error 404, 2")
    assert not same_numbers("404", "404 404")
    assert not same_numbers("404", "403")


def test_foreign_words_are_unlike_every_known_one() -> None:
    text = "Kavach में prnter error ERP-7, Printer <t1> है"
    assert foreign_words(text, {"printer", "error"}) == {"Kavach": "Kavach", "ERP": "ERP"}
    assert foreign_words("கவச் 404", set()) == {}
