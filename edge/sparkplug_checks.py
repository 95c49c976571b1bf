"""What is wrong with Sparkplug B in a station file, for `lineside check`. The library is not loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec

from lineside.edge.config import Config
from lineside.edge.sparkplug_config import ID

Problem = tuple[tuple[str, ...], str]
"""A key, and a sentence that names it."""


def sparkplug_problems(config: Config) -> Iterator[Problem]:
    """Every mistake there."""
    section = config.sparkplug
    if not section.group_id:
        if section.edge_node_id or section.host_id:
            yield (
                ("sparkplug", "group_id"),
                "`sparkplug.group_id` is missing: without it nothing is said",
            )
        return
    if not _is_installed():
        yield ("sparkplug",), "`sparkplug` needs another package: pip install 'lineside[sparkplug]'"
    if not re.match(ID, section.edge_node_id or config.station.name):
        yield ("sparkplug", "edge_node_id"), "`sparkplug.edge_node_id` has one of / + # in it"


def _is_installed() -> bool:
    try:
        return find_spec("google.protobuf") is not None
    except ModuleNotFoundError:
        return False
