"""Train the default model and save it as a Hugging Face checkpoint: `python -m export.default_model.train`.

Seeded, resumable (a checkpoint every `SAVE_EVERY` steps), in four stages. First the vision tower and projector alone
learn to mark defective patches through a linear head, which is thrown away in the end: a dense signal that a single
verdict token does not give. Then everything is trained on answers, each step on pictures and commands. Last, with the
tower and projector as they are, the decoder sees many more commands, and then many with numbers: copying arguments
takes it longer than looking.
"""

from __future__ import annotations

import argparse
import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from export.default_model import ballscrew, commands
from export.default_model.batches import IGNORE, Batch, command_batch, inspection_batch
from export.default_model.initialize import initialize
from export.default_model.network import MAX_IMAGE_SIZE, batched_hidden, batched_image_embeds, make_model
from export.default_model.vocabulary import VOCAB_SIZE, write_tokenizer
from runtime.tokenizer import Tokenizer

log = logging.getLogger("lineside.train")
WARMUP = 50
SAVE_EVERY = 200
TOWER_PICTURES = 12
PICTURES_PER_STEP = 8
COMMANDS_PER_STEP = 4
LAST_PICTURES = 4
LAST_COMMANDS = 12
NUMBER_PICTURES = 2
NUMBER_COMMANDS = 24
INIT_PICTURES = 150
LEARNING_RATES = (1e-3, 6e-4, 6e-4, 8e-4)


@dataclass
class Trainee:
    """What is trained, and on what."""

    model: Any
    head: nn.Module
    tokenizer: Tokenizer
    examples: list[ballscrew.Example]
    scope_free: list[str]
    device: torch.device

    def pictures(self, rng: np.random.Generator, count: int) -> Batch:
        donors = [example for example in self.examples if example.defects]
        picked = [self.examples[int(i)] for i in rng.integers(len(self.examples), size=count)]
        return inspection_batch([ballscrew.augment(example, donors, rng) for example in picked], self.tokenizer)

    def tower_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return {"patch": self._patch_loss(self.pictures(rng, TOWER_PICTURES))[0]}

    def joint_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        pictures = self.pictures(rng, PICTURES_PER_STEP)
        patch, image_embeds = self._patch_loss(pictures)
        verdict = _answer_loss(self.model, pictures, image_embeds, self.device)
        return {"verdict": verdict, "patch": patch, "command": self._command_loss(rng, COMMANDS_PER_STEP)}

    def decoder_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return self._decoder_losses(rng, LAST_PICTURES, LAST_COMMANDS, numbers=0.0, most_others=3)

    def number_losses(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return self._decoder_losses(rng, NUMBER_PICTURES, NUMBER_COMMANDS, numbers=0.6, most_others=1)

    def _decoder_losses(
        self, rng: np.random.Generator, picture_count: int, count: int, numbers: float, most_others: int
    ) -> dict[str, Tensor]:
        pictures = self.pictures(rng, picture_count)
        with torch.no_grad():
            image_embeds = batched_image_embeds(self.model, _tensor(pictures.pixels, self.device))
        verdict = _answer_loss(self.model, pictures, image_embeds, self.device)
        return {"verdict": verdict, "command": self._command_loss(rng, count, numbers, most_others)}

    def _command_loss(self, rng: np.random.Generator, count: int, numbers: float = 0.0, most_others: int = 3) -> Tensor:
        phrases = commands.TRAIN_PHRASES
        said = [
            commands.make_command(rng, phrases, self.scope_free, numbers=numbers, most_others=most_others)
            for _ in range(count)
        ]
        return _answer_loss(self.model, command_batch(said, self.tokenizer), None, self.device)

    def _patch_loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        image_embeds = batched_image_embeds(self.model, _tensor(batch.pixels, self.device))
        marks = self.head(image_embeds).squeeze(-1).float()
        weight = torch.tensor(4.0, device=self.device)
        target = _tensor(batch.defect_map, self.device)
        return nn.functional.binary_cross_entropy_with_logits(marks, target, pos_weight=weight), image_embeds


@dataclass(frozen=True)
class Stage:
    """`steps` steps under one learning-rate schedule."""

    steps: int
    learning_rate: float
    losses: Callable[[np.random.Generator], dict[str, Tensor]]


def train(data: Path, out: Path, steps: Sequence[int], seed: int) -> None:
    """Train the four stages for `steps` steps each, going on from `out/state.pt` where it exists; save to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    write_tokenizer(out / "tekken.json", max_image_size=MAX_IMAGE_SIZE)
    tokenizer = Tokenizer(out / "tekken.json")
    model: Any = make_model(VOCAB_SIZE)
    examples = ballscrew.load_examples(data / "ballscrew" / "train")
    rng = np.random.default_rng(seed)
    sample = [examples[int(i)].picture for i in rng.integers(len(examples), size=INIT_PICTURES)]
    initialize(model, [tokenizer.encode_chat(ballscrew.TASK.messages(picture)).pixels[0] for picture in sample])
    head = nn.Linear(model.config.text_config.hidden_size, 1)
    trainee = Trainee(
        model.to(device), head.to(device), tokenizer, examples, commands.out_of_scope(data / "commands"), device
    )
    log.info("%d pictures, %.1f M parameters, %s", len(examples), _millions(model), device)
    losses = (trainee.tower_losses, trainee.joint_losses, trainee.decoder_losses, trainee.number_losses)
    stages = [Stage(*stage) for stage in zip(steps, LEARNING_RATES, losses, strict=True)]
    minutes = _run(trainee, out / "state.pt", stages, seed) / 60
    model.save_pretrained(out)
    (out / "minutes.txt").write_text(f"{minutes:.0f}\n")


def _run(trainee: Trainee, state: Path, stages: Sequence[Stage], seed: int) -> float:
    """Returns the seconds that training took, those before an interruption included."""
    parameters = [*trainee.model.parameters(), *trainee.head.parameters()]
    optimizer = torch.optim.AdamW(parameters, betas=(0.9, 0.98), weight_decay=0.05)
    total = sum(stage.steps for stage in stages)
    first, spent_s = _resume(state, trainee.model, trainee.head, optimizer)
    mixed = trainee.device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    started, seen = time.monotonic(), dict[str, float]()
    for step in track(range(first, total), description="training"):
        rng = np.random.default_rng([seed, step])
        stage, within = _locate(stages, step)
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * _schedule(within, stage.steps)
        with torch.autocast(trainee.device.type, dtype=torch.bfloat16, enabled=mixed):
            losses = stage.losses(rng)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        for name, loss in losses.items():
            value = float(loss.detach())
            seen[name] = 0.98 * seen.get(name, value) + 0.02 * value
        if (step + 1) % 50 == 0:
            rate = (time.monotonic() - started) / (step + 1 - first)
            log.info("step %d of %d %s %.2f s a step", step + 1, total, {k: round(v, 3) for k, v in seen.items()}, rate)
        if (step + 1) % SAVE_EVERY == 0:
            seconds = spent_s + time.monotonic() - started
            _save(state, trainee.model, trainee.head, optimizer, step + 1, seconds)
    return spent_s + time.monotonic() - started


def _locate(stages: Sequence[Stage], step: int) -> tuple[Stage, int]:
    """The stage of a step, and how many of its own steps came before."""
    for stage in stages:
        if step < stage.steps:
            return stage, step
        step -= stage.steps
    raise ValueError(f"step {step} lies behind the last stage")


def _answer_loss(model: Any, batch: Batch, image_embeds: Tensor | None, device: torch.device) -> Tensor:
    """Weighted cross entropy over the answers' tokens only."""
    hidden = batched_hidden(model, _tensor(batch.ids, device), image_embeds)
    labels, weights = _tensor(batch.labels, device), _tensor(batch.weights, device)
    chosen = labels != IGNORE
    loss = nn.functional.cross_entropy(model.lm_head(hidden[chosen]), labels[chosen], reduction="none")
    return (loss * weights[chosen]).sum() / weights[chosen].sum()


def _tensor(array: Any, device: torch.device) -> Tensor:
    return torch.from_numpy(array).to(device)


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(steps - WARMUP, 1)))


def _resume(path: Path, model: nn.Module, head: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    head.load_state_dict(state["head"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["seconds"])


def _save(
    path: Path, model: nn.Module, head: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    partial = path.with_suffix(".partial")
    modules = {"model": model.state_dict(), "head": head.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**modules, "step": step, "seconds": seconds}, partial)
    shutil.move(partial, path)


def _millions(model: nn.Module) -> float:
    return float(sum(parameter.numel() for parameter in model.parameters())) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with ballscrew/ and commands/")
    parser.add_argument("out", type=Path, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, nargs=4, default=(600, 1800, 1000, 700), help="of the four stages")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(arguments.data, arguments.out, arguments.steps, arguments.seed)


if __name__ == "__main__":
    main()
