"""`appliance bundle create --release`: what is bundled is what was committed, not what lies around."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.bundle import BundleError, making
from appliance.bundle.making import Request, create
from appliance.bundle.revision import export
from appliance.cli import bundle as bundle_command
from appliance.cli.frame import appliance

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

PACK = """\
import json, pathlib, sys
top = pathlib.Path(__file__).parents[1]
folder = pathlib.Path(sys.argv[1])
folder.mkdir()
(folder / "a.tar.gz").write_text((top / "text").read_text())
(folder / "m.tar.gz").write_text("models")
print(json.dumps({"name": (top / "text").read_text(), "archive": str(folder / "a.tar.gz"), "models_archive": str(folder / "m.tar.gz")}))
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits, the first of them the tag `one`, and a change that nobody committed."""
    top = tmp_path / "repository"
    (top / "scripts").mkdir(parents=True)
    (top / "scripts" / "release_archive.py").write_text(PACK)
    for name, value in {"GIT_AUTHOR_NAME": "n", "GIT_AUTHOR_EMAIL": "n@x", "GIT_COMMITTER_NAME": "n", "GIT_COMMITTER_EMAIL": "n@x"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(top), *words], check=True, capture_output=True)

    git("init", "--quiet")
    for text in ("one", "two"):
        (top / "text").write_text(text)
        (top / "requirements.lock").write_text(f"lock of {text}\n")
        git("add", ".")
        git("commit", "--quiet", "--message", text)
        git("tag", text)
    (top / "text").write_text("not committed")
    return top


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In place of mirrors and index: the lock each bundle was collected for."""
    locks: list[str] = []

    def collect(_root: Path, folder: Path, lock: Path) -> None:
        locks.append(lock.read_text())
        (folder / "debs").mkdir()
        (folder / "wheels").mkdir()
        (folder / "machine").write_text("x86_64\n")

    monkeypatch.setattr(making, "_collect", collect)
    monkeypatch.setattr(making, "fresh_root", lambda *_: Path("/nowhere"))
    return locks


def bundled(bundle: Path) -> tuple[str, str]:
    """The name in the manifest, and what the archive of the release has."""
    with tarfile.open(bundle) as archive:
        manifest, content = archive.extractfile("manifest.json"), archive.extractfile("release/a.tar.gz")
        assert manifest is not None
        assert content is not None
        return json.load(manifest)["release"]["name"], content.read().decode()


@pytest.mark.parametrize(("options", "text", "lock"), [(["--release", "one"], "one", "one"), ([], "not committed", "two")])
def test_what_is_in_the_bundle(
    repository: Path, collected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], text: str, lock: str
) -> None:
    monkeypatch.setattr(bundle_command, "REPOSITORY", repository)
    output = tmp_path / "site.bundle"
    told = CliRunner().invoke(appliance, ["bundle", "create", *options, "--key", str(tmp_path / "key"), "-o", str(output)])
    assert told.exit_code == 0, told.output
    assert f"packed the release {text}\n" in told.output
    assert bundled(output) == (text, text)
    assert collected == [f"lock of {lock}\n"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".bundle-")] == []


def test_a_commit_is_as_good_as_a_tag(repository: Path, tmp_path: Path) -> None:
    commit = subprocess.run(["git", "-C", str(repository), "rev-parse", "one"], capture_output=True, text=True, check=True).stdout.strip()
    assert (export(repository, commit[:12], tmp_path / "tree") / "text").read_text() == "one"
    assert not (tmp_path / "tree.tar").exists()


@pytest.mark.parametrize("release", ["three", "--all", "one:text"])
def test_what_is_no_release_is_refused_before_anything_is_fetched(
    repository: Path, collected: list[str], tmp_path: Path, release: str
) -> None:
    with pytest.raises(BundleError, match="has no release"):
        create(Request(repository, tmp_path / "x.bundle", tmp_path / "key", release=release), lambda _: None)
    assert collected == []
    assert not (tmp_path / "x.bundle").exists()


def test_a_release_from_before_there_were_bundles(repository: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "-C", str(repository), "rm", "--quiet", "scripts/release_archive.py"], check=True, capture_output=True)
    subprocess.run(["git", "-C", str(repository), "commit", "--quiet", "--message", "without"], check=True, capture_output=True)
    with pytest.raises(BundleError, match=r"cannot be bundled: it has no scripts/release_archive\.py"):
        export(repository, "HEAD", tmp_path / "tree")
