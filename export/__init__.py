"""Checkpoint to bundle: readers, graph emission, quantization, self-test; the recipe of the default model."""
