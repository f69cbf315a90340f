import tomllib

import pytest

from appliance.config.keylines import key_lines, line_of

DOCUMENT = '''\
# [not.a.table]
top = 1

[a]
text = """
[a.fake]
b = 2
"""
quoted = 'x # y' # z = 1
"odd key\\u0041" = """""two quotes inside"""""
c.d = 1
list = [
  "]", # ]
  { name = "x", place = [1,
    2] },
]

[[a.rows]]
n = 1
[[a.rows]]
n = 2
[a.rows.deep]
m = 3
[b . "c d"]
e = { f = { g = 1 } }
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("top",), 2),
        (("a",), 4),
        (("a", "text"), 5),
        (("a", "quoted"), 9),
        (("a", "odd keyA"), 10),
        (("a", "c", "d"), 11),
        (("a", "list"), 12),
        (("a", "list", 0), 13),
        (("a", "list", 1, "name"), 14),
        (("a", "list", 1, "place", 1), 15),
        (("a", "rows", 0), 18),
        (("a", "rows", 0, "n"), 19),
        (("a", "rows", 1, "n"), 21),
        (("a", "rows", 1, "deep", "m"), 23),
        (("b", "c d"), 24),
        (("b", "c d", "e", "f", "g"), 25),
    ],
)
def test_line_of_every_kind_of_key(path: tuple[str | int, ...], line: int) -> None:
    assert key_lines(DOCUMENT)[path] == line


def test_what_looks_like_keys_inside_texts_and_comments_is_none() -> None:
    lines = key_lines(DOCUMENT)
    assert ("a", "fake") not in lines
    assert ("not",) not in lines
    assert ("z",) not in lines
    assert ("a", "z") not in lines


def test_every_key_of_the_parsed_document_has_a_line() -> None:
    lines = key_lines(DOCUMENT)

    def walk(value: object, path: tuple[str | int, ...]) -> None:
        if path:
            assert path in lines
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                walk(inner, (*path, number))

    walk(tomllib.loads(DOCUMENT), ())


def test_windows_line_ends_and_the_nearest_table_for_what_is_missing() -> None:
    lines = key_lines("[a]\r\nb = 1\r\n[[c]]\r\n[[c]]\r\nd = 2\r\n")
    assert lines["c", 1, "d"] == 5
    assert line_of(lines, ("c", 1, "missing")) == 4
    assert line_of(lines, ("nowhere",)) is None
