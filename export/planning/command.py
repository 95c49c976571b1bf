"""`lineside plan` for a device, or of what is not exported yet: figures with their arithmetic, errors as a sentence."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineside.export.errors import ExportError, Unsupported
from lineside.runtime.boards import BOARDS, CPU
from lineside.runtime.errors import EngineError

if TYPE_CHECKING:
    from lineside.export.bundle.choices import Choices

DEFAULT_TOKENS = 4096
"""As a station's `model.capacity`."""
LARGEST_SIDE = 1540


@dataclass(frozen=True)
class PlanOptions:
    """`device` is a board's name or `cpu`; 0 and the empty string stand for what is left out.

    Attributes:
        tokens: of KV cache.
        side: pixels of the largest picture.
        kv_dtype: of the KV cache.
        memory_bytes: the device's, where it is not what it has.
        choices: what the user says of the export that is to come.
    """

    device: str = CPU
    tokens: int = 0
    side: int = 0
    kv_dtype: str = ""
    memory_bytes: int = 0
    choices: Choices = field(default_factory=dict)  # type: ignore[assignment]


def plan_command(model: Path, device: str, **options: Any) -> int:
    """Returns the exit code: 1 where it does not fit, or cannot be planned. `options` are those of `PlanOptions`."""
    try:
        lines, fits = plan_lines(model, PlanOptions(device, **options))
    except ImportError as error:
        sys.stderr.write(f"lineside: planning needs the export extra ({error}): pip install 'lineside[export]'\n")
        return 1
    except (ExportError, EngineError) as error:
        sys.stderr.write(f"lineside: {error}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0 if fits else 1


def plan_lines(model: Path, options: PlanOptions) -> tuple[list[str], bool]:
    """What is printed, and whether the model fits. Raises ExportError, EngineError; ImportError without the extra."""
    from lineside.export.bundle.choices import to_precisions
    from lineside.export.planning import report
    from lineside.export.planning.described import describe, with_cache
    from lineside.export.planning.memory import Wanted
    from lineside.export.planning.rates import measured, of_board, weights_per_s

    board = BOARDS.get(options.device)
    precisions = to_precisions(options.choices)
    described = describe(model, precisions)
    if board is not None and described.manifest.target == "cpu":
        if described.export is not None:
            raise Unsupported("--target cpu is for a CPU alone: say --device cpu, or leave --target out")
        raise Unsupported(f"{model} was exported for a CPU alone: plan it with --device cpu, or export it anew")
    kv_dtype = options.kv_dtype or described.manifest.kv.dtype
    if board is not None and kv_dtype == "float32":  # which no graph for a GPU has
        kv_dtype = "float16"
    manifest = with_cache(described.manifest, kv_dtype)
    largest = manifest.image.max_image_size if manifest.image else LARGEST_SIDE
    if not 0 <= options.tokens <= manifest.context_length:
        raise Unsupported(f"--tokens {options.tokens}: the context has 1 to {manifest.context_length} tokens")
    tokens = options.tokens or min(DEFAULT_TOKENS, manifest.context_length)
    wanted = Wanted(tokens, options.side or largest, board, options.memory_bytes)
    lines = list(report.model_lines(described))
    if described.export is not None:
        speeds = weights_per_s(described.manifest.intermediate_size, precisions)
        lines += report.export_lines(described.export, speeds)
    lines += report.memory_lines(manifest, wanted)
    lines += report.verdict_lines(manifest, wanted)
    lines += report.speed_lines(manifest, wanted, of_board(board) if board else measured())
    lines += report.jetson_lines(wanted)
    return lines, report.fits(manifest, wanted)
