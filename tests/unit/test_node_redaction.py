"""Nothing private leaves the site in a support bundle, and what a reader needs stays."""

import json
import re
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.frame import appliance
from appliance.node.redaction import Redaction
from appliance.stack.defaults import free_offset, write_config


def redacted(text: str, *secrets: str) -> str:
    return Redaction(secrets).line(text)


def plain(text: str) -> str:
    """With every stand-in the same, to compare with."""
    return re.sub(r"<number [0-9a-f]{4}>", "<number>", text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("call from 9840012345", "call from <number>"),
        ("call from +919840012345 to 1800", "call from <number> to 1800"),
        ("sip:09840012345@10.88.0.100:5060", "sip:<number>@10.88.0.100:5060"),
        ('From: "Ravi Kumar" <sip:9840012345@10.1.2.3>;tag=x', 'From: "<name>" <sip:<number>@10.1.2.3>;tag=x'),
        ("98400 12345, 0431-2345678", "<number>, <number>"),
        ("९८४००१२३४५ called", "<number> called"),
        ("n9840012345x", "n<number>x"),
        ('recognised="router में error" confidence=0.93', "recognised=<text> confidence=0.93"),
        ('{"recognised": "my router is dead", "lane": "a"}', '{"recognised": <text>, "lane": "a"}'),
        ("translated=hello lane=caller_to_agent", "translated=<text> lane=caller_to_agent"),
        ("heard: router पर error 177 आ रहा है", "heard: <text> <text>"),
        ('msg="printer நேற்று இருந்து 4711" after_s=2.4', 'msg="<text>" after_s=2.4'),
        ("ticket नंबर 10839 है.", "<text>."),
        ('{"text": "\\u0928\\u092e"}', '{"text": <text>}'),
        ("redis://:hunter22@10.1.2.3:6379/0", "redis://:<secret>@10.1.2.3:6379/0"),
        ("postgresql://setu:pw1@db/setu", "postgresql://setu:<secret>@db/setu"),
        ("Authorization: Basic c2V0dTpwdw==", "Authorization: <secret>"),
        ('password = "hunter22"', 'password = "<secret>"'),
        ('ari_password = "file:ari-password"', 'ari_password = "file:ari-password"'),
        ("auth_pass=hunter22;x", "auth_pass=<secret>;x"),
    ],
)
def test_what_goes(line: str, expected: str) -> None:
    assert plain(redacted(line)) == expected


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-21T02:00:00.123Z info gateway-1 appliance.gateway call=20261121-093012-1f2e lane=caller_to_agent after_s=2.41235",
        "Nov 21 05:00:12 node1 asterisk[4711]: worker http://127.0.0.1:8080/health 503",
        "setu-1-20261121-093012-1f2e-caller-media",
        "2026-11-21 02:00:00,123 x",
        'setu_delay_seconds_bucket{lane="caller_to_agent",le="0.25"} 12.0',
        "model stt: sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "128 of 200 calls, port 65535, 10.88.0.100",
        "26176:C 21 Nov 2026 06:18:29.827 # ready",
    ],
)
def test_what_stays(line: str) -> None:
    assert redacted(line) == line


def test_known_secrets_go_wherever_they_are() -> None:
    assert redacted("GET /x?key=aX9-longer and aX9-", "aX9-", "aX9-longer", "ab") == "GET /x?key=<secret> and <secret>"


def test_the_same_number_has_the_same_stand_in_however_it_is_written_and_another_one_in_the_next_bundle() -> None:
    redaction = Redaction()
    assert len({redaction.line(number) for number in ("9840012345", "+919840012345", "09840012345", "98400 12345", "९८४००१२३४५")}) == 1
    assert redaction.line("9840012345") != redaction.line("9840012346")
    assert len({Redaction().line("9840012345") for _ in range(8)}) > 1


@given(
    digits=st.text("0123456789", min_size=7, max_size=15),
    before=st.sampled_from(["", "from ", "sip:", "<tel:+", "x=", '"', "[", "Local/", "a", "-", "\t"]),
    after=st.sampled_from(["", " ", "@10.1.2.3", ">", ";user=phone", '"', "]", ",", "-00000001", "\n", "z"]),
)
def test_no_number_comes_through(digits: str, before: str, after: str) -> None:
    assert digits not in redacted(before + digits + after)


@given(words=st.lists(st.sampled_from(["router", "काम", "நேற்று", "ప్రింటర్", "ನನ್ನ", "माझा", "error", "177", "reset"]), min_size=1, max_size=8))
def test_no_word_of_an_indian_script_comes_through(words: list[str]) -> None:
    out = redacted(f"heard {' '.join(words)} end")
    assert not re.search("[\u0900-\u0dff]", out)


SAID = "मेरा printer नहीं चल रहा"
NUMBER = "9840012345"


@pytest.fixture
def bundle(tmp_path: Path) -> dict[str, str]:
    stubs = "[stt]\nengine = 'stub'\n[mt]\nengine = 'stub'\n[tts]\nengine = 'stub'\n"
    file = write_config(tmp_path / "node", free_offset(), extra=stubs)
    logs = tmp_path / "node" / "log"
    logs.mkdir()
    password = (tmp_path / "node" / "state" / "agent1-password").read_text().strip()
    (logs / "gateway-1.log").write_text(f"2026-11-21T02:00:00.123Z info x call=c1 from {NUMBER} said {SAID} with {password}\n")
    output = tmp_path / "bundle.tar.gz"
    result = CliRunner().invoke(appliance, ["support-bundle", "-o", str(output), "--config", str(file)])
    assert result.exit_code == 0, result.output
    assert output.stat().st_mode & 0o777 == 0o600
    with tarfile.open(output) as tar:
        found = {}
        for entry in tar:
            content = tar.extractfile(entry)
            assert content
            found[entry.name.removeprefix("support/")] = content.read().decode()
    everything = "\n".join(found.values())
    for private in (NUMBER, SAID, password, "printer"):
        assert private not in everything
    return found


def test_a_bundle_has_what_explains_a_bad_day(bundle: dict[str, str]) -> None:
    assert {"doctor.json", "status.json", "appliance.toml", "versions.txt", "calls.json", "metrics/gateway-1.txt"} <= bundle.keys()
    assert {finding["name"] for finding in json.loads(bundle["doctor.json"])} >= {"redis", "models", "gateway-1"}
    assert plain(bundle["log/stack/gateway-1.log"]) == "2026-11-21T02:00:00.123Z info x call=c1 from <number> <text> <secret>\n"
    assert bundle["metrics/gateway-1.txt"].startswith("not to be had: ")
    assert bundle["calls.json"].startswith("no records: ")
    assert 'company_number = "1800"' in bundle["appliance.toml"]
