"""A 24B on this CPU, by some of its layers: how long it loads, and what of the memory's bandwidth decoding uses, beside
llama.cpp on the same integers: `python -m tests.benchmarks.large [--into BENCHMARKS.md]`.

Every figure is from a process of its own, turn about. What was measured and made is kept in `--folder`, so that a run
that was broken off goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lineside.edge.large_pages import TUNABLE, VARIABLE
from lineside.export.check.synthetic import MISTRAL_SMALL, write_synthetic
from lineside.export.exported import Exported
from lineside.runtime.bundle import open_bundle
from lineside.runtime.cores import usable_cores
from lineside.runtime.defaults import DEFAULT_BUNDLE
from tests.benchmarks.large_gguf import write_gguf
from tests.benchmarks.results import ROOT, Results, code_digest, processor, versions
from tests.chaos.section import LARGE as SECTION
from tests.chaos.section import replace_section

FOLDER = Path("build/bench-large")
ROUNDS = 3
PACKAGES = ("onnxruntime", "llama-cpp-python")
MEASURED = ("runtime/sessions", "runtime/bundle.py", "tests/benchmarks/large_engine.py")
"""What a figure depends on."""


@dataclass(frozen=True)
class Row:
    """One way to run one engine. `cold`: the file is not in the system's cache."""

    name: str
    engine: str
    large_pages: bool
    cold: bool = False


ROWS = (
    Row("Lineside", "lineside", large_pages=False),
    Row("Lineside, large pages", "lineside", large_pages=True),
    Row("Lineside, large pages, file not cached", "lineside", large_pages=True, cold=True),
    Row("llama.cpp, Q4_0", "llama.cpp", large_pages=False),
    Row("llama.cpp, Q4_0, large pages", "llama.cpp", large_pages=True),
)


@dataclass(frozen=True)
class Bytes:
    """Of what a decode step needs: integers, and scales in float32 (Lineside's operator) or float16 (Q4_0)."""

    layer: float
    word: float

    def of(self, layers: int, words: int) -> float:
        return layers * self.layer + words * self.word


def needed(bundle: Path, scale_bytes: int) -> Bytes:
    """Of a layer, and of a word's row of the head."""
    exported = Exported(open_bundle(bundle))
    found = {"decoder.layers.0.": 0, "lm_head.": 0}
    for name in exported.decoder.names():
        array = exported.decoder.array(name)
        for part in found:
            if name.startswith(part):
                found[part] += array.size * scale_bytes if name.endswith(".scales") else array.nbytes
    layer, head = found.values()
    return Bytes(layer, head / exported.bundle.manifest.vocab_size)


def make(folder: Path, layers: int) -> tuple[Path, Path]:
    """The bundle and its GGUF file, where they are not there yet. The vocabulary is that of the default model."""
    folder.mkdir(parents=True, exist_ok=True)
    bundle, file = folder / f"layers-{layers}", folder / f"layers-{layers}.gguf"
    if not bundle.exists():
        write_synthetic(bundle, replace(MISTRAL_SMALL, vision=None), DEFAULT_BUNDLE / "tekken.json", layers=layers)
    if not file.exists():
        partial = file.with_suffix(".partial")
        write_gguf(bundle, partial)
        os.replace(partial, file)
    return bundle, file


def measure(results: Results, bundle: Path, file: Path, threads: int) -> dict[str, list[dict[str, Any]]]:
    """What each process found, by row; `bandwidth` is one of them."""
    stamp = {
        "processor": processor(),
        "threads": threads,
        "versions": versions(PACKAGES),
        "code": code_digest(MEASURED),
        "model": open_bundle(bundle).sha256,
    }
    taken: dict[str, list[dict[str, Any]]] = {}
    for turn in range(ROUNDS):
        for row in (Row("bandwidth", "bandwidth", large_pages=True), *ROWS):
            key = f"{row.name}, {turn}"
            if results.changed(key, stamp) != []:
                results.put(key, stamp, _run(row, file if row.engine == "llama.cpp" else bundle, threads))
            taken.setdefault(row.name, []).append(results.value(key))
    return taken


def _run(row: Row, path: Path, threads: int) -> dict[str, Any]:
    environment = {**os.environ, VARIABLE: f"{TUNABLE}={int(row.large_pages)}"}
    command = [sys.executable, "-m", "tests.benchmarks.large_engine", row.engine, str(path), str(threads)]
    if row.cold:
        command.append("cold")
    ran = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def section(taken: Mapping[str, list[dict[str, Any]]], bundle: Path, threads: int) -> str:
    """The table, with what it comes to for all layers and the whole vocabulary."""
    whole, here = MISTRAL_SMALL.decoder, open_bundle(bundle).manifest
    layers = here.kv.num_hidden_layers
    bandwidth = max(one["bytes_s"] for one in taken["bandwidth"])
    named = ", ".join(f"{package} {version}" for package, version in versions(PACKAGES).items())
    lines = [
        "## A 24B on a CPU",
        "",
        f"{layers} layers of Mistral Small 3.2 (hidden size {whole.hidden_size}, FFN {whole.intermediate_size}) with "
        f"{here.vocab_size} words, INT4 in blocks of 32, head INT8; the same integers in llama.cpp's Q4_0 and Q8_0. "
        f"{processor()}, {threads} threads; {named}. Medians of {ROUNDS} processes, turn about. Loading is from the "
        "opening to the first token; Lineside also reads every byte for its SHA-256, beside it. A step needs integers "
        "and scales, float32 for Lineside's operator and float16 in Q4_0; the last but two column is their share of "
        f"the {bandwidth / 1e9:.1f} GB/s that this machine reads. On the right is what it comes to for "
        f"{whole.num_hidden_layers} layers and {whole.vocab_size} words, by bytes.",
        "",
        "| | load, s | its CPU seconds | peak memory, GB | ms a token | of the bandwidth | 24B: load, s | tokens/s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        bytes_ = needed(bundle, 2 if row.engine == "llama.cpp" else 4)
        read = bytes_.of(layers, here.vocab_size)
        ratio = bytes_.of(whole.num_hidden_layers, whole.vocab_size) / read
        load, cpu, step, peak = (
            statistics.median(one[figure] for one in taken[row.name])
            for figure in ("load_s", "load_cpu_s", "step_s", "peak_mb")
        )
        cells = (f"{load:.1f}", f"{cpu:.1f}", f"{peak / 1e3:.1f}", f"{step * 1e3:.0f}",
                 f"{read / step / bandwidth:.0%}", f"{load * ratio:.0f}", f"{1 / (step * ratio):.2f}")  # fmt: skip
        lines.append(f"| {row.name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the models and the figures are kept")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--into", type=Path, help="a report whose section is replaced")
    options = parser.parse_args()
    threads = usable_cores()
    bundle, file = make(options.folder.resolve(), options.layers)
    taken = measure(Results(options.folder / "figures.json"), bundle, file, threads)
    text = section(taken, bundle, threads)
    sys.stdout.write(text)
    if options.into is not None:
        replace_section(options.into, text, SECTION)


if __name__ == "__main__":
    main()
