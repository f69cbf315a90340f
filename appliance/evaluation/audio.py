"""Audio as the model servers get it: any WAV file, noise over it, and the telephone's band when asked for."""

from __future__ import annotations

import re
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from appliance.audio import g711, noise
from appliance.evaluation.errors import EvaluationError

Samples = npt.NDArray[np.int16]

RATE = 16_000
"""Hz of what the model servers take."""
TELEPHONE_HZ = 8000
LOWEST_HZ, HIGHEST_HZ = 4000, 192_000
_NOISE = re.compile(r"(?P<kind>[a-z]+):(?P<snr>[+-]?\d+(?:\.\d+)?)")
_MIXED = "mixed"
"""Each utterance gets another kind, in turn."""


@dataclass(frozen=True, slots=True)
class Line:
    """What happens to the audio on its way."""

    bandlimit: bool = False
    """8 kHz and G.711 mu-law."""
    noise_kind: str = ""
    """Of `appliance.audio.noise`, or `mixed`; empty: none."""
    snr_db: float = 0.0
    seed: int = 1

    @classmethod
    def parse(cls, bandlimit: bool, noise_option: str, seed: int = 1) -> Line:
        """`noise_option` is `KIND:DB`, or empty. Raises: EvaluationError."""
        if not noise_option:
            return cls(bandlimit, seed=seed)
        match = _NOISE.fullmatch(noise_option)
        kinds = (*noise.GENERATORS, _MIXED)
        if match is None or match["kind"] not in kinds:
            raise EvaluationError(f"noise {noise_option!r}: allowed is KIND:DB, as babble:10, with KIND one of {', '.join(kinds)}")
        return cls(bandlimit, match["kind"], float(match["snr"]), seed)

    def __str__(self) -> str:
        band = "8 kHz G.711" if self.bandlimit else "as recorded"
        return f"{band}, {self.noise_kind} noise at {self.snr_db:g} dB" if self.noise_kind else band

    def heard(self, samples: Samples, rate: int, number: int) -> Samples:
        """What arrives at the far end, at 16 kHz.

        Args:
            samples: mono, at `rate` Hz.
            number: of the utterance; the same one gets the same noise in every run.
        """
        own = TELEPHONE_HZ if self.bandlimit else rate
        audio = _resampled(samples, rate, own)
        if self.noise_kind and len(audio):
            rng = np.random.default_rng([self.seed, number])
            kinds = tuple(noise.GENERATORS)
            kind = kinds[number % len(kinds)] if self.noise_kind == _MIXED else self.noise_kind
            audio = noise.mix(audio, noise.make(kind, len(audio), own, rng), self.snr_db)
        if self.bandlimit:
            audio = g711.decode(g711.encode(audio))
        return _resampled(audio, own, RATE)


def read(path: Path) -> tuple[Samples, int]:
    """Samples and rate of a mono PCM WAV file of 8, 16, 24 or 32 bits; silence is allowed.

    Raises:
        EvaluationError: naming the file, what it holds and what is allowed.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, rate, count = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
            data = file.readframes(count)
    except (OSError, EOFError, wave.Error) as error:
        raise EvaluationError(f"{path}: cannot be read as a PCM WAV file: {error}") from error
    if channels != 1:
        raise EvaluationError(f"{path}: {channels} channels, allowed: 1")
    if not LOWEST_HZ <= rate <= HIGHEST_HZ:
        raise EvaluationError(f"{path}: {rate} Hz, allowed: {LOWEST_HZ} to {HIGHEST_HZ}")
    if not data:
        raise EvaluationError(f"{path}: holds no samples")
    data = data[: len(data) // width * width]
    if width == 1:  # the only unsigned kind
        return (np.frombuffer(data, np.uint8).astype(np.int16) - 128) * np.int16(256), rate
    return np.frombuffer(data, np.uint8).reshape(-1, width)[:, -2:].copy().view("<i2")[:, 0].astype(np.int16), rate


def write(path: Path, samples: Samples, rate: int) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())


def _resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    return samples if rate == wanted else np.asarray(soxr.resample(samples, rate, wanted), dtype=np.int16)
