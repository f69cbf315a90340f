"""What must hold between keys: checked once the file has the shape of the schema."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from appliance.config.instances import ServerKind, instance_names
from appliance.config.keylines import KeyPath
from appliance.config.schema import CallerLanguage, Config, TrunkAddress
from appliance.config.shape import Problem, written

SOCKET_PATH_BYTES = 107
"""Longest path of a Unix socket on Linux: 108 bytes with its end marker."""

_SECRET_NAME = re.compile(r"file:[A-Za-z0-9][A-Za-z0-9._-]*")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?")
_LOOPBACK_URL_PORT = re.compile(r"rediss?://(?:[^@/]*@)?(?:localhost|127\.[0-9.]+|\[::1\])(?::([0-9]+))?(?:[/?]|$)")
_REDIS_DEFAULT_PORT = 6379
_VOICE_LANGUAGES = (*get_args(CallerLanguage), "hinglish")
_PORTS_PER_CALL = 4
"""RTP and RTCP of the caller's and of the agent's phone."""


def rule_problems(config: Config, folder: Path) -> Iterator[Problem]:
    """Everything in `config` that contradicts something else in it; relative paths are taken from `folder`."""
    yield from _ports(config)
    yield from _tls(config)
    yield from _names(config)
    yield from _trunks(config)
    yield from _secrets(config)
    yield from _times(config)
    yield from _places(config, folder)
    yield from _voices(config)


def _ports(config: Config) -> Iterator[Problem]:
    telephony, gateway = config.telephony, config.gateway
    first, last = telephony.rtp_first_port, telephony.rtp_last_port
    if last - first + 1 < _PORTS_PER_CALL:
        yield Problem(
            ("telephony", "rtp_last_port"),
            f"the range from rtp_first_port {first} to {last} has no room for one call; allowed: at least {first + _PORTS_PER_CALL - 1}",
        )
    if first <= telephony.sip_port <= last:
        yield Problem(
            ("telephony", "sip_port"), f"{telephony.sip_port} lies in the RTP range {first} to {last}; allowed: a port outside of it"
        )
    last_worker = gateway.port + gateway.workers - 1
    if last_worker > 65_535:
        yield Problem(
            ("gateway", "port"),
            f"{gateway.workers} workers from port {gateway.port} on need ports up to {last_worker}; allowed: up to 65535",
        )

    taken: dict[int, str] = {}
    listeners = [(("telephony", "sip_port"), telephony.sip_port, "")]
    if telephony.tls_port:
        listeners.append((("telephony", "tls_port"), telephony.tls_port, ""))
    listeners.append((("telephony", "http_port"), telephony.http_port, ""))
    listeners += [
        (("gateway", "port"), gateway.port + number, f" (worker {number + 1})" if number else "") for number in range(gateway.workers)
    ]
    match = _LOOPBACK_URL_PORT.match(config.redis.url)
    if match:
        listeners.append((("redis", "url"), int(match.group(1) or _REDIS_DEFAULT_PORT), ""))
    for path, port, note in listeners:
        if port in taken:
            yield Problem(path, f"port {port}{note} is already that of {taken[port]}; allowed: a port of its own")
        else:
            taken[port] = written(path) + note


def _tls(config: Config) -> Iterator[Problem]:
    telephony = config.telephony
    if not 0 <= telephony.tls_port <= 65_535:
        yield Problem(("telephony", "tls_port"), f"{telephony.tls_port} is not allowed; allowed: 0 (off) or a port from 1 to 65535")
    elif telephony.tls_port:
        for key in ("tls_certificate", "tls_key"):
            if not getattr(telephony, key):
                yield Problem(("telephony", "tls_port"), f"SIP over TLS needs {key}: the path of a PEM file")
    for kind in ("trunks", "agents"):
        for number, item in enumerate(getattr(telephony, kind)):
            if item.srtp == "required" and not telephony.tls_port:
                yield Problem(
                    ("telephony", kind, number, "srtp"), "encrypted audio needs telephony.tls_port: its keys travel in SIP messages"
                )


def _names(config: Config) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for kind in ("trunks", "agents"):
        for number, item in enumerate(getattr(config.telephony, kind)):
            path = ("telephony", kind, number, "name")
            if item.name in taken:
                yield Problem(
                    path, f"{item.name!r} is already the name of {taken[item.name]}; allowed: a name that no trunk and no agent has"
                )
            else:
                taken[item.name] = written(path[:3])


def _trunks(config: Config) -> Iterator[Problem]:
    seen: list[tuple[str, ipaddress.IPv4Network | ipaddress.IPv6Network]] = []
    for number, trunk in enumerate(config.telephony.trunks):
        path = ("telephony", "trunks", number, "address")
        try:
            network = ipaddress.ip_network(trunk.address, strict=False)
        except ValueError:
            yield Problem(path, f'"{trunk.address}" is not allowed; allowed: an IP address or a network such as "10.1.2.0/28"')
            continue
        if network.prefixlen == 0:
            yield Problem(path, f'"{trunk.address}" would let anybody place calls; allowed: the addresses of the trunk provider')
            continue
        for name, other in seen:
            if network.version == other.version and network.overlaps(other):
                yield Problem(path, f'"{trunk.address}" overlaps with trunk {name!r}; allowed: addresses that belong to one trunk only')
        seen.append((trunk.name, network))
    for number, trunk in registering(config):
        yield from _registration(config, ("telephony", "trunks", number), trunk)
    try:
        ipaddress.ip_address(config.telephony.bind)
    except ValueError:
        yield Problem(("telephony", "bind"), f'"{config.telephony.bind}" is not allowed; allowed: an IP address, "0.0.0.0" for all')


def _registration(config: Config, place: KeyPath, trunk: TrunkAddress) -> Iterator[Problem]:
    hosts = {"server": trunk.server} | ({"outbound_proxy": trunk.outbound_proxy} if trunk.outbound_proxy else {})
    for key, host in hosts.items():
        if not _HOST.fullmatch(host):
            yield Problem((*place, key), f'"{host}" is not allowed; allowed: a host name or IPv4 address, ":PORT" after it')
    users = {"username": trunk.username} | ({"from_user": trunk.from_user} if trunk.from_user else {})
    for key, user in users.items():
        if not re.fullmatch(r"[A-Za-z0-9+._~-]+", user):
            yield Problem((*place, key), f'"{user}" is not allowed; allowed: letters, digits, "+", ".", "_", "~" and "-"')
    if trunk.realm and not re.fullmatch(r"[!-:<-~]+( [!-:<-~]+)*", trunk.realm):
        yield Problem((*place, "realm"), f'"{trunk.realm}" is not allowed; allowed: printable ASCII without ";"')
    if trunk.transport == "tls" and not config.telephony.tls_port:
        yield Problem((*place, "transport"), "a registration over TLS needs telephony.tls_port with its certificate")


def registering(config: Config) -> list[tuple[int, TrunkAddress]]:
    """Trunks this node registers at, with their places in the list."""
    return [(number, trunk) for number, trunk in enumerate(config.telephony.trunks) if trunk.server]


def _secrets(config: Config) -> Iterator[Problem]:
    values: list[tuple[KeyPath, str]] = [
        (("gateway", "ari_password"), config.gateway.ari_password),
        (("identify", "hash_key"), config.identify.hash_key),
    ]
    values += [(("telephony", "agents", number, "password"), agent.password) for number, agent in enumerate(config.telephony.agents)]
    values += [(("telephony", "trunks", number, "password"), trunk.password) for number, trunk in registering(config)]
    for path, value in values:
        if value.startswith("file:"):
            if not _SECRET_NAME.fullmatch(value):
                yield Problem(path, '"file:" must be followed by a plain file name; allowed: letters, digits, ".", "_" and "-"')
        elif not value or value != value.strip() or not value.isprintable() or ";" in value:
            yield Problem(path, 'not allowed as a secret; allowed: printable text without ";" or spaces at its ends, or "file:NAME"')
    if not re.fullmatch(r"[A-Za-z0-9_-]+", config.gateway.ari_user):
        yield Problem(("gateway", "ari_user"), f'"{config.gateway.ari_user}" is not allowed; allowed: letters, digits, "_" and "-"')


def _times(config: Config) -> Iterator[Problem]:
    listen = config.listen
    if listen.endpoint_max_s < listen.endpoint_min_s:
        yield Problem(("listen", "endpoint_max_s"), f"{listen.endpoint_max_s:g} is less than endpoint_min_s {listen.endpoint_min_s:g}")
    if listen.max_utterance_s <= listen.min_speech_s:
        yield Problem(("listen", "max_utterance_s"), f"{listen.max_utterance_s:g} is not more than min_speech_s {listen.min_speech_s:g}")


def _places(config: Config, folder: Path) -> Iterator[Problem]:
    names = [name for kind in get_args(ServerKind) for name in instance_names(config, kind)]
    longest = str(folder / config.node.run_dir / f"{max(names, key=len)}.sock")
    size = len(longest.encode())
    if size > SOCKET_PATH_BYTES:
        yield Problem(
            ("node", "run_dir"),
            f"the socket {longest} has {size} bytes; allowed: at most {SOCKET_PATH_BYTES}, so take a shorter folder such as /run/setu",
        )
    if not re.match(r"(sqlite:///.|postgresql://.)", config.store.database):
        yield Problem(
            ("store", "database"), f'"{config.store.database}" is not allowed; allowed: "sqlite:///PATH" or "postgresql://USER@HOST/NAME"'
        )
    if not re.match(r"(rediss?://|unix://).", config.redis.url):
        yield Problem(
            ("redis", "url"), f'"{config.redis.url}" is not allowed; allowed: "redis://HOST:PORT/N", "rediss://..." or "unix://PATH"'
        )
    if config.tts.engine == "vits-onnx" and not config.tts.model:
        yield Problem(("tts", "model"), 'the engine "vits-onnx" needs the folder of its voices')


def _voices(config: Config) -> Iterator[Problem]:
    for code in config.tts.voices:
        if code not in _VOICE_LANGUAGES:
            yield Problem(("tts", "voices", code), f"unknown language; allowed: {', '.join(_VOICE_LANGUAGES)}")
