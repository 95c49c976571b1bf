"""Phrases: sentences that a station declares, and that are decided without the model."""
