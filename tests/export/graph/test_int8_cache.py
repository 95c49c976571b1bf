"""The two ways of attention over an INT8 cache give the same, and each pass takes the one that is meant for it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.writer import export_bundle
from lineside.export.graph.int8_cache import FEW_TOKENS
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.sessions.ort import OrtDecoder
from tests.support.checkpoints import copy_checkpoint

TOKENS = 3 * FEW_TOKENS
Caches = dict[str, npt.NDArray[np.generic]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("int8")
    options = ExportOptions(kv_dtype="int8")
    return open_bundle(export_bundle(copy_checkpoint("grouped", folder), folder / "bundle", options))


def in_chunks(bundle: Bundle, chunk: int) -> tuple[npt.NDArray[np.float32], Caches]:
    """Logits behind the last token, and what the caches hold then."""
    decoder = OrtDecoder(bundle, 1)
    cache = decoder.allocate(TOKENS + 5)
    ids = np.random.default_rng(3).integers(300, 400, TOKENS)
    for start in range(0, TOKENS, chunk):
        logits = decoder.prefill(cache, ids[start : start + chunk], start)[0].copy()
    return logits, {name: buffer.array.copy() for name, buffer in cache.buffers.items()}


@pytest.mark.parametrize("chunk", [TOKENS, FEW_TOKENS + 8])
def test_a_pass_of_many_tokens_leaves_what_passes_of_few_leave(bundle: Bundle, chunk: int) -> None:
    """The first layer's keys and values do not depend on attention: they are the same but for ties in rounding."""
    logits, caches = in_chunks(bundle, chunk)
    expected, others = in_chunks(bundle, FEW_TOKENS // 2)
    assert caches.keys() == others.keys()
    for name, found in caches.items():
        off = np.abs(found.astype(int) - others[name].astype(int))
        assert np.abs(found[0, :, :TOKENS]).any(axis=(0, 2)).all()  # something of each token
        assert not found[0, :, TOKENS:].any()
        assert off.max() <= (1 if name.startswith("0.") else 8)
    assert np.corrcoef(logits, expected)[0, 1] > 0.99


def test_many_tokens_are_attended_to_in_float32(bundle: Bundle) -> None:
    """The operator for an INT8 cache reads it back once a query."""
    graph = onnx.load(str(bundle.file("decoder.onnx")), load_external_data=False).graph
    choices = [node for node in graph.node if node.op_type == "If"]
    assert len(choices) == bundle.manifest.kv.num_hidden_layers
    for node in choices:
        branches = {attribute.name: attribute.g.node for attribute in node.attribute}
        many, few = (
            {a.name for each in branches[name] if each.op_type == "GroupQueryAttention" for a in each.attribute}
            for name in ("then_branch", "else_branch")
        )
        assert "k_quant_type" in few
        assert many
        assert "k_quant_type" not in many
