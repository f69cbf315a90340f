"""Asterisk's and Redis's configuration as text: what must and what must never be in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from appliance.config.load import load
from appliance.stack import defaults
from appliance.stack.errors import StackError
from appliance.stack.layout import layout_of
from appliance.stack.render import TEMPLATES, asterisk_file, asterisk_values, literal, redis_file, redis_port

ALL = sorted(TEMPLATES.glob("*.conf.j2"))


def rendered(folder: Path, name: str, text: str = "") -> str:
    file = folder / "appliance.toml"
    if text:
        file.write_text(text)
    else:
        file = defaults.write_config(folder)
    loaded = load(file)
    values = {**asterisk_values(loaded, layout_of(loaded), "/usr/lib/asterisk/modules"), "announcements": ""}
    return asterisk_file(TEMPLATES / f"{name}.conf.j2", values)


def sections(text: str) -> list[tuple[str, dict[str, str]]]:
    """Sections in order, each with its settings; a template section counts as one, what it hands down is not resolved."""
    found: list[tuple[str, dict[str, str]]] = []
    for line in text.splitlines():
        line = line.split(";")[0].strip()
        if match := re.fullmatch(r"\[([^]]+)\](?:\(([^)]*)\))?", line):
            found.append((match[1] + (f"({match[2]})" if match[2] else ""), {}))
        elif line:
            key, _, value = line.partition("=")
            found[-1][1][key.strip()] = value.strip()
    return found


@pytest.mark.parametrize("template", ALL, ids=lambda path: path.stem)
def test_every_template_renders_with_the_default_configuration(tmp_path: Path, template: Path) -> None:
    text = rendered(tmp_path, template.name.removesuffix(".conf.j2"))
    assert "{{" not in text
    assert "{%" not in text
    assert sections(text)


def test_endpoints_are_found_by_address_or_by_name_but_never_by_both(tmp_path: Path) -> None:
    found = dict(sections(rendered(tmp_path, "pjsip")))
    assert found["trunk(!,endpoint)"]["identify_by"] == "ip"
    assert found["agent(!,endpoint)"]["identify_by"] == "username"
    assert "test(trunk)" in found
    assert "anonymous" not in found["global"]["endpoint_identifier_order"]
    assert found["endpoint(!)"]["direct_media"] == "no"


@pytest.mark.parametrize(
    ("setting", "written"),
    [
        ("", "500,200,20"),
        ("jitter_buffer_ms = 80", "80,80,20"),
        ("jitter_buffer_ms = 0", None),
    ],
)
def test_packets_of_every_telephone_are_put_in_order(tmp_path: Path, setting: str, written: str | None) -> None:
    text = rendered(tmp_path, "pjsip", f"[telephony]\n{setting}\n")
    endpoint = text[text.index("[endpoint](!)") : text.index("[trunk](!")]
    found = re.findall(r"^set_var = (.*)$", endpoint, re.MULTILINE)
    assert found == [*([f"JITTERBUFFER(adaptive)={written}"] if written else []), "UNNUMBERED()=yes"]


def test_each_trunk_has_its_address_and_each_agent_a_password_and_one_contact(tmp_path: Path) -> None:
    found = sections(rendered(tmp_path, "pjsip"))
    assert [settings["match"] for name, settings in found if settings.get("type") == "identify"] == ["127.0.0.2"]
    passwords = {settings["username"]: settings["password"] for _, settings in found if settings.get("type") == "auth"}
    assert passwords == {name: (tmp_path / "state" / f"{name}-password").read_text().strip() for name in ("agent1", "agent2")}
    assert [settings["max_contacts"] for _, settings in found if settings.get("type") == "aor"] == ["1", "1"]


def test_tls_is_there_only_when_asked_for_and_never_old(tmp_path: Path) -> None:
    assert "tls" not in dict(sections(rendered(tmp_path, "pjsip")))
    text = '[telephony]\ntls_port = 5061\ntls_certificate = "cert.pem"\ntls_key = "/etc/setu/key.pem"\n'
    found = dict(sections(rendered(tmp_path, "pjsip", text)))
    assert found["tls"] == {
        "type": "transport",
        "protocol": "tls",
        "bind": "0.0.0.0:5061",
        "cert_file": str(tmp_path / "cert.pem"),
        "priv_key_file": "/etc/setu/key.pem",
        "method": "tlsv1_2",
    }
    assert found["endpoint(!)"]["media_encryption"] == "sdes"


PARTIES = """
[[telephony.trunks]]
name = "careful"
address = "192.0.2.1"
srtp = "required"
[[telephony.trunks]]
name = "plain"
address = "192.0.2.2"
[[telephony.agents]]
name = "desk1"
password = "x"
srtp = "required"
[[telephony.agents]]
name = "desk2"
password = "x"
"""


def test_encrypted_audio_is_offered_to_all_and_required_of_whom_it_is_said(tmp_path: Path) -> None:
    tls = '[telephony]\ntls_port = 5061\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\n'
    found = dict(sections(rendered(tmp_path, "pjsip", tls + PARTIES)))
    offered, required = found["endpoint(!)"], found["encrypted_audio(!)"]
    assert (offered["media_encryption"], offered["media_encryption_optimistic"]) == ("sdes", "yes")
    assert required == {"media_encryption_optimistic": "no"}
    assert {"careful(trunk,encrypted_audio)", "plain(trunk)", "desk1(agent,encrypted_audio)", "desk2(agent)"} <= set(found)

    found = dict(sections(rendered(tmp_path, "pjsip", PARTIES.replace('srtp = "required"\n', ""))))
    assert "media_encryption" not in found["endpoint(!)"], "without TLS the keys would be there for everybody to read"


def test_audio_is_bound_to_the_address_of_the_configuration(tmp_path: Path) -> None:
    assert dict(sections(rendered(tmp_path, "pjsip")))["endpoint(!)"]["media_address"] == "127.0.0.1"
    everywhere = dict(sections(rendered(tmp_path, "pjsip", '[telephony]\nbind = "0.0.0.0"\n')))
    assert "media_address" not in everywhere["endpoint(!)"]
    assert dict(sections(rendered(tmp_path, "pjsip", '[telephony]\nbind = "::"\n')))["udp"]["bind"] == "[::]:5060"


def test_each_worker_has_a_control_and_a_media_connection(tmp_path: Path) -> None:
    text = "[gateway]\nworkers = 3\nport = 8200\n"
    clients = dict(sections(rendered(tmp_path, "websocket_client", text)))
    media = {f"setu-media-{number}": f"ws://127.0.0.1:{8199 + number}/media/setu-{number}" for number in (1, 2, 3)}
    assert {name: client["uri"] for name, client in clients.items()} == media
    assert {client["connection_type"] for client in clients.values()} == {"per_call_config"}
    ari = dict(sections(rendered(tmp_path, "ari", text)))
    assert set(ari) == {"general", "setu"}, "the workers dial"
    password = (tmp_path / "state" / "ari-password").read_text().strip()
    assert ari["setu"]["password"] == clients["setu-media-2"]["password"] == password

    text += 'control = "asterisk-dials"\n'
    clients = dict(sections(rendered(tmp_path, "websocket_client", text)))
    control = {f"setu-{number}": f"ws://127.0.0.1:{8199 + number}/ari/setu-{number}" for number in (1, 2, 3)}
    assert {name: client["uri"] for name, client in clients.items()} == control | media
    assert clients["setu-2"]["connection_type"] == "persistent"
    ari = dict(sections(rendered(tmp_path, "ari", text)))
    assert [ari[f"setu-{number}"]["apps"] for number in (1, 2, 3)] == ["setu-1", "setu-2", "setu-3"]


def test_every_company_number_is_answered_and_nothing_else(tmp_path: Path) -> None:
    text = '[telephony]\ncompany_number = "+911800"\n[play]\nquiet_numbers = ["1801", "1802"]\n'
    dialplan = rendered(tmp_path, "extensions", text)
    context = dialplan.split("[from-trunk]")[1].split("\n[")[0]
    assert re.findall(r"^exten = ([^,]+),1,", context, re.MULTILINE) == ["+911800", "1801", "1802"]
    assert re.findall(r"^exten = (\S+),1,", dialplan.split("[from-agents]")[1], re.MULTILINE) == []


@pytest.mark.parametrize(("policy", "then"), [("reject", "Hangup(34)"), ("queue", "Goto(without-interpreter,s,1)")])
def test_what_happens_to_one_call_too_many(tmp_path: Path, policy: str, then: str) -> None:
    dialplan = rendered(tmp_path, "extensions", f'[gateway]\nwhen_full = "{policy}"\n')
    lines = dialplan.split("[full]")[1].split("\n[")[0].split("\n;")[0].strip().splitlines()
    assert lines[-1].endswith(f",{then}")
    assert all("without-interpreter" in line for line in lines[:-1]), "who was answered before is not turned away"


def test_http_is_on_loopback_only(tmp_path: Path) -> None:
    assert dict(sections(rendered(tmp_path, "http")))["general"]["bindaddr"] == "127.0.0.1"


def test_everything_asterisk_writes_is_in_the_stack(tmp_path: Path) -> None:
    folders = dict(sections(rendered(tmp_path, "asterisk")))["directories"]
    outside = {key: value for key, value in folders.items() if not value.startswith(str(tmp_path))}
    assert set(outside) == {"astmoddir", "astdatadir"}  # programs and documentation, only read


@pytest.mark.parametrize(
    ("password", "written"), [("plain", "plain"), ("a;b", "a\\;b"), ("a=>b#c", "a=>b#c"), ("back\\slash", "back\\slash")]
)
def test_a_password_is_written_as_asterisk_reads_it(password: str, written: str) -> None:
    assert literal(password) == written


@pytest.mark.parametrize("password", ["two\nlines", "tab\there", " space", "nul\0"])
def test_a_password_that_could_change_the_configuration_is_refused(password: str) -> None:
    with pytest.raises(StackError, match="password"):
        literal(password)


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("redis://127.0.0.1:7000/0", 7000),
        ("redis://localhost/0", 6379),
        ("redis://[::1]:7001/0", 7001),
        ("redis://10.0.0.5:6379/0", None),
        ("rediss://127.0.0.1:6379/0", None),
        ("unix:///run/redis/redis.sock", None),
    ],
)
def test_redis_is_run_here_only_when_it_is_here(tmp_path: Path, url: str, port: int | None) -> None:
    file = tmp_path / "appliance.toml"
    file.write_text(f'[redis]\nurl = "{url}"\n')
    loaded = load(file)
    assert redis_port(loaded) == port
    if port is not None:
        settings = dict(line.split(" ", 1) for line in redis_file(loaded, layout_of(loaded)).splitlines())
        assert settings["port"] == str(port)
        assert settings["bind"] == "127.0.0.1"
        assert settings["dir"].startswith(str(tmp_path))
