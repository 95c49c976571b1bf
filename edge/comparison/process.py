"""A model in a process of its own: its memory is its own, and all of it is given back at the end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from lineside.edge.comparison.side import Side
from lineside.edge.config import Device
from lineside.edge.errors import EdgeError
from lineside.runtime.errors import EngineError
from lineside.runtime.inspection.task import InspectionTask

Given = ParamSpec("Given")
Result = TypeVar("Result")
_held: list[Side] = []
"""Of such a process: its one model."""


class SideProcess:
    """Calls methods of a `Side` that lives in the process of `pool`. `label` names it in errors."""

    def __init__(self, pool: ProcessPoolExecutor, label: str) -> None:
        self._pool, self._label = pool, label

    def open(self, path: Path, device: Device, tokens: int, task: InspectionTask) -> None:
        """Raises EdgeError."""
        self._result(_open, path, device, tokens, task)

    def call(
        self, method: Callable[Concatenate[Side, Given], Result], *args: Given.args, **named: Given.kwargs
    ) -> Result:
        """Raises EdgeError."""
        result: Result = self._result(_call, method, args, named)
        return result

    def _result(self, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return self._pool.submit(function, *args).result()
        except BrokenProcessPool as error:
            raise EdgeError(
                f"{self._label}: its process was ended from outside, most likely for lack of memory: end what else "
                "runs here, or compare on a larger machine"
            ) from error
        except EdgeError as error:
            raise EdgeError(f"{self._label}: {error}") from error


@contextmanager
def side_process(label: str) -> Iterator[SideProcess]:
    """A process, which is killed where the block ends by an exception: a pass may take minutes.

    Called in the main thread.
    """
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_end_with_parent) as pool:
        others = set(active_children())
        interrupted = _start(pool)
        (process,) = set(active_children()) - others
        try:
            if interrupted:
                raise KeyboardInterrupt
            yield SideProcess(pool, label)
        except BaseException:
            process.kill()
            raise


def _start(pool: ProcessPoolExecutor) -> bool:
    """Start its process, in which Ctrl-C, which a terminal sends to both, does nothing: that is for the parent.

    Returns whether there was one before the process had all that it needs to begin.
    """
    interrupted = list[int]()
    handler = signal.signal(signal.SIGINT, lambda number, _: interrupted.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the process inherits it
    try:
        pool.submit(os.getpid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
    return bool(interrupted)


def _end_with_parent() -> None:
    """A worker would wait for ever for a parent that was killed, with all its memory."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def _open(path: Path, device: Device, tokens: int, task: InspectionTask) -> None:
    with _told():
        _held.append(Side(path, device, tokens, task))


def _call(method: Callable[..., Any], args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    with _told():
        return method(_held[0], *args, **named)


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong, as an error that can be sent to the other process."""
    try:
        yield
    except (EngineError, MemoryError) as error:
        raise EdgeError(str(error) or "the memory is full: end what else runs here") from None
