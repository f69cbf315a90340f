"""Telephones over TLS whose audio is encrypted (SRTP), through the real Asterisk, and who is refused.

What is heard was encrypted: both ends say that this stream has keys, and either throws away what they do not open.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
from tones import has, heard, tone, until_heard

from appliance.phone.baresip import Phone
from appliance.phone.errors import PhoneError
from appliance.phone.phone_config import PhoneAccount
from appliance.phone.phone_events import CallClosed, CallEstablished
from appliance.stack.defaults import TRUNK_ADDRESS, free_offset, write_config
from appliance.stack.programs import Programs

from .conftest import Running, only_asterisk, stack_folder
from .test_call_control import AGENT_HZ, CALLER_HZ, PITCH_HZ, Gateway, gateway

__all__ = ["gateway"]  # a fixture
pytestmark = pytest.mark.timeout(120)
CAREFUL_TRUNK = "127.0.0.1"
"""Where telephones that use TLS come from, whatever address they bind to."""
CALLER = "9840012345"
TRUNKS = f'trunks = [{{ name = "test", address = "{TRUNK_ADDRESS}" }}'
AGENT = '{ name = "agent1"'


@dataclass
class Secure(Running):
    """Asterisk alone. `agent1` and the trunk `careful` must encrypt; `agent2` and the trunk `test` may."""

    certificate: Path

    def caller(self, *, srtp: bool = True) -> PhoneAccount:
        """A telephone behind the trunk `careful`."""
        return self._over_tls(PhoneAccount(CALLER, CAREFUL_TRUNK, "", srtp=srtp))

    def agent(self, *, srtp: bool = True) -> PhoneAccount:
        return self._over_tls(replace(self.station.account_of_agent(), answer_after_s=0.3, srtp=srtp))

    def _over_tls(self, account: PhoneAccount) -> PhoneAccount:
        return replace(account, server=f"127.0.0.1:{self.loaded.config.telephony.tls_port}", authority=self.certificate)

    @property
    def log(self) -> str:
        return (self.layout.asterisk_log / "messages").read_text()

    def secured(self) -> dict[str, tuple[bool, bool]]:
        """Of each telephone's channel, by the name of trunk or agent: whether SIP, and whether audio is encrypted, as Asterisk has it."""
        found = {}
        gateway = self.loaded.config.gateway
        url = f"http://127.0.0.1:{self.loaded.config.telephony.http_port}/ari/channels"
        credentials = (gateway.ari_user, self.loaded.secret(gateway.ari_password))
        with httpx.Client(auth=credentials, timeout=5, trust_env=False) as client:
            for channel in client.get(url).raise_for_status().json():
                if match := re.match(r"PJSIP/([a-z0-9]+)-", channel["name"]):
                    asked = [
                        client.get(f"{url}/{channel['id']}/variable", params={"variable": f"CHANNEL({what},secure)"})
                        for what in ("pjsip", "rtp")
                    ]
                    sip, audio = (answer.raise_for_status().json()["value"] == "1" for answer in asked)
                    found[match[1]] = (sip, audio)
        return found


def self_signed(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for Asterisk's address that nobody but itself vouches for, and its key."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=setu", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


def free_tls_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def secure(programs: Programs) -> Iterator[Secure]:
    if shutil.which("openssl") is None:
        pytest.skip("the certificate is made with openssl")
    with stack_folder() as folder:
        file = write_config(folder, free_offset())
        certificate, key = self_signed(folder, "certificate")
        tls = f'tls_port = {free_tls_port()}\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
        trunks = f'{TRUNKS}, {{ name = "careful", address = "{CAREFUL_TRUNK}", srtp = "required" }}'
        text = file.read_text()
        for old, new in (("[telephony]\n", f"[telephony]\n{tls}"), (TRUNKS, trunks), (AGENT, f'{AGENT}, srtp = "required"')):
            assert text.count(old) == 1
            text = text.replace(old, new)
        file.write_text(text)
        with only_asterisk(file, programs) as running:
            yield Secure(running.loaded, running.layout, running.programs, certificate)


@pytest.fixture
def asterisk_alone(secure: Secure) -> Running:
    """What the gateway of the test is connected to."""
    return secure


async def test_a_call_over_tls_is_encrypted_and_both_hear_each_other(secure: Secure, gateway: Gateway, phones: Path) -> None:
    program = secure.station.program
    began = len(secure.log)
    await asyncio.to_thread(secure.asterisk, "pjsip set logger on")
    async with (
        Phone.start(phones / "agent", program, secure.agent()) as agent,
        Phone.start(phones / "caller", program, secure.caller()) as caller,
    ):
        await caller.dial(secure.loaded.config.telephony.company_number)
        await gateway.reaches("interpreting")
        assert await asyncio.to_thread(secure.secured) == {"careful": (True, True), "agent1": (True, True)}
        await caller.say(tone(CALLER_HZ))
        await agent.say(tone(AGENT_HZ))
        await until_heard(phones / "agent", CALLER_HZ)
        await until_heard(phones / "caller", AGENT_HZ)
        await caller.hang_up()
        await agent.wait_for(CallClosed, 15)
        assert (await gateway.over()).outcome == "interpreted"
    await asyncio.to_thread(secure.asterisk, "pjsip set logger off")
    assert has(heard(phones / "caller"), PITCH_HZ["greeting"])
    for name in ("agent", "caller"):
        assert "SRTP is Enabled (cryptosuite=AES_CM_128_HMAC_SHA1_80)" in (phones / name / "baresip.log").read_text()
    log = secure.log[began:]
    assert set(re.findall(r"<--- (?:Received|Transmitting) SIP .* (?:from|to) (\w+):", log)) == {"TLS"}
    offers = re.findall(r"^m=audio (?!0 )\d+ (\S+)", log, re.MULTILINE)
    assert len(offers) >= 4, "offer and answer of two telephones"
    assert set(offers) == {"RTP/SAVP"}


async def test_one_leg_is_encrypted_though_the_other_cannot_be(secure: Secure, gateway: Gateway, phones: Path) -> None:
    program = secure.station.program
    async with (
        Phone.start(phones / "agent", program, secure.agent()),
        Phone.start(phones / "caller", program, PhoneAccount(CALLER, TRUNK_ADDRESS, secure.station.account_of_agent().server)) as caller,
    ):
        await caller.dial(secure.loaded.config.telephony.company_number)
        await gateway.reaches("interpreting")
        assert await asyncio.to_thread(secure.secured) == {"test": (False, False), "agent1": (True, True)}
        await caller.hang_up()
        await gateway.over()


async def test_who_must_encrypt_and_does_not_has_no_call(secure: Secure, phones: Path) -> None:
    async with Phone.start(phones / "caller", secure.station.program, secure.caller(srtp=False)) as caller:
        await caller.dial(secure.loaded.config.telephony.company_number)
        closed = await caller.wait_for(CallClosed, 15)
        assert caller.seen(CallEstablished) is None
    assert closed.reason.startswith("488")


async def test_a_telephone_that_does_not_know_the_certificate_sends_no_password(secure: Secure, phones: Path, tmp_path: Path) -> None:
    stranger = replace(secure.agent(), authority=self_signed(tmp_path, "another")[0])
    with pytest.raises(PhoneError, match="refused"):
        async with Phone.start(phones / "agent", secure.station.program, stranger):
            pass
    assert "self-signed certificate" in (phones / "agent" / "baresip.log").read_text()
    assert "No objects found" in secure.asterisk("pjsip show contacts")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(secure: Secure, version: ssl.TLSVersion) -> None:
    old = ssl.create_default_context(cafile=str(secure.certificate))
    old.set_ciphers("ALL:@SECLEVEL=0")  # or this side would not even ask
    old.minimum_version = old.maximum_version = version
    with pytest.raises(ssl.SSLError) as refused:
        await asyncio.open_connection("127.0.0.1", secure.loaded.config.telephony.tls_port, ssl=old)
    assert refused.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION", "the other side says so"


async def test_new_tls_is_spoken(secure: Secure) -> None:
    usual = ssl.create_default_context(cafile=str(secure.certificate))
    _, writer = await asyncio.open_connection("127.0.0.1", secure.loaded.config.telephony.tls_port, ssl=usual)
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
    writer.transport.abort()  # Asterisk keeps talking after a polite end
