"""Download, export, check, clear up: each step is skipped where an earlier pull has done it."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lineside.export.bundle.checks import check_disk
from lineside.export.bundle.filling import Progress
from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.workplace import check_target, partial_of, why
from lineside.export.bundle.writer import export_bundle
from lineside.export.errors import TargetInUse, TargetUnwritable
from lineside.export.pull.hub import Arrived, Hub
from lineside.export.pull.listing import HubFile, Listing, read_listing
from lineside.export.pull.preview import WEIGHTS, bundle_bytes
from lineside.export.pull.wanted import TOKENIZER, Wanted, is_gguf_model
from lineside.runtime.bundle import open_bundle, verify_hashes
from lineside.runtime.engine.memory_plan import plan_memory
from lineside.runtime.free_memory import free_bytes
from lineside.runtime.sessions.selftest import self_test

log = logging.getLogger("lineside.pull")
LISTING, LOCK, PREVIEW = "listing.json", "lock.new", "preview.new"
SELF_TEST_TOKENS = 256


def pull(wanted: Wanted, target: Path, options: ExportOptions, progress: Progress, *, keep: bool = False) -> bool:
    """Make the bundle `target` of a model of a hub; whether its self-test ran, for which the memory may be too small.

    The download lies in `TARGET.download` until the bundle is checked; `keep` leaves it there.

    Raises:
        ExportError: see `export.errors`.
        EngineError: the finished bundle does not pass its check.
    """
    folder = target.with_name(f"{target.name}.download")
    listing = read_listing(folder, folder / LISTING, wanted)
    if listing is None or listing.missing_bytes or not target.exists():
        check_target(target)
    with _held(folder):
        if not target.exists():
            if listing is None or listing.missing_bytes:
                hub = Hub(wanted)
                listing = listing or hub.listing()
                listing.save(folder / LISTING)
                _download(hub, listing, folder, target, options, progress)
            export_bundle(_checkpoint(listing, folder), target, options, progress=progress)
        tested = _check(target)
        if not keep:
            shutil.rmtree(folder)
    return tested


def _download(
    hub: Hub, listing: Listing, folder: Path, target: Path, options: ExportOptions, progress: Progress
) -> None:
    """The small files first: with them, and the beginnings of the large ones, all is asked that can be asked before."""
    total = sum(file.size for file in listing.files)
    checkpoint = _folder(listing, folder)
    large = [file for file in listing.files if file.name.endswith((WEIGHTS, ".gguf"))]
    for files in ([file for file in listing.files if file not in large], large):
        if files == large:
            bundle = bundle_bytes(hub, listing, checkpoint, folder / PREVIEW, options)
            check_disk(target, total + bundle - _allocated(folder) - _allocated(partial_of(target)))
        for file in files:
            if file.name not in listing.checked:
                hub.fetch(file, listing.commit, checkpoint, _counted(file, listing, total, progress))
                listing.checked.append(file.name)
                listing.save(folder / LISTING)


def _counted(file: HubFile, listing: Listing, total: int, progress: Progress) -> Arrived:
    done = total - listing.missing_bytes

    def arrived(count: int) -> None:
        nonlocal done
        done += count
        progress(file.name, min(done, total), total)

    return arrived


def _folder(listing: Listing, folder: Path) -> Path:
    """A folder of the model's own name, which the bundle gives as its source."""
    return folder / listing.wanted.repo.partition("/")[2]


def _checkpoint(listing: Listing, folder: Path) -> Path:
    """The folder or GGUF file to export; the tokenizer lies beside it."""
    checkpoint, tokenizer = _folder(listing, folder), _folder(listing, folder) / TOKENIZER
    for file in listing.files:
        if is_gguf_model(file.name):
            checkpoint /= file.name
            if checkpoint.parent != tokenizer.parent:
                shutil.copyfile(tokenizer, checkpoint.parent / TOKENIZER)
    return checkpoint


def _check(target: Path) -> bool:
    """As `lineside check` does, as far as the memory reaches."""
    bundle = open_bundle(target)
    verify_hashes(bundle)
    free, needed = free_bytes(), plan_memory(bundle.manifest, SELF_TEST_TOKENS).total_bytes
    if free is not None and free < needed:
        log.info("%s takes %.1f GB to run, %.1f are free here", target, needed / 1e9, free / 1e9)
        return False
    self_test(bundle)
    return True


def _allocated(folder: Path) -> int:
    """Bytes of the disk that its files take, such as a download that was broken off."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """One pull at a time works in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TargetInUse(f"another pull into {folder} is running: wait for it, or name another bundle") from error
        try:
            yield
        finally:
            if not (folder / LISTING).exists():  # nothing was begun
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise TargetUnwritable(why(error, folder)) from error
    finally:
        os.close(lock)
