"""The training loop that all stages share: seeded, resumable, with progress."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor, nn

log = logging.getLogger("lineside.train")
WARMUP = 50
SAVE_EVERY = 100
LOG_EVERY = 50
CLIP_NORM = 1.0


@dataclass(frozen=True)
class Stage:
    """`steps` steps under one learning-rate schedule.

    Attributes:
        losses: draws a batch with the generator it is given, and returns named losses, which are summed.
        factors: of the learning rate, for some of the modules.
    """

    name: str
    steps: int
    learning_rate: float
    losses: Callable[[np.random.Generator], dict[str, Tensor]]
    factors: Mapping[str, float] = field(default_factory=dict)


def run(stage: Stage, modules: nn.ModuleDict, folder: Path, seed: int, device: torch.device) -> None:
    """Train `modules` in place, going on from `folder/<name>.pt` where it exists; a finished stage is read and left.

    The file holds what an interrupted stage needs; in the end only the weights, with the seconds spent.
    """
    path = folder / f"{stage.name}.pt"
    parameters = [parameter for parameter in modules.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in module.parameters() if p.requires_grad], "factor": stage.factors.get(name, 1.0)}
        for name, module in modules.items()
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.05, fused=True)
    first, spent_s = _resume(path, modules, optimizer)
    mixed = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    started, seen = time.monotonic(), dict[str, float]()
    for step in track(range(first, stage.steps), description=stage.name):
        rng = np.random.default_rng([seed, step, *stage.name.encode()])
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * group["factor"] * schedule(step, stage.steps)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=mixed):
            losses = stage.losses(rng)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        for name, loss in losses.items():
            value = float(loss.detach())
            seen[name] = 0.98 * seen.get(name, value) + 0.02 * value
        done = step + 1
        if done % LOG_EVERY == 0:
            rate = (time.monotonic() - started) / (done - first)
            rounded = {name: round(value, 3) for name, value in seen.items()}
            log.info("%s: step %d of %d %s %.2f s a step", stage.name, done, stage.steps, rounded, rate)
        if done % SAVE_EVERY == 0 or done == stage.steps:
            seconds = spent_s + time.monotonic() - started
            state = None if done == stage.steps else optimizer.state_dict()
            _save(path, {"modules": modules.state_dict(), "optimizer": state, "step": done, "seconds": seconds})


def schedule(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(steps - WARMUP, 1)))


def seconds_spent(folder: Path, name: str) -> float:
    """How long a stage took so far."""
    return float(torch.load(folder / f"{name}.pt", map_location="cpu", weights_only=True, mmap=True)["seconds"])


def _resume(path: Path, modules: nn.ModuleDict, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, map_location="cpu", weights_only=True)
    modules.load_state_dict(state["modules"])
    if state["optimizer"] is not None:
        optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["seconds"])


def _save(path: Path, state: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    shutil.move(partial, path)
