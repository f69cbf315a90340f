"""The lock files and the list of dependencies follow pyproject.toml."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def locked(file: str) -> dict[str, str]:
    """Text of each pinned requirement by package name."""
    text = (TOP / file).read_text()
    return {match[1]: match[0] for match in re.finditer(r"^([a-z0-9._-]+)==\S+(?:.*\\\n(?: .*\n)*)", text, re.MULTILINE)}


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("requirements.lock", names(PROJECT["dependencies"])),
        ("requirements-dev.lock", names(PROJECT["dependencies"]) | names(EXTRAS["dev"])),
    ],
)
def test_every_dependency_is_pinned_with_its_checksums(file: str, wanted: set[str]) -> None:
    pins = locked(file)
    assert wanted <= set(pins), "run: make lock"
    assert all("--hash=sha256:" in text for text in pins.values())


def test_a_node_and_its_tests_share_their_versions() -> None:
    def versions(file: str) -> set[str]:
        return set(re.findall(r"^([a-z0-9._-]+==\S+)", (TOP / file).read_text(), re.MULTILINE))

    assert versions("requirements.lock") <= versions("requirements-dev.lock")


@pytest.mark.parametrize("file", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_names_no_place_to_fetch_from_and_no_torch(file: str) -> None:
    text = (TOP / file).read_text()
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
    assert not {"torch", "torchaudio", "transformers"} & set(locked(file))


def test_every_direct_dependency_is_explained() -> None:
    explained = (TOP / "docs" / "dependencies.md").read_text()
    direct = names(PROJECT["dependencies"]).union(*(names(requirements) for requirements in EXTRAS.values()))
    missing = {name for name in direct if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", explained)}
    assert not missing
