"""Collects nodes, inputs, outputs and initializers, and writes them as one ONNX model with external weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lineside.export.graph.weights import Slot, WeightPlan

MICROSOFT = "com.microsoft"
ELEMENT_TYPES: dict[str, int] = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int8": TensorProto.INT8,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
    "int4": TensorProto.INT4,
}
PRODUCER = "lineside"


class GraphWriter:
    """One graph under construction. Tensors are known by their names."""

    def __init__(self, name: str, plan: WeightPlan, opset: int) -> None:
        self.name = name
        self.plan = plan
        self._opset = opset
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._made: set[str] = set()
        self._counter = 0

    def input(self, name: str, dtype: str, shape: tuple[int | str, ...]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))
        return name

    def input_shapes(self) -> dict[str, tuple[int | str, ...]]:
        """By name; dimensions that vary are strings."""
        return {
            value.name: tuple(d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim)
            for value in self._inputs
        }

    def output(self, name: str, dtype: str, shape: tuple[int | str, ...]) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], shape))

    def node(
        self,
        op: str,
        inputs: list[str],
        outputs: int = 1,
        *,
        domain: str = "",
        names: list[str] | None = None,
        **attributes: Any,
    ) -> list[str]:
        """Append a node and return its output names (`names`, or made ones)."""
        self._counter += 1
        out = names or [f"{op}_{self._counter}_{i}" for i in range(outputs)]
        self._made.update(out)
        self._nodes.append(helper.make_node(op, inputs, out, name=f"{op}_{self._counter}", domain=domain, **attributes))
        return out

    def contrib(self, op: str, inputs: list[str], attributes: Mapping[str, Any]) -> str:
        """Append one of ONNX Runtime's contributed operators with a single output."""
        return self.node(op, inputs, domain=MICROSOFT, **attributes)[0]

    def has(self, tensor: str) -> bool:
        """Whether some node gives `tensor`."""
        return tensor in self._made

    def require_opset(self, opset: int) -> None:
        """Some operator of the graph is of this opset: the model's is no lower."""
        self._opset = max(self._opset, opset)

    def constant(self, name: str, value: Any, dtype: type[np.generic]) -> str:
        """A small initializer that lives in the graph file itself."""
        self._initializers[name] = numpy_helper.from_array(np.asarray(value, dtype=dtype), name)
        return name

    def external(self, slot: Slot, *, name: str = "", shape: tuple[int, ...] = (), element: str = "") -> str:
        """An initializer in the weight file; another `name`, `shape` and `element` may look at the same bytes."""
        name = name or slot.name
        tensor = TensorProto(name=name, data_type=ELEMENT_TYPES[element or slot.dtype.name], dims=shape or slot.shape)
        tensor.data_location = TensorProto.EXTERNAL
        fields = {"location": self.plan.file_name, "offset": str(slot.offset), "length": str(slot.nbytes)}
        for key, value in fields.items():
            tensor.external_data.add(key=key, value=value)
        self._initializers[name] = tensor
        return name

    def save(self, path: Path) -> None:
        """Write the model; its weight file lies beside it."""
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._initializers.values())
        )
        domains = {"": self._opset} | ({MICROSOFT: 1} if any(n.domain == MICROSOFT for n in self._nodes) else {})
        opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name=PRODUCER)
        model.ir_version = helper.find_min_ir_version_for(opsets[:1])
        path.write_bytes(model.SerializeToString())
