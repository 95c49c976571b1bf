"""What a station file may say about new models: its keys, their types and defaults."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT


@dataclass(frozen=True, config=STRICT)
class UpdatesConfig:
    """Which new models are taken."""

    key_file: str = ""
    """A public key by minisign, from the station file's folder. With it only bundles are installed whose `bundle.json`
    the key's owner has signed."""
