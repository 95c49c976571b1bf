"""Train the default model and save it as a Hugging Face checkpoint.

`python -m lineside.export.default_model.train DATA OUT`

Seeded and resumable, in stages that each leave a file in OUT:

- `expert`: a convolutional network that the tower learns from (`expert.py`).
- `tower`: the vision tower and the projector, on dense targets (`tower.py`).
- `commands`: the layers that come from SmolLM2, on calls of many made-up and real tools (`packs.py`).
- `reading`: a new layer behind them, on answers about pictures (`reading.py`).

What the stages before have trained stays as it is, and before the last is rounded as the export will round it. With
`--start` all but the expert begin with the weights of a bundle. A stage of 0 steps is left out, the expert with the
tower.
"""

from __future__ import annotations

import argparse
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from torch import Tensor, nn

from lineside.export.checkpoint.from_bundle import read_bundle
from lineside.export.checkpoint.names import hugging_face_name
from lineside.export.default_model.data import ballscrew, pcb
from lineside.export.default_model.data.packs import Packer
from lineside.export.default_model.networks import rounding
from lineside.export.default_model.networks.base import SmolLM2
from lineside.export.default_model.networks.dense import resized
from lineside.export.default_model.networks.network import make_model, normalized, without_reading
from lineside.export.default_model.networks.size import LARGE, MAX_IMAGE_SIZE, SMALL, Size
from lineside.export.default_model.networks.vocabulary import VOCAB_SIZE, write_tokenizer
from lineside.export.default_model.stages import calling, loop, reading, tower
from lineside.export.default_model.stages.expert import HEAD_RATE, Expert, ExpertStage
from lineside.export.default_model.stages.initialize import fresh_matrices, initialize
from lineside.export.default_model.stages.states import Sampler, collect
from lineside.runtime.text.tokenizer import Tokenizer

log = logging.getLogger("lineside.train")
INIT_PICTURES = 120
STAGES = ("expert", "tower", "commands", "reading")
SCREW_SAMPLES, BOARD_SAMPLES, DICTATION_SAMPLES, COMMAND_SAMPLES = 1100, 800, 200, 100
EXPERT_RATE, TOWER_RATE, COMMANDS_RATE, READING_RATE = 5e-4, 1e-3, 6e-4, 1e-3
LATER_FACTOR = 0.6
"""Of the rate, for a tower that was trained before."""
KEPT = 0.5
"""Of the weights that a tower which was trained before began with: between both it tells good from bad at least as well
as with either, and fewer good ones are marked (WiSE-FT, Wortsman et al., 2022)."""
READING_FACTORS = {"looking": 0.3, "telling": 0.01, "saying": 0.05, "writing": 5.0}
"""Of the rate: what the pointer tells is precise from the beginning; what the MLP writes is large. The norms stay as
they are: channels that are a hundred times as large as others have weights near zero, which a step would double."""


def train_expert(data: Path, out: Path, steps: int, seed: int, device: torch.device) -> None:
    """Leave `expert.pt` in `out`."""
    expert = Expert().to(device)
    stage = ExpertStage(expert, training_screws(data), device)
    factors = {"head": HEAD_RATE}
    modules = expert_modules(expert)
    loop.run(loop.Stage("expert", steps, EXPERT_RATE, stage.losses, factors), modules, out, seed, device)


def train_tower(model: Any, data: Path, out: Path, steps: int, seed: int, device: torch.device, *, fresh: bool) -> None:
    """Train `model`'s tower and projector in place; a `fresh` one has no weights yet."""
    screws = training_screws(data)
    boards = [seen for board in track(training_boards(data), description="boards") for seen in pcb.close_ups(board)]
    sample = [s.picture for s in screws[:: max(1, len(screws) // INIT_PICTURES)]]
    sample += [b.picture for b in boards[:: max(1, len(boards) // INIT_PICTURES)]]
    pixels = [normalized(torch.from_numpy(resized(p, (576, 240)))[None])[0] for p in sample]
    if fresh:
        initialize(model, [p.numpy() for p in pixels])
    expert = Expert().to(device)
    expert_modules(expert).load_state_dict(_left(out, "expert"))
    expert.requires_grad_(False)
    vision = model.config.vision_config.hidden_size
    heads = tower.make_heads(vision, model.config.text_config.hidden_size)
    modules = vision_modules(model)
    before = [parameter.detach().cpu().clone() for parameter in modules.parameters()]
    modules["heads"] = heads
    modules.to(device)
    if shutil.which("g++"):
        for layer in model.model.vision_tower.transformer.layers:
            layer.compile()
    stage = tower.TowerStage(model, heads, expert, screws, boards, device)
    rate = TOWER_RATE * (1.0 if fresh else LATER_FACTOR)
    loop.run(loop.Stage("tower", steps, rate, stage.losses), modules, out, seed, device)
    if not fresh:
        with torch.no_grad():
            for parameter, start in zip(vision_modules(model).parameters(), before, strict=True):
                parameter.lerp_(start.to(device), KEPT)


def train_commands(model: Any, data: Path, out: Path, steps: int, seed: int, device: torch.device) -> None:
    """Train the layers of `model`'s decoder that came from SmolLM2 in place."""
    model.to(device).requires_grad_(False)
    packer = Packer(data / "commands", Tokenizer(out / "tekken.json"))
    decoder = model.model.language_model
    with without_reading(decoder):
        layers = decoder.layers.requires_grad_(True)
        rounding.feel(layers)
        modules = nn.ModuleDict({"layers": layers})
        stage = calling.CallingStage(model, packer, device)
        loop.run(loop.Stage("commands", steps, COMMANDS_RATE, stage.losses), modules, out, seed, device)
        rounding.settle(layers)


def train_reading(
    model: Any, data: Path, out: Path, steps: int, seed: int, device: torch.device, *, fresh: bool
) -> None:
    """Train `model`'s last layer in place behind the others as the export will round them; a `fresh` one is new."""
    model.to(device).requires_grad_(False)
    decoder = model.model.language_model
    last = decoder.layers[-1]
    if fresh:
        fresh_matrices(last)
    rounding.round_in_place(model, len(decoder.layers) - 1)
    tokenizer = Tokenizer(out / "tekken.json")
    packer = Packer(data / "commands", tokenizer)
    sampler = Sampler(model, tokenizer, packer, training_screws(data), training_boards(data), device)
    screws = collect(out / "states", "screws", SCREW_SAMPLES, seed, sampler.screws)
    boards = collect(out / "states", "boards", BOARD_SAMPLES, seed, sampler.boards)
    dictations = collect(out / "states", "dictations", DICTATION_SAMPLES, seed, sampler.dictation)
    commands = collect(out / "states", "commands", COMMAND_SAMPLES, seed, sampler.commands)
    heads = reading.make_heads(model.config.text_config.hidden_size).to(device)
    reading.point(last, heads, screws, boards, fresh=fresh)
    rounding.feel(last)
    attention, mlp = last.self_attn, last.mlp
    parts = {
        "looking": [attention.q_proj, attention.k_proj],
        "telling": [attention.v_proj],
        "saying": [attention.o_proj],
        "taking": [mlp.gate_proj, mlp.up_proj],
        "writing": [mlp.down_proj],
    }
    modules = nn.ModuleDict({**{name: nn.ModuleList(part) for name, part in parts.items()}, "heads": heads})
    for name in parts:
        modules[name].requires_grad_(True)
    stage = reading.ReadingStage(model, heads, screws, boards, dictations, commands, device)
    loop.run(loop.Stage("reading", steps, READING_RATE, stage.losses, READING_FACTORS), modules, out, seed, device)
    rounding.settle(last)


def expert_modules(expert: Expert) -> nn.ModuleDict:
    """What is EfficientNet-Lite2's, and what is new."""
    return nn.ModuleDict({"body": expert.net, "head": nn.ModuleList([expert.mix, expert.out])})


def vision_modules(model: Any) -> nn.ModuleDict:
    """What the tower stage trains."""
    return nn.ModuleDict({"tower": model.model.vision_tower, "projector": model.model.multi_modal_projector})


def training_screws(data: Path) -> list[ballscrew.Example]:
    """Ball screws of the positions that training may see."""
    examples = [e for split in ("train", "dev") for e in ballscrew.load_examples(data / "ballscrew" / split)]
    return [example for example in examples if example.position not in ballscrew.HELD_OUT]


def training_boards(data: Path) -> list[ballscrew.Example]:
    """Circuit boards that training may see."""
    examples = pcb.load_examples(data / "pcb" / "train")
    return [example for example in examples if example.position not in pcb.HELD_OUT_BOARDS]


def begin(model: Any, base: SmolLM2, start: Path | None, size: Size) -> None:
    """Fill `model` from the bundle `start`, or its decoder from SmolLM2."""
    if start is None:
        weights = base.weights(size.decoder_layers, VOCAB_SIZE)
        decoder = model.model.language_model
        with without_reading(decoder):
            decoder.load_state_dict({n: torch.from_numpy(w.copy()) for n, w in weights.items()})
        return
    state = {hugging_face_name(name): value for name, value in model.state_dict().items()}
    state.pop("lm_head.weight", None)  # tied to the embeddings
    for name, found in read_bundle(start, {name: tuple(value.shape) for name, value in state.items()}):
        state[name].copy_(torch.from_numpy(found))


def _left(out: Path, name: str) -> dict[str, Tensor]:
    """The weights that a stage left."""
    left: dict[str, Tensor] = torch.load(out / f"{name}.pt", map_location="cpu", weights_only=True)["modules"]
    return left


def train(data: Path, out: Path, steps: Sequence[int], seed: int, start: Path | None = None) -> None:
    """Run the stages that are not finished."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    base = SmolLM2()
    write_tokenizer(out / "tekken.json", base, max_image_size=MAX_IMAGE_SIZE)
    size = LARGE if device.type == "cuda" else SMALL
    model: Any = make_model(VOCAB_SIZE, size)
    begin(model, base, start, size)
    log.info("%s: %.1f million parameters", device, sum(p.numel() for p in model.parameters()) / 1e6)
    if steps[1]:
        train_expert(data, out, steps[0], seed, device)
        train_tower(model, data, out, steps[1], seed, device, fresh=start is None)
    if steps[2]:
        train_commands(model, data, out, steps[2], seed, device)
    if steps[3]:
        train_reading(model, data, out, steps[3], seed, device, fresh=start is None)
    model.save_pretrained(out)
    minutes = sum(loop.seconds_spent(out, name) for name in STAGES if (out / f"{name}.pt").exists()) / 60
    (out / "minutes.txt").write_text(f"{minutes:.0f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with ballscrew/, pcb/, commands/ and video/")
    parser.add_argument("out", type=Path, help="folder of the checkpoint")
    parser.add_argument("--steps", type=int, nargs=4, default=(700, 1700, 4000, 2400), help="of the four stages")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="bundle of an earlier run to go on from")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train(arguments.data, arguments.out, arguments.steps, arguments.seed, arguments.start)


if __name__ == "__main__":
    main()
