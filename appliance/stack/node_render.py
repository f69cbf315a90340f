"""`python -m appliance.stack.node_render`: the configuration of a node's own Asterisk, from `appliance.toml`.

Files that already are what they should be are left alone, so the answer says whether Asterisk must be told.
"""

from __future__ import annotations

import argparse
import grp
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.config.load import LoadedConfig, load
from appliance.errors import ApplianceError
from appliance.stack.announcements import write_announcements
from appliance.stack.layout import Layout
from appliance.stack.music import hold_music
from appliance.stack.programs import Programs
from appliance.stack.render import NOTHING_TO_SET, TEMPLATES, asterisk_file, asterisk_values, modules_folder

CONFIG = Path("/etc/appliance/appliance.toml")
GROUP = "asterisk"
MODE = 0o640
"""Some of the files have passwords: for Asterisk and root only."""


@dataclass(frozen=True, slots=True)
class NodeLayout(Layout):
    """The folders of a distribution's Asterisk."""

    @property
    def asterisk(self) -> Path:
        return Path("/etc/asterisk")

    @property
    def asterisk_state(self) -> Path:
        return Path("/var/lib/asterisk")

    @property
    def asterisk_log(self) -> Path:
        return Path("/var/log/asterisk")

    @property
    def sounds(self) -> Path:
        return self.asterisk_state / "announcements"

    @property
    def music(self) -> Path:
        return self.asterisk_state / "hold-music"


def node_layout() -> NodeLayout:
    return NodeLayout(top=Path("/etc/appliance"), state=Path("/var/lib/asterisk"), run=Path("/run/asterisk"))


def rendered(loaded: LoadedConfig, layout: Layout, programs: Programs) -> dict[Path, bytes]:
    """What each file of Asterisk must be; nothing is written.

    Raises:
        StackError: a value cannot be written into Asterisk's configuration, or there is no Asterisk.
        SecretError: a password is missing.
    """
    files = {layout.music / "hold.sln16": hold_music().astype("<i2").tobytes()}
    with tempfile.TemporaryDirectory() as folder:
        language, rate = loaded.config.identify.default, loaded.config.tts.rate_wpm
        spoken = write_announcements(Path(folder), language, rate_wpm=rate)
        files |= {layout.sounds / path.name: path.read_bytes() for path in Path(folder).iterdir()}
    values = {**asterisk_values(loaded, layout, modules_folder(programs)), "announcements": str(layout.sounds) if spoken else ""}
    for template in sorted(TEMPLATES.glob("*.conf.j2")):
        files[layout.asterisk / template.name.removesuffix(".j2")] = asterisk_file(template, values).encode()
    for name in NOTHING_TO_SET:
        files[layout.asterisk / f"{name}.conf"] = b"; Everything as Asterisk has it.\n"
    return files


def differing(files: Mapping[Path, bytes], owner: tuple[int, int]) -> list[Path]:
    """Those of the files that are missing or other than they must be, in content, owner or mode."""
    return [path for path, content in files.items() if not _is(path, content, owner)]


def write(path: Path, content: bytes, owner: tuple[int, int]) -> None:
    """Replaces a file whole: whoever reads it meanwhile sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        os.fchown(file.fileno(), *owner)
        os.fchmod(file.fileno(), MODE)
    Path(draft).rename(path)


def _is(path: Path, content: bytes, owner: tuple[int, int]) -> bool:
    try:
        found = path.stat()
        return (found.st_uid, found.st_gid) == owner and found.st_mode & 0o7777 == MODE and path.read_bytes() == content
    except FileNotFoundError:
        return False


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="appliance.stack.node_render", description=__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--check", action="store_true", help="write nothing, only say what would be written")
    given = parser.parse_args(arguments)
    try:
        files = rendered(load(given.config), node_layout(), Programs(None))
    except ApplianceError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    owner = (0, grp.getgrnam(GROUP).gr_gid)
    changed = differing(files, owner)
    if not given.check:
        for path in changed:
            write(path, files[path], owner)
    sys.stdout.write(json.dumps({"changed": [str(path) for path in changed]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
