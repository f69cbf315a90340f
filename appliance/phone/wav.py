"""WAV files: speech to be said on the telephone, endless silence, and recordings."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from appliance.phone.errors import AudioFileError

TELEPHONE_HZ = 8000
"""G.711."""

Samples = npt.NDArray[np.int16]

_WIDTHS: dict[int, tuple[str, float]] = {2: ("<i2", 1.0), 4: ("<i4", 1 / 65_536)}
"""Sample types by bytes, and the factor to 16 bits."""


def read(path: Path, rate: int = TELEPHONE_HZ) -> Samples:
    """A mono PCM WAV file of any rate, resampled to `rate`.

    Raises:
        AudioFileError: naming the file, what it holds and what is allowed.
    """
    try:
        with wave.open(str(path), "rb") as file:
            channels, width, original, count = file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()
            data = file.readframes(count)
    except FileNotFoundError:
        raise AudioFileError(f"{path}: there is no such file") from None
    except (OSError, EOFError, wave.Error) as error:
        raise AudioFileError(f"{path}: cannot be read as a PCM WAV file: {error}") from error
    if channels != 1:
        raise AudioFileError(f"{path}: {channels} channels, allowed: 1")
    if width not in _WIDTHS:
        raise AudioFileError(f"{path}: {8 * width} bits a sample, allowed: {', '.join(str(8 * item) for item in _WIDTHS)}")
    kind, factor = _WIDTHS[width]
    samples = (np.frombuffer(data, kind) * factor).astype(np.int16)
    if not np.any(samples):
        raise AudioFileError(f"{path}: holds no sound")
    if original != rate:
        samples = np.asarray(soxr.resample(samples, original, rate), dtype=np.int16)
    return samples


def write(path: Path, samples: Samples, rate: int = TELEPHONE_HZ) -> None:
    """int16 samples of shape (n,) for mono or (n, 2) for stereo."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(samples, dtype="<i2").tobytes())


def write_silence(path: Path, length_s: float, rate: int = TELEPHONE_HZ) -> None:
    """A file of zeros that takes no room on disk."""
    size = 2 * round(length_s * rate)
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16, b"data", size)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + size)
