"""Speech by a VITS voice as Coqui exports it to ONNX: `model.onnx` (or the only *.onnx file) and `config.json` in a folder.

Graph: `input` int64 (batch, ids), `input_lengths` int64 (batch), `scales` float32 (3) = noise, length, duration noise, and
for several speakers or languages `sid` and `langid` int64 (1); `output` float32 (batch, 1, samples). It does not say how
long each row of a batch is, so sentences run one at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soxr

from appliance.engines.base import Capabilities, EngineFailed, EngineUnavailable, JobRejected, Samples, Synthesis, SynthesiseJob
from appliance.engines.vits_text import VitsText
from appliance.text.languages import BY_CODE, language
from appliance.text.spoken import spoken_text

RATE_HZ = 16_000
PEAK = 0.9
"""Louder output is scaled down to this share of full scale instead of being clipped."""
INPUTS = {"input", "input_lengths", "scales", "sid", "langid"}


class VitsVoice:
    """One folder: one model, for one language or for those of its `language_ids`."""

    def __init__(self, folder: Path, *, device: str = "cpu", threads: int = 1) -> None:
        """Raises: EngineUnavailable."""
        try:
            config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            self._rate = int(config["audio"]["sample_rate"])
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(str(_graph(folder)), options, providers=_providers(device))
        except EngineUnavailable:
            raise
        except Exception as error:  # onnxruntime raises classes of its own that share no base
            raise EngineUnavailable(f"voice {folder}: {error!r}") from error
        self._text = VitsText(config)
        names = {item.name for item in self._session.get_inputs()}
        if not {"input", "input_lengths"} <= names or names - INPUTS:
            raise EngineUnavailable(f"voice {folder}: inputs {sorted(names)}, expected those of a VITS export: {sorted(INPUTS)}")
        self._names = names
        arguments = config.get("model_args") or {}
        settings = (("inference_noise_scale", 0.667), ("length_scale", 1.0), ("inference_noise_scale_dp", 1.0))
        self._scales = np.array([arguments.get(name, default) for name, default in settings], np.float32)
        self._speakers = _numbered(folder / "speaker_ids.json")
        self._languages = _numbered(folder / "language_ids.json")

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(self._speakers)

    def say(self, text: str, code: str, speaker: str) -> Samples:
        """16 kHz. Raises: JobRejected, EngineFailed."""
        ids = self._text.ids(text)
        if not ids:
            return np.zeros(0, np.int16)
        feed: dict[str, Any] = {"input": np.array([ids], np.int64), "input_lengths": np.array([len(ids)], np.int64), "scales": self._scales}
        if speaker and speaker not in self._speakers:
            raise JobRejected(f"no voice {speaker!r}, allowed: {', '.join(self._speakers) or 'none, the model has one speaker'}")
        feed["sid"] = np.array([self._speakers.get(speaker, 0)], np.int64)
        feed["langid"] = np.array([self._languages.get(code, 0)], np.int64)
        try:
            output = self._session.run(["output"], {name: value for name, value in feed.items() if name in self._names})[0]
        except Exception as error:  # onnxruntime raises classes of its own that share no base
            raise EngineFailed(f"synthesis of {len(ids)} ids: {error}") from error
        audio = np.asarray(output, np.float32).reshape(-1)
        if not np.isfinite(audio).all():
            raise EngineFailed(f"synthesis of {len(ids)} ids: the model's output is not finite")
        audio = soxr.resample(audio, self._rate, RATE_HZ)
        peak = float(np.abs(audio).max(initial=0.0))
        samples: Samples = np.round(audio * (min(1.0, PEAK / peak) if peak else 1.0) * 32767).astype(np.int16)
        return samples


class VitsOnnx:
    """Voices under `folder`: the folder itself for all languages, or a subfolder named by language code for each."""

    def __init__(self, folder: Path, *, voices: Mapping[str, str] | None = None, device: str = "cpu", threads: int = 1) -> None:
        """`voices`: speaker name by language code. Raises: EngineUnavailable."""
        present = [code for code in BY_CODE if (folder / code / "config.json").is_file()]
        if present:
            self._models = {code: VitsVoice(folder / code, device=device, threads=threads) for code in present}
        else:
            shared = VitsVoice(folder, device=device, threads=threads)
            codes = [code for code in BY_CODE if not shared._languages or code in shared._languages]
            self._models = dict.fromkeys(codes, shared)
        self._voices = dict(voices or {})
        for code, speaker in self._voices.items():
            if code not in self._models or speaker not in self._models[code].speakers:
                known = self._models[code].speakers if code in self._models else ()
                raise EngineUnavailable(f"voice {speaker!r} for {code!r}: {folder} has {', '.join(known) or 'no such'}")
        self.capabilities = Capabilities("vits-onnx", tuple(self._models), max_text_chars=1000, batches_cheaply=False)

    def speak(self, batch: Sequence[SynthesiseJob]) -> list[Synthesis]:
        return [Synthesis(self._say(job), RATE_HZ) for job in batch]

    def _say(self, job: SynthesiseJob) -> Samples:
        text = spoken_text(job.text, language(job.language).code)
        return self._models[job.language].say(text, job.language, job.voice or self._voices.get(job.language, ""))


def _graph(folder: Path) -> Path:
    found = sorted(folder.glob("*.onnx"))
    if len(found) != 1 and folder / "model.onnx" not in found:
        raise EngineUnavailable(f"voice {folder}: {len(found)} *.onnx files and none is model.onnx")
    return folder / "model.onnx" if folder / "model.onnx" in found else found[0]


def _providers(device: str) -> list[str]:
    available = onnxruntime.get_available_providers()
    if device == "cuda" and "CUDAExecutionProvider" not in available:
        raise EngineUnavailable(f"onnxruntime has no CUDA here (it has {', '.join(available)}): install the extra `gpu`")
    wanted = ["CUDAExecutionProvider"] if device in ("cuda", "auto") and "CUDAExecutionProvider" in available else []
    return [*wanted, "CPUExecutionProvider"]


def _numbered(path: Path) -> dict[str, int]:
    """Coqui's name-to-number files; empty when there is none."""
    return {str(name): int(number) for name, number in json.loads(path.read_text(encoding="utf-8")).items()} if path.is_file() else {}
