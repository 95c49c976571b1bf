"""Two bundles, one text, some pictures: read, looked at and timed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

from lineside.edge.comparison.figures import Comparison, Measured, agreement_on_pictures
from lineside.edge.comparison.process import SideProcess, side_process
from lineside.edge.comparison.readings import WINDOW, StoredLogits, passes, stored_logits
from lineside.edge.comparison.side import Side
from lineside.edge.config import Device
from lineside.edge.device_choice import look
from lineside.edge.errors import EdgeError
from lineside.edge.progress import progress
from lineside.runtime.agreement.tokens import TokenMeter
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.engine.engine import DEFAULT_CAPACITY
from lineside.runtime.engine.memory_plan import least_device_bytes, plan_memory
from lineside.runtime.free_memory import free_bytes
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.manifest import MANIFEST, Manifest
from lineside.runtime.picture_kinds import READ_NAMES, SUFFIXES
from lineside.runtime.text.tokenizer import Tokenizer

TOKENIZER = "tekken.json"
ROUNDS, PROMPT_TOKENS, ANSWER_TOKENS = 5, 128, 32
"""How often each speed is taken, after a round that does not count, and what a block of it is."""
GB = 1e9
Processes = Callable[[str], AbstractContextManager[SideProcess]]


@dataclass(frozen=True)
class Wanted:
    """What is compared: on a text, and by what is said for `task` of pictures."""

    text: str
    pictures: Sequence[Path]
    task: InspectionTask
    device: Device = "auto"


def compare(a: Path, b: Path, wanted: Wanted, processes: Processes = side_process) -> Comparison:
    """A is the reference. Both are in memory at a time only where both fit.

    Raises:
        EdgeError: the two have other vocabularies, no room for A's logits, a process that ended; all of EngineError
            that happens in one of the processes.
        EngineError: a bundle cannot be opened.
    """
    bundles = [open_bundle(path) for path in (a, b)]
    tokenizer = check_same_vocabulary(*bundles)
    return _Comparing(bundles, wanted, tokenizer).run(processes)


def check_same_vocabulary(a: Bundle, b: Bundle) -> Tokenizer:
    """A's tokenizer. Raises EdgeError where the same id stands for another token in B."""
    own, other = (Tokenizer(bundle.file(TOKENIZER)) for bundle in (a, b))
    sizes = [bundle.manifest.vocab_size for bundle in (a, b)]
    if sizes[0] != sizes[1] or own.token_bytes != other.token_bytes:
        raise EdgeError(
            f"{a.path} and {b.path} have not the same vocabulary ({sizes[0]} and {sizes[1]} tokens), so that their "
            "probabilities cannot be held against each other: compare two exports of one model, such as of "
            "`lineside export --precision float32` and `--precision int4`"
        )
    return own


def find_pictures(folder: Path) -> list[Path]:
    """In the order of their names. Raises EdgeError."""
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise EdgeError(f"--pictures: {folder} cannot be read ({error.strerror}): name a folder") from error
    if not found:
        raise EdgeError(f"--pictures: {folder} has no pictures ({READ_NAMES})")
    return found


class _Comparing:
    def __init__(self, bundles: Sequence[Bundle], wanted: Wanted, tokenizer: Tokenizer) -> None:
        self._manifests = [bundle.manifest for bundle in bundles]
        self._window = min(WINDOW, *(manifest.context_length for manifest in self._manifests))
        self._passes = passes(wanted.text, tokenizer, self._window)
        self._speed_ids = self._ids_for_speed()
        self._wanted, self._meter, self._notes = wanted, TokenMeter(), list[str]()
        self._measured = [_measured(label, bundle) for label, bundle in zip("AB", bundles, strict=True)]
        self._pictures = list(wanted.pictures)
        for label, manifest in zip("AB", self._manifests, strict=True):
            if manifest.image is None and self._pictures:
                self._notes.append(f"no pictures: {label} has no vision tower")
        if self._notes:
            self._pictures = []

    def run(self, processes: Processes) -> Comparison:
        in_turn = self._fit_together()
        tokens = sum(len(each.ids) for each in self._passes)
        with stored_logits(tokens, self._manifests[0].vocab_size) as stored:
            if in_turn:
                self._measure(self._measured, stored, processes)
            else:
                for one in self._measured:
                    self._measure([one], stored, processes)
        a, b = self._measured
        pictures = agreement_on_pictures(self._pictures, a.looked, b.looked) if self._pictures else None
        if a.device != b.device:
            self._notes.append(f"A ran on {a.device}, B on {b.device}: their speeds say little of the models")
        return Comparison(a, b, self._meter.result(), pictures, in_turn, tuple(self._notes))

    def _fit_together(self) -> bool:
        """Whether both may be in memory at a time. What is not known does not fit."""
        needed = sum(plan_memory(each, self._tokens(each)).total_bytes for each in self._manifests)
        free = free_bytes() or 0
        gpus = look().gpus if self._wanted.device != "cpu" else ()
        if gpus:
            on_gpu = sum(least_device_bytes(each, self._tokens(each)) for each in self._manifests)
            if on_gpu > gpus[0].memory_bytes:
                needed, free = on_gpu, gpus[0].memory_bytes
        if needed > free:
            self._notes.append(
                f"speeds were taken one after the other: both models take {needed / GB:.2f} GB together, "
                f"{free / GB:.2f} GB are free"
            )
        return needed <= free

    def _tokens(self, manifest: Manifest) -> int:
        """Of KV cache: for the text, and for pictures."""
        return self._window + min(DEFAULT_CAPACITY, manifest.context_length)

    def _measure(self, measured: Sequence[Measured], stored: StoredLogits, processes: Processes) -> None:
        """Each of them, turn about where turns matter."""
        with ExitStack() as stack:
            sides = [(one, stack.enter_context(processes(one.label))) for one in measured]
            for one, side in sides:
                for _ in progress([one.path], f"{one.label}: load"):
                    side.open(one.path, self._wanted.device, self._window, self._wanted.task)
                one.device = side.call(Side.runs_on)
            for one, side in sides:
                self._read(one.label, side, stored)
            for path in progress(self._pictures, f"{_labels(measured)}: pictures"):
                for one, side in sides:
                    one.looked.append(side.call(Side.look, path))
            for number in progress(range(ROUNDS + 1), f"{_labels(measured)}: speed"):
                for one, side in sides:
                    self._time(one, side, counts=number > 0)
            for one, side in sides:
                one.memory = side.call(Side.memory)

    def _read(self, label: str, side: SideProcess, stored: StoredLogits) -> None:
        """A's logits are stored, B's held against them."""
        if label == "B":
            stored.rewind()
        for each in progress(self._passes, f"{label}: text, {len(self._passes)} passes"):
            logits = side.call(Side.logits, each.ids, each.past)
            if label == "A":
                stored.write(logits)
            else:
                self._meter.add(stored.read(len(each.ids)), logits, each.following)

    def _time(self, one: Measured, side: SideProcess, *, counts: bool) -> None:
        prompt, answer = self._speed_ids
        rates = side.call(Side.prefill, prompt), side.call(Side.decode, answer, len(prompt))
        if counts:
            one.prefill.append(rates[0])
            one.decode.append(rates[1])

    def _ids_for_speed(self) -> tuple[list[int], list[int]]:
        """A prompt and an answer of tokens of the text, over again where it is short."""
        ids = [token for each in self._passes for token in each.ids]
        count = min(PROMPT_TOKENS + ANSWER_TOKENS, self._window)
        ids = (ids * -(-count // len(ids)))[:count]
        return ids[:-ANSWER_TOKENS], ids[-ANSWER_TOKENS:]


def _labels(measured: Sequence[Measured]) -> str:
    return " and ".join(one.label for one in measured)


def _measured(label: str, bundle: Bundle) -> Measured:
    manifest = bundle.manifest
    size = sum(entry.bytes for entry in manifest.files.values()) + bundle.file(MANIFEST).stat().st_size
    return Measured(label, bundle.path, manifest.name, bundle.sha256, size)
