"""Running scores of the recogniser on a small fixed development set: unseen voices and unseen combinations."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import jiwer
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from appliance.audio import noise
from appliance.text.languages import language
from appliance.training import recordings
from appliance.training.corpus import LANGUAGE_SHARES, Corpus
from appliance.training.recogniser_augment import Noises, call_features
from appliance.training.recogniser_batches import STEP_FRAMES
from appliance.training.recogniser_model import Recogniser
from appliance.training.recogniser_tokens import Vocabulary
from appliance.training.speech import TELEPHONE_HZ

_LEAD, _TAIL = int(0.2 * TELEPHONE_HZ), int(0.4 * TELEPHONE_HZ)
_NOISE_KINDS = ("babble", "traffic", "wind", "fan", "clicks")
_MAX_TOKENS = 60


@dataclass(frozen=True, slots=True)
class DevBatch:
    features: Tensor
    clips: list[recordings.Clip]


class Result(Protocol):
    """What a recogniser says about an utterance, in training as well as exported."""

    @property
    def text(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def no_speech(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Heard:
    text: str
    language: str
    """Most probable language code."""
    no_speech: float
    """Probability of no speech."""


def normal(text: str) -> str:
    """Words without punctuation, in lower case, for comparison."""
    return " ".join(re.sub(r"[.?,]", " ", text).lower().split())


def dev_batches(corpus: Corpus, stem: Path, clips_per_kind: int, snr_db: float | None, seed: int = 7) -> list[DevBatch]:
    """Development recordings over a clean line, or with noise at `snr_db`."""
    wanted = ("sentence", "sentence", "digits", "sentence", "several", "offtopic")
    made = recordings.make(corpus, clips_per_kind * len(LANGUAGE_SHARES), stem, seed, kinds=wanted, processes=1)
    order = sorted(range(len(made.clips)), key=lambda index: made.clips[index].length)
    rng = np.random.default_rng(seed)
    none = Noises(torch.zeros(1, 60 * TELEPHONE_HZ))
    batches = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for start in range(0, len(order), 32):
            chosen = order[start : start + 32]
            lengths = [len(made[index]) + _LEAD + _TAIL for index in chosen]
            step = STEP_FRAMES * TELEPHONE_HZ // 100
            placed = np.zeros((len(chosen), -(-max(lengths) // step) * step), np.float32)
            for row, index in enumerate(chosen):
                clip = np.pad(made[index], (_LEAD, _TAIL))
                if snr_db is not None:
                    kind = _NOISE_KINDS[row % len(_NOISE_KINDS)]
                    clip = noise.mix(clip, noise.make(kind, len(clip), TELEPHONE_HZ, rng), snr_db)
                placed[row, : len(clip)] = clip
            speech = torch.ones(len(chosen), dtype=torch.bool)
            features = call_features(torch.from_numpy(placed), torch.tensor(lengths), speech, none, 0.0)
            batches.append(DevBatch(features, [made.clips[index] for index in chosen]))
    return batches


@torch.no_grad()
def recognise(model: Recogniser, vocabulary: Vocabulary, features: Tensor, codes: list[str] | None = None) -> list[Heard]:
    """Greedy decoding where the model is, with the most probable language or the given ones."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        heard = model.encode(features.to(device))
        first = model.logits(torch.full((len(features), 1), vocabulary.start, device=device), heard)[:, 0].float()
    known = list(vocabulary.languages.items())
    best = first[:, [number for _, number in known]].argmax(1).tolist()
    languages = [known[place][0] for place in best]
    silence = first.softmax(1)[:, vocabulary.no_speech].tolist()
    ids = torch.tensor([vocabulary.prompt(code) for code in (codes or languages)], device=device)
    prompt = ids.shape[1]
    done = torch.zeros(len(ids), dtype=torch.bool, device=device)
    for _ in range(_MAX_TOKENS):
        with torch.autocast(device.type, torch.bfloat16):
            logits = model.logits(ids, heard)[:, -1].float()
        logits[:, vocabulary.end + 1 :] = -torch.inf
        following = logits.argmax(1).masked_fill(done, vocabulary.end)
        done |= following == vocabulary.end
        ids = torch.cat([ids, following[:, None]], dim=1)
        if bool(done.all()):
            break
    texts = [vocabulary.decode(row) for row in ids[:, prompt:].tolist()]
    return [Heard(*item) for item in zip(texts, languages, silence, strict=True)]


def score(hear: Callable[[npt.NDArray[np.float32]], Sequence[Result]], batches: list[DevBatch]) -> dict[str, float]:
    """WER by language and in all, share of exact digit strings, language accuracy, share of off-topic clips answered with nothing."""
    pairs: dict[str, list[tuple[str, str]]] = defaultdict(list)
    counts: dict[str, list[float]] = defaultdict(list)
    for batch in batches:
        for clip, heard in zip(batch.clips, hear(batch.features.numpy()), strict=True):
            if clip.kind == "offtopic":
                counts["refused"].append(not heard.text)
                continue
            pairs[clip.code].append((normal(clip.text), normal(heard.text)))
            counts[f"exact {clip.kind}"].append(normal(clip.text) == normal(heard.text))
            if clip.language_known:
                counts["language"].append(heard.language == language(clip.code).recogniser_code)
            ids = re.findall(r"\d{3,}", clip.text)
            if ids:
                counts["digits"].append(ids == re.findall(r"\d{3,}", heard.text))
            counts["false no speech"].append(heard.no_speech > 0.5)
    everything = [pair for found in pairs.values() for pair in found]
    scores = {"wer": _wer(everything)} | {f"wer {code}": _wer(found) for code, found in sorted(pairs.items())}
    return scores | {name: sum(found) / len(found) for name, found in sorted(counts.items())}


def _wer(pairs: list[tuple[str, str]]) -> float:
    return float(jiwer.wer([reference for reference, _ in pairs], [heard or "-" for _, heard in pairs]))


def line(scores: dict[str, float]) -> str:
    return "  ".join(f"{name} {100 * value:.1f}" for name, value in scores.items())


def seeded(seed: int) -> random.Random:
    torch.manual_seed(seed)
    return random.Random(seed)
