"""What the user chooses about a bundle when it is exported."""

from __future__ import annotations

from dataclasses import dataclass, field

from lineside.export.bundle.plan import PRECISIONS, Precisions
from lineside.export.graph.kv import KVDtype
from lineside.runtime.taught_file import Declaration

MAX_KL = 0.5
"""Rounding a small model to 4 bits costs 0.1 to 0.4 nats a token, a damaged graph several."""


@dataclass(frozen=True)
class ExportOptions:
    """How a checkpoint is exported.

    Attributes:
        precisions: number formats of the weights.
        kv_dtype: of the KV cache on a CPU.
        verbatim_arguments: the runtime lets the model choose words of the conversation where the argument of a call is
            a free text, and write nothing else (`runtime/grammar/verbatim.py`).
        any_way_up: the runtime has the model see pictures upside down, too (`runtime/inspection/augmentation.py`).
        declaration: what the model was taught.
        max_kl: the most that the bundle may differ from the float model, in nats a token (`export.bundle.gate`).
    """

    precisions: Precisions = PRECISIONS["int4"]
    kv_dtype: KVDtype = "float32"
    verbatim_arguments: bool = False
    any_way_up: bool = False
    declaration: Declaration = field(default_factory=Declaration)
    max_kl: float = MAX_KL
