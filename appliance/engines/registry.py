"""Engines by the names of the configuration; an engine's packages are looked for before they are imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from appliance.config.schema import MtServer, SttServer, TtsServer
from appliance.engines.base import EngineUnavailable, LanguageIdentifier, Recogniser, Synthesiser, Translator

PACKAGES: dict[str, dict[str, str]] = {
    "whisper-short": {"ctranslate2": "ctranslate2", "tokenizers": "tokenizers"},
    "faster-whisper": {"ctranslate2": "ctranslate2", "faster_whisper": "faster-whisper"},
    "ctranslate2": {"ctranslate2": "ctranslate2", "sentencepiece": "sentencepiece"},
    "espeak-ng": {"soxr": "soxr"},
    "vits-onnx": {"onnxruntime": "onnxruntime", "soxr": "soxr"},
    "fasttext": {"fasttext": "fasttext-predict"},
    "stub": {},
}
"""Import name and package name of what each engine needs."""


def require(engine: str) -> None:
    """Raises: EngineUnavailable, naming the engine and the packages to install."""
    missing = [package for module, package in PACKAGES[engine].items() if importlib.util.find_spec(module) is None]
    if missing:
        raise EngineUnavailable(f"engine {engine} needs packages that are not installed: {', '.join(missing)}")


def recogniser(config: SttServer, models: Path) -> Recogniser:
    """`models`: the folder that model names are relative to. Raises: EngineUnavailable."""
    require(config.engine)
    if config.engine == "stub":
        from appliance.engines.stub import StubRecogniser

        return StubRecogniser(config.model)
    folder = _folder(models, config.model)
    if config.engine == "faster-whisper":
        from appliance.engines.faster_whisper import FasterWhisper

        return FasterWhisper(
            folder, device=config.device, compute_type=config.compute_type, threads=config.threads, beam_size=config.beam_size
        )
    from appliance.engines.whisper_short import WhisperShort

    return WhisperShort(folder, device=config.device, compute_type=config.compute_type, threads=config.threads, beam_size=config.beam_size)


def translator(config: MtServer, models: Path) -> Translator:
    """Raises: EngineUnavailable."""
    require(config.engine)
    if config.engine == "stub":
        from appliance.engines.stub import StubTranslator

        return StubTranslator(config.model)
    from appliance.engines.ct2_translator import CT2Translator

    return CT2Translator(
        _folder(models, config.model),
        device=config.device,
        compute_type=config.compute_type,
        threads=config.threads,
        beam_size=config.beam_size,
    )


def synthesiser(config: TtsServer, models: Path) -> Synthesiser:
    """Raises: EngineUnavailable."""
    require(config.engine)
    if config.engine == "stub":
        from appliance.engines.stub import StubSynthesiser

        return StubSynthesiser(config.model)
    if config.engine == "vits-onnx":
        from appliance.engines.vits_onnx import VitsOnnx

        return VitsOnnx(_folder(models, config.model), voices=config.voices, device=config.device, threads=config.threads)
    from appliance.engines.espeak import Espeak

    return Espeak(voices=config.voices, rate_wpm=config.rate_wpm)


def identifier() -> LanguageIdentifier:
    """Raises: EngineUnavailable."""
    require("fasttext")
    from appliance.engines.fasttext_lid import FastTextIdentifier

    return FastTextIdentifier()


def _folder(models: Path, name: str) -> Path:
    folder = models / name
    if not name or not folder.is_dir():
        raise EngineUnavailable(f"model folder {folder} does not exist")
    return folder
