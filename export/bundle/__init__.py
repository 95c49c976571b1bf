"""Checkpoint in, bundle out: plan, check, stream the weights, self-test, publish."""
