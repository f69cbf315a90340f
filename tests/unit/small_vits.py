"""A VITS model as Coqui exports it to ONNX, with random weights and a few channels: every part of inference, no speech.

Kim, Kong, Son: Conditional Variational Autoencoder with Adversarial Learning for End-to-End Text-to-Speech, 2021. Inputs,
output and opset are those of Coqui's `Vits.export_onnx`, the names of the sizes those of its `VitsArgs`. Simpler than in
the paper: the flow of the stochastic duration predictor is made of shifts, not of splines, and there are two couplings, not
four. Sequences are (batch, channels, time) everywhere.
"""

from __future__ import annotations

from math import prod, sqrt
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WINDOW = 4
"""Distance in ids up to which attention knows where the other id is."""
LOG_FRAMES = 1.0
"""Mean logarithm of the frames for an id."""


def small_vits(args: dict[str, Any], loudness: float = 1.0, seed: int = 0) -> onnx.ModelProto:
    """`args`: the `model_args` of a Coqui config.json. `loudness` multiplies what goes into the decoder's last tanh.

    The tensor `durations` (batch, 1, ids) holds the frames for each id.
    """
    graph = Graph(seed)
    inputs: list[tuple[str, int, list[str | int]]] = [
        ("input", TensorProto.INT64, ["batch_size", "phonemes"]),
        ("input_lengths", TensorProto.INT64, ["batch_size"]),
        ("scales", TensorProto.FLOAT, [3]),
    ]
    speaker = language = None
    if args["num_speakers"]:
        inputs.append(("sid", TensorProto.INT64, [1]))
        table = graph.weight(args["num_speakers"], args["speaker_embedding_channels"], gain=3.0)
        speaker = graph.op("Unsqueeze", graph.op("Gather", table, "sid"), [2])
    if args["num_languages"]:
        inputs.append(("langid", TensorProto.INT64, [1]))
        table = graph.weight(args["num_languages"], args["embedded_language_dim"], gain=3.0)
        language = graph.op("Unsqueeze", graph.op("Gather", table, "langid"), [2])
    noise_scale, length_scale, duration_noise_scale = (graph.op("Gather", "scales", np.array(place)) for place in range(3))
    channels = args["hidden_channels"]

    ids = graph.op("Squeeze", graph.op("Shape", "input", start=1))
    mask = graph.mask(ids, graph.op("Unsqueeze", "input_lengths", [1, 2]))
    text, width = text_encoder(graph, args, language, mask)
    mean, log_scale = graph.halves(graph.mul(graph.conv(text, width, 2 * channels), mask))
    log_frames = duration_predictor(graph, args, text, width, speaker, mask, duration_noise_scale)
    durations = graph.op("Ceil", graph.mul(graph.op("Exp", log_frames), mask, length_scale), name="durations")

    path, frame_mask = alignment(graph, durations)
    mean, log_scale = (graph.op("MatMul", part, path) for part in (mean, log_scale))
    noise = graph.op("RandomNormalLike", mean, seed=float(seed))
    latent = graph.add(mean, graph.mul(noise, graph.op("Exp", log_scale), noise_scale))
    for _ in range(2):
        latent = coupling(graph, args, flip(graph, latent, channels), channels, speaker, frame_mask)
    decoder(graph, args, graph.mul(latent, frame_mask), speaker, loudness)

    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch_size", "time1", "time2"])
    declared = [helper.make_tensor_value_info(*item) for item in inputs]
    body = helper.make_graph(graph.nodes, "vits", declared, [output], graph.weights)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def text_encoder(graph: Graph, args: dict[str, Any], language: str | None, mask: str) -> tuple[str, int]:
    """Transformer over ids. Returns: (batch, width, ids) and the width, which the language's embedding adds to."""
    width, inner, kernel = args["hidden_channels"], args["hidden_channels_ffn_text_encoder"], args["kernel_size_text_encoder"]
    x = graph.op("Transpose", graph.op("Gather", graph.weight(args["num_chars"], width, gain=sqrt(width)), "input"), perm=[0, 2, 1])
    if language:
        everywhere = graph.mul(graph.op("ReduceMean", x, axes=[1]), 0.0)
        x = graph.op("Concat", x, graph.add(everywhere, language), axis=1)
        width += args["embedded_language_dim"]
    x = graph.mul(x, mask)
    for _ in range(args["num_layers_text_encoder"]):
        x = graph.norm(graph.add(x, attention(graph, x, width, args["num_heads_text_encoder"], mask)), width)
        hidden = graph.op("Relu", graph.conv(graph.mul(x, mask), width, inner, kernel))
        x = graph.norm(graph.add(x, graph.mul(graph.conv(graph.mul(hidden, mask), inner, width, kernel), mask)), width)
    return graph.mul(x, mask), width


def attention(graph: Graph, x: str, width: int, heads: int, mask: str) -> str:
    """Among ids, with learnt keys and values for the distance between two of them (none beyond WINDOW)."""
    size = width // heads
    query, key, value = (graph.op("Reshape", graph.conv(x, width, width), [0, heads, size, -1]) for _ in range(3))
    query = graph.mul(query, 1 / sqrt(size))
    places = graph.op("Range", np.array(0), graph.op("Squeeze", graph.op("Shape", x, start=2)), np.array(1))
    apart = graph.op("Sub", graph.op("Unsqueeze", places, [0]), graph.op("Unsqueeze", places, [1]))
    apart = graph.add(graph.op("Clip", apart, np.array(-WINDOW - 1), np.array(WINDOW + 1)), np.array(WINDOW + 1))
    near = np.pad(np.ones((2 * WINDOW + 1, 1), np.float32), ((1, 1), (0, 0)))  # distances clipped to the edge have no vector
    keys, values = (graph.op("Gather", graph.mul(graph.weight(len(near), size), near), apart) for _ in range(2))
    scores = graph.op("Einsum", query, key, equation="bhdi,bhdj->bhij")
    scores = graph.add(scores, graph.op("Einsum", query, keys, equation="bhdi,ijd->bhij"))
    hidden = graph.op("Sub", 1.0, graph.op("Unsqueeze", mask, [1]))
    weights = graph.op("Softmax", graph.op("Sub", scores, graph.mul(hidden, 1e4)), axis=-1)
    mixed = graph.op("Einsum", weights, value, equation="bhij,bhdj->bhdi")
    mixed = graph.add(mixed, graph.op("Einsum", weights, values, equation="bhij,ijd->bhdi"))
    return graph.conv(graph.op("Reshape", mixed, [0, width, -1]), width, width)


def duration_predictor(graph: Graph, args: dict[str, Any], text: str, width: int, speaker: str | None, mask: str, scale: str) -> str:
    """Logarithm of frames, (batch, 1, ids): a flow from noise, steered by convolutions over the text."""
    hidden, kernel = args["hidden_channels"], args["kernel_size_text_encoder"]
    x = graph.conditioned(text, speaker, args["speaker_embedding_channels"], width)
    for inner in (width, hidden):
        x = graph.norm(graph.op("Relu", graph.conv(graph.mul(x, mask), inner, hidden, kernel)), hidden)
    z = graph.op("RandomNormalLike", graph.op("Concat", mask, mask, axis=1), seed=1.0)
    z = graph.mul(z, scale, mask)
    for _ in range(2):
        z = coupling(graph, args, flip(graph, z, 2), 2, graph.mul(x, mask), mask, hidden)
    return graph.add(graph.mul(graph.halves(z)[0], 0.5), LOG_FRAMES)


def alignment(graph: Graph, durations: str) -> tuple[str, str]:
    """Which id each frame belongs to. Returns: 0 or 1 as (batch, ids, frames), and the mask of frames (batch, 1, frames)."""
    totals = graph.op("Clip", graph.op("ReduceSum", durations, np.array([2])), 1.0)
    frames = graph.op("Squeeze", graph.op("Cast", graph.op("ReduceMax", totals, keepdims=0), to=TensorProto.INT64))
    ends = graph.op("Transpose", graph.op("CumSum", durations, np.array(2)), perm=[0, 2, 1])
    started = graph.mask(frames, graph.op("Sub", ends, graph.op("Transpose", durations, perm=[0, 2, 1])))
    return graph.op("Sub", graph.mask(frames, ends), started), graph.mask(frames, totals)


def flip(graph: Graph, z: str, channels: int) -> str:
    return graph.op("Gather", z, np.arange(channels)[::-1], axis=1)


def coupling(graph: Graph, args: dict[str, Any], z: str, channels: int, condition: str | None, mask: str, width: int = 0) -> str:
    """Backwards through a residual coupling: half of the channels are moved by what a WaveNet makes of the others.

    `condition` has `width` channels, by default those of a speaker's embedding.
    """
    hidden, kernel, layers = args["hidden_channels"], args["kernel_size_flow"], args["num_layers_flow"]
    kept, moved = graph.halves(z)
    x, skipped = graph.mul(graph.conv(kept, channels // 2, hidden), mask), []
    for layer in range(layers):
        gates = graph.conv(x, hidden, 2 * hidden, kernel, args["dilation_rate_flow"] ** layer)
        gates = graph.conditioned(gates, condition, width or args["speaker_embedding_channels"], 2 * hidden)
        signal, gate = graph.halves(gates)
        gated = graph.mul(graph.op("Tanh", signal), graph.op("Sigmoid", gate))
        x = graph.mul(graph.add(x, graph.conv(gated, hidden, hidden)), mask)
        skipped.append(graph.conv(gated, hidden, hidden))
    shift = graph.conv(graph.mul(graph.add(*skipped), mask), hidden, channels // 2)
    return graph.op("Concat", kept, graph.mul(graph.op("Sub", moved, shift), mask), axis=1)


def decoder(graph: Graph, args: dict[str, Any], latent: str, speaker: str | None, loudness: float) -> None:
    """HiFi-GAN: frames to samples, as the graph's `output`."""
    channels = args["upsample_initial_channel_decoder"]
    x = graph.conv(latent, args["hidden_channels"], channels, 7)
    x = graph.conditioned(x, speaker, args["speaker_embedding_channels"], channels)
    for rate, kernel in zip(args["upsample_rates_decoder"], args["upsample_kernel_sizes_decoder"], strict=True):
        weight = graph.weight(channels, channels // 2, kernel, gain=sqrt(kernel / 2))
        pads = [(kernel - rate) // 2] * 2
        x = graph.op("ConvTranspose", graph.op("LeakyRelu", x, alpha=0.1), weight, strides=[rate], pads=pads)
        channels //= 2
        blocks = []
        for size, dilations in zip(args["resblock_kernel_sizes_decoder"], args["resblock_dilation_sizes_decoder"], strict=True):
            block = x
            for dilation in dilations:
                inner = graph.conv(graph.op("LeakyRelu", block, alpha=0.1), channels, channels, size, dilation)
                block = graph.add(block, graph.conv(graph.op("LeakyRelu", inner, alpha=0.1), channels, channels, size))
            blocks.append(block)
        x = graph.mul(graph.add(*blocks), 1 / len(blocks))
    x = graph.conv(graph.op("LeakyRelu", x, alpha=0.01), channels, 1, 7)
    graph.op("Tanh", graph.mul(x, loudness), name="output")


class Graph:
    """Nodes and random weights as they are added; tensors go by their names."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)

    def op(self, kind: str, *inputs: Any, name: str = "", **attributes: Any) -> str:
        """Numbers, lists and arrays among `inputs` become constants."""
        name = name or f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self._tensor(item) for item in inputs], [name], **attributes))
        return name

    def weight(self, *shape: int, gain: float = 1.0) -> str:
        return self._tensor(gain * self._rng.normal(size=shape) / sqrt(prod(shape[1:])))

    def conv(self, x: str, inner: int, out: int, kernel: int = 1, dilation: int = 1) -> str:
        """Keeps the length."""
        pad = dilation * (kernel - 1) // 2
        return self.op("Conv", x, self.weight(out, inner, kernel), self.weight(out, gain=0.1), dilations=[dilation], pads=[pad, pad])

    def conditioned(self, x: str, condition: str | None, inner: int, out: int) -> str:
        return self.add(x, self.conv(condition, inner, out)) if condition else x

    def norm(self, x: str, channels: int) -> str:
        """Over the channels, at each time."""
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[1]))
        variance = self.op("ReduceMean", self.mul(centred, centred), axes=[1])
        normed = self.op("Div", centred, self.op("Sqrt", self.add(variance, 1e-5)))
        return self.add(self.mul(normed, np.ones((channels, 1))), np.zeros((channels, 1)))

    def mask(self, length: str, ends: str) -> str:
        """1 before `ends`, 0 from there on, along a new last axis of `length`."""
        places = self.op("Range", np.array(0), length, np.array(1))
        before = self.op("Less", self.op("Cast", places, to=TensorProto.FLOAT), self.op("Cast", ends, to=TensorProto.FLOAT))
        return self.op("Cast", before, to=TensorProto.FLOAT)

    def halves(self, x: str) -> tuple[str, str]:
        low, high = f"low_{len(self.nodes)}", f"high_{len(self.nodes)}"
        self.nodes.append(helper.make_node("Split", [x], [low, high], axis=1))
        return low, high

    def add(self, first: Any, *others: Any) -> str:
        for other in others:
            first = self.op("Add", first, other)
        return str(first)

    def mul(self, first: Any, *others: Any) -> str:
        for other in others:
            first = self.op("Mul", first, other)
        return str(first)

    def _tensor(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        array = np.asarray(value)
        array = array.astype(np.float32 if array.dtype.kind == "f" else np.int64)
        self.weights.append(numpy_helper.from_array(array, f"weight_{len(self.weights)}"))
        return str(self.weights[-1].name)
