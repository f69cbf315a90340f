"""The configuration files of Asterisk and Redis, made from `appliance.toml` and the templates in `asterisk/`."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2

from appliance.config.load import LoadedConfig
from appliance.config.schema import TrunkAddress
from appliance.stack import asterisk_module
from appliance.stack.announcements import write_announcements
from appliance.stack.errors import StackError
from appliance.stack.layout import Layout
from appliance.stack.music import hold_music
from appliance.stack.programs import Programs

TEMPLATES = Path(__file__).parents[2] / "asterisk"
NOTHING_TO_SET = ("acl", "ccss", "features", "manager", "pjproject", "queuerules", "stasis", "udptl")
"""Files Asterisk complains about when they are missing, though their defaults are right here."""
REDIS_PORT = 6379
_LOOPBACK_NAMES = ("localhost", "")


@dataclass(frozen=True, slots=True)
class Worker:
    number: int
    """From 1."""
    url: str


@dataclass(frozen=True, slots=True)
class Agent:
    name: str
    password: str
    contact: str = ""
    """Empty: it registers."""
    srtp: str = "offered"
    """Or `required`."""


@dataclass(frozen=True, slots=True)
class Registration:
    """At a trunk's provider."""

    trunk: TrunkAddress
    password: str
    """In plain text."""

    @property
    def user(self) -> str:
        """Of the address that is registered."""
        return self.trunk.from_user or self.trunk.username

    @property
    def uri_parameters(self) -> str:
        """Behind the addresses, escaped as Asterisk's configuration needs it."""
        return "" if self.trunk.transport == "udp" else rf"\;transport={self.trunk.transport}"


def render(loaded: LoadedConfig, layout: Layout, programs: Programs) -> None:
    """Writes every file that Asterisk and Redis need; files of an earlier configuration are replaced.

    Raises:
        StackError: a value cannot be written into Asterisk's configuration.
        SecretError: a password is missing.
    """
    for folder in layout.folders:
        folder.mkdir(parents=True, exist_ok=True)
    (layout.music / "hold.sln16").write_bytes(hold_music().astype("<i2").tobytes())
    spoken = write_announcements(layout.sounds, loaded.config.identify.default, rate_wpm=loaded.config.tts.rate_wpm)
    values = {**asterisk_values(loaded, layout, modules_folder(programs)), "announcements": str(layout.sounds) if spoken else ""}
    for template in sorted(TEMPLATES.glob("*.conf.j2")):
        _write_secret(layout.asterisk / template.name.removesuffix(".j2"), asterisk_file(template, values))
    for name in NOTHING_TO_SET:
        _write_secret(layout.asterisk / f"{name}.conf", "; Everything as Asterisk has it.\n")
    _write_secret(layout.redis_conf, redis_file(loaded, layout))


def asterisk_values(loaded: LoadedConfig, layout: Layout, modules: str) -> dict[str, Any]:
    """What the templates may name; secrets are in plain text."""
    config = loaded.config
    telephony, gateway = config.telephony, config.gateway
    host = "127.0.0.1" if gateway.host == "0.0.0.0" else gateway.host  # noqa: S104
    bind = ipaddress.ip_address(telephony.bind)
    return {
        "node": config.node.name,
        "telephony": telephony,
        "gateway": gateway,
        "numbers": list(dict.fromkeys([telephony.company_number, *config.play.quiet_numbers])),
        "health_host": f"http://{_bracketed(host)}",
        "ari_password": loaded.secret(gateway.ari_password),
        "workers": [Worker(number, f"ws://{_bracketed(host)}:{gateway.port + number - 1}") for number in range(1, gateway.workers + 1)],
        "agents": [Agent(agent.name, loaded.secret(agent.password), agent.contact, agent.srtp) for agent in telephony.agents],
        "registrations": [Registration(trunk, loaded.secret(trunk.password)) for trunk in telephony.trunks if trunk.server],
        "tls_certificate": loaded.path(telephony.tls_certificate),
        "tls_key": loaded.path(telephony.tls_key),
        "address": lambda port: f"{_bracketed(telephony.bind)}:{port}",
        "media_address": "" if bind.is_unspecified else telephony.bind,
        "music": layout.music,
        "folders": {
            "etc": layout.asterisk,
            "modules": modules,
            "state": layout.asterisk_state,
            "run": layout.run,
            "log": layout.asterisk_log,
        },
    }


def asterisk_file(template: Path, values: Mapping[str, Any]) -> str:
    """One configuration file; an unknown name in the template is an error."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701
    )
    environment.filters["literal"] = literal
    return environment.from_string(template.read_text()).render(values)


def literal(value: str) -> str:
    """A value as Asterisk's configuration parser must see it to read back the same text.

    Raises:
        StackError: there is no way to write it.
    """
    if not value.isprintable() or value != value.strip():
        raise StackError("a password has what Asterisk's configuration cannot hold: a line end, a control character, a space at an end")
    return value.replace(";", "\\;")


def redis_file(loaded: LoadedConfig, layout: Layout) -> str:
    """Redis for this stack alone; it keeps what it knows (callers' languages) in the state folder."""
    return "\n".join(
        [
            "bind 127.0.0.1",
            f"port {redis_port(loaded) or REDIS_PORT}",
            "protected-mode yes",
            "daemonize no",
            f"dir {layout.redis_state}",
            "save ''",
            "appendonly yes",
            "appendfsync everysec",
            "loglevel warning",
            "",
        ]
    )


def redis_port(loaded: LoadedConfig) -> int | None:
    """Port of the Redis this stack runs itself; None when the configuration names one elsewhere."""
    url = urlsplit(loaded.config.redis.url)
    if url.scheme != "redis":
        return None
    host = url.hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host in _LOOPBACK_NAMES
    return (url.port or REDIS_PORT) if local else None


def modules_folder(programs: Programs) -> str:
    """Asterisk's module folder, as Asterisk sees it.

    Raises:
        StackError: there is none, or it lacks `chan_websocket`.
    """
    top = programs.path("/")
    folder = asterisk_module.module_folder(top)
    if folder is not None:
        return f"/{folder.relative_to(top)}"
    raise StackError(f"Asterisk in {top} has no chan_websocket module", hint="Asterisk 22.10 or newer is needed")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)  # a file that others may read keeps its mode when it is written again
    path.touch(mode=0o600)
    path.write_text(text)
