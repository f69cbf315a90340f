"""G.711 companding (ITU-T G.711): linear 16-bit samples to 8-bit mu-law or A-law codes and back, vectorised."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Law = Literal["mulaw", "alaw"]
Linear = npt.NDArray[np.int16]
Codes = npt.NDArray[np.uint8]

_MULAW_BIAS = 132
_MULAW_CLIP = 32635


def _mulaw_codes(linear: Linear) -> Codes:
    wide = linear.astype(np.int32)
    magnitude = np.minimum(np.abs(wide), _MULAW_CLIP) + _MULAW_BIAS
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    sign = np.where(wide < 0, 0x80, 0)
    return np.asarray(~(sign | (exponent << 4) | mantissa) & 0xFF, dtype=np.uint8)


def _mulaw_linear(codes: Codes) -> Linear:
    inverted = ~codes.astype(np.int32) & 0xFF
    exponent, mantissa = (inverted >> 4) & 0x07, inverted & 0x0F
    magnitude = (((mantissa << 3) + _MULAW_BIAS) << exponent) - _MULAW_BIAS
    return np.where(inverted & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw_codes(linear: Linear) -> Codes:
    wide = linear.astype(np.int32)
    magnitude = np.where(wide < 0, ~wide, wide) >> 4  # 12 bits, reference implementation of G.191
    exponent = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 3, 0)
    mantissa = np.where(exponent > 0, (magnitude >> np.maximum(exponent - 1, 0)) - 16, magnitude)
    sign = np.where(wide >= 0, 0x80, 0)
    return np.asarray((mantissa + (exponent << 4) | sign) ^ 0x55, dtype=np.uint8)


def _alaw_linear(codes: Codes) -> Linear:
    plain = codes.astype(np.int32) ^ 0x55
    exponent, mantissa = (plain & 0x7F) >> 4, plain & 0x0F
    magnitude = (mantissa + np.where(exponent > 0, 16, 0) << 4) + 8
    magnitude <<= np.maximum(exponent - 1, 0)
    return np.where(plain & 0x80, magnitude, -magnitude).astype(np.int16)


_ALL_LINEAR: Linear = np.arange(-32768, 32768, dtype=np.int32).astype(np.int16)
_ALL_CODES: Codes = np.arange(256, dtype=np.int32).astype(np.uint8)
_ENCODE = {"mulaw": _mulaw_codes(_ALL_LINEAR), "alaw": _alaw_codes(_ALL_LINEAR)}
_DECODE = {"mulaw": _mulaw_linear(_ALL_CODES), "alaw": _alaw_linear(_ALL_CODES)}


def encode(linear: Linear, law: Law = "mulaw") -> Codes:
    """int16 samples of any shape to the codes on the wire."""
    return _ENCODE[law][linear.astype(np.int32) + 32768]


def decode(codes: Codes, law: Law = "mulaw") -> Linear:
    """Codes from the wire to int16 samples."""
    return _DECODE[law][codes]


def round_trip(law: Law) -> Linear:
    """What each of the 65,536 int16 values, from -32768 up, is heard as after the wire; for table lookups."""
    return _DECODE[law][_ENCODE[law]]
