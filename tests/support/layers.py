"""What a finished TensorRT engine consists of, by the words that its inspector has for it.

The inspector itself needs a GPU to load the engine on; the builder logs the same lines when it is done.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

LINE = re.compile(
    r"^Name: (?P<name>.+?), LayerType: \w+, Inputs: \[(?P<inputs>.*)\], Constants: \[(?P<constants>.*)\], "
    r"Outputs: \[(?P<outputs>.*)\], TacticName: .*, Metadata: (?P<metadata>.*)$"
)
TENSOR = re.compile(r"Name: (?P<name>[^,]+), Dimensions: \[(?P<shape>[-\d,]*)\], .*?Datatype: (?P<dtype>\w+)")
SUFFIX = re.compile(r"_myl(\d+)_\d+$")
PROFILE = re.compile(r" \[profile \d+\]$")


@dataclass(frozen=True)
class Tensor:
    """`shape` has -1 where it varies."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def size(self) -> int:
        """Elements; 0 where it varies."""
        return max(math.prod(self.shape), 0) if -1 not in self.shape else 0


@dataclass(frozen=True)
class Layer:
    """`profile` is the one that it was compiled for; `metadata` names the ONNX nodes."""

    name: str
    profile: int
    inputs: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: str


def layers_of(messages: Iterable[str]) -> list[Layer]:
    """Those of every profile, from the builder's log."""
    found = []
    for line in "\n".join(messages).splitlines():
        if match := LINE.match(line):
            suffix = SUFFIX.search(match["name"])
            inputs, constants, outputs = (_tensors(match[part]) for part in ("inputs", "constants", "outputs"))
            profile = int(suffix[1]) if suffix else 0
            found.append(Layer(match["name"], profile, inputs, constants, outputs, match["metadata"]))
    return found


def _tensors(text: str) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(PROFILE.sub("", match["name"]), tuple(int(n) for n in match["shape"].split(",") if n), match["dtype"])
        for match in TENSOR.finditer(text)
    )
