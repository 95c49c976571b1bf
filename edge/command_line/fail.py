"""How a command says that it failed: one sentence on standard error, and an exit code."""

from __future__ import annotations

import sys


def fail(message: str, code: int) -> int:
    print(f"lineside: {message}", file=sys.stderr)
    return code
