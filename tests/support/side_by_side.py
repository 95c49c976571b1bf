"""How tests are dealt out to the workers of `pytest -n`."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

TOGETHER = (
    "tests/edge/tuning/test_calibrate.py",
    "tests/end_to_end/test_wheel.py",
    "tests/export/engine/test_engine.py",
    "tests/runtime/text/test_tool_calls.py",
)
"""Files whose tests share something that takes long to make: it is made once, by one worker."""


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]
    """Test by test, but for the files that stay together; those begin first."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.split("::", 1)[0]
        return file if file in TOGETHER else nodeid
