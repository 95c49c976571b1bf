"""The network, described once: what is computed, not by which operators."""
