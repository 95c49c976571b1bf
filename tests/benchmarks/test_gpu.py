"""`make bench-gpu` on small shapes: every figure of the report, on the CPU."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import weakref
from pathlib import Path
from typing import Any

import pytest

from lineside.devices.accelerators import Gpu
from lineside.edge.device_choice import Machine, choose
from lineside.runtime.bundle import Bundle
from lineside.runtime.errors import DeviceOutOfMemory, DeviceUnusable
from lineside.runtime.sessions.ort import OrtDecoder
from tests.benchmarks import gpu
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


def test_every_figure_is_measured(folder: Path) -> None:
    path = gpu.bench(folder, "cpu", gpu.reduced())
    text = path.read_text()
    assert path.name == "cpu.md"
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    rows = {row[0]: row[1] for row in cells if len(row) > 1}
    for name in (
        "memory bandwidth, measured", "prefill, 64 tokens", "prefill, 256 tokens", "decode at context 32",
        "decode at context 128", "decode at context 512", "vision, 112 pixels square", "vision, 224 pixels square",
        "peak memory",
    ):  # fmt: skip
        assert float(rows[name].split()[0]) > 0
    assert "One layer against float64: relative error" in text
    assert text.count("%") == 3, "a share of the roofline for every context"


def test_a_layer_that_computes_something_else_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = gpu._bundle(folder, "layer", gpu.reduced(), 1)
    monkeypatch.setattr(gpu, "CHECK_TOLERANCE", 1e-6)
    with pytest.raises(ValueError, match="one layer is off by"):
        choose(bundle, "cpu", lambda sessions: gpu.check_layer(bundle, sessions))


def test_a_step_reads_every_weight_but_the_tables(folder: Path) -> None:
    plan = gpu.reduced()
    bundle, decoder = gpu._bundle(folder, "layer", plan, 1), plan.network.decoder
    hidden, inner, size = decoder.hidden_size, decoder.intermediate_size, decoder.head_dim
    heads, kv = decoder.num_attention_heads * size, decoder.num_key_value_heads * size
    layer = hidden * (2 * heads + 2 * kv + 3 * inner)
    norms = 3 * hidden * 4
    head = hidden * plan.vocab_size
    assert gpu.weight_bytes(bundle, half_scales=False) == layer // 2 + layer // 8 + head + head // 8 + norms
    assert gpu.weight_bytes(bundle, half_scales=True, float_head=True) == layer // 2 + layer // 16 + 2 * head + norms
    assert gpu.weight_bytes(bundle, half_scales=True) == layer // 2 + layer // 16 + head + head // 16 + norms


def test_one_cache_at_a_time(folder: Path) -> None:
    """Two of the longest and the weights do not fit a GPU of 24 GB."""
    bundle = gpu._bundle(folder, "layer", gpu.reduced(), 1)
    caches: list[weakref.ref[Any]] = []

    class Watched(OrtDecoder):
        def allocate(self, capacity: int) -> Any:
            assert all(cache() is None for cache in caches)
            cache = super().allocate(capacity)
            caches.append(weakref.ref(cache))
            return cache

    plan = dataclasses.replace(gpu.reduced(), pixels=())
    list(gpu.measure(bundle, lambda _: (None, Watched(bundle, 1)), plan))
    assert len(caches) == len(plan.prefills) + len(plan.contexts)
    caches.clear()
    list(gpu.measure(bundle, lambda _: (None, Watched(bundle, 1, cache_lengths=(1024,))), plan))
    assert len(caches) == 1, "where all have one length, one is enough"


def test_the_large_shapes_are_not_measured_on_a_cpu_by_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.edge.device_choice.look", lambda: Machine((), "no NVIDIA driver"))
    plan = dataclasses.replace(gpu.reduced(), gpu_only=True)
    assert gpu.FULL.gpu_only
    with pytest.raises(DeviceUnusable, match=r"^tensorrt: no NVIDIA driver; cuda: no NVIDIA driver$"):
        gpu.bench(folder, "auto", plan)


def test_layer_and_whole_run_on_the_same_device(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where measuring fails the next device is checked, too, before it measures."""
    ran: list[tuple[str, object]] = []

    def measure(_bundle: Bundle, sessions: object, _plan: gpu.Plan) -> list[gpu.Row]:
        ran.append(("measured", sessions))
        if len(ran) == 2:
            raise DeviceOutOfMemory("full")
        return []

    def check(_bundle: Bundle, sessions: object) -> float:
        ran.append(("checked", sessions))
        return 0.0

    monkeypatch.setattr(gpu, "measure", measure)
    monkeypatch.setattr(gpu, "check_layer", check)
    monkeypatch.setattr("lineside.edge.device_choice.problem", lambda *_: "")
    found = Machine((Gpu(0, "RTX 4090", (8, 9), 25_000_000_000, (13, 0)),))
    monkeypatch.setattr("lineside.edge.device_choice.look", lambda: found)
    path = gpu.bench(folder, "auto", gpu.reduced())
    assert path.name == "cuda.md"
    assert "not tensorrt: full" in path.read_text()
    assert [what for what, _ in ran] == ["checked", "measured"] * 2
    assert ran[0][1] is ran[1][1]
    assert ran[2][1] is ran[3][1]


@pytest.mark.parametrize(("gigabytes", "lengths"), [(24, (33280,)), (80, (4608, 33280))])
def test_a_small_gpu_gets_one_engine(folder: Path, gigabytes: int, lengths: tuple[int, ...]) -> None:
    bundle = gpu._bundle(folder, "layer", gpu.reduced(), 1)
    weights = 14_500_000_000 - 2 * bundle.manifest.vocab_size * bundle.manifest.hidden_size
    kv = dataclasses.replace(bundle.manifest.kv, num_hidden_layers=40, num_key_value_heads=8, head_dim=128)
    large = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, kv=kv))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "weight_bytes", lambda *_, **_named: weights)
        assert gpu.engine_lengths(large, gpu.FULL, gigabytes * 10**9) == lengths


def made(folder: Path, *variables: str) -> list[str]:
    """What `make bench-gpu` would run in an environment that is not there yet."""
    command = ["make", "-n", "bench-gpu", f"VENV={folder / 'venv'}", *variables]
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "DEVICE", "REDUCED")
    clean = {name: value for name, value in os.environ.items() if name not in outer}
    found = subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True)
    return found.stdout.splitlines()


def test_make_replaces_the_runtime_for_cpus_before_it_measures_a_gpu(tmp_path: Path) -> None:
    """Installed over one another, neither works."""
    lines = made(tmp_path)
    words = ("dev.lock", "uninstall -q -y onnxruntime onnxruntime-gpu", "'.[cuda,tensorrt]'", "tests.benchmarks.gpu")
    order = [next(i for i, line in enumerate(lines) if word in line) for word in words]
    assert order == sorted(order)
    assert not any("uninstall" in line for line in made(tmp_path, "DEVICE=cpu"))
