"""Which model servers there are, and which of them is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from appliance.config.instances import instance_names, is_fallback, kind_of
from appliance.config.load import LoadedConfig
from appliance.config.schema import Config
from appliance.modelserver.breaker import Breaker
from appliance.modelserver.choice import choose
from appliance.stack.procfile import model_names


@dataclass(eq=False)
class Server:
    name: str
    rank: int = 0
    under_way: int = 0
    turn: int = 0
    breaker: Breaker = field(default_factory=lambda: Breaker(failures=1))


def out(server: Server) -> Server:
    server.breaker.failed(0.0, "gone")
    return server


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ["stt"]),
        ({"instances": 3}, ["stt-1", "stt-2", "stt-3"]),
        ({"fallback": True}, ["stt", "stt-fallback"]),
        ({"instances": 2, "fallback": True}, ["stt-1", "stt-2", "stt-fallback"]),
    ],
)
def test_names(settings: dict[str, object], names: list[str]) -> None:
    config = msgspec.convert({"stt": settings}, Config)
    assert instance_names(config, "stt") == names
    assert instance_names(config, "mt") == ["mt"]
    assert {kind_of(name) for name in names} == {"stt"}
    assert [is_fallback(name) for name in names] == [name.endswith("fallback") for name in names]


def test_every_instance_is_a_process_with_a_socket_of_its_own(tmp_path: Path) -> None:
    config = msgspec.convert({"stt": {"instances": 2}, "tts": {"fallback": True}}, Config)
    loaded = LoadedConfig(config, tmp_path / "appliance.toml")
    assert model_names(loaded) == ["stt-1", "stt-2", "mt", "tts", "tts-fallback"]
    assert loaded.socket("tts-fallback") == tmp_path / "run" / "tts-fallback.sock"


@pytest.mark.parametrize("name", ["", "llm", "stt-", "stt-1-2", "sttx", "stt 1", "../stt"])
def test_what_is_no_name(name: str) -> None:
    assert kind_of(name) is None


def test_the_least_busy_is_asked_and_in_turn_when_all_are_idle() -> None:
    first, second = Server("1"), Server("2")
    first.turn = 1
    assert choose([first, second]) is second
    second.under_way = 1
    assert choose([first, second]) is first


def test_the_starter_engine_is_asked_only_when_no_other_may_be() -> None:
    main, busy, starter = Server("1"), Server("2", under_way=50), Server("fallback", rank=1)
    assert choose([starter, out(main), busy]) is busy
    assert choose([starter, main, out(busy)]) is starter
    assert choose([starter, Server("3", under_way=50)], tried=[]) is not starter


def test_an_instance_is_not_asked_twice_and_none_may_be_left() -> None:
    first, second = Server("1"), Server("2")
    assert choose([first, second], [first]) is second
    assert choose([first, second], [first, second]) is None
    assert choose([out(first)]) is None
