"""`make bench`: Lineside against llama.cpp and onnxruntime-genai, on the same weights, threads and machine, turn about.

Writes `build/bench/results.json` and `BENCHMARKS.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import write_bundle
from lineside.export.checkpoint.gguf import GgufCheckpoint
from tests.benchmarks import measure, own, texts
from tests.benchmarks.genai_model import AsFloats, write_genai_model
from tests.benchmarks.peers import Genai, Lineside, LlamaCpp, Peer
from tests.benchmarks.report import write_report
from tests.benchmarks.smollm import IM_END, SmolLM, gguf_path

FOLDER = Path("build/bench")
CONTEXTS = (0, 512, 2048)
PREFILLS = (128, 512, 2048)
DECODED = 48
ANSWER_LIMIT = 300
console = Console(stderr=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    model = SmolLM(gguf_path())
    prepare(model, options.threads)
    llama = LlamaCpp(model.path, options.threads)
    peers: list[Peer] = [
        Lineside(FOLDER / "bundle", model, options.threads),
        llama,
        Genai(FOLDER / "genai_exact", "onnxruntime-genai", IM_END),
        Genai(FOLDER / "genai_rounded", "onnxruntime-genai, re-rounded", IM_END),
    ]
    plain = Lineside(FOLDER / "bundle", model, options.threads, draft=False)
    results = {
        "machine": machine(options.threads),
        "peers": [peer.name for peer in peers],
        "rows": rows(peers, plain, llama, options.threads),
        "roofline": roofline(options.threads),
        "quality": quality(plain, Lineside(FOLDER / "float32", model, options.threads), llama),
    }
    console.log("Lineside alone")
    results |= {
        "verdict": own.verdict(),
        "kv_formats": own.kv_formats(FOLDER),
        "passes": own.passes(FOLDER),
        "endings": own.endings(FOLDER),
    }
    (FOLDER / "results.json").write_text(json.dumps(results, indent=2), encoding="utf-8")
    write_report(results, Path("BENCHMARKS.md"))


def prepare(model: SmolLM, threads: int) -> None:
    """The bundle, its float twin, and the models for onnxruntime-genai; kept between runs."""
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


def rows(peers: Sequence[Peer], plain: Peer, llama: LlamaCpp, threads: int) -> list[dict[str, Any]]:
    """One row a figure: its values for the peers, in their order; None where a peer cannot do it."""
    text = llama.tokenize(" ".join([texts.PASSAGE] * 20))
    quote, report = llama.tokenize(texts.QUOTE), llama.tokenize(texts.REPORT)
    warm, verdict = (llama.tokenize(prompt) for prompt in texts.VERDICTS)
    raw = [plain, *peers[1:]]  # without guesses: one pass for each token, as the peers work
    table: list[dict[str, Any]] = []

    def row(name: str, unit: str, better: str, work: Sequence[Callable[[], float]], scale: float = 0.0) -> None:
        console.log(name)
        values = measure.turn_about(work)
        table.append({"name": name, "unit": unit, "better": better,
                      "values": [scale / v if scale else v for v in values]})  # fmt: skip

    for length in PREFILLS:
        work = [partial(measure.prefill_s, peer, text[:length]) for peer in raw]
        row(f"prefill {length}", "tokens/s", "higher", work, length)
    for context in CONTEXTS:
        work = [partial(measure.decode_s, peer, text[: max(context, 1)], DECODED) for peer in raw]
        row(f"decode at context {context}", "tokens/s", "higher", work, 1.0)
    work = [partial(measure.decode_s, peer, quote, ANSWER_LIMIT) for peer in peers]
    row("decode, the answer quotes the prompt", "tokens/s", "higher", work, 1.0)
    work = [partial(measure.answer_s, peer, report, texts.SCHEMA, ANSWER_LIMIT) for peer in peers]
    row("JSON answer under a schema, prompt included", "s", "lower", work)
    work = [partial(measure.answer_behind_s, peer, report, texts.SCHEMA, ANSWER_LIMIT) for peer in peers]
    row("JSON answer under a schema, behind its prompt", "s", "lower", work)
    counts = [float(measure.answer_tokens(peer, report, texts.SCHEMA, ANSWER_LIMIT)) for peer in peers]
    table.append({"name": "tokens of that answer", "unit": "", "better": "", "values": counts})
    row("first token, prompt new", "s", "lower", [partial(measure.prefill_s, peer, verdict) for peer in peers])
    work = [partial(measure.first_token_s, peer, verdict, warm) for peer in peers]
    row("first token, prefix seen before", "s", "lower", work)
    for name, unit, better, key in (
        ("start to first token", "s", "lower", "seconds"),
        ("peak memory", "MB", "lower", "peak_mb"),
    ):
        console.log(name)
        runs = [[fresh(i, threads)[key] for i in range(len(peers))] for _ in range(3)]
        table.append({"name": name, "unit": unit, "better": better,
                      "values": [float(np.median(values)) for values in zip(*runs, strict=True)]})  # fmt: skip
    return table


def fresh(index: int, threads: int) -> dict[str, float]:
    """The same small job in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.fresh", str(index), str(threads), str(FOLDER)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def roofline(threads: int) -> dict[str, float]:
    """Bytes that a decode step must read, and what the machine's memory gives."""
    manifest = json.loads((FOLDER / "bundle/bundle.json").read_text())
    kv = manifest["kv"]
    tables = manifest["context_length"] * kv["head_dim"] * 4
    return {
        "bandwidth": measure.bandwidth_bytes_s(threads),
        "weights": manifest["files"]["decoder.data"]["bytes"] - tables,
        "kv_per_token": 2 * kv["num_hidden_layers"] * kv["num_key_value_heads"] * kv["head_dim"] * 4,
    }


def quality(lineside: Lineside, float_twin: Lineside, llama: LlamaCpp) -> dict[str, Any]:
    """Logits against the float model's along llama.cpp's greedy text; greedy text against both.

    The float model holds what the GGUF stands for, in float32: neither engine's rounding of activations.
    """
    console.log("quality")
    prompts = [llama.tokenize(texts.chat(question, texts.DEFAULT_SYSTEM)) for question in texts.QUESTIONS]
    written = {peer: [measure.greedy(peer, ids, 32) for ids in prompts] for peer in (lineside, float_twin, llama)}
    correlations, same_top, positions = [], 0, 0
    for ids, answer in zip(prompts, written[llama], strict=True):
        own, exact = (peer.logits_along(ids, answer) for peer in (lineside, float_twin))
        correlations += [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(own, exact, strict=True)]
        same_top += int((own.argmax(1)[:-1] == lineside.own(answer)[: len(own) - 1]).sum())
        positions += len(own) - 1
    return {
        "prompts": len(prompts),
        "mean_correlation": float(np.mean(correlations)),
        "lowest_correlation": min(correlations),
        "top_token_agrees": same_top / positions,
        "same_text": sum(a == b for a, b in zip(written[lineside], written[llama], strict=True)),
        "lineside_as_float": sum(a == b for a, b in zip(written[lineside], written[float_twin], strict=True)),
        "llama_as_float": sum(a == b for a, b in zip(written[llama], written[float_twin], strict=True)),
    }


def machine(threads: int) -> dict[str, Any]:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())  # fmt: skip
    packages = ("onnxruntime", "onnxruntime-genai", "llama-cpp-python")
    return {"cpu": model, "threads": threads, "versions": {name: version(name) for name in packages}}


if __name__ == "__main__":
    main()
