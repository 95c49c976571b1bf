"""The models and engines of the benchmark, each made or opened when a row first asks for it."""

from __future__ import annotations

import hashlib
import json
import shutil
from functools import cached_property
from pathlib import Path

from rich.console import Console

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import write_bundle
from lineside.export.checkpoint.gguf import GgufCheckpoint
from tests.benchmarks.genai_model import AsFloats, write_genai_model
from tests.benchmarks.peers import Genai, Lineside, LlamaCpp, Peer
from tests.benchmarks.results import EXPORTING, code_digest
from tests.benchmarks.smollm import IM_END, SmolLM, gguf_path

FOLDER = Path("build/bench")
PEERS = ("Lineside", "llama.cpp", "onnxruntime-genai", "onnxruntime-genai, re-rounded")
MADE = ("bundle", "kv_float16", "kv_int8", "float32", "genai_exact", "genai_rounded")
console = Console(stderr=True)


class Engines:
    """SmolLM2 in Lineside and its peers."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @cached_property
    def model(self) -> SmolLM:
        """Raises ModuleNotFoundError where its package is missing."""
        model = SmolLM(gguf_path())
        prepare(model, self.threads)
        return model

    @property
    def bundles(self) -> Path:
        """The folder with the models."""
        _ = self.model
        return FOLDER

    @cached_property
    def llama(self) -> LlamaCpp:
        return LlamaCpp(self.model.path, self.threads)

    @cached_property
    def peers(self) -> list[Peer]:
        """In the order of `PEERS`."""
        return [
            Lineside(self.bundles / "bundle", self.model, self.threads),
            self.llama,
            Genai(self.bundles / "genai_exact", PEERS[2], IM_END),
            Genai(self.bundles / "genai_rounded", PEERS[3], IM_END),
        ]

    @cached_property
    def plain(self) -> Lineside:
        """Without guesses: one pass for each token, as the peers work."""
        return Lineside(self.bundles / "bundle", self.model, self.threads, draft=False)

    @property
    def raw(self) -> list[Peer]:
        return [self.plain, *self.peers[1:]]

    @cached_property
    def float_twin(self) -> Lineside:
        return Lineside(self.bundles / "float32", self.model, self.threads)


def prepare(model: SmolLM, threads: int) -> None:
    """The bundle, its float twin, and the models for onnxruntime-genai; kept while they would be made alike."""
    made_of = json.dumps({"code": code_digest(EXPORTING), "model": file_digest(model.path), "threads": threads})
    note = FOLDER / "made_of.json"
    if not note.exists() or note.read_text(encoding="utf-8") != made_of:
        for name in MADE:
            shutil.rmtree(FOLDER / name, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        note.write_text(made_of, encoding="utf-8")
    with console.status("exporting"):
        model.export(FOLDER / "bundle")
        model.export(FOLDER / "kv_float16", kv_dtype="float16")
        model.export(FOLDER / "kv_int8", kv_dtype="int8")
        if not (FOLDER / "float32").exists():
            checkpoint = GgufCheckpoint(model.path, model.file_ids)
            tokenizer = FOLDER / "bundle.tekken.json"
            source = AsFloats(checkpoint)
            write_bundle(
                source,
                checkpoint.config(),
                tokenizer,
                "float32",
                FOLDER / "float32",
                ExportOptions(PRECISIONS["float32"]),
            )
        for name, rounded in (("exact", False), ("rounded", True)):
            folder = write_genai_model(
                GgufCheckpoint(model.path), FOLDER / f"genai_{name}", rounded=rounded, threads=threads
            )
            model.write_hf_tokenizer(folder)


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
