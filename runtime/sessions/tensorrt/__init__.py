"""Engines that TensorRT built, and the session that runs them."""
