"""The rows of the benchmark: what each is called, what it needs, and how it is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from tests.benchmarks import measure, own, texts
from tests.benchmarks.divergence import TEXT, divergences, windows
from tests.benchmarks.models import PEERS, Engines
from tests.benchmarks.peers import Peer

CONTEXTS = (0, 512, 2048)
PREFILLS = (128, 512, 2048)
DECODED = 48
ANSWER_LIMIT = 300
QUALITY_WINDOWS = 2
ENGINE = ("onnxruntime",)
ALL_ENGINES = (*ENGINE, "onnxruntime-genai", "llama-cpp-python")
Work = Callable[[Engines], Sequence[Callable[[], float]]]


@dataclass(frozen=True)
class Row:
    """One row, or one small table, that is measured at a time.

    Attributes:
        name: as `--rows` takes it; it begins with the name of its group, such as `prefill`.
        measure: returns what JSON can hold.
        model: what it is measured on.
        packages: whose versions its figures depend on.
    """

    name: str
    measure: Callable[[Engines], Any]
    model: Literal["SmolLM2", "default"] = "SmolLM2"
    packages: tuple[str, ...] = ENGINE


def selected(rows: Iterable[Row], names: Sequence[str]) -> list[Row]:
    """The rows with these names, or in groups with these names.

    Raises:
        ValueError: there is none with such a name.
    """
    rows = list(rows)
    for name in names:
        if not any(_belongs(row, name) for row in rows):
            raise ValueError(f"no row is called {name!r}: there are {', '.join(row.name for row in rows)}")
    return [row for row in rows if any(_belongs(row, name) for name in names)]


def _belongs(row: Row, name: str) -> bool:
    return f"{row.name}-".startswith(f"{name}-")


def figure(name: str, title: str, unit: str, better: str, work: Work, scale: float = 0.0) -> Row:
    """A line of the table of peers: their medians turn about; `scale` over seconds where it is given."""

    def take(engines: Engines) -> dict[str, Any]:
        values = measure.turn_about(work(engines))
        return {"title": title, "unit": unit, "better": better, "values": [scale / v if scale else v for v in values]}

    return Row(name, take, packages=ALL_ENGINES)


def _passage(engines: Engines) -> list[int]:
    return engines.llama.tokenize(" ".join([texts.PASSAGE] * 20))


def prefill(length: int) -> Row:
    def work(engines: Engines) -> list[Callable[[], float]]:
        text = _passage(engines)[:length]
        return [partial(measure.prefill_s, peer, text) for peer in engines.raw]

    return figure(f"prefill-{length}", f"prefill {length}", "tokens/s", "higher", work, length)


def decode(context: int) -> Row:
    def work(engines: Engines) -> list[Callable[[], float]]:
        text = _passage(engines)[: max(context, 1)]
        return [partial(measure.decode_s, peer, text, DECODED) for peer in engines.raw]

    return figure(f"decode-{context}", f"decode at context {context}", "tokens/s", "higher", work, 1.0)


def quoting(engines: Engines) -> list[Callable[[], float]]:
    quote = engines.llama.tokenize(texts.QUOTE)
    return [partial(measure.decode_s, peer, quote, ANSWER_LIMIT) for peer in engines.peers]


def answering(timed: Callable[[Peer, Sequence[int], Any, int], float], engines: Engines) -> list[Callable[[], float]]:
    report = engines.llama.tokenize(texts.REPORT)
    return [partial(timed, peer, report, texts.SCHEMA, ANSWER_LIMIT) for peer in engines.peers]


def answer_tokens(engines: Engines) -> dict[str, Any]:
    counts = [float(count()) for count in answering(measure.answer_tokens, engines)]
    return {"title": "tokens of that answer", "unit": "", "better": "", "values": counts}


def first_token(engines: Engines) -> list[Callable[[], float]]:
    verdict = engines.llama.tokenize(texts.VERDICTS[1])
    return [partial(measure.prefill_s, peer, verdict) for peer in engines.peers]


def first_token_behind(engines: Engines) -> list[Callable[[], float]]:
    warm, verdict = (engines.llama.tokenize(prompt) for prompt in texts.VERDICTS)
    return [partial(measure.first_token_s, peer, verdict, warm) for peer in engines.peers]


def start(title: str, unit: str, key: str, engines: Engines) -> dict[str, Any]:
    """Medians of three fresh processes."""
    runs = [[fresh(i, engines)[key] for i in range(len(PEERS))] for _ in range(3)]
    values = [float(np.median(values)) for values in zip(*runs, strict=True)]
    return {"title": title, "unit": unit, "better": "lower", "values": values}


def fresh(index: int, engines: Engines) -> dict[str, float]:
    """The same small job in a process of its own, which finds Lineside compiled, as every installed package is."""
    command = [sys.executable, "-m", "tests.benchmarks.fresh", str(index), str(engines.threads), str(engines.bundles)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def roofline(engines: Engines) -> dict[str, float]:
    """Bytes that a decode step must read, and what the machine's memory gives."""
    manifest = json.loads((engines.bundles / "bundle/bundle.json").read_text())
    kv = manifest["kv"]
    tables = manifest["context_length"] * kv["head_dim"] * 4
    return {
        "bandwidth": measure.bandwidth_bytes_s(engines.threads),
        "weights": manifest["files"]["decoder.data"]["bytes"] - tables,
        "kv_per_token": 2 * kv["num_hidden_layers"] * kv["num_key_value_heads"] * kv["head_dim"] * 4,
    }


def quality(engines: Engines) -> list[dict[str, Any]]:
    """Each engine's rounding of weights, activations and cache against the float model, in the order of `PEERS`; at the
    end the float model.
    """
    exact = engines.lineside("float32")
    ids_of_texts = windows(engines.llama.tokenize(TEXT), QUALITY_WINDOWS)
    return divergences(((ids, exact.logits(ids)) for ids in ids_of_texts), [peer.logits for peer in engines.raw])


FIGURES = (
    *map(prefill, PREFILLS),
    *map(decode, CONTEXTS),
    figure("quote", "decode, the answer quotes the prompt", "tokens/s", "higher", quoting, 1.0),
    figure(
        "json-answer", "JSON answer under a schema, prompt included", "s", "lower", partial(answering, measure.answer_s)
    ),
    figure(
        "json-behind",
        "JSON answer under a schema, behind its prompt",
        "s",
        "lower",
        partial(answering, measure.answer_behind_s),
    ),
    Row("json-tokens", answer_tokens, packages=ALL_ENGINES),
    figure("first-token-new", "first token, prompt new", "s", "lower", first_token),
    figure("first-token-behind", "first token, prefix seen before", "s", "lower", first_token_behind),
    Row("start", partial(start, "start to first token", "s", "seconds"), packages=ALL_ENGINES),
    Row("memory", partial(start, "peak memory", "MB", "peak_mb"), packages=ALL_ENGINES),
)
ROWS = (
    *FIGURES,
    Row("roofline", roofline),
    Row("quality", quality, packages=ALL_ENGINES),
    Row("verdict", lambda _: own.verdict(), model="default"),
    Row("kv-formats", lambda engines: own.kv_formats(engines.bundles)),
    Row("passes", lambda engines: own.passes(engines.bundles)),
    Row("endings-default", lambda _: own.default_endings(), model="default"),
    Row("endings-smollm2", lambda engines: own.smollm_endings(engines.bundles)),
)
