"""Where the files of one stack lie: everything it writes is in the folder of its configuration, `run_dir` and `state_dir`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.config.load import LoadedConfig


@dataclass(frozen=True, slots=True)
class Layout:
    """Absolute paths of one stack."""

    top: Path
    """Folder of `appliance.toml`."""
    state: Path
    run: Path

    @property
    def asterisk(self) -> Path:
        """Asterisk's rendered configuration."""
        return self.top / "asterisk"

    @property
    def asterisk_conf(self) -> Path:
        return self.asterisk / "asterisk.conf"

    @property
    def asterisk_state(self) -> Path:
        return self.state / "asterisk"

    @property
    def asterisk_log(self) -> Path:
        return self.log / "asterisk"

    @property
    def sounds(self) -> Path:
        return self.asterisk / "sounds"

    @property
    def music(self) -> Path:
        return self.asterisk / "music"

    @property
    def redis_conf(self) -> Path:
        return self.top / "redis.conf"

    @property
    def redis_state(self) -> Path:
        return self.state / "redis"

    @property
    def log(self) -> Path:
        return self.top / "log"

    @property
    def procfile(self) -> Path:
        return self.top / "Procfile"

    @property
    def folders(self) -> tuple[Path, ...]:
        """Everything that must exist before a process starts."""
        state = tuple(self.asterisk_state / name for name in ("spool", "keys", "cache"))
        return (self.asterisk, self.sounds, self.music, self.run, self.log, self.asterisk_log, self.redis_state, *state)

    @property
    def visible(self) -> tuple[Path, ...]:
        """What the telephone programs read and write."""
        return (self.top, self.state, self.run)


def layout_of(loaded: LoadedConfig) -> Layout:
    return Layout(loaded.folder.resolve(), loaded.state_dir.resolve(), loaded.run_dir.resolve())
