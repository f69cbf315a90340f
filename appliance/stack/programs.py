"""How a program of the telephone side (Asterisk, Redis, baresip, ...) is started: from the host, or inside the Debian root.

A command is a plain argument list. Whatever it starts is the very process that was spawned (only `exec` in between), so
its exit status, its signals and its process group mean what they always mean.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.stack.errors import NotInstalled

ENTER = Path(__file__).with_name("enter.sh")
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are.

    Attributes:
        root: a Debian root that holds them, or None when the host itself does.
    """

    root: Path | None = None

    def command(self, program: str, *arguments: str, visible: Sequence[Path] = ()) -> list[str]:
        """The argument list that runs `program`.

        Args:
            program: its name, found on the usual path for programs.
            visible: existing files and folders it reads or writes; inside the root they keep their absolute paths.

        Raises:
            NotInstalled: the host has no such program (where it is taken from the host).
        """
        if self.root is None:
            found = shutil.which(program, path=SEARCH_PATH)
            if found is None:
                raise NotInstalled(f"{program} is not installed")
            return [found, *arguments]
        paths = _without_nested([path.resolve() for path in visible])
        enter = ["unshare", "--mount", "--propagation", "private", "sh", str(ENTER), str(self.root)]
        return [*enter, *(str(path) for path in paths), "--", program, *arguments]

    def path(self, inside: str) -> Path:
        """Host path of an absolute path as the programs see it."""
        return Path(inside) if self.root is None else self.root / inside.lstrip("/")


def _without_nested(paths: Sequence[Path]) -> list[Path]:
    kept: list[Path] = []
    for path in sorted(set(paths)):
        if not any(path.is_relative_to(outer) for outer in kept):
            kept.append(path)
    return kept
