"""Constrained decoding: what a model may write, from JSON Schemas and tools."""
