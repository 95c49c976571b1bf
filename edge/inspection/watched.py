"""What a camera's pictures are held against while the station runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.inspection.usual_file import read_usual
from lineside.runtime.inspection.drift import GateUsual, gate_usual
from lineside.runtime.inspection.gated import GatedInspector
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.usual import Usual

log = logging.getLogger("lineside.inspectors")


@dataclass(frozen=True)
class WatchedFor:
    """Of one camera; `gate` where it has one."""

    usual: Usual
    gate: GateUsual | None


def open_watched(
    config: Config, inspectors: Mapping[str, Inspector | GatedInspector]
) -> tuple[dict[str, WatchedFor], list[str]]:
    """By camera, where it has learnt or was calibrated; and which files cannot be used, for `info`."""
    found, degraded = {}, []
    for camera, inspector in inspectors.items():
        try:
            usual = read_usual(config.usual_path(camera), inspector.task.preparation)
        except ConfigError as error:
            log.warning("%s", error)
            degraded.append(f"nobody sees whether the pictures of {camera} change: {error}")
            continue
        if usual is not None:
            gate = gate_usual(inspector.gate.memory) if isinstance(inspector, GatedInspector) else None
            found[camera] = WatchedFor(usual, gate)
    return found, degraded
