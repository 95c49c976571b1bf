"""Read a GGUF file of a Mistral or Llama language model, and the vision file beside it; rounded matrices are carried
over as they are.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lineside.export.checkpoint.ggml import GGML_FORMATS, GgmlFormat, dequantize_blocks
from lineside.export.checkpoint.gguf_metadata import Metadata
from lineside.export.checkpoint.gguf_rope import read_query_scale, read_rope
from lineside.export.checkpoint.matrices import half_split
from lineside.export.checkpoint.mmproj import IMG_BREAK, read_vision, vision_name
from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.checkpoint.tensors import check_finite
from lineside.export.errors import MissingPart, Unsupported
from lineside.export.network.config import MAX_CONTEXT, DecoderConfig, NetworkConfig

ARCHITECTURES = ("llama", "mistral3")
"""What llama.cpp calls Mistral's and Llama's networks, and those whose queries are scaled."""
IMG = 10
"""The id of `[IMG]` in Mistral's vocabularies, for a file without a list of tokens."""
NORMAL_TOKEN = 1
"""GGUF's token type; the others are control, unknown, user-defined, unused and byte tokens."""
FLOAT_TYPES = ("F32", "F16", "BF16")
ROW_CHUNK_ELEMENTS = 8 * 1024 * 1024
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
FACTORS = "rope_freqs.weight"
"""Llama 3.1 keeps its rotary scaling in this tensor: a factor for each frequency."""
IGNORED = frozenset({"vocab_size"})
EMBEDDING, HEAD = "decoder.embed_tokens.weight", "lm_head.weight"
OUTER_NAMES = {
    "token_embd.weight": EMBEDDING,
    "output_norm.weight": "decoder.norm.weight",
    "output.weight": HEAD,
}


class GgufCheckpoint:
    """An `export.checkpoint.source.Source`: the tensors of a GGUF file by Lineside's names.

    llama.cpp stores the rows of Q and K in the order of interleaved rotary embedding; they are given in half-split
    order.

    Args:
        token_order: for each id of the bundle's tokenizer the id in this file, where the two number tokens differently.
        vision: the file of the tower.

    Raises:
        MissingPart: a file is missing or cut off.
        Unsupported: another architecture, or a number format that cannot be carried over without rounding again.
    """

    def __init__(
        self, path: Path, token_order: npt.NDArray[np.int64] | None = None, vision: Path | None = None
    ) -> None:
        self.path = path
        self._token_order = token_order
        self._text = Metadata(path)
        architecture = self._text.architecture
        if architecture == "clip":
            raise Unsupported(f"{path} is a vision file: give the language model, which it has to lie beside")
        if architecture not in ARCHITECTURES:
            supported = ", ".join(ARCHITECTURES)
            raise Unsupported(f"{path}: architecture {architecture} is not supported; supported: {supported}")
        self._vision = None if vision is None else Metadata(vision)
        self._tensors: dict[str, Any] = {}
        self._factors: tuple[float, ...] = ()
        for file, name_of in ((self._text, canonical_name), (self._vision, vision_name)):
            for tensor in file.tensors if file is not None else ():
                assert file is not None
                self._add(file, tensor, name_of(tensor.name))

    def _add(self, file: Metadata, tensor: Any, name: str) -> None:
        kind = tensor.tensor_type.name
        if kind not in FLOAT_TYPES and kind not in GGML_FORMATS:
            supported = ", ".join((*FLOAT_TYPES, *GGML_FORMATS))
            raise Unsupported(
                f"{file.path}: {tensor.name} is {kind}, which would have to be rounded a second time; "
                f"supported: {supported}. Export the original weights instead"
            )
        if tensor.name == FACTORS and kind == "F32" and file is self._text:
            self._factors = tuple(float(factor) for factor in tensor.data)
        elif tensor.name != IMG_BREAK or file is self._text:
            if name == tensor.name:
                raise Unsupported(f"{file.path}: tensor {name} belongs to a network that Lineside does not express")
            if name in self._tensors:
                raise Unsupported(f"{file.path}: tensor {tensor.name} is there twice")
            self._tensors[name] = tensor

    def config(self) -> NetworkConfig:
        """Shapes and constants of the network; with a tower where there is a vision file."""
        file, at = self._text, self._text.architecture
        heads, hidden = self._heads, file.whole(f"{at}.embedding_length")
        head_dim = file.whole(f"{at}.attention.key_length", hidden // heads)
        for key, supported in (
            ("rope.dimension_count", head_dim),
            ("expert_count", 0),
            ("expert_used_count", 0),
            ("attention.value_length", head_dim),
            ("attention.sliding_window", 0),
        ):
            file.require(f"{at}.{key}", supported)
        if self._factors and len(self._factors) != head_dim // 2:
            raise Unsupported(
                f"{self.path}: {FACTORS} has {len(self._factors)} factors for {head_dim // 2} frequencies"
            )
        decoder = DecoderConfig(
            hidden_size=hidden,
            intermediate_size=file.whole(f"{at}.feed_forward_length"),
            num_hidden_layers=file.whole(f"{at}.block_count"),
            num_attention_heads=heads,
            num_key_value_heads=self._kv_heads,
            head_dim=head_dim,
            vocab_size=self.shape(EMBEDDING)[0],
            context_length=min(file.whole(f"{at}.context_length"), MAX_CONTEXT),
            rms_norm_eps=file.number(f"{at}.attention.layer_norm_rms_epsilon"),
            rope=read_rope(file, self._factors),
            tied_embeddings=HEAD not in self,
            query_scale=read_query_scale(file),
        )
        file.close(f"{at}.", IGNORED)
        if self._vision is None:
            return NetworkConfig(at, decoder, None, image_token_id=-1)
        vision = read_vision(self._vision, hidden, decoder.rms_norm_eps)
        return NetworkConfig(at, decoder, vision, image_token_id=self._image_token_id())

    @property
    def _heads(self) -> int:
        return self._text.whole(f"{self._text.architecture}.attention.head_count")

    @property
    def _kv_heads(self) -> int:
        return self._text.whole(f"{self._text.architecture}.attention.head_count_kv", self._heads)

    def _image_token_id(self) -> int:
        if "tokenizer.ggml.tokens" not in self._text:
            return IMG
        tokens = self._text.get("tokenizer.ggml.tokens")
        if "[IMG]" not in tokens:
            raise Unsupported(f"{self.path} has no token [IMG]: the vision file beside it belongs to another model")
        return int(tokens.index("[IMG]"))

    def pieces(self) -> list[bytes | None]:
        """The bytes of every token of a byte-level BPE, None for special ones; empty where there is no such list."""
        if self._text.get("tokenizer.ggml.model", "none") != "gpt2" or self._token_order is not None:
            return []
        tokens, types = (self._text.get(f"tokenizer.ggml.{key}") for key in ("tokens", "token_type"))
        return [piece_bytes(token) if kind == NORMAL_TOKEN else None for token, kind in zip(tokens, types, strict=True)]

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def names(self) -> Iterator[str]:
        yield from self._tensors

    def _tensor(self, name: str) -> Any:
        try:
            return self._tensors[name]
        except KeyError:
            raise MissingPart(f"{self.path}: tensor {name} is missing") from None

    def shape(self, name: str) -> tuple[int, ...]:
        rows, *columns = (int(size) for size in reversed(self._tensor(name).shape))
        if self._token_order is not None and name in (EMBEDDING, HEAD):
            rows = len(self._token_order)
        return (rows, *columns)

    def block_format(self, name: str) -> BlockFormat | None:
        found = self._format(name)
        return found.block if found else None

    def _format(self, name: str) -> GgmlFormat | None:
        return GGML_FORMATS.get(self._tensor(name).tensor_type.name)

    def blocks(self, name: str) -> Iterator[Blocks]:
        """Raises Unsupported where a scale or a minimum is not finite."""
        found = self._format(name)
        if found is None:
            raise ValueError(f"{name} holds floats, not blocks")
        for raw in self._raw_rows(name):
            blocks = found.rows(raw)
            check_finite(blocks.scales, self._described(name))
            if blocks.minima is not None:
                check_finite(blocks.minima, self._described(name))
            yield blocks

    def rows(self, name: str) -> Iterator[npt.NDArray[np.float32]]:
        """Raises Unsupported where a number is not finite."""
        found = self._format(name)
        if found is not None:
            for blocks in self.blocks(name):
                yield dequantize_blocks(blocks, found.block.size)
            return
        brain = self._tensor(name).tensor_type.name == "BF16"
        for raw in self._raw_rows(name):
            values = _from_bfloat16(raw) if brain else np.asarray(raw, dtype=np.float32)
            check_finite(values, self._described(name))
            yield values

    def _described(self, name: str) -> str:
        return f"{self.path}: {self._tensor(name).name}"

    def _raw_rows(self, name: str) -> Iterator[npt.NDArray[Any]]:
        data = self._tensor(name).data
        order = self._row_order(name, len(data))
        step = max(1, ROW_CHUNK_ELEMENTS // math.prod(self.shape(name)[1:]))
        for start in range(0, len(order), step):
            yield np.asarray(data[order[start : start + step]])

    def _row_order(self, name: str, rows: int) -> npt.NDArray[np.int64]:
        if self._token_order is not None and name in (EMBEDDING, HEAD):
            return self._token_order
        projection = name.removesuffix(".weight").rpartition(".")[2]
        if projection not in ("q_proj", "k_proj"):
            return np.arange(rows)
        if name.startswith("vision") and self._vision is not None:
            return half_split(rows, self._vision.whole("clip.vision.attention.head_count"))
        return half_split(rows, self._heads if projection == "q_proj" else self._kv_heads)

    def stamp(self) -> str:
        paths = [self.path] if self._vision is None else [self.path, self._vision.path]
        states = [(path.name, path.stat()) for path in paths]
        return json.dumps([(name, state.st_size, state.st_mtime_ns) for name, state in states])


def piece_bytes(token: str) -> bytes:
    """GPT-2's printable stand-ins for bytes, back to bytes."""
    return bytes(STAND_INS[character] for character in token)


def _stand_ins() -> dict[str, int]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(rest)}


STAND_INS = _stand_ins()


def canonical_name(stored: str) -> str:
    """`blk.0.attn_q.weight` to `decoder.layers.0.self_attn.q_proj.weight`; unknown names stay as they are."""
    match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", stored)
    if match and match[2] in NAMES:
        return f"decoder.layers.{match[1]}.{NAMES[match[2]]}.weight"
    return OUTER_NAMES.get(stored, stored)


def _from_bfloat16(raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """BF16 arrives as bytes; its bits are the upper half of a float32's."""
    return (np.ascontiguousarray(raw).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
