"""What `lineside plan` promises beside what comes: `python -m tests.benchmarks.plan [--into BENCHMARKS.md]`.

A checkpoint with a tower and random weights, of 0.4 billion, is planned, exported and run, each in its own process.
Bandwidth and rates are measured while nothing else should run; speeds that `plan` states are bounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.benchmarks.fresh import peak_mb
from tests.benchmarks.results import processor
from tests.chaos.section import PLAN as SECTION
from tests.chaos.section import replace_section

TOKENS, SIDE, VOCABULARY = 4096, 672, 32768
CONTEXT, DECODED = 2048, 32
LARGER_TEXT = {"head_dim": 128, "hidden_size": 2048, "intermediate_size": 6144, "max_position_embeddings": 8192,
               "num_attention_heads": 16, "num_hidden_layers": 5, "num_key_value_heads": 4,
               "vocab_size": VOCABULARY}  # fmt: skip
LARGER_TOWER = {"head_dim": 64, "hidden_size": 512, "image_size": SIDE, "intermediate_size": 2048,
                "num_attention_heads": 8, "num_hidden_layers": 6}  # fmt: skip
Figures = dict[str, float]
ROWS = (
    ("disk of the bundle, MB", "disk"),
    ("RAM of the export at its peak, MB", "export_ram"),
    ("time of the export, s", "export_s"),
    (f"memory of a station with {TOKENS} tokens and pictures of {SIDE} px, MB", "ram"),
    ("decode at context 0, tokens/s", "decode_0"),
    (f"decode at context {CONTEXT}, tokens/s", f"decode_{CONTEXT}"),
    (f"vision, a picture of {SIDE} px, s", "vision_s"),
    (f"prefill, a picture of {SIDE} px, s", "prefill_s"),
)
HEAD = """## What `lineside plan` says

Written by `python -m tests.benchmarks.plan --into BENCHMARKS.md` on {cpu}: a checkpoint of random weights (5 layers of
2,048, a tower of 6 layers of 512) planned, exported and run. Disk and memory are meant to be no less than what comes;
time leaves the disk and the self-test out; speeds are bounds.

"""


def write_checkpoint(folder: Path) -> None:
    from safetensors.numpy import save_file

    from tests.golden.family import MISTRAL3, TEXT, VISION, Member, weights
    from tests.support.tokenizers import write_small_tokenizer

    config = MISTRAL3 | {"text_config": TEXT | LARGER_TEXT, "vision_config": VISION | LARGER_TOWER}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(weights(Member("planned", config)), folder / "model.safetensors", {"format": "pt"})
    write_small_tokenizer(folder / "tekken.json", "v13", VOCABULARY, SIDE)


def planned(checkpoint: Path) -> Figures:
    """The figures behind the lines of `lineside plan CHECKPOINT --device cpu`."""
    from lineside.export.planning.described import describe
    from lineside.export.planning.memory import Wanted, parts
    from lineside.export.planning.rates import measured, weights_per_s
    from lineside.export.planning.report import prefill_s
    from lineside.export.planning.work import in_session, picture, sizes, vision_operations

    described = describe(checkpoint)
    manifest, export = described.manifest, described.export
    assert export is not None
    assert manifest.image is not None
    speeds = weights_per_s(manifest.intermediate_size)
    rates, shown = measured(), picture(manifest.image, SIDE)
    read = sizes(manifest, in_session).read
    return {
        "disk": export.weight_bytes / 1e6,
        "export_ram": export.memory_bytes / 1e6,
        "export_s": sum(count / speeds[form] for form, count in export.weights.items()),
        "ram": sum(parts(manifest, Wanted(TOKENS, SIDE, None)).values()) / 1e6,
        "decode_0": rates.bandwidth / read,
        f"decode_{CONTEXT}": rates.bandwidth / (read + CONTEXT * manifest.kv.bytes_per_token),
        "vision_s": vision_operations(manifest, shown) / rates.floats,
        "prefill_s": prefill_s(manifest, shown.tokens, rates, read),
    }


def exported(checkpoint: Path, bundle: Path) -> Figures:
    from lineside.export.bundle.writer import export_bundle

    started = time.perf_counter()
    export_bundle(checkpoint, bundle)
    seconds = time.perf_counter() - started
    disk = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    return {"disk": disk / 1e6, "export_ram": _peak(), "export_s": seconds}


def ran(bundle: Path) -> Figures:
    """A prompt up to the context, tokens behind it and behind nothing, and a picture."""
    from lineside.export.planning.work import picture
    from lineside.runtime.bundle import open_bundle
    from lineside.runtime.sessions.ort import open_cpu

    opened = open_bundle(bundle)
    vision, decoder = open_cpu(opened)
    assert vision is not None
    assert opened.manifest.image is not None
    cache = decoder.allocate(TOKENS)
    found = {}

    def prefill(count: int) -> None:
        ids = np.arange(2000, 2000 + count)
        for start in range(0, count, decoder.prefill_tokens):
            chunk = ids[start : start + decoder.prefill_tokens]
            decoder.prefill(cache, chunk, start, logits=start + len(chunk) == count)

    def decode(context: int) -> None:
        for past in range(context, context + DECODED):
            decoder.decode(cache, [500], past)

    prefill(CONTEXT)
    for context in (0, CONTEXT):
        found[f"decode_{context}"] = DECODED / _best(lambda context=context: decode(context))  # type: ignore[misc]
    tokens = picture(opened.manifest.image, SIDE).tokens
    found["vision_s"] = _best(lambda: vision.embed(np.zeros((3, SIDE, SIDE), np.float32)))
    found["prefill_s"] = _best(lambda: prefill(tokens))
    return {**found, "ram": _peak()}


def _best(work: Callable[[], object], runs: int = 3) -> float:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _peak() -> float:
    """Megabytes, as `plan` counts them."""
    return peak_mb() * 1024**2 / 1e6


STEPS: dict[str, Callable[..., Figures]] = {"planned": planned, "exported": exported, "ran": ran}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, metavar="FILE", help="put the table into its section of this file")
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        name, *paths = options.step
        sys.stdout.write(json.dumps(STEPS[name](*map(Path, paths))) + "\n")
        return
    with tempfile.TemporaryDirectory(prefix="lineside-plan-") as folder:
        text = HEAD.format(cpu=processor()) + "".join(_table(Path(folder)))
    if options.into:
        replace_section(options.into, text, SECTION)
    sys.stdout.write(text)


def _table(folder: Path) -> Iterator[str]:
    checkpoint, bundle = folder / "checkpoint", folder / "bundle"
    write_checkpoint(checkpoint)
    promised = _step("planned", checkpoint)
    came = _step("exported", checkpoint, bundle) | _step("ran", bundle)
    yield "| | planned | measured | planned / measured |\n|---|---|---|---|\n"
    for title, key in ROWS:
        yield f"| {title} | {promised[key]:.4g} | {came[key]:.4g} | {promised[key] / came[key]:.2f} |\n"


def _step(name: str, *paths: Path) -> Figures:
    """In a process of its own, whose peak is its own."""
    command = [sys.executable, "-m", "tests.benchmarks.plan", "--step", name, *map(str, paths)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
