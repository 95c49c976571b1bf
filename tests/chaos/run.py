"""`make chaos`: every kind of fault against the real daemon, real brokers, and an account of each message.

Each kind is a row that is kept in `build/chaos` when it is done; a run that is broken off writes the rows that it has.
`--only` runs some alone, and keeps the others.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.benchmarks.results import ROOT, processor
from tests.chaos.brokers import MOSQUITTO
from tests.chaos.cameras import Filming, hang_cameras
from tests.chaos.kinds import KINDS, Kind
from tests.chaos.memory import flood
from tests.chaos.overhead import measure_overhead
from tests.chaos.rig import Row, rig
from tests.chaos.section import replace_section
from tests.chaos.soak import soak
from tests.chaos.table import FIGURES, screen, section
from tests.support.mjpeg import MjpegCamera

FOLDER = Path("build/chaos")
HANGS, FLOOD, OVERHEAD_S = 10, 100_000, 60.0
LIVE = '[cameras.cam0]\nkind = "mqtt"\n[cameras.live]\nkind = "video"\nsource = "{address}"\ninterval_s = 0.2'
console = Console()
Part = Callable[[int], dict[str, Any]]


class BrokenOff(KeyboardInterrupt):
    """With the row as far as it had come."""

    def __init__(self, row: Row) -> None:
        super().__init__()
        self.found = row.as_json() | {"note": f"broken off after {row.injected}"}


@contextmanager
def noting(row: Row) -> Iterator[None]:
    """What goes wrong stands in the row."""
    try:
        yield
    except AssertionError as error:
        row.faults.append(str(error)[:300])
    except KeyboardInterrupt:
        raise BrokenOff(row) from None


def play(kind: Kind, broker: str, seed: int) -> dict[str, Any]:
    row = Row(kind.name, broker, seed)
    with noting(row), rig(row, **kind.rig) as running:
        kind.inject(running, kind.count[broker])
    return row.as_json()


def play_cameras(seed: int) -> dict[str, Any]:
    row = Row("camera hangs", MOSQUITTO, seed)
    camera = MjpegCamera()
    filming = Filming(camera)
    try:
        with noting(row), rig(row, cameras=LIVE.format(address=camera.address)) as running:
            hang_cameras(running, HANGS, filming)
    finally:
        filming.close()
    return row.as_json()


def play_flood(seed: int) -> dict[str, Any]:
    row = Row("100,000 messages", MOSQUITTO, seed)
    with rig(row, kinds=("act", "note")) as running:
        found = flood(running, FLOOD)
    return {**row.as_json(), "figure": "memory", "value": asdict(found)}


def play_soak(minutes: float, seed: int) -> dict[str, Any]:
    found = asdict(soak(Row("soak", MOSQUITTO, seed), minutes))
    row: dict[str, Any] = found.pop("row")
    return row | {"figure": "soak", "value": found}


def play_overhead(seed: int) -> dict[str, Any]:
    return {"seed": seed, "figure": "overhead", "value": asdict(measure_overhead(OVERHEAD_S))}


def parts(soak_minutes: float) -> dict[str, Part]:
    """By name, in the order in which they are run and shown."""
    found: dict[str, Part] = {"overhead": play_overhead}
    found |= {f"{kind.name} ({broker})": partial(play, kind, broker) for kind in KINDS for broker in kind.count}
    found |= {"camera hangs": play_cameras, "memory": play_flood, "soak": partial(play_soak, soak_minutes)}
    return found


def path_of(name: str) -> Path:
    return FOLDER / f"{''.join(c if c.isalnum() else '-' for c in name)}.json"


def save(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """With where and when it was measured."""
    found |= {"cpu": processor(), "date": time.strftime("%Y-%m-%d")}
    path_of(name).write_text(json.dumps(found))
    return found


def report(names: list[str], into: Path) -> bool:
    """Write what there is; False where something of it is wrong."""
    saved = {name: json.loads(path_of(name).read_text()) for name in names if path_of(name).exists()}
    rows = [found for found in saved.values() if "kind" in found]
    figures = {one["figure"]: one["value"] | {"cpu": one["cpu"], "date": one["date"]} for one in saved.values()
               if one.get("figure") in FIGURES}  # fmt: skip
    console.print(screen(rows))
    if saved:
        replace_section(into, section(rows, figures, [name for name in names if name not in saved]))
    for row in rows:
        for fault in row["faults"]:
            console.print(f"{row['kind']}: {fault}", style="red", markup=False)
    return not any(row["twice"] or row["lost"] or row["late"] or row["faults"] for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="the parts whose names begin so")
    parser.add_argument("--soak-minutes", type=float, default=30.0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    every = parts(options.soak_minutes)
    chosen = [name for name in every if not options.only or name.startswith(tuple(options.only))]
    console.print(f"seed {options.seed}; {len(chosen)} parts")
    FOLDER.mkdir(parents=True, exist_ok=True)
    if not options.only:
        for old in FOLDER.glob("*.json"):
            old.unlink()
    good = False
    try:
        for number, name in enumerate(chosen, 1):
            began = time.monotonic()
            console.print(f"[{number}/{len(chosen)}] {name} ...", markup=False)
            found = save(name, every[name](options.seed))
            console.print(f"    {time.monotonic() - began:.0f} s; {found.get('value') or _short(found)}", markup=False)
    except BrokenOff as error:
        save(name, error.found)
        console.print("broken off: what was done is kept")
    except KeyboardInterrupt:
        console.print("broken off: the parts that were done are kept")
    finally:
        good = report(list(every), ROOT / "BENCHMARKS.md")
    return 0 if good else 1


def _short(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {row[name]}" for name in ("injected", "acknowledged", "answered", "twice", "lost", "late")
    )


if __name__ == "__main__":
    sys.exit(main())
