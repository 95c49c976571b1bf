"""The models and engines of the benchmark, each made or opened when a row first asks for it."""

from __future__ import annotations

import ctypes
import hashlib
import json
import shutil
from functools import cached_property
from pathlib import Path

from rich.console import Console

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.checkpoint.gguf import GgufCheckpoint
from tests.benchmarks.floats import write_floats
from tests.benchmarks.genai_model import write_genai_model
from tests.benchmarks.peers import Genai, Lineside, LlamaCpp, Peer, silenced
from tests.benchmarks.results import EXPORTING, code_digest
from tests.benchmarks.smollm import IM_END, SmolLM, gguf_path

FOLDER = Path("build/bench")
FLOATS, Q4_0 = "smollm2.gguf", "q4_0.gguf"
PEERS = ("Lineside", "Lineside, int8 cache", "llama.cpp Q4_0", "onnxruntime-genai INT4")
MODELS = ("bundle", "kv_int8", Q4_0, "genai")
"""Of the engines in `PEERS`, in this folder."""
MADE = (*MODELS, FLOATS, "kv_float16", "float32")
console = Console(stderr=True)


class Engines:
    """SmolLM2 in Lineside and its peers, each rounding the same floats in its own way."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    @cached_property
    def model(self) -> SmolLM:
        """Of floats. Raises ModuleNotFoundError where its package is missing."""
        return prepare(self.threads)

    @property
    def bundles(self) -> Path:
        """The folder with the models."""
        _ = self.model
        return FOLDER

    @cached_property
    def llama(self) -> LlamaCpp:
        return LlamaCpp(self.bundles / Q4_0, self.threads)

    @cached_property
    def genai(self) -> Genai:
        return Genai(self.bundles / "genai", IM_END)

    def lineside(self, bundle: str, *, draft: bool = True) -> Lineside:
        return Lineside(self.bundles / bundle, self.model, self.threads, draft=draft)

    @cached_property
    def peers(self) -> list[Peer]:
        """In the order of `PEERS`."""
        return [self.lineside("bundle"), self.lineside("kv_int8"), self.llama, self.genai]

    @cached_property
    def raw(self) -> list[Peer]:
        """Without guesses: one pass for each token, as the peers work."""
        return [self.lineside("bundle", draft=False), self.lineside("kv_int8", draft=False), *self.peers[2:]]


def prepare(threads: int) -> SmolLM:
    """The model of floats, and what each engine makes of it; kept while they would be made alike."""
    package = gguf_path()
    made_of = json.dumps({"code": code_digest(EXPORTING), "model": file_digest(package), "threads": threads})
    note = FOLDER / "made_of.json"
    if not note.exists() or note.read_text(encoding="utf-8") != made_of:
        for path in (FOLDER / name for name in MADE):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        note.write_text(made_of, encoding="utf-8")
    with console.status("exporting"):
        model = SmolLM(write_floats(package, FOLDER / FLOATS))
        model.export(FOLDER / "bundle")
        model.export(FOLDER / "kv_float16", ExportOptions(kv_dtype="float16"))
        model.export(FOLDER / "kv_int8", ExportOptions(kv_dtype="int8"))
        model.export(FOLDER / "float32", ExportOptions(PRECISIONS["float32"]))
        write_q4_0(model.path, FOLDER / Q4_0)
        model.write_hf_tokenizer(write_genai_model(GgufCheckpoint(model.path), FOLDER / "genai", threads))
    return model


def write_q4_0(floats: Path, target: Path) -> None:
    """What llama.cpp makes of the floats, unless it is there."""
    if not target.exists():
        partial = target.with_suffix(".partial")
        quantize_by_llama_cpp(floats, partial, "LLAMA_FTYPE_MOSTLY_Q4_0")
        partial.rename(target)


def quantize_by_llama_cpp(floats: Path, target: Path, kind: str) -> None:
    """Raises OSError where llama.cpp could not; `kind` is the name of its constant."""
    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, kind)
    with silenced():
        failed = llama_cpp.llama_model_quantize(str(floats).encode(), str(target).encode(), ctypes.byref(parameters))
    if failed:
        raise OSError(f"llama.cpp could not write {target}")


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
