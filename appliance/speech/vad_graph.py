"""Silero VAD once more, for one window each of many streams: its published weights in products of matrices with a row per stream.

The published graph takes the windows of *one* stream as its batch, and computes its convolutions as many small products. Here
the taps of a convolution stand side by side, so that a layer is a few products over all streams, and what the published graph
computes of padding is left out. The figures are the same but for the rounding of sums. About 6 us a window instead of 40.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

CONTEXT = 64
"""Samples of the window before that the network wants in front of each window, and of the window mirrored behind it."""
WINDOW = 512
INPUT = CONTEXT + WINDOW + CONTEXT
STATE = 128
_SPECTRUM, _HOP, _SPECTRA = 256, 128, 4
"""Samples of a Fourier transform, from one to the next, and how many there are in a window."""
_BINS = _SPECTRUM // 2 + 1
_BASIS = "encoder.feature_extractor.forward_basis_buffer"
_LAST = "decoder.conv1d"
_SIZES = {
    _BASIS: (2 * _BINS, 1, _SPECTRUM),
    "encoder.conv_layers.0.weight": (128, _BINS, 3),
    "encoder.conv_layers.1.weight": (64, 128, 3),
    "encoder.conv_layers.2.weight": (64, 64, 3),
    "encoder.conv_layers.3.weight": (128, 64, 3),
    f"{_LAST}.weight": (1, STATE, 1),
}

Weights = dict[str, npt.NDArray[np.float32]]


class UnknownGraph(ValueError):
    """Not the published graph."""


def for_many_streams(published: onnx.ModelProto) -> bytes:
    """The network with inputs `input` (streams, 640), `h` and `c` (streams, 128), and outputs `probability` (streams, 1), `hn`, `cn`.

    Raises:
        UnknownGraph: it is not silero_vad_v6.
    """
    weights: Weights = {item.name: numpy_helper.to_array(item) for item in published.graph.initializer}
    recurrent = [node for node in published.graph.node if node.op_type == "LSTM"]
    if len(recurrent) != 1 or {name: weights[name].shape for name in _SIZES if name in weights} != _SIZES:
        raise UnknownGraph("its layers are not the known ones")
    graph = _Graph()
    encoded = _encode(graph, _spectra(graph, weights[_BASIS][:, 0]), weights)
    hidden = _remember(graph, encoded, *(weights[name][0] for name in recurrent[0].input[1:4]))
    score = graph.product(graph.add("Relu", hidden), weights[f"{_LAST}.weight"][0], weights[f"{_LAST}.bias"])
    graph.add("Sigmoid", score, output="probability")
    return graph.model(published)


def _spectra(graph: _Graph, basis: npt.NDArray[np.float32]) -> list[str]:
    """Magnitudes of the four overlapping spectra, each (streams, 129)."""
    squares = []
    for first in range(0, _HOP * _SPECTRA, _HOP):
        wave = graph.product(graph.columns("input", first, first + _SPECTRUM), basis.T)
        squares.append(graph.add("Mul", wave, wave))
    parts = [graph.split(square, 2) for square in squares]
    return [graph.add("Sqrt", graph.add("Add", *part)) for part in parts]


def _encode(graph: _Graph, steps: list[str], weights: Weights) -> str:
    """Four convolutions with three taps, the second and third of every other step of time; (streams, 128)."""
    for layer, stride in enumerate((1, 2, 2, 1)):
        weight, bias = weights[f"encoder.conv_layers.{layer}.weight"], weights[f"encoder.conv_layers.{layer}.bias"]
        after = []
        for centre in range(0, len(steps), stride):
            taps = [tap for tap in range(3) if 0 <= centre + tap - 1 < len(steps)]  # outside of the window there is silence
            beside = graph.beside([steps[centre + tap - 1] for tap in taps])
            after.append(graph.add("Relu", graph.product(beside, np.concatenate([weight[:, :, tap].T for tap in taps]), bias)))
        steps = after
    (encoded,) = steps
    return encoded


def _remember(
    graph: _Graph, encoded: str, inward: npt.NDArray[np.float32], back: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]
) -> str:
    """The LSTM's step: what it puts out, (streams, 128), is `hn`."""
    both = graph.beside([encoded, "h"])
    gates = graph.product(both, np.concatenate((inward.T, back.T)), bias[: 4 * STATE] + bias[4 * STATE :])
    into, out, forget, new = graph.split(gates, 4)
    kept = graph.add("Mul", graph.add("Sigmoid", forget), "c")
    added = graph.add("Mul", graph.add("Sigmoid", into), graph.add("Tanh", new))
    cell = graph.add("Add", kept, added, output="cn")
    return graph.add("Mul", graph.add("Sigmoid", out), graph.add("Tanh", cell), output="hn")


class _Graph:
    """Operations in the order in which they are added; each gives the name of what it puts out."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"{kind.lower()}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, value: npt.NDArray[np.generic]) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def product(self, source: str, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32] | None = None) -> str:
        if bias is None:
            return self.add("MatMul", source, self.constant(weight))
        return self.add("Gemm", source, self.constant(weight), self.constant(bias))

    def columns(self, source: str, first: int, end: int) -> str:
        bounds = (self.constant(np.array([value], np.int64)) for value in (first, end, 1))
        return self.add("Slice", source, *bounds)

    def beside(self, sources: list[str]) -> str:
        return self.add("Concat", *sources, axis=1) if len(sources) > 1 else sources[0]

    def split(self, source: str, parts: int) -> list[str]:
        outputs = [f"split{len(self._nodes)}.{part}" for part in range(parts)]
        self._nodes.append(helper.make_node("Split", [source], outputs, axis=1, num_outputs=parts))
        return outputs

    def model(self, published: onnx.ModelProto) -> bytes:
        """With the versions of the published one."""

        def tensor(name: str, size: int) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["streams", size])

        inputs = [tensor("input", INPUT), tensor("h", STATE), tensor("c", STATE)]
        outputs = [tensor("probability", 1), tensor("hn", STATE), tensor("cn", STATE)]
        graph = helper.make_graph(self._nodes, "silero_vad_v6_for_many_streams", inputs, outputs, self._constants)
        model = helper.make_model(graph, opset_imports=published.opset_import, ir_version=published.ir_version)
        serialized: bytes = model.SerializeToString()
        return serialized
