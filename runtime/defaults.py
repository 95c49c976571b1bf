"""Values that both a station file and the engine fall back on. Nothing is imported here: reading a file stays light."""

CALL_ABOVE = 0.65
"""An answer begins with a call where the model's probability of that is at least so much."""
DEFAULT_MAX_PIXELS = 25_000_000
"""Of a picture that is decoded."""
