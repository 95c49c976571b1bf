"""ONNX graphs: the writer, the plan of the weight files, and one module per dialect."""
