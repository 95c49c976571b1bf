"""One of the two models that are compared, in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lineside.edge.config import Device
from lineside.edge.device_choice import open_engine
from lineside.runtime.errors import PictureError
from lineside.runtime.inspection.calibration import Calibration
from lineside.runtime.inspection.inspector import Inspector
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.inspection.verdict import Defect, Verdict
from lineside.runtime.picture import decode_picture

STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class Looked:
    """What the model itself says of a picture, whether or not it was taught such, and how long it took.

    `complete` is false where its answer was cut off.
    """

    verdict: Verdict
    fail_probability: float
    defects: tuple[Defect, ...]
    complete: bool
    seconds: float


@dataclass(frozen=True)
class Memory:
    """Of the process: what is resident now, and the most that ever was. None where the system does not say."""

    resident_bytes: int | None
    peak_bytes: int | None


class Side:
    """A bundle, opened as the daemon opens it.

    Args:
        tokens: of the cache that the text is read with; the next length of cache that the device has.

    Raises BundleError, DeviceError.
    """

    def __init__(self, path: Path, device: Device, tokens: int, task: InspectionTask) -> None:
        opened = open_engine(path, device=device)
        self.device, self._engine, self._task = opened.choice.device, opened.engine, task
        self._decoder = decoder = opened.engine.decoder
        self._cache = decoder.allocate(next((n for n in sorted(decoder.cache_lengths) if n >= tokens), tokens))
        self._inspector: Inspector | None = None

    def runs_on(self) -> str:
        return self.device

    def logits(self, ids: Sequence[int], past: int) -> npt.NDArray[np.float32]:
        """Read at most `MAX_DECODE_TOKENS` ids behind `past` others; logits `(T, vocab)` of every position."""
        return self._decoder.decode(self._cache, ids, past).copy()

    def prefill(self, ids: Sequence[int]) -> float:
        """Tokens a second of a prompt, which the cache holds then."""
        tokens, size = np.asarray(ids, np.int64), self._decoder.prefill_tokens
        started = time.perf_counter()
        for past in range(0, len(tokens), size):
            chunk = tokens[past : past + size]
            self._decoder.prefill(self._cache, chunk, past, logits=past + len(chunk) == len(tokens))
        return len(tokens) / (time.perf_counter() - started)

    def decode(self, ids: Sequence[int], past: int) -> float:
        """Tokens a second of ids that come one by one behind `past` others, the likeliest next one looked up."""
        picker = self._decoder.picker
        started = time.perf_counter()
        for index, token in enumerate(ids, past):
            if picker is not None:
                picker.likeliest(self._cache, [token], index)
            else:
                self._decoder.decode(self._cache, [token], index)[0].argmax()
        return len(ids) / (time.perf_counter() - started)

    def look(self, path: Path) -> Looked:
        """Inspect a picture. Raises PictureError where it cannot be read, EngineError."""
        try:
            picture = decode_picture(path.read_bytes())
        except OSError as error:
            raise PictureError(f"{path} cannot be read ({error.strerror})") from error
        except PictureError as error:
            raise type(error)(f"{path}: {error}") from error
        if self._inspector is None:  # a calibration that changes nothing: the model's own verdict counts
            self._inspector = Inspector(self._engine, self._task, calibration=Calibration())
        started = time.perf_counter()
        found = self._inspector.inspect(picture)
        seconds = time.perf_counter() - started
        return Looked(found.verdict, found.fail_probability, found.defects, found.complete, seconds)

    def memory(self) -> Memory:
        """Of this process."""
        try:
            lines = [line.split() for line in STATUS.read_text(encoding="utf-8").splitlines()]
        except OSError:
            return Memory(None, None)
        sizes = {line[0]: int(line[1]) * 1024 for line in lines if line[-1] == "kB"}
        return Memory(sizes.get("VmRSS:"), sizes.get("VmHWM:"))
