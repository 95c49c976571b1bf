"""Values that both a station file and the engine fall back on. Nothing is loaded for them."""

from pathlib import Path

CALL_ABOVE = 0.65
"""An answer begins with a call where the model's probability of that is at least so much."""
WRONG_CALL_COSTS = 9.0
"""In refusals of what was right: what it costs to make a wrong call."""
DEFAULT_MAX_PIXELS = 25_000_000
"""Of a picture that is decoded."""
SMALLEST_SIDE, LARGEST_SIDE = 448, 1540
"""What the longer side of a picture may be shrunk to, in pixels: how many visual tokens a look may cost."""
DEFAULT_BUNDLE = Path(__file__).parent / "models" / "default"
"""The small model that ships in the package."""
GATE_GRAPHS = Path(__file__).parent / "models" / "gate"
"""The network whose features a gate compares."""
