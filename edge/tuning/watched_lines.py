"""What `lineside learn` and `lineside calibrate` say of what the station will see of changes."""

from __future__ import annotations

import math

from lineside.runtime.inspection.drift import farthest
from lineside.runtime.inspection.usual import Usual


def watched_lines(usual: Usual) -> list[str]:
    """For people."""
    most = farthest(usual)
    if math.isfinite(most):
        return [f"watched     light, focus, and whether the camera moves by more than {most:.0f} pixels"]
    return ["watched     light and focus; not whether the camera moves, as the parts lie here and there"]
