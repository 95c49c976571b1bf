"""What a station file may say about new models: its keys, their types and defaults."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT


@dataclass(frozen=True, config=STRICT)
class UpdatesConfig:
    """Which new models are taken."""

    kept_folder: str = ""
    """Pictures in a folder for each camera, such as `kept/cam0/a.jpg`, from the station file's folder: on them a new
    model is compared with the one that runs. Where it is empty, on the latest frames of the history."""
    kept_frames: Annotated[int, Field(ge=0, le=10_000)] = 20
    """So many pictures of each camera are compared at most."""
    agreement: Annotated[float, Field(ge=0, le=1)] = 0.9
    """On at least this share of them a new model must give the same verdict, or it is refused; so it must in shadow."""
    key_file: str = ""
    """A public key by minisign, from the station file's folder. With it only bundles are installed whose `bundle.json`
    the key's owner has signed."""
