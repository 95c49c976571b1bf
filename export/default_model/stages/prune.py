"""Which layers of SmolLM2 the decoder keeps: `python -m lineside.export.default_model.stages.prune DATA`.

Again and again the layer goes whose absence costs least, by the loss over whole packs of tools and commands. That is
not what one would guess: of the first seven layers five may go, and the ten that stay lose 6.4 nats a token where the
first seven and the last three lose 15.5, more than a uniform guess would. (The whole network loses 2.3.)
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lineside.export.default_model.data.pack import Pack
from lineside.export.default_model.data.packs import Packer
from lineside.export.default_model.networks.base import SmolLM2
from lineside.export.default_model.networks.losses import sight
from lineside.export.default_model.networks.network import make_model
from lineside.export.default_model.networks.size import MAX_IMAGE_SIZE, READING_LAYERS, Size
from lineside.export.default_model.networks.vocabulary import VOCAB_SIZE, write_tokenizer
from lineside.runtime.text.tokenizer import Tokenizer

log = logging.getLogger("lineside.prune")
ALL_LAYERS = tuple(range(30))
PACKS, COMMANDS = 3, 4
SEED = 900


class Sample:
    """A pack as the decoder's layers take it."""

    def __init__(self, decoder: Any, pack: Pack) -> None:
        self.ids, positions, owner = (torch.from_numpy(a) for a in (pack.ids, pack.positions, pack.owner))
        self.within = owner[1:] == owner[:-1]
        self.hidden = decoder.embed_tokens(self.ids[None])
        self.arguments = {
            "attention_mask": sight(owner)[None, None],
            "position_ids": positions[None],
            "position_embeddings": decoder.rotary_emb(self.hidden, positions[None]),
        }


class Pruner:
    """Loses one layer after another."""

    def __init__(self, decoder: Any, packs: Sequence[Pack]) -> None:
        self._decoder = decoder.to(torch.bfloat16).eval()
        self._samples = [Sample(decoder, pack) for pack in packs]

    def drop_one(self, layers: list[int]) -> tuple[list[int], float]:
        """Without the layer that costs least; and the loss that is left, nats a token."""
        states = [sample.hidden for sample in self._samples]
        losses = []
        for at, layer in enumerate(layers):
            losses.append(self._loss(self._run(states, layers[at + 1 :])))
            states = self._run(states, [layer])
        worst = int(np.argmin(losses))
        return layers[:worst] + layers[worst + 1 :], losses[worst]

    def _run(self, states: Sequence[Tensor], layers: Sequence[int]) -> list[Tensor]:
        finished = []
        for hidden, sample in zip(states, self._samples, strict=True):
            for layer in layers:
                hidden = self._decoder.layers[layer](hidden, **sample.arguments)
            finished.append(hidden)
        return finished

    def _loss(self, states: Sequence[Tensor]) -> float:
        total, count = 0.0, 0
        for hidden, sample in zip(states, self._samples, strict=True):
            logits = (self._decoder.norm(hidden)[0, :-1] @ self._decoder.embed_tokens.weight.T).float()
            loss = torch.nn.functional.cross_entropy(logits, sample.ids[1:], reduction="none")[sample.within]
            total, count = total + float(loss.sum()), count + len(loss)
        return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with commands/")
    parser.add_argument("--least", type=int, default=10, help="how many layers to end with")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    base = SmolLM2()
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder) / "tekken.json", base, max_image_size=MAX_IMAGE_SIZE)
        packer = Packer(arguments.data / "commands", Tokenizer(Path(folder) / "tekken.json"))
    packs = [packer.draw(np.random.default_rng(SEED + number), COMMANDS) for number in range(PACKS)]
    decoder = make_model(VOCAB_SIZE, Size(256, 704, 1, ALL_LAYERS)).model.language_model
    weights = base.weights(ALL_LAYERS, VOCAB_SIZE)
    decoder.layers = decoder.layers[:-READING_LAYERS]
    decoder.load_state_dict({name: torch.from_numpy(weight.copy()) for name, weight in weights.items()})
    layers = list(ALL_LAYERS)
    with torch.no_grad():
        pruner = Pruner(decoder, packs)
        while len(layers) > arguments.least:
            layers, loss = pruner.drop_one(layers)
            log.info("%d layers, %.2f nats a token: %s", len(layers), loss, layers)


if __name__ == "__main__":
    main()
