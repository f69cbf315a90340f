"""Engines by name, and the stub engines that only take time."""

from __future__ import annotations

import importlib.util
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from model_servers import Gate

from appliance.config.schema import MtServer, SttServer, TtsServer
from appliance.engines import registry
from appliance.engines.base import EngineFailed, EngineUnavailable, RecogniseJob, SynthesiseJob, TranslateJob
from appliance.engines.stub import StubRecogniser, StubSynthesiser, StubTranslator

SECOND = np.zeros(16_000, np.int16)


def test_every_engine_of_the_configuration_has_its_packages_listed() -> None:
    for section in (SttServer, MtServer, TtsServer):
        assert set(get_args(get_type_hints(section)["engine"])) <= set(registry.PACKAGES)


def test_a_missing_package_is_named_before_anything_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(EngineUnavailable, match="engine vits-onnx needs packages that are not installed: onnxruntime"):
        registry.synthesiser(TtsServer(engine="vits-onnx", model="voice"), tmp_path)


@pytest.mark.parametrize(
    ("make", "config"),
    [
        (registry.recogniser, SttServer(model="nosuch")),
        (registry.recogniser, SttServer(engine="faster-whisper", model="")),
        (registry.translator, MtServer(model="nosuch")),
        (registry.synthesiser, TtsServer(engine="vits-onnx", model="nosuch")),
    ],
)
def test_a_missing_model_folder_is_named(make, config, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(EngineUnavailable, match=str(tmp_path)):
        make(config, tmp_path)


def test_stubs_take_the_time_they_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = registry.translator(MtServer(engine="stub", model="delay_s=0.05,each_s=0.01"), tmp_path)
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    engine.translate([TranslateJob("x", "ta", "hinglish")] * 3)
    assert sum(slept) == pytest.approx(0.08)


def test_a_stub_with_a_gate_waits_at_it_only_while_it_is_there(tmp_path: Path) -> None:
    engine = registry.translator(MtServer(engine="stub", model=f"gate={tmp_path}/gate"), tmp_path)
    jobs = [TranslateJob("x", "ta", "hinglish")]
    assert [done.text for done in engine.translate(jobs)] == ["x"]
    with ThreadPoolExecutor(1) as pool, Gate(tmp_path / "gate") as gate:
        asked = pool.submit(engine.translate, jobs)
        gate.reached()
        assert not asked.done()
        gate.open()
        assert [done.text for done in asked.result(10)] == ["x"]
    assert [done.text for done in engine.translate(jobs)] == ["x"]


def test_the_environment_goes_before_the_model_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETU_STUB", "speech_s=0.25")
    (speech,) = StubSynthesiser("speech_s=3").speak([SynthesiseJob("x", "ta")])
    assert (len(speech.samples), speech.rate) == (4000, 16_000)


def test_stub_recognition_finds_a_language_only_when_asked_to() -> None:
    found, given = StubRecogniser("text=हाँ").transcribe([RecogniseJob(SECOND, allowed=("kn", "ta")), RecogniseJob(SECOND, "mr")])
    assert (found.text, found.language, found.language_scores) == ("हाँ", "kn", {"kn": 1.0, "ta": 0.0})
    assert (given.language, given.language_scores) == ("mr", {})


def test_stubs_fail_when_told_to() -> None:
    with pytest.raises(EngineFailed):
        StubRecogniser("fail=*").transcribe([RecogniseJob(SECOND)])
    engine = StubTranslator("fail=boom")
    with pytest.raises(EngineFailed):
        engine.translate([TranslateJob("a boom", "ta", "hinglish")])
    assert engine.translate([TranslateJob("fine", "ta", "hinglish")])[0].text == "fine"


@pytest.mark.parametrize("model", ["delay=1", "delay_s", "delay_s=fast"])
def test_a_wrong_stub_model_is_named(model: str) -> None:
    with pytest.raises(EngineUnavailable, match=model):
        StubTranslator(model)
