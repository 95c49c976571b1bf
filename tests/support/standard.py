"""Graphs in the `standard` dialect on ONNX Runtime's CPU kernels: what a TensorRT engine is to a session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort

from lineside.runtime.sessions.device_memory import Tensors
from lineside.runtime.sessions.ort import session_options


def exact_session(path: Path) -> ort.InferenceSession:
    """Left to itself ONNX Runtime rounds the activations of INT4 products to 8 bits."""
    options = session_options(1)
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OrtProgram:
    """A `runtime.sessions.tensorrt.session.Program`; `runs` counts by profile."""

    def __init__(self, path: Path) -> None:
        self._session = exact_session(path)
        self._inputs = {value.name for value in self._session.get_inputs()}
        self._outputs = {value.name for value in self._session.get_outputs()}
        self.runs: list[int] = []

    def bind(self, profile: int, tensors: Tensors, *, capture: bool = False) -> Callable[[], None]:
        assert tensors.keys() == self._inputs | self._outputs
        assert not capture or tensors["ids"][1] == (1, 1)
        binding = self._session.io_binding()
        for name, (buffer, shape) in tensors.items():
            bind = binding.bind_input if name in self._inputs else binding.bind_output
            bind(name, "cpu", 0, buffer.dtype, shape, buffer.pointer)

        def run() -> None:
            self.runs.append(profile)
            self._session.run_with_iobinding(binding)

        return run
