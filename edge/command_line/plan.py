"""`lineside plan`: the memory of a bundle, or of the models of a station together; for a device, or of what is not
exported yet, everything that an export and its bundle will take.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lineside.edge.command_line.bundle import bundle_path, export_stage, find_station_file, formats
from lineside.edge.command_line.fail import fail
from lineside.runtime.boards import CPU

if TYPE_CHECKING:
    from lineside.edge.config import Config
    from lineside.runtime.manifest import Manifest

MB = 1e6
GGUF = ".gguf"


def plan(options: argparse.Namespace) -> int:
    from lineside.runtime.engine.memory_plan import machine_bytes
    from lineside.runtime.manifest import MANIFEST

    path = bundle_path(options.bundle)
    device = int(options.memory_gb * 1e9) or machine_bytes()
    for_device = bool(options.device or options.max_side or options.kv_cache)
    if path.suffix != GGUF and (station_file := find_station_file(path)) is not None:
        if options.tokens:
            return fail("--tokens is for a bundle: a station's are `model.capacity` and `model.kv_cache_mb`", 2)
        if for_device or formats(options):
            return fail("--device, --max-side and --kv-cache are for a bundle, a checkpoint or a known model", 2)
        return _plan_station(station_file, device)
    exported = (path / MANIFEST).exists()
    if exported and (said := formats(options)):
        return fail(f"{' and '.join(f'--{name}' for name in said)}: only for what is not exported yet", 2)
    if (exported and not for_device) or (not path.exists() and path.name != str(path)):
        return _plan_bundle(path, options.tokens, device)
    return _plan_for_device(path, options)


def _plan_for_device(model: Path, options: argparse.Namespace) -> int:
    """A checkpoint, a known model, or a bundle."""
    return export_stage("plan")(
        model,
        options.device or CPU,
        tokens=options.tokens,
        side=options.max_side,
        kv_dtype=options.kv_cache,
        choices=formats(options),
        memory_bytes=int(options.memory_gb * 1e9),
    )


def _plan_bundle(path: Path, tokens: int, device: int) -> int:
    from lineside.runtime.bundle import read_manifest
    from lineside.runtime.engine.memory_plan import plan_memory

    manifest = read_manifest(path)
    tokens = tokens or manifest.context_length
    if not 0 < tokens <= manifest.context_length:
        return fail(f"--tokens {tokens}: the context has 1 to {manifest.context_length} tokens", 2)
    planned = plan_memory(manifest, tokens)
    fits = planned.largest_context(device)
    advice = f"at most {fits} tokens fit" if fits else "the weights alone do not fit"
    return _say(planned.parts, device, advice)


def _plan_station(path: Path, device: int) -> int:
    """Both models, where commands have their own."""
    from lineside.edge.config import MIB
    from lineside.edge.models import one_model
    from lineside.edge.station_file import load_config
    from lineside.runtime.bundle import read_manifest
    from lineside.runtime.engine.memory_plan import plan_together

    config = load_config(path)
    manifests = {"frames": read_manifest(config.bundle_path)}
    if not one_model(config):
        manifests["commands"] = read_manifest(config.commands_bundle_path)
    for whose, manifest in manifests.items():
        print(f"{whose}: {manifest.name}")
    for line in _examples(config, manifests["frames"]):
        print(line)
    parts = plan_together(manifests, config.model.capacity, config.model.kv_cache_mb * MIB)
    return _say(parts, device, "lower `model.capacity` or `model.kv_cache_mb`, or take a smaller bundle")


def _examples(config: Config, manifest: Manifest) -> Iterator[str]:
    """Of each camera that has examples. Raises ConfigError where they leave no room for a frame."""
    if not any((config.inspect.examples, *(camera.examples for camera in config.cameras.values()))):
        return
    from lineside.edge.inspection.example_folder import check_examples, examples_key
    from lineside.edge.inspection.tasks import inspection_task
    from lineside.runtime.text.tokenizer import Tokenizer

    tokenizer = Tokenizer(config.bundle_path / "tekken.json")
    capacity = min(config.model.capacity, manifest.context_length)
    for camera in config.cameras:
        task = inspection_task(config, camera)
        if tokens := check_examples(examples_key(config, camera), task, tokenizer, manifest, capacity):
            size = tokens * manifest.kv.bytes_per_token / MB
            yield (
                f"{camera}: {len(task.examples)} examples take {tokens} of {capacity} tokens, before each frame; they "
                f"stay in the KV caches ({size:.1f} MB)"
            )


def _say(parts: Mapping[str, int], device: int, advice: str) -> int:
    total = sum(parts.values())
    for part, size in {**parts, "total": total, "device": device}.items():
        print(f"{part:<44}{size / MB:>12.1f} MB")
    if total <= device:
        print(f"fits: {(device - total) / MB:.1f} MB are left")
        return 0
    return fail(f"does not fit: {(total - device) / MB:.1f} MB are missing; {advice}", 1)
