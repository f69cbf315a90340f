"""Small parts of the stack: ports, readiness, music, the configuration for one machine."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import numpy as np
import pytest

from appliance.config.errors import ConfigError
from appliance.config.load import load
from appliance.stack import defaults
from appliance.stack.errors import PortTaken, StackError
from appliance.stack.layout import layout_of
from appliance.stack.music import LEVEL_DB, hold_music
from appliance.stack.preflight import Listener, check_ports, listeners, only_stack_in
from appliance.stack.readiness import connected_workers
from appliance.stack.up import environment, ready_line

SESSIONS = """\
Connection ID                         Type            RemoteAddr                       State Apps
------------------------------------- --------------- -------------------------------- ----- ----------------
2f0d2bfd-1f4f-4a3e-9d2e-0c6b2f4f9a11  inbound         127.0.0.1:53754                  Up    setu-1
setu-2                                persistent      N/A                              Down  setu-2
setu-12                               persistent      127.0.0.1:8791                   Up    setu-12
"""


def test_connected_workers_are_those_whose_connection_is_up() -> None:
    assert connected_workers(SESSIONS) == {1, 12}
    assert connected_workers("Unable to connect to remote asterisk\n") == set()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_taken_port_is_named_with_its_key_and_its_owner(protocol: str) -> None:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken) as refusal:
            check_ports([Listener("telephony.sip_port", protocol, "0.0.0.0", port)])  # type: ignore[arg-type]
        assert f"{protocol.upper()} port {port} (telephony.sip_port) is taken by" in str(refusal.value)
        assert f"process {os.getpid()}" in str(refusal.value)
        check_ports([Listener("telephony.sip_port", protocol, "127.0.0.9", port)])  # type: ignore[arg-type]
    check_ports([Listener("telephony.sip_port", protocol, "0.0.0.0", port)])  # type: ignore[arg-type]


def test_a_connection_that_ends_at_a_port_does_not_take_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        port = client.getsockname()[1]
        check_ports([Listener("gateway.port", "tcp", "127.0.0.1", port)])
        client.close()
        accepted.close()


def test_every_listener_of_the_configuration_is_checked(tmp_path: Path) -> None:
    loaded = load(defaults.write_config(tmp_path, 200, extra=""))
    wanted = {(listener.key, listener.protocol, listener.port) for listener in listeners(loaded)}
    assert wanted == {
        ("telephony.sip_port", "udp", 5260),
        ("telephony.sip_port", "tcp", 5260),
        ("telephony.http_port", "tcp", 8288),
        ("gateway.port", "tcp", 8280),
        ("redis.url", "tcp", 6579),
    }


def test_a_folder_has_one_stack_at_a_time(tmp_path: Path) -> None:
    layout = layout_of(load(defaults.write_config(tmp_path)))
    with (
        only_stack_in(layout),
        pytest.raises(StackError, match=rf"already running in {tmp_path} \(process {os.getpid()}\)"),
        only_stack_in(layout),
    ):
        pass
    with only_stack_in(layout):
        pass


@pytest.mark.parametrize("offsets", [(0, 100), (100, 200), (2900, 3000)])
def test_stacks_with_other_offsets_share_no_port(tmp_path: Path, offsets: tuple[int, int]) -> None:
    taken: list[set[int]] = []
    for offset in offsets:
        loaded = load(defaults.write_config(tmp_path / str(offset), offset))
        telephony = loaded.config.telephony
        audio = range(telephony.rtp_first_port, telephony.rtp_last_port + 1)
        taken.append({listener.port for listener in listeners(loaded)} | set(audio))
    assert not taken[0] & taken[1]


@pytest.mark.parametrize("offset", [-1, defaults.MAX_OFFSET + 1])
def test_an_offset_out_of_range_is_refused(tmp_path: Path, offset: int) -> None:
    with pytest.raises(ConfigError, match="allowed: 0 to"):
        defaults.write_config(tmp_path, offset)


def test_the_written_configuration_keeps_its_passwords_to_itself(tmp_path: Path) -> None:
    first = defaults.write_config(tmp_path)
    password = tmp_path / "state" / "agent1-password"
    said = password.read_text()
    assert stat.S_IMODE(password.stat().st_mode) == 0o600
    assert said.strip() not in first.read_text()
    loaded = load(defaults.write_config(tmp_path, 100, extra="[listen]\npreroll_s = 0.3"))
    assert password.read_text() == said
    assert loaded.config.telephony.sip_port == 5160
    assert loaded.config.listen.preroll_s == 0.3
    assert loaded.config.play.quiet_numbers == [defaults.QUIET_NUMBER]


def test_proxies_stay_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("SETU_CACHE", "/somewhere")
    assert not [name for name in environment() if name.lower().endswith("_proxy")]
    assert environment()["SETU_CACHE"] == "/somewhere"


def test_the_ready_line_says_where_to_call(tmp_path: Path) -> None:
    line = ready_line(load(defaults.write_config(tmp_path, 300)))
    assert line == "ready: calls to 1800 at 127.0.0.1 port 5360 from 127.0.0.2; agents: agent1, agent2"


def test_the_music_is_soft_seamless_and_within_the_telephone_band() -> None:
    music = hold_music().astype(float)
    peak_db = 20 * np.log10(np.abs(music).max() / 32_767)
    assert peak_db == pytest.approx(LEVEL_DB, abs=0.1)
    jump = abs(music[0] - music[-1])
    assert jump <= np.abs(np.diff(music)).max()
    power = np.abs(np.fft.rfft(music)) ** 2
    hertz = np.fft.rfftfreq(len(music), 1 / 16_000)
    assert power[hertz > 3_400].sum() < 0.001 * power.sum()
