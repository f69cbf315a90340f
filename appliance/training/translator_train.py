"""Train the starter translator: `python -m appliance.training.translator_train --minutes 40 [--resume]`.

The learning rate follows the clock, not a step count: warm-up, then flat, then a linear decay that ends when the minutes
are over. A checkpoint every three minutes, written whole or not at all; `--resume` goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import logging
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sentencepiece
import torch

from appliance.training import phrasebook
from appliance.training.phrasebook import Example
from appliance.training.translator_export import export
from appliance.training.translator_model import PAD, Batches, learn_vocabulary, new_model
from appliance.training.translator_pairs import PairSource, read_off_topic
from appliance.training.translator_score import held_out, report, score

log = logging.getLogger("translator_train")

PHRASEBOOK = Path(__file__).parents[2] / "models" / "phrasebook"
WORK_DIRECTORY = Path.home() / ".cache" / "appliance" / "train" / "mt"

LEARNING_RATE = 1.2e-3
WARM_UP_STEPS = 300
DECAY_FROM = 0.45
"""Share of the time after which the learning rate falls linearly to zero."""
LABEL_SMOOTHING = 0.05
BATCH_TOKENS = 1600
CHECKPOINT_EVERY = 180.0  # s
SCORE_EVERY = 360.0  # s
SCORED_SENTENCES = 40
"""Development sentences per direction while training."""


def learning_rate(step: int, progress: float) -> float:
    """`progress` is the share of the time that has gone, 0 to 1."""
    rate = LEARNING_RATE * min(1.0, (step + 1) / WARM_UP_STEPS)
    return rate * min(1.0, max(0.0, (1 - progress) / (1 - DECAY_FROM)))


def train(minutes: float, *, resume: bool, folder: Path, extra: tuple[Path, ...] = (), threads: int = 1, seed: int = 3) -> Path:
    """Train for `minutes` in all (those before a resumption included) and return the final checkpoint."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    book = phrasebook.load(PHRASEBOOK, *extra)
    off_topic = read_off_topic(PHRASEBOOK / "offtopic.tsv", "train")
    pairs = PairSource(book, off_topic, rng)
    vocabulary, checkpoint = folder / "spm.model", folder / "checkpoint.pt"
    if not resume or not vocabulary.exists():
        learn_vocabulary(pairs, off_topic, folder / "spm")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model: Any = new_model(pieces.vocab_size())
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    step, spent = 0, 0.0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["spent"]
        rng.seed(seed + step)
    log.info(
        "%d parameters, %d pieces, from step %d after %.0f s", sum(item.numel() for item in model.parameters()), len(pieces), step, spent
    )

    dev = held_out(book, "dev", SCORED_SENTENCES, seed=1)
    batches = Batches(pairs, pieces, BATCH_TOKENS, rng)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    budget, last, losses, sentences = minutes * 60, time.monotonic(), [], 0
    next_checkpoint, next_score = spent + CHECKPOINT_EVERY, spent + SCORE_EVERY
    model.train()
    while spent < budget:
        rate = learning_rate(step, spent / budget)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = batches.next()
        source, inputs, labels = batch.source.to(device), batch.inputs.to(device), batch.labels.to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            output = model(input_ids=source, attention_mask=source != PAD, decoder_input_ids=inputs, use_cache=False)
        loss = criterion(output.logits.float().flatten(0, 1), labels.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, sentences = step + 1, sentences + len(source)
        losses.append(loss.item())
        now = time.monotonic()
        spent, last = spent + now - last, now
        if step % 100 == 0:
            mean = sum(losses) / len(losses)
            log.info("step %d  %4.1f of %.0f min  loss %.3f  rate %.1e  %d sentences", step, spent / 60, minutes, mean, rate, sentences)
            losses.clear()
        if spent >= next_checkpoint:
            next_checkpoint = spent + CHECKPOINT_EVERY
            _save(checkpoint, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": spent})
        if spent >= next_score:
            next_score = spent + SCORE_EVERY
            _save(checkpoint, {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "spent": spent})
            _score(checkpoint, dev, extra)
            last = time.monotonic()  # scoring is not training time
    final = folder / "final.pt"
    _save(final, {"model": model.state_dict(), "step": step, "spent": spent})
    _score(final, dev, extra)
    return final


def _score(checkpoint: Path, dev: Sequence[Example], extra: tuple[Path, ...]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="translator-"))
    try:
        export(checkpoint, folder, extra)
        log.info("development split\n%s", report(score(folder, dev)))
    finally:
        shutil.rmtree(folder)


def _save(path: Path, state: dict[str, Any]) -> None:
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--folder", type=Path, default=WORK_DIRECTORY, help="checkpoints and vocabulary")
    parser.add_argument("--phrasebook", type=Path, action="append", default=[], help="a company's own phrasebook, beside the starter's")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    final = train(
        arguments.minutes, resume=arguments.resume, folder=arguments.folder, extra=tuple(arguments.phrasebook), threads=arguments.threads
    )
    log.info("done: %s", final)


if __name__ == "__main__":
    main()
