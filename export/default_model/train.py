"""Train the default model and save it as a Hugging Face checkpoint: `python -m export.default_model.train DATA OUT`.

Seeded and resumable, in stages that each leave a file in OUT:

- `tower`: the vision tower and the projector, on dense targets (`tower.py`).
- `commands`: the decoder, which starts as a part of SmolLM2, on calls of many made-up and real tools (`commands.py`).
- `joint`: all of it on answers about pictures, and on commands (`joint.py`).
- `rounded`: the same with the decoder's matrices rounded to INT4 on the way forward (`rounding.py`).

The first two know nothing of each other and may run at the same time, each with `--only`. With `--start` all
begin with the weights of a bundle; a stage of 0 steps is left out then.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from export.checkpoint.from_bundle import read_bundle
from export.checkpoint.tensors import canonical_name
from export.default_model import ballscrew, joint, loop, pcb, rounding, tower
from export.default_model.base import SmolLM2
from export.default_model.dense import resized
from export.default_model.initialize import initialize
from export.default_model.losses import pack_loss
from export.default_model.network import make_model
from export.default_model.packs import Packer
from export.default_model.size import LARGE, MAX_IMAGE_SIZE, SMALL, Size
from export.default_model.teacher import Teacher
from export.default_model.vocabulary import VOCAB_SIZE, write_tokenizer
from runtime.chat import Picture
from runtime.tokenizer import Tokenizer

log = logging.getLogger("lineside.train")
INIT_PICTURES = 120
VIDEOS = ("car-detection.mp4", "bolt-multi-size-detection.gif")
"""Pictures beside the parts; `bottle-detection.mp4` stays unseen, for `lineside learn` to be scored on."""
VIDEO_EVERY = 6
STAGES = ("tower", "commands", "joint", "rounded")
PACKS = 2
TOWER_RATE, COMMANDS_RATE, JOINT_RATE, ROUNDED_RATE = 1e-3, 6e-4, 4e-4, 1e-4


def train_tower(model: Any, data: Path, out: Path, steps: int, seed: int, device: torch.device, *, fresh: bool) -> None:
    """Train `model`'s tower and projector in place; a `fresh` one has no weights yet."""
    screws, boards = training_screws(data), training_boards(data)
    others = video_frames(data / "video")
    rng = np.random.default_rng(seed)
    sample = [s.picture for s in screws[:: max(1, len(screws) // INIT_PICTURES)]]
    sample += [b.picture for b in boards[:: max(1, len(boards) // INIT_PICTURES)]]
    pixels = [tower.normalized(torch.from_numpy(resized(p, (576, 240)))[None])[0] for p in sample]
    if fresh:
        initialize(model, [p.numpy() for p in pixels])
    teacher = Teacher(device)
    teacher.fit([pixels[int(i)] for i in rng.integers(len(pixels), size=40)])
    vision = model.config.vision_config.hidden_size
    heads = tower.make_heads(vision, model.config.text_config.hidden_size)
    modules = vision_modules(model)
    modules["heads"] = heads
    modules.to(device)
    stage = tower.TowerStage(model, heads, teacher, screws, boards, others, device)
    loop.run(loop.Stage("tower", steps, TOWER_RATE, stage.losses), modules, out, seed, device)


def train_commands(model: Any, data: Path, out: Path, steps: int, seed: int, device: torch.device) -> None:
    """Train `model`'s decoder in place."""
    decoder = model.model.language_model
    packer = Packer(data / "commands", Tokenizer(out / "tekken.json"))

    def losses(rng: np.random.Generator) -> dict[str, Tensor]:
        packs = [packer.draw(rng) for _ in range(PACKS)]
        return {"command": torch.stack([pack_loss(model, pack, device) for pack in packs]).mean()}

    modules = nn.ModuleDict({"decoder": decoder}).to(device)
    loop.run(loop.Stage("commands", steps, COMMANDS_RATE, losses), modules, out, seed, device)


def train_joint(model: Any, data: Path, out: Path, steps: Sequence[int], seed: int, device: torch.device) -> None:
    """Train `model` in place, from what the other stages left in `out`."""
    decoder, vision = model.model.language_model, vision_modules(model)
    for name, modules in (("tower", vision), ("commands", nn.ModuleDict({"decoder": decoder}))):
        if (out / f"{name}.pt").exists():
            left = torch.load(out / f"{name}.pt", map_location="cpu", weights_only=True)["modules"]
            modules.load_state_dict({k: v for k, v in left.items() if not k.startswith("heads.")})
    model.to(device)
    tokenizer = Tokenizer(out / "tekken.json")
    heads = joint.make_heads(model.config.text_config.hidden_size).to(device)
    packer = Packer(data / "commands", tokenizer)
    stage = joint.JointStage(model, heads, tokenizer, packer, training_screws(data), training_boards(data), device)
    modules = nn.ModuleDict({"decoder": decoder, "vision": vision, "heads": heads})
    loop.run(loop.Stage("joint", steps[0], JOINT_RATE, stage.losses), modules, out, seed, device)
    rounding.round_matrices(decoder)
    loop.run(loop.Stage("rounded", steps[1], ROUNDED_RATE, stage.losses), modules, out, seed, device)
    rounding.keep_rounded(decoder)


def vision_modules(model: Any) -> nn.ModuleDict:
    """What the tower stage trains."""
    return nn.ModuleDict({"tower": model.model.vision_tower, "projector": model.model.multi_modal_projector})


def training_screws(data: Path) -> list[ballscrew.Example]:
    """Ball screws of the positions that training may see."""
    examples = ballscrew.load_examples(data / "ballscrew" / "train")
    return [example for example in examples if example.position not in ballscrew.HELD_OUT]


def training_boards(data: Path) -> list[ballscrew.Example]:
    """Circuit boards that training may see."""
    examples = pcb.load_examples(data / "pcb" / "train")
    return [example for example in examples if example.position not in pcb.HELD_OUT_BOARDS]


def video_frames(folder: Path) -> list[Picture]:
    """Every few frames of `VIDEOS`, RGB."""
    frames = []
    for name in VIDEOS:
        capture = cv2.VideoCapture(str(folder / name))
        index = 0
        while (read := capture.read())[0]:
            if index % VIDEO_EVERY == 0:
                frames.append(np.asarray(read[1][..., ::-1], np.uint8).copy())
            index += 1
        capture.release()
    return frames


def begin(model: Any, base: SmolLM2, start: Path | None, size: Size) -> None:
    """Fill `model` from the bundle `start`, or its decoder from SmolLM2."""
    if start is None:
        weights = base.weights(size.decoder_layers, VOCAB_SIZE)
        model.model.language_model.load_state_dict({n: torch.from_numpy(w.copy()) for n, w in weights.items()})
        return
    state = {canonical_name(name): value for name, value in model.state_dict().items()}
    state.pop("lm_head.weight", None)  # tied to the embeddings
    for name, found in read_bundle(start, {name: tuple(value.shape) for name, value in state.items()}):
        state[name].copy_(torch.from_numpy(found))


def train(data: Path, out: Path, steps: Sequence[int], seed: int, only: str = "", start: Path | None = None) -> None:
    """Run the stages that are not finished, or `only` one of them."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = SmolLM2()
    write_tokenizer(out / "tekken.json", base, max_image_size=MAX_IMAGE_SIZE)
    size = LARGE if device.type == "cuda" else SMALL
    model: Any = make_model(VOCAB_SIZE, size)
    begin(model, base, start, size)
    log.info("%s: %.1f million parameters", device, sum(p.numel() for p in model.parameters()) / 1e6)
    if only in ("", "tower") and steps[0]:
        train_tower(model, data, out, steps[0], seed, device, fresh=start is None)
    if only in ("", "commands") and steps[1]:
        train_commands(model, data, out, steps[1], seed, device)
    if only in ("", "joint"):
        train_joint(model, data, out, steps[2:], seed, device)
        model.save_pretrained(out)
        minutes = sum(loop.seconds_spent(out, name) for name in STAGES if (out / f"{name}.pt").exists()) / 60
        (out / "minutes.txt").write_text(f"{minutes:.0f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with ballscrew/, pcb/, commands/ and video/")
    parser.add_argument("out", type=Path, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, nargs=4, default=(1900, 950, 1020, 100), help="of the four stages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("tower", "commands", "joint"), default="")
    parser.add_argument("--start", type=Path, help="bundle of an earlier run to go on from")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(arguments.data, arguments.out, arguments.steps, arguments.seed, arguments.only, arguments.start)


if __name__ == "__main__":
    main()
