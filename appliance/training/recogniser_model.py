"""The recogniser's network: Whisper's architecture with an encoder that takes any window length, and a CTC head.

Parameter names are those of transformers' `WhisperForConditionalGeneration`, so that exporting is loading a state dict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_POSITIONS = 1500
"""Encoder frames of 20 ms in a 30 s window."""
MAX_TOKENS = 448


@dataclass(frozen=True, slots=True)
class Shape:
    vocabulary: int
    characters: int
    width: int = 192
    heads: int = 4
    encoder_layers: int = 4
    decoder_layers: int = 2
    mels: int = 80


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, source: Tensor, causal: bool = False) -> Tensor:
        """Queries from `x` (batch, time, width), keys and values from `source` (batch, source time, width)."""

        def split(y: Tensor) -> Tensor:
            return y.view(y.shape[0], y.shape[1], self.heads, -1).transpose(1, 2)

        queries = split(self.q_proj(x)) * (x.shape[2] // self.heads) ** -0.5
        weights = queries @ split(self.k_proj(source)).transpose(2, 3)
        if causal:
            later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
            weights = weights.masked_fill(later, -torch.inf)
        # torch 2.13's fused attention takes five times as long for bfloat16 on a CPU, backward pass included.
        mixed = weights.softmax(3).to(weights.dtype) @ split(self.v_proj(source))
        return self.out_proj(mixed.transpose(1, 2).reshape(x.shape))


class EncoderLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.self_attn_layer_norm(x)
        x = x + self.self_attn(normal, normal)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class DecoderLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.encoder_attn = Attention(width, heads)
        self.encoder_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, heard: Tensor) -> Tensor:
        normal = self.self_attn_layer_norm(x)
        x = x + self.self_attn(normal, normal, causal=True)
        x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), heard)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class Encoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(shape.mels, shape.width, 3, padding=1)
        self.conv2 = nn.Conv1d(shape.width, shape.width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(MAX_POSITIONS, shape.width)
        self.embed_positions.weight.data.copy_(_sinusoids(MAX_POSITIONS, shape.width))
        self.embed_positions.weight.requires_grad_(False)
        self.layers = nn.ModuleList(EncoderLayer(shape.width, shape.heads) for _ in range(shape.encoder_layers))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, features: Tensor) -> Tensor:
        x = F.gelu(self.conv2(F.gelu(self.conv1(features)))).transpose(1, 2)
        x = x + self.embed_positions.weight[: x.shape[1]].to(x.dtype)
        for layer in self.layers:
            x = layer(x)
        return self.layer_norm(x)


class Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocabulary, shape.width)
        self.embed_positions = nn.Embedding(MAX_TOKENS, shape.width)
        self.layers = nn.ModuleList(DecoderLayer(shape.width, shape.heads) for _ in range(shape.decoder_layers))
        self.layer_norm = nn.LayerNorm(shape.width)

    def forward(self, ids: Tensor, heard: Tensor) -> Tensor:
        x = self.embed_tokens(ids) + self.embed_positions.weight[: ids.shape[1]]
        for layer in self.layers:
            x = layer(x, heard)
        return self.layer_norm(x)


class Model(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)


class Recogniser(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.model = Model(shape)
        self.ctc = nn.Linear(shape.width, shape.characters)
        self._initialise()

    def _initialise(self) -> None:
        layers = self.shape.encoder_layers + self.shape.decoder_layers
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad or "layer_norm" in name:
                continue
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "embed" in name:
                nn.init.normal_(parameter, std=0.02)
            elif "conv" in name:
                nn.init.kaiming_normal_(parameter, nonlinearity="linear")
            else:
                nn.init.xavier_uniform_(parameter)
                if name.endswith(("out_proj.weight", "fc2.weight")):
                    parameter.data.mul_(1 / math.sqrt(2 * layers))

    def encode(self, features: Tensor) -> Tensor:
        """Log-mel (batch, 80, frames of 10 ms) to states (batch, frames of 20 ms, width)."""
        return self.model.encoder(features)

    def logits(self, ids: Tensor, heard: Tensor) -> Tensor:
        """Next-token logits (batch, tokens, vocabulary)."""
        return F.linear(self.model.decoder(ids, heard), self.model.decoder.embed_tokens.weight)

    def characters(self, heard: Tensor) -> Tensor:
        """CTC logits (batch, frames of 20 ms, characters)."""
        return self.ctc(heard)


def _sinusoids(length: int, width: int) -> Tensor:
    """Whisper's fixed encoder positions."""
    step = math.log(10000) / (width // 2 - 1)
    scaled = torch.arange(length)[:, None] * torch.exp(-step * torch.arange(width // 2))[None]
    return torch.cat([scaled.sin(), scaled.cos()], dim=1)
