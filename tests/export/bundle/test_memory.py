"""The memory is asked for before the work: what the machine has free, and what the process's group may take."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lineside.export.bundle.memory import check_memory, needed_bytes
from lineside.export.bundle.plan import PRECISIONS, Planned, plan
from lineside.export.bundle.writer import export_bundle
from lineside.export.check.synthetic import MISTRAL_SMALL, RandomSource
from lineside.export.errors import MemoryTooSmall
from tests.support.checkpoints import copy_checkpoint


@pytest.fixture(scope="module")
def planned() -> Planned:
    """The 24B. Nothing is read for a plan."""
    return plan(RandomSource(MISTRAL_SMALL), MISTRAL_SMALL, PRECISIONS["int4"])


def machine(folder: Path, *, available_kb: int, **limits: str) -> Path:
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/meminfo").write_text(f"MemTotal: 99999999 kB\nMemAvailable: {available_kb} kB\n")
    (folder / "proc/self/cgroup").write_text("5:memory:/old\n0::/one/two\n")
    places = {"own": "one/two/memory.max", "above": "one/memory.max", "old": "memory/old/memory.limit_in_bytes"}
    for name, limit in limits.items():
        path = folder / "sys/fs/cgroup" / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{limit}\n")
    return folder


def test_a_24b_takes_less_than_6_gib(planned: Planned) -> None:
    assert 4e9 < needed_bytes(planned) < 6 * 2**30
    check_memory(planned, machine_without_figures := Path("/nonexistent"))
    assert not machine_without_figures.exists()


def test_a_small_model_asks_for_little() -> None:
    small = dataclasses.replace(MISTRAL_SMALL.decoder, num_hidden_layers=1, vocab_size=640, context_length=1024)
    network = dataclasses.replace(MISTRAL_SMALL, decoder=small, vision=None)
    assert needed_bytes(plan(RandomSource(network), network, PRECISIONS["int4"])) < 2e9


@pytest.mark.parametrize("limits", [{"own": "2000000000"}, {"above": "2000000000"}, {"old": "2000000000"}])
def test_a_containers_limit_counts(planned: Planned, tmp_path: Path, limits: dict[str, str]) -> None:
    check_memory(planned, machine(tmp_path / "free", available_kb=8_000_000, own="max"))
    with pytest.raises(MemoryTooSmall, match=r"2\.00 GB of memory are free, the export takes up to 4\.\d\d GB"):
        check_memory(planned, machine(tmp_path / "held", available_kb=8_000_000, **limits))


def test_it_is_asked_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lineside.export.bundle.memory.PROCESS_BYTES", 10**18)
    with pytest.raises(MemoryTooSmall):
        export_bundle(copy_checkpoint("tied", tmp_path), tmp_path / "bundle")
    assert not list(tmp_path.glob("bundle*"))
