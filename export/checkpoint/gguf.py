"""Read a GGUF file of a Mistral or Llama language model; its rounded matrices are carried over as they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader, ReaderTensor

from lineside.export.checkpoint.ggml import GGML_FORMATS, GgmlFormat, dequantize_blocks
from lineside.export.checkpoint.source import BlockFormat, Blocks
from lineside.export.errors import MissingPart, Unsupported
from lineside.export.network.config import DecoderConfig, NetworkConfig
from lineside.export.network.rope import Rope

ARCHITECTURE = "llama"
"""What llama.cpp calls Mistral's and Llama's networks."""
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
EMBEDDING, HEAD = "decoder.embed_tokens.weight", "lm_head.weight"
OUTER_NAMES = {
    "token_embd.weight": EMBEDDING,
    "output_norm.weight": "decoder.norm.weight",
    "output.weight": HEAD,
}


class GgufCheckpoint:
    """The tensors of a GGUF file by Lineside's names.

    llama.cpp stores the rows of Q and K in the order of interleaved rotary embedding; they are given in half-split
    order.

    Args:
        token_order: for each id of the bundle's tokenizer the id in this file, where the two number tokens differently.

    Raises:
        MissingPart: the file is missing or cut off.
        Unsupported: another architecture, or a number format that cannot be carried over without rounding again.
    """

    def __init__(self, path: Path, token_order: npt.NDArray[np.int64] | None = None) -> None:
        self.path = path
        self._token_order = token_order
        try:
            self._reader: Any = GGUFReader(path)
        except FileNotFoundError as error:
            raise MissingPart(f"{path} is missing") from error
        except (ValueError, IndexError) as error:
            raise MissingPart(f"{path} is not a GGUF file, or is cut off ({error}): fetch it again") from error
        architecture = self._get("general.architecture", "none")
        if architecture != ARCHITECTURE:
            raise Unsupported(f"{path}: architecture {architecture} is not supported; supported: {ARCHITECTURE}")
        self._tensors: dict[str, ReaderTensor] = {}
        for tensor in self._reader.tensors:
            kind = tensor.tensor_type.name
            if kind not in FLOAT_TYPES and kind not in GGML_FORMATS:
                supported = ", ".join((*FLOAT_TYPES, *GGML_FORMATS))
                raise Unsupported(
                    f"{path}: {tensor.name} is {kind}, which would have to be rounded a second time; "
                    f"supported: {supported}. Export the original weights instead"
                )
            name = canonical_name(tensor.name)
            if name == tensor.name:
                raise Unsupported(f"{path}: tensor {name} belongs to a network that Lineside does not express")
            self._tensors[name] = tensor

    def _get(self, key: str, default: Any = None) -> Any:
        field = self._reader.get_field(key)
        if field is None:
            if default is None:
                raise MissingPart(f"{self.path}: the key {key} is missing")
            return default
        return field.contents()

    def config(self) -> NetworkConfig:
        """Shapes and constants of the network, which has no vision tower."""
        heads, hidden = int(self._get("llama.attention.head_count")), int(self._get("llama.embedding_length"))
        head_dim = int(self._get("llama.attention.key_length", hidden // heads))
        for key, supported in (
            ("llama.rope.scaling.type", "none"),
            ("llama.rope.dimension_count", head_dim),
            ("llama.expert_count", 0),
            ("llama.attention.value_length", head_dim),
            ("llama.attention.sliding_window", 0),
        ):
            if (found := self._get(key, supported)) != supported:
                raise Unsupported(f"{self.path}: {key} = {found} is not supported; supported: {supported}")
        decoder = DecoderConfig(
            hidden_size=hidden,
            intermediate_size=int(self._get("llama.feed_forward_length")),
            num_hidden_layers=int(self._get("llama.block_count")),
            num_attention_heads=heads,
            num_key_value_heads=int(self._get("llama.attention.head_count_kv", heads)),
            head_dim=head_dim,
            vocab_size=self.shape(EMBEDDING)[0],
            context_length=int(self._get("llama.context_length")),
            rms_norm_eps=float(self._get("llama.attention.layer_norm_rms_epsilon")),
            rope=Rope(float(self._get("llama.rope.freq_base", 10000.0))),
            tied_embeddings=HEAD not in self,
        )
        return NetworkConfig(ARCHITECTURE, decoder, None, image_token_id=-1)

    def pieces(self) -> list[bytes | None]:
        """The bytes of every token of a byte-level BPE, None for special ones; empty where there is no such list."""
        if self._get("tokenizer.ggml.model", "none") != "gpt2" or self._token_order is not None:
            return []
        tokens, types = self._get("tokenizer.ggml.tokens"), self._get("tokenizer.ggml.token_type")
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
        found = self._format(name)
        if found is None:
            raise ValueError(f"{name} holds floats, not blocks")
        for raw in self._raw_rows(name):
            yield found.rows(raw)

    def rows(self, name: str) -> Iterator[npt.NDArray[np.float32]]:
        found = self._format(name)
        if found is not None:
            for blocks in self.blocks(name):
                yield dequantize_blocks(blocks, found.block.size)
            return
        brain = self._tensor(name).tensor_type.name == "BF16"
        for raw in self._raw_rows(name):
            yield _from_bfloat16(raw) if brain else np.asarray(raw, dtype=np.float32)

    def _raw_rows(self, name: str) -> Iterator[npt.NDArray[Any]]:
        data = self._tensor(name).data
        order = self._row_order(name, len(data))
        columns = self.shape(name)[1] if len(self.shape(name)) > 1 else 1
        step = max(1, ROW_CHUNK_ELEMENTS // columns)
        for start in range(0, len(order), step):
            yield np.asarray(data[order[start : start + step]])

    def _row_order(self, name: str, rows: int) -> npt.NDArray[np.int64]:
        order = np.arange(rows)
        if self._token_order is not None and name in (EMBEDDING, HEAD):
            return self._token_order
        if name.endswith("q_proj.weight"):
            heads = int(self._get("llama.attention.head_count"))
        elif name.endswith("k_proj.weight"):
            heads = int(self._get("llama.attention.head_count_kv", self._get("llama.attention.head_count")))
        else:
            return order
        return order.reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1)

    def stamp(self) -> str:
        status = self.path.stat()
        return json.dumps([self.path.name, status.st_size, status.st_mtime_ns])


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
