"""The model that waits to be installed, at the place that the station file names. Only its `bundle.json` is read; an
installation fetches and verifies the rest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from lineside.edge.config import Config
from lineside.edge.errors import UpdateError
from lineside.edge.updates.sources import is_address, open_source
from lineside.runtime.errors import BundleError
from lineside.runtime.manifest import MANIFEST, parse_manifest

MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Offer:
    """Attributes:
    source: as `cmd/model-install` takes it.
    sha256: of its `bundle.json`; empty where nothing is there.
    """

    source: str
    name: str = ""
    sha256: str = ""

    @property
    def version(self) -> str:
        return f"{self.name} {self.sha256[:12]}"

    def install(self) -> str:
        """The body of `cmd/model-install`."""
        return json.dumps({"source": self.source, "sha256": self.sha256})


def read_offer(config: Config) -> Offer | None:
    """None where the station file names no place. Raises UpdateError where what is there is no bundle."""
    named = config.home_assistant.model_source if config.home_assistant is not None else ""
    if not named:
        return None
    place = named if is_address(named) else str(config.folder / named)
    raw = b""
    for chunk in open_source(place).chunks(MANIFEST, 0):
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise UpdateError("too_large", f"{place}: {MANIFEST} has more than {MOST_BYTES} bytes")
    try:
        name = parse_manifest(raw, Path(MANIFEST)).name
    except BundleError as error:
        raise UpdateError("unreadable", f"{place}: {error}") from error
    return Offer(named, name, hashlib.sha256(raw).hexdigest())
