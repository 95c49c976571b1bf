"""Rounding matrices to INT4: to the weights alone, or to what the network multiplies them with."""
