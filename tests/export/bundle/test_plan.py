"""Weight files are laid out once; all graphs of a bundle find their weights in that one layout."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS, plan
from lineside.export.bundle.writer import export_bundle
from lineside.export.check.synthetic import MISTRAL_SMALL, RandomSource
from lineside.export.checkpoint.opening import open_checkpoint
from lineside.export.checkpoint.source import Source
from lineside.export.graph.kv import KVFormat
from lineside.export.graph.weights import WeightPlan
from tests.support.checkpoints import CASES, copy_checkpoint


def places(path: Path) -> dict[str, tuple[str, str, str]]:
    """File, offset and length of every weight of a graph."""
    graph = onnx.load(str(path), load_external_data=False).graph
    return {
        tensor.name: tuple(entry.value for entry in tensor.external_data)
        for tensor in graph.initializer
        if tensor.external_data
    }


@pytest.mark.parametrize("case", CASES)
def test_every_graph_reads_the_same_places(case: str, tmp_path: Path) -> None:
    planned = plan(*open_checkpoint(copy_checkpoint(case, tmp_path)), PRECISIONS["int4"])
    network, size_bytes = planned.network.decoder, planned.size_bytes
    channels = network.num_key_value_heads * network.head_dim
    names = [f"{layer}.{part}" for layer in range(network.num_hidden_layers) for part in ("key", "value")]
    int8 = KVFormat("int8", {name: np.ones(channels, np.float32) for name in names})
    graphs = [planned.decoder(), planned.decoder(exact=True), planned.decoder(int8), planned.decoder(int8, "float16")]
    found = []
    for number, graph in enumerate(graphs):
        graph.save(tmp_path / f"{number}.onnx")
        found.append(places(tmp_path / f"{number}.onnx"))
    assert len(found[0]) > 10
    assert all(each == found[0] for each in found)
    assert planned.size_bytes == size_bytes


def test_a_graph_that_asks_for_more_than_was_laid_out_is_refused() -> None:
    decoder = dataclasses.replace(MISTRAL_SMALL.decoder, num_hidden_layers=1)
    network = dataclasses.replace(MISTRAL_SMALL, decoder=decoder, vision=None)
    planned = plan(RandomSource(network), network, PRECISIONS["int4"])
    larger = dataclasses.replace(network, decoder=dataclasses.replace(decoder, num_hidden_layers=2))
    with pytest.raises(ValueError, match=r"decoder\.layers\.1\.\S+ has no place in decoder\.data"):
        dataclasses.replace(planned, network=larger).decoder()


def test_an_export_is_planned_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The costly part of a plan is to ask the checkpoint about every tensor; a 24B has hundreds."""
    checked: list[str] = []
    check = WeightPlan.check

    def record(self: WeightPlan, checkpoint: Source) -> None:
        checked.append(self.file_name)
        check(self, checkpoint)

    monkeypatch.setattr(WeightPlan, "check", record)
    export_bundle(copy_checkpoint("grouped", tmp_path), tmp_path / "bundle", ExportOptions(kv_dtype="int8"))
    assert checked == ["vision.data", "decoder.data"]
