"""What a telephone is started with: over which transport, and whether its audio is encrypted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.phone.phone_config import PhoneAccount, user_agent, write_configuration
from appliance.phone.program import PhoneProgram
from appliance.stack.programs import Programs

PLAIN = PhoneAccount("agent1", "127.0.0.3", "127.0.0.1:5061", "secret", registers=True)


@pytest.fixture
def secure(tmp_path: Path) -> PhoneAccount:
    authority = tmp_path / "site.pem"
    authority.write_text("a certificate")
    return replace(PLAIN, authority=authority, srtp=True)


def settings(folder: Path, account: PhoneAccount) -> list[str]:
    write_configuration(folder, PhoneProgram(Programs(None), Path("/modules")), account, 5060, 5555)
    return (folder / "config").read_text().splitlines()


def test_an_ordinary_telephone_uses_udp_and_knows_nothing_of_certificates(tmp_path: Path) -> None:
    lines = settings(tmp_path / "phone", PLAIN)
    assert not [line for line in lines if "srtp" in line or line.startswith(("sip_cafile", "sip_verify"))]
    assert user_agent(PLAIN).startswith("<sip:agent1@127.0.0.1:5061>;")
    assert "mediaenc" not in user_agent(PLAIN)


def test_over_tls_it_verifies_the_server_by_an_authority_it_can_see(tmp_path: Path, secure: PhoneAccount) -> None:
    folder = tmp_path / "phone"
    lines = settings(folder, secure)
    assert f"sip_cafile {folder.resolve()}/authority.pem" in lines
    assert "sip_verify_server yes" in lines
    assert (folder / "authority.pem").read_text() == "a certificate"
    assert user_agent(secure).startswith("<sip:agent1@127.0.0.1:5061;transport=tls>;")


def test_encrypted_audio_is_mandatory_where_it_is_asked_for(tmp_path: Path, secure: PhoneAccount) -> None:
    lines = settings(tmp_path / "phone", secure)
    assert lines.index("module srtp.so") > lines.index("module_path /modules")
    assert "mediaenc=srtp-mand" in user_agent(secure).split(";")
    over_tls_alone = replace(secure, srtp=False)
    assert "module srtp.so" not in settings(tmp_path / "other", over_tls_alone)
    assert "mediaenc" not in user_agent(over_tls_alone)
