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
    {{ name = "provider", address = "10.1.3.0/28", server = "{server}", username = "{username}", password = "{password}" }},
]
"""


def written(folder: Path, server: str = "sip.example.net:5070", username: str = "u-1", password: str = "a-b") -> Path:
    file = folder / "appliance.toml"
    file.write_text(CONFIG.format(server=server, username=username, password=password))
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
    ],
)
def test_what_is_not_allowed_is_named(tmp_path: Path, keys: dict[str, str], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"telephony\.trunks\[2\]\.{key}"):
        load(written(tmp_path, **keys))


def test_a_secret_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "provider-password").write_text("from; the file\n")
    assert "password = from\\; the file" in rendered(written(tmp_path, password="file:provider-password"), "pjsip")
