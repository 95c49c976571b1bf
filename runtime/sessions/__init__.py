"""What runs a graph: ONNX Runtime on the CPU, CUDA, TensorRT; and the self-test that each must pass."""
