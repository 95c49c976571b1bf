"""The table on the screen, and the section of BENCHMARKS.md."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

HEAD = """## Chaos

Written by `make chaos`; do not edit. The daemon as a process, under traffic of triggered frames and commands (answered
by a stand-in for the model, as what is counted here is messages), before a real Mosquitto and the embedded broker
(iotcore). Each message that got a PUBACK is followed by its id; where a broker is killed, those that
the station itself has acknowledged, as seen on its link, since a broker may forget what it took. "Answered": with
exactly one answer, which for some is a refusal with its reason. "Twice": two answers, or two calls, or a tool that was
really carried out twice. "Late": a call that reached an actuator or a tool after its end, or a result of an old
picture. Recovery is from the end of a fault to the answers to a frame and a command that were sent then.

"""
COLUMNS = ("fault", "broker", "injected", "acknowledged", "answered", "twice", "lost", "late", "refused with reason",
           "recovery, median s", "longest s")  # fmt: skip
Saved = Mapping[str, Any]


def cells(row: Saved) -> tuple[str, ...]:
    """Of `COLUMNS`; a kind that counts no messages leaves them out."""
    recovery = row["recovery_s"]
    times = (f"{statistics.median(recovery):.1f}", f"{max(recovery):.1f}") if recovery else ("", "")
    counts = [str(row[name]) for name in ("acknowledged", "answered", "twice", "lost", "late")]
    refused = ", ".join(f"{count} {code}" for code, count in sorted(row["refused"].items()))
    return (row["kind"], row["broker"], str(row["injected"]), *counts, refused, *times)


def screen(rows: Sequence[Saved]) -> Table:
    table = Table(title="chaos")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in COLUMNS[:2] else "right")
    for row in rows:
        bad = row["twice"] or row["lost"] or row["late"] or row["faults"]
        table.add_row(*cells(row), style="red" if bad else None)
    return table


def section(rows: Sequence[Saved], figures: Mapping[str, Saved], missing: Sequence[str]) -> str:
    """Markdown, with where and when each row was measured."""
    stamps = sorted({(row["cpu"], row["date"]) for row in (*rows, *figures.values())})
    text = HEAD + "".join(f"Measured on {cpu}, two cores, {date}.\n" for cpu, date in stamps)
    text += "Seeds: " + ", ".join(sorted({str(row["seed"]) for row in rows})) + ".\n\n"
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(cells(row) for row in rows)]
    text += "".join("| " + " | ".join(line) + " |\n" for line in lines)
    notes = [f"{row['kind']}: {row['note']}" for row in rows if row["note"]]
    notes += [f"{row['kind']} ({row['broker']}): {fault}" for row in rows for fault in row["faults"][:5]]
    if notes:
        text += "\n" + "".join(f"- {note}\n" for note in notes)
    if missing:
        text += f"\nNot measured: {', '.join(missing)}.\n"
    return text + "".join("\n" + write(figures[name]) for name, write in FIGURES.items() if name in figures)


def _overhead(saved: Saved) -> str:
    return (
        f"Overhead, from broker to broker, without the model and without decoding, QoS 0, 30 frames/s of 1280x960 in "
        f"200 kB: median {saved['median_ms']:.2f} ms, 99th percentile {saved['p99_ms']:.2f} ms over "
        f"{saved['frames']} frames, of which {saved['answered']} were answered (the others gave way to newer ones). "
        f"The same frame through the broker alone takes {saved['hop_ms']:.2f} ms. Load of the machine by other work: "
        f"{saved['load']:.1f}.\n"
    )


def _memory(saved: Saved) -> str:
    grown = saved["after_mb"] - saved["before_mb"]
    return (
        f"Memory over {saved['messages']} messages, one in five malformed: {saved['before_mb']:.1f} MB resident after "
        f"the first tenth, {saved['after_mb']:.1f} MB at the end ({grown:+.1f} MB).\n"
    )


def _soak(saved: Saved) -> str:
    results = ", ".join(f"{name} {count}" for name, count in saved["results"].items())
    return (
        f"Soak of {saved['minutes']:g} minutes with the real model, four cameras, a link that is cut once a minute: "
        f"results {results}; no camera had fewer than {saved['quietest']} in any minute; memory "
        f"{saved['first_mb']:.1f} MB after the first minute, {saved['last_mb']:.1f} MB at the end.\n"
    )


FIGURES = {"overhead": _overhead, "memory": _memory, "soak": _soak}
