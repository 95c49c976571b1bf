"""A sequence's keys and values in the memory of a device, with what belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lineside.runtime.sessions.device_memory import DeviceMemory
from lineside.runtime.sessions.interface import MAX_DECODE_TOKENS

if TYPE_CHECKING:
    from lineside.runtime.manifest import Manifest


class DeviceCache:
    """Keys and values `(1, kv, capacity, head_dim)` of every layer, and the logits of the last pass.

    Attributes:
        buffers: by layer and part, such as `0.key`.
        passes: the decode passes that have been bound to these buffers, by their length in tokens and how they run.
    """

    def __init__(self, memory: DeviceMemory, manifest: Manifest, dtype: str, capacity: int) -> None:
        self.capacity, self._memory, self._vocab_size = capacity, memory, manifest.vocab_size
        kv = manifest.kv
        shape = (1, kv.num_key_value_heads, capacity, kv.head_dim)
        names = [f"{layer}.{part}" for layer in range(kv.num_hidden_layers) for part in ("key", "value")]
        self.buffers = {name: memory.allocate(shape, dtype) for name in names}
        self.logits = memory.allocate((MAX_DECODE_TOKENS, manifest.vocab_size), np.float32, twin=True)
        self.passes: dict[Any, Any] = {}

    @staticmethod
    def bytes_besides(manifest: Manifest) -> int:
        """What a cache takes besides keys and values: logits, which wait for their request."""
        return MAX_DECODE_TOKENS * manifest.vocab_size * 4

    def copy_prefix(self, source: DeviceCache, length: int) -> None:
        """Take over the first `length` tokens of another cache."""
        for name, buffer in source.buffers.items():
            self._memory.copy_prefix(buffer, self.buffers[name], length)
        self._memory.synchronize()

    def clear(self) -> None:
        """As good as new: a value that is not finite would spoil what is masked, too."""
        for buffer in self.buffers.values():
            self._memory.clear(buffer)
        self._memory.synchronize()

    def read_row(self, row: int) -> npt.NDArray[np.float32]:
        """One row of the last pass `(vocab,)`, once it has ended: a view."""
        self._memory.pull(self.logits, row * self._vocab_size, self._vocab_size)
        self._memory.synchronize()
        values: npt.NDArray[np.float32] = self.logits.array[row]
        return values

    def read_logits(self, rows: int) -> npt.NDArray[np.float32]:
        """The last pass's first `rows` rows `(rows, vocab)`, once it has ended: a view."""
        self._memory.pull(self.logits, 0, rows * self._vocab_size)
        self._memory.synchronize()
        return self.logits.array[:rows]
