"""Train the recogniser: `python -m appliance.training.recogniser_train --minutes N [--resume]`.

On a GPU where there is one; sound is made and turned into features on the CPU in any case.
The schedule follows the time that has passed, so a run ends with its learning rate decayed however busy the machine is.
Two optimisers: Muon for the matrices of the layers, AdamW for the rest.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from appliance.training import corpus, phrasebook, recogniser_score, recordings
from appliance.training.cores import Cores
from appliance.training.recogniser_augment import Noises
from appliance.training.recogniser_batches import Batch, Loader, groups
from appliance.training.recogniser_model import Recogniser, Shape
from appliance.training.recogniser_tokens import IGNORED, Characters, Vocabulary, train_vocabulary

PHRASEBOOK = Path(__file__).parents[2] / "models" / "phrasebook"
FOLDER = Path.home() / ".cache" / "appliance" / "train" / "stt"
CHECKPOINT_SECONDS = 300.0
SCORE_SECONDS = 600.0
CORES_SECONDS = 10.0
"""How often the number of threads follows what other processes leave."""
LONGEST_STEP_SECONDS = 20.0
"""More is no training but a suspended process, and does not count."""
MATRIX_RATE = 2e-3
OTHER_RATE = 1.5e-3
WARM_UP = 0.02
DECAY_FROM = 0.5
"""Share of the run after which the rates fall linearly."""
RAMP = (0.08, 0.2)
"""Augmentation grows between these shares of the run: with all of it from the start the model stays stuck."""
WHOLE_WINDOWS_FROM, WHOLE_WINDOWS = 0.5, 0.03
"""Share of batches padded to 30 s, and from when."""
DRAWN_VOICES = 0.8
"""Share of drawn voices in the second set of recordings, which adds them to the voices of espeak-ng in the first."""
VOICES_SEED = 3001


@dataclass(frozen=True, slots=True)
class Data:
    train: recordings.Recordings
    dev: corpus.Corpus
    vocabulary: Vocabulary
    characters: Characters


def prepare(folder: Path, book_folder: Path, clips: int, voice_clips: int, seed: int = 1) -> Data:
    """Recordings and vocabulary, made once: `clips` by the voices of espeak-ng, `voice_clips` mostly by drawn ones."""
    book = phrasebook.load(book_folder)
    off_topic = book_folder / "offtopic.tsv"
    train = recordings.make(corpus.build(book, off_topic, "train"), clips, folder / "recordings" / "train", seed)
    if voice_clips:
        varied = corpus.build(book, off_topic, "train", DRAWN_VOICES)
        train += recordings.make(varied, voice_clips, folder / "recordings" / "train-voices", VOICES_SEED)
    dev = corpus.build(book, off_topic, "dev")
    tokenizer, alphabet = folder / "tokenizer.json", folder / "characters.json"
    if not tokenizer.exists():
        train_vocabulary([clip.heard for clip in train.clips[::4]]).tokenizer.save(str(tokenizer))
        alphabet.write_text(json.dumps(Characters.of(clip.heard for clip in train.clips).alphabet), encoding="utf-8")
    return Data(train, dev, Vocabulary.load(tokenizer), Characters(json.loads(alphabet.read_text(encoding="utf-8"))))


def rate(progress: float) -> float:
    """Factor of the learning rates at a share of the run."""
    if progress < WARM_UP:
        return 0.05 + 0.95 * progress / WARM_UP
    return max(0.01, min(1.0, (1 - progress) / (1 - DECAY_FROM)))


def augmentation(progress: float) -> float:
    return min(1.0, max(0.0, (progress - RAMP[0]) / (RAMP[1] - RAMP[0])))


def losses(model: Recogniser, batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross-entropy of the next token, and CTC for each character."""
    with torch.autocast(batch.features.device.type, torch.bfloat16):
        heard = model.encode(batch.features)
        logits = model.logits(batch.ids, heard)
        characters = model.characters(heard)
    told = F.cross_entropy(logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=IGNORED)
    spelled = F.ctc_loss(
        characters.float().log_softmax(2).transpose(0, 1),
        batch.characters,
        batch.frames,
        batch.character_counts,
        reduction="sum",
        zero_infinity=True,
    )
    return told, spelled / batch.character_counts.sum().clamp_min(1)


class Optimisers:
    def __init__(self, model: Recogniser) -> None:
        matrices: list[Tensor] = []
        others: list[Tensor] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                (matrices if ".layers." in name and parameter.ndim == 2 else others).append(parameter)
        self.parts: list[tuple[torch.optim.Optimizer, float]] = [
            (torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"), MATRIX_RATE),
            (torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True), OTHER_RATE),
        ]

    def step(self, factor: float) -> None:
        for optimiser, base in self.parts:
            for group in optimiser.param_groups:
                group["lr"] = base * factor
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, object]]:
        return [optimiser.state_dict() for optimiser, _ in self.parts]

    def load_state_dict(self, states: list[dict[str, object]]) -> None:
        for (optimiser, _), state in zip(self.parts, states, strict=True):
            optimiser.load_state_dict(state)


def save(path: Path, model: Recogniser, optimisers: Optimisers | None, elapsed: float, step: int) -> None:
    """Write a checkpoint whole or not at all."""
    unfinished = path.with_suffix(".tmp")
    state = {"shape": asdict(model.shape), "model": model.state_dict(), "elapsed": elapsed, "step": step}
    torch.save(state | ({"optimisers": optimisers.state_dict()} if optimisers else {}), unfinished)
    unfinished.replace(path)


def endless(data: recordings.Recordings, rng: random.Random) -> Iterator[list[int]]:
    for _ in itertools.count():
        yield from groups(data, rng)


def say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def train(folder: Path, data: Data, minutes: float, shape: Shape, resume: bool, threads: int) -> None:
    cores = Cores()
    torch.set_num_threads(1)  # until it is known how many cores are free
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = Recogniser(shape).to(device)
    optimisers = Optimisers(model)
    checkpoint = folder / "checkpoint.pt"
    elapsed, step = 0.0, 0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimisers.load_state_dict(state["optimisers"])
        elapsed, step = state["elapsed"], state["step"]
    rng = recogniser_score.seeded(11 + step)
    noises = Noises.make(data.train, seed=5)
    loader = Loader(data.train, data.vocabulary, data.characters, noises, rng)
    dev = {
        "clean": recogniser_score.dev_batches(data.dev, folder / "recordings" / "dev", 24, None),
        "10 dB": recogniser_score.dev_batches(data.dev, folder / "recordings" / "dev", 24, 10.0),
    }
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    say(f"{device.type}, {size:.2f} M parameters")
    say(f"{len(data.train.clips)} clips, {data.vocabulary.size} tokens, {len(data.characters)} characters")

    def hear(features: npt.NDArray[np.float32]) -> list[recogniser_score.Heard]:
        heard: list[recogniser_score.Heard] = recogniser_score.recognise(model, data.vocabulary, torch.from_numpy(features))
        return heard

    total, saved, scored, told_sum, spelled_sum, clips, shown = minutes * 60, elapsed, elapsed, 0.0, 0.0, 0, elapsed
    last = time.monotonic()
    for indices in endless(data.train, rng):
        progress = elapsed / total
        if progress >= 1:
            break
        whole = progress > WHOLE_WINDOWS_FROM and rng.random() < WHOLE_WINDOWS
        batch = loader.batch(indices[:6] if whole else indices, augmentation(progress), whole)
        told, spelled = losses(model, batch.to(device))
        (told + (0.5 if progress < DECAY_FROM else 0.3) * spelled).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimisers.step(rate(progress))
        told_sum, spelled_sum, clips, step = told_sum + told.item(), spelled_sum + spelled.item(), clips + len(batch.ids), step + 1
        now = time.monotonic()
        elapsed, last = elapsed + min(now - last, LONGEST_STEP_SECONDS), now
        if cores.seconds() > CORES_SECONDS:
            torch.set_num_threads(cores.free(threads))
        if step % 50 == 0:
            speed = clips / (elapsed - shown)
            means = f"token {told_sum / 50:.3f}  character {spelled_sum / 50:.3f}"
            say(f"{100 * progress:5.1f} %  step {step}  {means}  {speed:.1f} clips/s  {torch.get_num_threads()} threads")
            told_sum, spelled_sum, clips, shown = 0.0, 0.0, 0, elapsed
        if elapsed - saved > CHECKPOINT_SECONDS:
            save(checkpoint, model, optimisers, elapsed, step)
            saved = elapsed
        if elapsed - scored > SCORE_SECONDS:
            for name, batches in dev.items():
                say(f"dev {name}: {recogniser_score.line(recogniser_score.score(hear, batches))}")
            scored = elapsed
    save(checkpoint, model, optimisers, elapsed, step)
    save(folder / "final.pt", model, None, elapsed, step)
    for name, batches in dev.items():
        say(f"final dev {name}: {recogniser_score.line(recogniser_score.score(hear, batches))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=170.0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--phrasebook", type=Path, default=PHRASEBOOK)
    parser.add_argument("--clips", type=int, default=150_000)
    parser.add_argument("--voice-clips", type=int, default=80_000, help="further clips, mostly by drawn voices")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    options.folder.mkdir(parents=True, exist_ok=True)
    data = prepare(options.folder, options.phrasebook, options.clips, options.voice_clips)
    shape = Shape(vocabulary=data.vocabulary.size, characters=len(data.characters), width=options.width)
    train(options.folder, data, options.minutes, shape, options.resume, options.threads)


if __name__ == "__main__":
    main()
