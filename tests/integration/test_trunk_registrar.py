"""A real Asterisk registers at a trunk's provider: what it sends, to whom, and to whom it does not send its password."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from stack_asterisk import RunningAsterisk, running_asterisk

from appliance.node.machine import registrations
from appliance.stack import render

ADDRESS = "127.0.0.6"
REALM, NONCE, USER, PASSWORD = "voice.example.net", "5f3c", "u-1", "of; the vault"
WAIT_S = 60.0
"""Asterisk lets up to 10 s pass before its first attempt, so that not all trunks are asked at once."""


class Registrar:
    """The provider: asks whoever registers for the password, and keeps what was sent."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.refused = asyncio.Event()
        self.satisfied = asyncio.Event()

    def answer(self, request: str) -> bytes | None:
        if not request.startswith("REGISTER "):
            return None
        self.requests.append(request)
        copied = [line for line in request.split("\r\n") if line.split(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq", "Contact")]
        authorization = re.search(r"^Authorization: Digest (.*)\r$", request, re.MULTILINE)
        given = dict(re.findall(r'(\w+)="?([^",]*)"?', authorization[1])) if authorization else {}
        if given and given["response"] == expected(given):
            status, more = "200 OK", ["Expires: 300"]
            self.satisfied.set()
        else:
            status, more = "401 Unauthorized", [f'WWW-Authenticate: Digest realm="{REALM}", nonce="{NONCE}", algorithm=MD5']
            self.refused.set()
        return "\r\n".join([f"SIP/2.0 {status}", *copied, *more, "Content-Length: 0", "", ""]).encode()


def expected(given: dict[str, str]) -> str:
    """RFC 2617 without quality of protection."""

    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode()).hexdigest()

    return md5(md5(USER, REALM, PASSWORD), NONCE, md5("REGISTER", given["uri"]))


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, registrar: Registrar) -> None:
        self.registrar = registrar

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = self.registrar.answer(data.decode())
        if answer:
            self.transport.sendto(answer, addr)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def registrar(transport: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[Registrar, int]]:
    """The provider and its port; `tls` is for a transport that is no datagram."""
    provider = Registrar()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                writer.write(provider.answer(request.decode().lstrip()) or b"")
        writer.close()

    if transport != "udp":
        async with await asyncio.start_server(connection, ADDRESS, 0, ssl=tls) as server:
            yield provider, server.sockets[0].getsockname()[1]
        return
    listening, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: _Datagrams(provider), (ADDRESS, 0))
    try:
        yield provider, listening.get_extra_info("sockname")[1]
    finally:
        listening.close()


def trunk(folder: Path, keys: str) -> dict[str, str]:
    (folder / "credentials").mkdir(mode=0o700)
    (folder / "credentials" / "provider-password").write_text(f"{PASSWORD}\n")
    entry = f'{{ name = "provider", address = "{ADDRESS}", username = "{USER}", password = "file:provider-password", {keys} }},'
    return {"trunks = [": f"trunks = [\n    {entry}"}


async def until(asterisk: RunningAsterisk, state: str) -> None:
    async with asyncio.timeout(WAIT_S):
        while registrations(asterisk.ask("pjsip show registrations")) != {"provider": state}:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_it_registers_through_the_providers_proxy(tmp_path: Path, transport: str) -> None:
    async with registrar(transport) as (provider, port):
        keys = f'server = "example.invalid", transport = "{transport}", outbound_proxy = "{ADDRESS}:{port}", from_user = "911800"'
        async with running_asterisk(tmp_path, edit=trunk(tmp_path, keys)) as asterisk:
            await asyncio.wait_for(provider.satisfied.wait(), WAIT_S)
            await until(asterisk, "Registered")
            assert PASSWORD not in asterisk.log() + (tmp_path / "asterisk.out").read_text()
            pjsip = asterisk.layout.asterisk / "pjsip.conf"
            assert "provider-registration" in pjsip.read_text()
            assert pjsip.stat().st_mode & 0o077 == 0
    sent = provider.requests[-1]
    assert re.search(r"^From: <sip:911800@example\.invalid>", sent, re.MULTILINE)
    assert re.search(r"^Contact: <sip:1800@", sent, re.MULTILINE)
    assert PASSWORD not in "".join(provider.requests)


async def test_another_realm_is_not_told_the_password(tmp_path: Path) -> None:
    async with registrar("udp") as (provider, port):
        keys = f'server = "{ADDRESS}:{port}", realm = "other.example.net"'
        async with running_asterisk(tmp_path, edit=trunk(tmp_path, keys)) as asterisk:
            await asyncio.wait_for(provider.refused.wait(), WAIT_S)
            await until(asterisk, "Rejected")
    assert not any("Authorization" in request for request in provider.requests)


@pytest.mark.parametrize("trusted", [True, False])
async def test_over_tls_only_a_provider_who_can_show_who_he_is(
    tmp_path: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, trusted: bool
) -> None:
    if trusted:  # in place of the authorities that the machine trusts
        written = render.asterisk_file
        authorities = "/etc/ssl/certs/ca-certificates.crt"

        def with_authority(template: Path, values: Mapping[str, Any]) -> str:
            return written(template, values).replace(authorities, str(certificate[0]))

        monkeypatch.setattr(render, "asterisk_file", with_authority)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(*certificate)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        tls_port = probe.getsockname()[1]
    async with registrar("tls", own) as (provider, port):
        edit = trunk(tmp_path, f'server = "{ADDRESS}:{port}", transport = "tls"')
        paths = f'tls_certificate = "{certificate[0]}"\ntls_key = "{certificate[1]}"\n'
        edit["[telephony]\n"] = f"[telephony]\ntls_port = {tls_port}\n{paths}"
        async with running_asterisk(tmp_path, edit=edit) as asterisk:
            await until(asterisk, "Registered" if trusted else "Rejected")
            async with asyncio.timeout(WAIT_S):
                while not trusted and "The certificate is untrusted" not in asterisk.log():
                    await asyncio.sleep(0.1)
    assert bool(provider.requests) is trusted
