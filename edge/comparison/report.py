"""A comparison as tables for people, and as plain values for machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from lineside.edge.comparison.comparing import ANSWER_TOKENS, PROMPT_TOKENS
from lineside.edge.comparison.figures import LEAST_IOU, Comparison, Measured, PictureAgreement

MB = 1e6


def sentence(found: Comparison) -> str:
    """The verdict, for people."""
    tokens = found.tokens
    said = f"B agrees with A on {tokens.top1:.1%} of {tokens.tokens} tokens; KL {tokens.kl:.4f} nat a token"
    if found.pictures is None:
        return f"{said}."
    return f"{said}; the same verdict on {found.pictures.same} of {found.pictures.pictures} pictures."


def costs_table(found: Comparison) -> Table:
    """What each takes, and B over A."""
    table = Table("", box=SIMPLE)
    for heading in ("A", "B", "B / A"):
        table.add_column(heading, justify="right")
    a, b = found.a, found.b
    table.add_row("runs on", a.device, b.device, "")
    table.add_row(*_ratio("perplexity of the text", found.tokens.perplexity_a, found.tokens.perplexity_b, ".3f"))
    for name, values in _medians(found).items():
        table.add_row(*_ratio(name, *values, ".1f" if "tokens" in name else ".3f"))
    table.add_row(*_ratio("on disk, MB", a.disk_bytes / MB, b.disk_bytes / MB, ".1f"))
    for name, key in (("resident memory, MB", "resident_bytes"), ("its peak, MB", "peak_bytes")):
        sizes = [getattr(one.memory, key) for one in (a, b)]
        if None not in sizes:
            table.add_row(*_ratio(name, sizes[0] / MB, sizes[1] / MB, ".1f"))
    return table


def agreement_table(found: Comparison) -> Table:
    table = Table("B against A", box=SIMPLE)
    table.add_column("", justify="right")
    tokens = found.tokens
    table.add_row("KL(A || B), nat a token", f"{tokens.kl:.4f}")
    table.add_row("its 99th percentile, its largest", f"{tokens.kl_p99:.3f}, {tokens.kl_worst:.3f}")
    table.add_row("same top token", f"{tokens.top1:.1%} of {tokens.tokens}")
    if (pictures := found.pictures) is not None:
        table.add_row("same verdict", f"{pictures.same} of {pictures.pictures} pictures")
        table.add_row("boxes of A, of B", f"{pictures.boxes_a}, {pictures.boxes_b}")
        table.add_row(f"F1 at IoU {LEAST_IOU}, A's boxes as labels", _or_dash(pictures.f1))
        table.add_row("mean IoU of those that match", _or_dash(pictures.mean_iou))
    return table


def lines(found: Comparison) -> list[str]:
    """What is said behind the tables."""
    said = [f"{name}: {a} by A, {b} by B" for name, a, b in (found.pictures.differing if found.pictures else ())]
    if found.pictures is not None and found.pictures.cut_off:
        said.append(f"answers to {found.pictures.cut_off} pictures were cut off before their end")
    turns = "A and B turn about" if found.in_turn else "A first, then B"
    said.append(
        f"Speeds are medians of {len(found.a.prefill)} blocks, {turns}: a prompt of {PROMPT_TOKENS} tokens, "
        f"then {ANSWER_TOKENS} one by one."
    )
    return said + [f"Note: {note}." for note in found.notes]


def as_json(found: Comparison) -> dict[str, Any]:
    """Plain values; null for what was not measured or is not finite."""
    medians = _medians(found)
    return {
        "a": _one(found.a, [values[0] for values in medians.values()]),
        "b": _one(found.b, [values[1] for values in medians.values()]),
        "text": {key: _finite(value) for key, value in asdict(found.tokens).items()},
        "pictures": None if found.pictures is None else _pictures(found.pictures),
        "in_turn": found.in_turn,
        "notes": list(found.notes),
    }


def _one(one: Measured, medians: Sequence[float]) -> dict[str, Any]:
    prefill, decode, *picture = medians
    return {
        "path": str(one.path),
        "name": one.name,
        "sha256": one.sha256,
        "device": one.device,
        "prefill_tokens_per_s": round(prefill, 2),
        "decode_tokens_per_s": round(decode, 2),
        "picture_s": round(picture[0], 4) if picture else None,
        "disk_bytes": one.disk_bytes,
        **asdict(one.memory),
    }


def _pictures(found: PictureAgreement) -> dict[str, Any]:
    return {
        "pictures": found.pictures,
        "same_verdict": found.same,
        "differing": [{"picture": name, "a": a, "b": b} for name, a, b in found.differing],
        "cut_off": found.cut_off,
        "boxes_a": found.boxes_a,
        "boxes_b": found.boxes_b,
        "boxes_matched": found.boxes.found,
        "f1": found.f1,
        "mean_iou": found.mean_iou,
    }


def _medians(found: Comparison) -> dict[str, tuple[float, float]]:
    """Of A and B, by what is timed."""
    rows = {
        "prefill, tokens/s": (found.a.prefill, found.b.prefill),
        "decode, tokens/s": (found.a.decode, found.b.decode),
    }
    if found.pictures is not None:
        a, b = ([each.seconds for each in one.looked] for one in (found.a, found.b))
        rows["a picture, s"] = (a, b)
    return {name: (median(a), median(b)) for name, (a, b) in rows.items()}


def _ratio(name: str, a: float, b: float, form: str) -> tuple[str, str, str, str]:
    return name, format(a, form), format(b, form), f"{b / a:.2f}"


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
