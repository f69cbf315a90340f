"""No secret is compared by an operator, whose time tells how much of a guess was right: seen in the code, not in time."""

from __future__ import annotations

import ast
import base64
import hmac
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import appliance
from appliance.gateway import access
from appliance.gateway.access import Credentials

SECRET = re.compile(r"password|secret|token|authori[sz]ation|credential|digest", re.IGNORECASE)
"""Names of what must not be compared by `==`, `!=` or `in`."""
OF_TEXT = {"engines", "training"}
"""Parts whose tokens are pieces of words."""


def compared(tree: ast.AST) -> Iterator[ast.Compare]:
    """Comparisons of two values, one of which bears the name of a secret."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and any(isinstance(kind, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for kind in node.ops):
            sides = [node.left, *node.comparators]
            literal = any(isinstance(side, ast.Constant) for side in sides)  # a word of the program's own is no secret
            if not literal and any(SECRET.search(ast.unparse(side)) for side in sides):
                yield node


def test_no_secret_is_compared_by_an_operator() -> None:
    package = Path(appliance.__file__).parent
    modules = [module.relative_to(package) for module in sorted(package.rglob("*.py"))]
    found = [
        f"{module}:{node.lineno}: {ast.unparse(node)}"
        for module in modules
        if module.parts[0] not in OF_TEXT
        for node in compared(ast.parse((package / module).read_text()))
    ]
    assert Path("gateway/access.py") in modules
    assert found == []


def test_the_search_finds_what_it_looks_for() -> None:
    assert len(list(compared(ast.parse("given == self.password\nx in tokens\nhmac.digest(a) != b\nscheme == 'basic'\na == b")))) == 3


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + base64.b64encode(b"setu:right").decode(),
        "basic " + base64.b64encode(b"setu:right").decode(),
        "Bearer " + base64.b64encode(b"setu:right").decode(),
        "Basic " + base64.b64encode(b"setu:wrong").decode(),
        "Basic " + base64.b64encode(b"s").decode(),
        "Basic " + base64.b64encode(b"setu:right" + bytes(10_000)).decode(),
        "Basic \xff\xfe====",
    ],
)
def test_whatever_is_sent_the_same_work_is_done_on_digests_of_one_length(header: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        asked.append((one, other))
        return hmac.compare_digest(one, other)

    class Watched:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(access, "hmac", Watched)
    right = header is not None and header.lower().startswith("basic ") and header.endswith(base64.b64encode(b"setu:right").decode())
    assert Credentials("setu", "right").match(header) is right
    assert [(len(one), len(other)) for one, other in asked] == [(32, 32)]
