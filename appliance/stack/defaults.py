"""A configuration for everything on one machine, on loopback: the demo's, the tests' and a newcomer's first one."""

from __future__ import annotations

import random
import secrets
import socket
from pathlib import Path

import msgspec

from appliance.config.errors import ConfigError
from appliance.config.load import load

CONFIG_NAME = "appliance.toml"
MAX_OFFSET = 3000
TRUNK_ADDRESS = "127.0.0.2"
"""Where the demo's callers call from."""
AGENT_ADDRESS = "127.0.0.3"
"""Where the demo's agents have their telephones."""
AGENTS = ("agent1", "agent2")
COMPANY_NUMBER = "1800"
QUIET_NUMBER = "1801"
"""Calls to it go without the original voice underneath."""
RTP_PORTS = 400
MODELS = Path(__file__).parents[2] / "models"


class Ports(msgspec.Struct, frozen=True):
    """Ports of one stack."""

    sip: int
    http: int
    gateway: int
    redis: int
    rtp_first: int

    @property
    def listening(self) -> tuple[int, ...]:
        return (self.sip, self.http, self.gateway, self.redis)


def ports(offset: int = 0) -> Ports:
    """The ports with this offset; stacks whose offsets differ by 100 share none, audio included.

    Raises:
        ConfigError: the offset leaves the range of ports.
    """
    if not 0 <= offset <= MAX_OFFSET:
        raise ConfigError(f"port offset {offset} is not allowed; allowed: 0 to {MAX_OFFSET}")
    return Ports(5060 + offset, 8088 + offset, 8080 + offset, 6379 + offset, 10_000 + RTP_PORTS // 100 * offset)


def free_offset(step: int = 100) -> int:
    """An offset, a multiple of `step`, none of whose listening ports is in use now; 0 is not among them."""
    candidates = list(range(step, MAX_OFFSET + 1, step))
    random.shuffle(candidates)  # two who look at the same time shall not find the same one
    for offset in candidates:
        if all(_is_free(port) for port in ports(offset).listening):
            return offset
    raise ConfigError(f"no port offset up to {MAX_OFFSET} has all its ports free")


def stack_config(folder: Path, port_offset: int | None) -> Path:
    """The configuration of the stack in `folder`, made when there is none; one that is there stays as it is.

    Raises:
        ConfigError: there is one, with other ports than asked for; or it cannot be made.
    """
    file = folder / CONFIG_NAME
    if not file.exists():
        try:
            return write_config(folder, port_offset or 0)
        except OSError as error:
            raise ConfigError(f"{file}: cannot be made: {error.strerror}") from error
    if port_offset is not None:
        config, wanted = load(file).config, ports(port_offset)
        if (config.telephony.sip_port, config.gateway.port) != (wanted.sip, wanted.gateway):
            raise ConfigError(
                f"{file} has other ports (SIP {config.telephony.sip_port}, gateway {config.gateway.port}) than offset {port_offset} means",
                hint="take another folder with --dir, or remove the file",
            )
    return file


def write_config(folder: Path, port_offset: int = 0, *, models: Path = MODELS, extra: str = "", control: str = "") -> Path:
    """Writes `appliance.toml` and the agents' passwords into `folder`; an earlier file is replaced, passwords are kept.

    Args:
        models: folder of the models.
        extra: more TOML for the end of the file: tables this function does not write (`[stt]`, `[listen]`, ...).
        control: who opens the control connections, when it is not to be as usual.

    Returns:
        The file.
    """
    chosen = ports(port_offset)
    state = folder / "state"
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    agents = ""
    for name in AGENTS:
        password = state / f"{name}-password"
        if not password.exists():
            password.touch(mode=0o600)
            password.write_text(secrets.token_urlsafe(12) + "\n")
        agents += f'    {{ name = "{name}", password = "file:{password.name}" }},\n'
    text = f"""\
# One machine, everything on loopback. Every key: appliance/config/schema.py.
[telephony]
bind = "127.0.0.1"
sip_port = {chosen.sip}
http_port = {chosen.http}
rtp_first_port = {chosen.rtp_first}
rtp_last_port = {chosen.rtp_first + RTP_PORTS - 1}
company_number = "{COMPANY_NUMBER}"
trunks = [{{ name = "test", address = "{TRUNK_ADDRESS}" }}]
agents = [
{agents}]

[gateway]
port = {chosen.gateway}
{f'control = "{control}"' if control else ""}
[redis]
url = "redis://127.0.0.1:{chosen.redis}/0"

[models]
folder = "{models.resolve()}"

[play]
quiet_numbers = ["{QUIET_NUMBER}"]
"""
    file = folder / CONFIG_NAME
    file.write_text(text + (f"\n{extra.strip()}\n" if extra else ""))
    return file


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
