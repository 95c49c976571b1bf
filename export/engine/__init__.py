"""TensorRT engines, built from a bundle for a named target."""
