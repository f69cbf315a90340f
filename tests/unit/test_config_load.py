import stat
import textwrap
from pathlib import Path

import pytest

from appliance.config.errors import ConfigError, SecretError
from appliance.config.load import LoadedConfig, load


def write(folder: Path, text: str) -> Path:
    file = folder / "appliance.toml"
    file.write_text(textwrap.dedent(text).lstrip("\n"))
    return file


def refusal(folder: Path, text: str) -> list[str]:
    """The lines of the error, without the folder."""
    file = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load(file)
    return [line.removeprefix(f"{folder}/") for line in str(caught.value).splitlines()]


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, ""))
    assert loaded.config.telephony.sip_port == 5060
    assert loaded.config.telephony.agents == []


def test_values_lists_and_byte_order_mark(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
        [telephony]
        sip_port = 5070
        ring_s = 30
        [[telephony.agents]]
        name = "agent-1"
        password = "file:agent-1"
        [[telephony.trunks]]
        name = "provider"
        address = "10.1.2.0/28"
        [tts]
        voices = { ta = "ta", hinglish = "hi" }
        """,
    )
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    config = load(file).config
    assert config.telephony.sip_port == 5070
    assert config.telephony.ring_s == 30.0
    assert config.telephony.agents[0].name == "agent-1"
    assert config.telephony.trunks[0].address == "10.1.2.0/28"
    assert config.tts.voices["hinglish"] == "hi"


def test_unknown_key_names_file_line_key_and_what_is_allowed(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "[gateway]\nhost = '127.0.0.1'\nprot = 8080\n")
    assert line == (
        "appliance.toml:3: gateway.prot: unknown key (did you mean port?); "
        "allowed in [gateway]: host, port, workers, max_calls, when_full, control, ari_user, ari_password"
    )


def test_unknown_table_and_a_key_without_anything_near(tmp_path: Path) -> None:
    first, second = refusal(tmp_path, "[gatway]\n[node]\nzzz = 1\n")
    assert first.startswith("appliance.toml:1: gatway: unknown key (did you mean gateway?); allowed in the file: node, telephony,")
    assert second == "appliance.toml:3: node.zzz: unknown key; allowed in [node]: name, state_dir, run_dir"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[gateway]\nport = 70000", "appliance.toml:2: gateway.port: 70000 is not allowed; allowed: whole number from 1 to 65535"),
        ("[gateway]\nport = '8080'", 'appliance.toml:2: gateway.port: "8080" is not allowed; allowed: whole number from 1 to 65535'),
        ("[recognise]\nmin_confidence = 2", "appliance.toml:2: recognise.min_confidence: 2 is not allowed; allowed: number from 0 to 1"),
        ("[gateway]\nport = true", "appliance.toml:2: gateway.port: true is not allowed; allowed: whole number from 1 to 65535"),
        (
            "[listen]\nspeech_probability = 1",
            "appliance.toml:2: listen.speech_probability: 1 is not allowed; allowed: number, more than 0 and less than 1",
        ),
        (
            "[listen]\nmin_speech_s = nan",
            "appliance.toml:2: listen.min_speech_s: nan is not allowed; allowed: number, more than 0 and at most 600",
        ),
        (
            "[identify]\ndefault = 'en'",
            'appliance.toml:2: identify.default: "en" is not allowed; allowed: one of "hi", "kn", "mr", "ta", "te"',
        ),
        ("[play]\noriginal_voice = 1", "appliance.toml:2: play.original_voice: 1 is not allowed; allowed: true or false"),
        ("node = 3", "appliance.toml:1: node: 3 is not allowed; allowed: a table with the keys name, state_dir, run_dir"),
        ("[telephony]\nagents = 'a'", 'appliance.toml:2: telephony.agents: "a" is not allowed; allowed: a list of tables'),
        (
            "[tts]\n[tts.voices]\nta = 5",
            "appliance.toml:2: tts.voices: a table is not allowed; allowed: a table, each value text in quotes",
        ),
    ],
)
def test_bad_value_names_its_line_and_the_allowed_ones(tmp_path: Path, text: str, expected: str) -> None:
    assert refusal(tmp_path, text) == [expected]


def test_all_problems_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = refusal(
        tmp_path,
        """
        [telephony]
        sip_port = 0
        [[telephony.agents]]
        name = "a"
        password = "x"
        [[telephony.agents]]
        name = "Bad Name"
        pasword = "x"
        """,
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["appliance.toml:2", "telephony.sip_port"],
        ["appliance.toml:6", "telephony.agents[2]"],
        ["appliance.toml:7", "telephony.agents[2].name"],
        ["appliance.toml:8", "telephony.agents[2].pasword"],
    ]
    assert "the key 'password' is missing" in lines[1]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("[telephony]\nrtp_first_port = 20000\nrtp_last_port = 10000", "3: telephony.rtp_last_port", "no room for one call"),
        ("[telephony]\nsip_port = 10010", "2: telephony.sip_port", "lies in the RTP range 10000 to 20000"),
        ("[telephony]\ntls_port = 70000", "2: telephony.tls_port", "0 (off) or a port"),
        ("[telephony]\ntls_port = 5061\ntls_key = 'k.pem'", "2: telephony.tls_port", "needs tls_certificate"),
        (
            "[[telephony.agents]]\nname = 'a'\npassword = 'x'\nsrtp = 'required'",
            "4: telephony.agents[1].srtp",
            "encrypted audio needs telephony.tls_port",
        ),
        ("[telephony]\nhttp_port = 8080", "gateway.port", "already that of telephony.http_port"),
        ("[gateway]\nport = 8085\nworkers = 4", "2: gateway.port", "port 8088 (worker 4) is already that of telephony.http_port"),
        ("[gateway]\nport = 65535\nworkers = 2", "2: gateway.port", "ports up to 65536"),
        ("[redis]\nurl = 'redis://localhost:8080/1'", "2: redis.url", "already that of gateway.port"),
        ("[redis]\nurl = 'http://x'", "2: redis.url", "redis://HOST:PORT/N"),
        ("[store]\ndatabase = 'mysql://x/y'", "2: store.database", "sqlite:///PATH"),
        ("[telephony]\nbind = 'everywhere'", "2: telephony.bind", "an IP address"),
        ("[listen]\nendpoint_min_s = 0.9", "listen.endpoint_max_s", "less than endpoint_min_s 0.9"),
        ("[tts]\nengine = 'vits-onnx'", "tts.model", "folder of its voices"),
        ("[tts.voices]\nxx = 'x'", "2: tts.voices.xx", "ta, te, kn, mr, hi, hinglish"),
        ("[gateway]\nari_password = 'a;b'", "2: gateway.ari_password", 'without ";"'),
        ("[gateway]\nari_password = 'file:../x'", "2: gateway.ari_password", "plain file name"),
        ("[gateway]\nari_user = 'a b'", "2: gateway.ari_user", "letters, digits"),
        ("[identify]\nhash_key = ''", "2: identify.hash_key", "printable text"),
        ("[node]\nrun_dir = '" + "/long" * 30 + "'", "2: node.run_dir", "at most 107"),
    ],
)
def test_keys_that_contradict_each_other(tmp_path: Path, text: str, place: str, words: str) -> None:
    (line,) = refusal(tmp_path, text)
    assert place in line
    assert words in line


TRUNKS = """
[[telephony.trunks]]
name = "one"
address = "{first}"
[[telephony.trunks]]
name = "{name}"
address = "{second}"
"""


@pytest.mark.parametrize(
    ("values", "place", "words"),
    [
        ({"first": "10.1.2.300"}, "4: telephony.trunks[1].address", "an IP address or a network"),
        ({"first": "sip.example.org"}, "4: telephony.trunks[1].address", "an IP address or a network"),
        ({"second": "0.0.0.0/0"}, "7: telephony.trunks[2].address", "anybody"),
        ({"second": "10.0.0.0/8"}, "7: telephony.trunks[2].address", "overlaps with trunk 'one'"),
        ({"name": "one"}, "6: telephony.trunks[2].name", "already the name of telephony.trunks[1]"),
    ],
)
def test_trunks(tmp_path: Path, values: dict[str, str], place: str, words: str) -> None:
    good = {"first": "10.1.2.3", "second": "2001:db8::/64", "name": "two"}
    load(write(tmp_path, TRUNKS.format(**good)))
    (line,) = refusal(tmp_path, "#" + TRUNKS.format(**(good | values)))
    assert place in line
    assert words in line


def test_an_agent_may_not_have_the_name_of_a_trunk(tmp_path: Path) -> None:
    text = "[[telephony.trunks]]\nname = 'a'\naddress = '10.0.0.1'\n[[telephony.agents]]\nname = 'a'\npassword = 'x'\n"
    (line,) = refusal(tmp_path, text)
    assert line.startswith("appliance.toml:5: telephony.agents[1].name: 'a' is already the name of telephony.trunks[1]")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[node]\nname = \n", 2, "not valid TOML"),
        ("[node]\nname = 'a'\nname = 'b'\n", 3, "not valid TOML"),
        ("[node]\nname = 'a", 2, "not valid TOML"),
    ],
)
def test_broken_syntax_names_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    (message,) = refusal(tmp_path, text)
    assert message.startswith(f"appliance.toml:{line}: ")
    assert words in message
    assert "column" not in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"[node]\nname = '\xe9'\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "latin.toml")


def loaded_from(folder: Path) -> LoadedConfig:
    return load(write(folder, "[node]\nstate_dir = 'state'\nrun_dir = '/run/setu'\n"))


def test_paths_start_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "")
    monkeypatch.chdir(tmp_path)
    assert load("appliance.toml").path("models") == tmp_path / "models"
    loaded = loaded_from(tmp_path)
    assert loaded.path("/opt/models") == Path("/opt/models")
    assert loaded.state_dir == tmp_path / "state"
    assert loaded.socket("stt") == Path("/run/setu/stt.sock")


def test_a_missing_generated_secret_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    secret = loaded.secret("file:ari-password")
    assert len(secret) >= 32
    assert loaded.secret("file:ari-password") == secret
    assert loaded.secret("file:caller-hash-key") != secret
    file = tmp_path / "state" / "ari-password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["ari-password", "caller-hash-key"]


def test_a_systemd_credential_comes_before_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_from(tmp_path)
    loaded.secret("file:ari-password")
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "ari-password").write_text("from systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert loaded.secret("file:ari-password") == "from systemd"
    assert loaded.secret("file:caller-hash-key")


def test_other_secrets_must_exist_and_hold_something(tmp_path: Path) -> None:
    loaded = loaded_from(tmp_path)
    assert loaded.secret("plain text") == "plain text"
    with pytest.raises(SecretError, match=r"'agent-1' is missing.*looked for .*state/agent-1"):
        loaded.secret("file:agent-1")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "agent-1").write_text("\n")
    with pytest.raises(SecretError, match="is empty"):
        loaded.secret("file:agent-1")
