"""Readers of checkpoints as they are published."""
