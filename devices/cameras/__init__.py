"""Cameras: anything that yields frames until it ends or is told to stop."""
