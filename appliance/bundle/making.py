"""Makes a bundle: fetches packages and wheels as a fresh machine would, adds the release and its models, signs a list of checksums."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.bundle.errors import BundleError
from appliance.bundle.index import checksum, packages_index
from appliance.bundle.packages import ALL, SUITES
from appliance.bundle.revision import export
from appliance.stack import apt
from appliance.stack.root import CA_FOLDER, cache_folder

COLLECT = Path(__file__).with_name("collect.sh")
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
FORMAT = 1
COLLECT_S = 1800.0
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What goes into a bundle, and where it goes."""

    repository: Path
    """A checkout of this repository."""
    output: Path
    key: Path
    """Private ed25519 key (PEM); made, with the public one beside it as `KEY.pub`, when it is missing."""
    debian: str = "14"
    """Release of the machines the bundle is for."""
    profile: str = "starter"
    models: Path | None = None
    """tar.gz of the production models."""
    grafana: Path | None = None
    """Grafana's Debian package."""
    release: str = ""
    """Tag or commit that is bundled; empty takes the files as they are in the repository now."""


def create(request: Request, progress: Progress) -> Path:
    """Makes the bundle; a few minutes and about 700 MB. Needs root, debootstrap, openssl and the mirrors.

    Raises:
        BundleError: it could not be made.
    """
    if request.profile == "production" and request.models is None:
        raise BundleError("the production profile needs the file with its models", hint="--models FILE")
    if request.debian not in SUITES:
        raise BundleError(f"Debian {request.debian} is not supported; allowed: {', '.join(SUITES)}")
    _make_key(request.key)
    request.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=request.output.resolve().parent, prefix=".bundle-") as name:
        folder = Path(name)
        with _tree(request) as tree:
            release = _pack_release(tree, folder / "release")
            progress(f"packed the release {release['name']}")
            progress("fetching Debian packages and wheels")
            _collect(fresh_root(SUITES[request.debian], progress), folder, tree / "requirements.lock")
        if request.grafana is not None:
            shutil.copy(request.grafana, folder / "debs" / "grafana.deb")
        if request.models is not None:
            shutil.copy(request.models, folder / "production-models.tar.gz")
        (folder / "debs" / "Packages").write_text(packages_index(folder / "debs"))
        machine = (folder / "machine").read_text().strip()
        (folder / "machine").unlink()
        about = {"format": FORMAT, "debian": request.debian, "machine": machine, "profile": request.profile, "release": release}
        progress("signing")
        _write_manifest(folder, about, request.key)
        progress("writing the file")
        _write_tar(folder, request.output)
    return request.output


@contextmanager
def _tree(request: Request) -> Iterator[Path]:
    """The files that are bundled."""
    if not request.release:
        yield request.repository
        return
    with tempfile.TemporaryDirectory(prefix="setu-release-") as name:
        yield export(request.repository, request.release, Path(name) / "tree")


def fresh_root(suite: str, progress: Progress) -> Path:
    """The smallest Debian of that suite, made once: a real machine has more, so it needs nothing that this one does not.

    Raises:
        BundleError: debootstrap failed.
    """
    target = cache_folder() / f"bundle-{suite}"
    if target.is_dir():
        return target
    progress(f"making a minimal Debian {suite}")
    unfinished = target.with_suffix(".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    scripts = Path("/usr/share/debootstrap/scripts")
    script = scripts / suite if (scripts / suite).exists() else scripts / "sid"
    mirror, settings = apt.debian_mirror(), apt.transport_settings()
    command = ["debootstrap", "--variant=minbase", "--include=ca-certificates", suite, str(unfinished), mirror, str(script)]
    done = subprocess.run(command, env=apt.download_environment(settings), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BundleError(f"debootstrap ended with {done.returncode}: {' | '.join(done.stdout.splitlines()[-3:])}")
    (unfinished / "etc/apt/sources.list").write_text(f"deb {mirror} {suite} main\n")
    (unfinished / "etc/apt/apt.conf.d/90host").write_text(settings + 'Acquire::Check-Valid-Until "false";\nAPT::Sandbox::User "root";\n')
    for certificate in sorted(CA_FOLDER.glob("*.crt")):
        shutil.copy(certificate, unfinished / str(CA_FOLDER).lstrip("/"))
    unfinished.rename(target)
    return target


def _pack_release(repository: Path, folder: Path) -> dict[str, str]:
    found = _run([sys.executable, str(repository / "scripts" / "release_archive.py"), str(folder)], "the release could not be packed")
    release: dict[str, str] = json.loads(found)
    return {key: Path(value).name if key.endswith("archive") else value for key, value in release.items()}


def _collect(root: Path, folder: Path, lock: Path) -> None:
    shell = ["sh", str(COLLECT), str(root), str(folder), str(lock.resolve()), *ALL]
    _run(["unshare", "--mount", "--propagation", "private", *shell], "packages could not be fetched", COLLECT_S)
    (folder / "scratch").rmdir()


def _write_manifest(folder: Path, about: dict[str, object], key: Path) -> None:
    files = {str(path.relative_to(folder)): checksum(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / MANIFEST).write_text(json.dumps({**about, "files": files}, indent=1) + "\n")
    sign = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(key), "-in", str(folder / MANIFEST), "-out", str(folder / SIGNATURE)]
    _run(sign, "the manifest could not be signed")


def _write_tar(folder: Path, output: Path) -> None:
    draft = output.with_suffix(".part")
    with tarfile.open(draft, "w") as archive:  # what is in it is compressed already
        for name in (MANIFEST, SIGNATURE):
            archive.add(folder / name, name)
        for path in sorted(folder.iterdir()):
            if path.name not in (MANIFEST, SIGNATURE):
                archive.add(path, path.name)
    draft.rename(output)


def _make_key(key: Path) -> None:
    if not key.exists():
        key.parent.mkdir(parents=True, exist_ok=True)
        key.touch(mode=0o600)
        _run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], "no key could be made")
    public = key.with_name(f"{key.name}.pub")
    if not public.exists():
        _run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", str(public)], "the key cannot be read")


def _run(command: list[str], problem: str, timeout_s: float = 120.0) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)
    except FileNotFoundError:
        raise BundleError(f"{problem}: {command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise BundleError(f"{problem}: {command[0]} did not end within {timeout_s:g} s") from None
    if done.returncode != 0:
        raise BundleError(f"{problem}: {' | '.join((done.stdout + done.stderr).strip().splitlines()[-3:])}")
    return done.stdout
