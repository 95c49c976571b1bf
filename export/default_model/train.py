"""Train the default model and save it as a Hugging Face checkpoint: `python -m export.default_model.train`.

Seeded, resumable (a checkpoint every `SAVE_EVERY` steps), and bounded by a number of steps. Each step sees one batch of
pictures and one of commands. A linear head that marks defective patches is trained beside the model and thrown away:
it gives the vision tower a dense signal that a single verdict token does not.
"""

from __future__ import annotations

import argparse
import logging
import math
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

from export.default_model import ballscrew, commands
from export.default_model.batches import IGNORE, Batch, command_batch, inspection_batch
from export.default_model.network import MAX_IMAGE_SIZE, batched_hidden, batched_image_embeds, make_model
from export.default_model.vocabulary import VOCAB_SIZE, write_tokenizer
from runtime.tokenizer import Tokenizer

log = logging.getLogger("lineside.train")
LEARNING_RATE = 6e-4
WARMUP = 100
SAVE_EVERY = 200
PICTURES_PER_STEP = 8
COMMANDS_PER_STEP = 4


def train(data: Path, out: Path, steps: int, seed: int) -> None:
    """Train for `steps` steps, going on from `out/state.pt` where it exists, and save to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    write_tokenizer(out / "tekken.json", max_image_size=MAX_IMAGE_SIZE)
    tokenizer = Tokenizer(out / "tekken.json")
    model: Any = make_model(VOCAB_SIZE).to(device)
    head = nn.Linear(model.config.text_config.hidden_size, 1).to(device)
    parameters = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.05)
    mixed = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    first = _resume(out / "state.pt", model, head, optimizer)
    examples = ballscrew.load_examples(data / "ballscrew" / "train")
    scope_free = commands.out_of_scope(data / "commands")
    log.info("%d pictures, %.1f M parameters, %s, step %d of %d", len(examples), _millions(model), device, first, steps)
    started, seen = time.monotonic(), {"verdict": 0.0, "patch": 0.0, "command": 0.0}
    for step in track(range(first, steps), description="training"):
        rng = np.random.default_rng([seed, step])
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * _schedule(step, steps)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
            losses = _losses(model, head, examples, scope_free, tokenizer, rng, device)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        seen = {name: 0.98 * seen[name] + 0.02 * float(loss.detach()) for name, loss in losses.items()}
        if (step + 1) % 50 == 0:
            rate = (time.monotonic() - started) / (step + 1 - first)
            log.info("step %d %s %.2f s a step", step + 1, {k: round(v, 3) for k, v in seen.items()}, rate)
        if (step + 1) % SAVE_EVERY == 0:
            _save(out / "state.pt", model, head, optimizer, step + 1)
    model.save_pretrained(out)


def _losses(
    model: Any,
    head: nn.Module,
    examples: list[ballscrew.Example],
    scope_free: list[str],
    tokenizer: Tokenizer,
    rng: np.random.Generator,
    device: torch.device,
) -> dict[str, Tensor]:
    donors = [example for example in examples if example.defects]
    picked = [examples[int(i)] for i in rng.integers(len(examples), size=PICTURES_PER_STEP)]
    varied = [ballscrew.augment(example, donors, rng) for example in picked]
    pictures = inspection_batch(varied, tokenizer)
    image_embeds = batched_image_embeds(model, _tensor(pictures.pixels, device))
    marks = head(image_embeds).squeeze(-1)
    weight = torch.tensor(4.0, device=device)
    patch = nn.functional.binary_cross_entropy_with_logits(
        marks, _tensor(pictures.defect_map, device), pos_weight=weight
    )
    said = [commands.make_command(rng, commands.TRAIN_PHRASES, scope_free) for _ in range(COMMANDS_PER_STEP)]
    return {
        "verdict": _answer_loss(model, pictures, image_embeds, device),
        "patch": patch,
        "command": _answer_loss(model, command_batch(said, tokenizer), None, device),
    }


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


def _resume(path: Path, model: nn.Module, head: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    head.load_state_dict(state["head"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _save(path: Path, model: nn.Module, head: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    partial = path.with_suffix(".partial")
    torch.save(
        {"model": model.state_dict(), "head": head.state_dict(), "optimizer": optimizer.state_dict(), "step": step},
        partial,
    )
    shutil.move(partial, path)


def _millions(model: nn.Module) -> float:
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with ballscrew/ and commands/")
    parser.add_argument("out", type=Path, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, default=2400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(arguments.data, arguments.out, arguments.steps, arguments.seed)


if __name__ == "__main__":
    main()
