"""Keeps a library's caches out of the home folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
"""What matplotlib, and the fontconfig that it asks for fonts, look at for where to keep lists of fonts."""


@contextmanager
def caches_in_a_temporary_folder() -> Iterator[None]:
    """For an import: the caches that it makes go to a folder that is removed behind it."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    with tempfile.TemporaryDirectory(prefix="lineside-") as folder:
        os.environ.update(dict.fromkeys(VARIABLES, folder))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
