"""The network in floats, run once over a sample while the weights stream by: what calibrates the rounding, and what the
finished bundle is measured against."""
