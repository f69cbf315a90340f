"""Voice activity of all legs of a process in one run of Silero VAD per tick.

The network is the published one with its weights in another graph (`vad_graph`), which takes one window each of many streams;
the state of every stream is kept here.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from appliance.errors import ApplianceError
from appliance.speech import vad_graph
from appliance.speech.vad_graph import CONTEXT, STATE, UnknownGraph, for_many_streams

RATE = 16_000
WINDOW = vad_graph.WINDOW
"""Samples of one step (32 ms)."""
WINDOW_S = WINDOW / RATE
_QUIET = 24
"""Peak (of 32768, -62 dBFS) below which a window holds no speech: 20 dB under the faintest. Muted phones and clean lines send such."""
_ASLEEP_WINDOWS = 16
"""So many quiet windows in a row (0.5 s) and a stream needs no run until it is heard again; stops inside words are far shorter."""

Samples = npt.NDArray[np.int16]


class VoiceActivityError(ApplianceError):
    """The model of the voice activity detector is missing or not the expected one."""


def model_path() -> Path:
    """Where the installed faster-whisper keeps the model; the package itself is not imported.

    Raises:
        VoiceActivityError: it is not installed or has no such file.
    """
    package = find_spec("faster_whisper")
    if package is None or package.origin is None:
        raise VoiceActivityError("faster-whisper is not installed: its wheel carries the voice activity model")
    path = Path(package.origin).parent / "assets" / "silero_vad_v6.onnx"
    if not path.is_file():
        raise VoiceActivityError(f"no voice activity model at {path}", hint="faster-whisper 1.2 carries silero_vad_v6.onnx")
    return path


def _for_many_streams(path: Path) -> bytes:
    try:
        return for_many_streams(onnx.load(path))
    except UnknownGraph as error:
        raise VoiceActivityError(f"{path} is not the voice activity model this version knows (silero_vad_v6): {error}") from None


class VoiceActivity:
    """Speech probabilities for any number of streams; one thread, 50 us for one window, in a batch 6 us each.

    Raises:
        VoiceActivityError: see `model_path`.
    """

    def __init__(self, path: Path | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(_for_many_streams(path or model_path()), options, providers=["CPUExecutionProvider"])
        self._free: list[int] = []
        self._hidden = np.zeros((0, STATE), np.float32)
        self._cell = np.zeros((0, STATE), np.float32)
        self._context = np.zeros((0, CONTEXT), np.float32)
        self._quiet = np.zeros(0, np.int32)  # quiet windows in a row

    def open(self) -> int:
        """A new stream; give it back with `close`."""
        if not self._free:
            used = self._context.shape[0]
            more = max(8, used)
            self._hidden = np.concatenate((self._hidden, np.zeros((more, STATE), np.float32)))
            self._cell = np.concatenate((self._cell, np.zeros((more, STATE), np.float32)))
            self._context = np.concatenate((self._context, np.zeros((more, CONTEXT), np.float32)))
            self._quiet = np.concatenate((self._quiet, np.zeros(more, np.int32)))
            self._free = list(range(used + more - 1, used - 1, -1))
        stream = self._free.pop()
        self._hidden[stream] = 0
        self._cell[stream] = 0
        self._context[stream] = 0
        self._quiet[stream] = 0
        return stream

    def close(self, stream: int) -> None:
        self._free.append(stream)

    def run(self, streams: Sequence[int], windows: Sequence[Samples]) -> npt.NDArray[np.float32]:
        """Probability of speech in the next window of each stream.

        Args:
            streams: what `open` returned, no stream twice.
            windows: one array of 512 samples (16 kHz) for each stream.

        Returns:
            float32, one value for each stream. In the middle of long silence it is 0 without a run.
        """
        pcm = np.concatenate(windows).reshape(-1, WINDOW)
        index = np.asarray(streams)
        quiet = (pcm.max(axis=1) < _QUIET) & (pcm.min(axis=1) > -_QUIET)
        self._quiet[index] = np.where(quiet, self._quiet[index] + 1, 0)
        awake = np.flatnonzero(self._quiet[index] < _ASLEEP_WINDOWS)
        scaled = pcm.astype(np.float32) * np.float32(1 / 32768)
        result = np.zeros(len(streams), np.float32)
        if len(awake):
            active, now = index[awake], scaled[awake]
            batch = np.concatenate((self._context[active], now, now[:, -2 : -CONTEXT - 2 : -1]), axis=1)
            state = {"input": batch, "h": self._hidden[active], "c": self._cell[active]}
            probability, self._hidden[active], self._cell[active] = self._session.run(None, state)
            result[awake] = probability[:, 0]
        self._context[index] = scaled[:, -CONTEXT:]
        return result
