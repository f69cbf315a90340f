"""A trunk that wants a registration: its keys, and what Asterisk is told."""

from pathlib import Path

import pytest

from appliance.config.errors import ConfigError
from appliance.config.load import load
from appliance.stack.layout import layout_of
from appliance.stack.render import TEMPLATES, asterisk_file, asterisk_values

CONFIG = """\
[telephony]
company_number = "+911800"
trunks = [
    {{ name = "plain", address = "10.1.2.3" }},
    {{ name = "provider", address = "10.1.3.0/28", server = "{server}", username = "{username}", password = "{password}"{more} }},
]
"""


def written(folder: Path, server: str = "sip.example.net:5070", username: str = "u-1", password: str = "a-b", **more: str) -> Path:
    file = folder / "appliance.toml"
    also = "".join(f', {key} = "{value}"' for key, value in more.items() if key != "tables")
    file.write_text(CONFIG.format(server=server, username=username, password=password, more=also) + more.get("tables", ""))
    return file


def rendered(file: Path, name: str) -> str:
    loaded = load(file)
    values = {**asterisk_values(loaded, layout_of(loaded), "/usr/lib/asterisk/modules"), "announcements": ""}
    return asterisk_file(TEMPLATES / f"{name}.conf.j2", values)


def test_asterisk_registers_at_that_trunk_only(tmp_path: Path) -> None:
    text = rendered(written(tmp_path), "pjsip")
    assert text.count("type = registration") == 1
    block = text[text.index("type = registration") :]
    for line in (
        "server_uri = sip:sip.example.net:5070",
        "client_uri = sip:u-1@sip.example.net:5070",
        "contact_user = 911800",
        "outbound_auth = provider-registration",
        "password = a-b",
    ):
        assert line in block
    assert "res_pjsip_outbound_registration.so" in rendered(tmp_path / "appliance.toml", "modules")


def test_what_some_providers_want_besides(tmp_path: Path) -> None:
    wanted = {"transport": "tcp", "realm": "voice.example.net", "from_user": "911800", "outbound_proxy": "edge.example.net:5080"}
    text = rendered(written(tmp_path, server="example.net", **wanted), "pjsip")
    block = text[text.index("type = registration") :]
    for line in (
        "transport = tcp\n",
        "server_uri = sip:example.net\\;transport=tcp\n",
        "client_uri = sip:911800@example.net\n",
        "outbound_proxy = sip:edge.example.net:5080\\;transport=tcp\\;lr\n",
        "username = u-1\n",
        "realm = voice.example.net\n",
    ):
        assert line in block
    assert "verify_server" not in text


def test_over_tls_the_provider_must_show_who_he_is(tmp_path: Path) -> None:
    tls = 'tls_port = 5061\ntls_certificate = "c.pem"\ntls_key = "k.pem"\n'
    file = written(tmp_path, transport="tls", tables=tls)
    text = rendered(file, "pjsip")
    assert "verify_server = yes" in text[text.index("protocol = tls") : text.index("[endpoint]")]
    assert "server_uri = sip:sip.example.net:5070\\;transport=tls\n" in text
    assert "verify_server" not in rendered(written(tmp_path, tables=tls), "pjsip")


def test_without_a_server_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    file = written(tmp_path, server="", password="")
    assert "registration" not in rendered(file, "pjsip")
    assert "outbound_registration" not in rendered(file, "modules")


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"server": "sip.example.net;transport=tcp"}, "server"),
        ({"username": ""}, "username"),
        ({"username": "a@b"}, "username"),
        ({"password": ""}, "password"),
        ({"transport": "tls"}, "transport"),
        ({"transport": "sctp"}, "transport"),
        ({"realm": "a; b"}, "realm"),
        ({"from_user": "a@b"}, "from_user"),
        ({"outbound_proxy": "sip:edge"}, "outbound_proxy"),
    ],
)
def test_what_is_not_allowed_is_named(tmp_path: Path, keys: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"telephony\.trunks\[2\]\.{key}"):
        load(written(tmp_path, **keys))


def test_a_secret_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "provider-password").write_text("from; the file\n")
    assert "password = from\\; the file" in rendered(written(tmp_path, password="file:provider-password"), "pjsip")
