"""What is said before anything is built, against what is built then, and against figures that are known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from lineside.edge.command_line.main import main
from lineside.export.bundle.checks import SPARE_BYTES
from lineside.export.bundle.plan import Precisions
from lineside.export.bundle.writer import export_bundle
from lineside.export.network.family import FAMILY, TOWER_A, TOWER_B, member
from lineside.export.planning.described import Described, describe, with_cache
from lineside.export.planning.memory import Wanted, changes, parts
from lineside.export.planning.rates import Rates, measured, of_board, weights_per_s
from lineside.export.planning.report import export_lines, speed_lines
from lineside.export.planning.work import (
    in_session,
    layer_weights,
    picture,
    prefill_operations,
    sizes,
    tower,
    vision_operations,
)
from lineside.runtime.boards import BOARDS
from lineside.runtime.bundle import read_manifest
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.memory_plan import gpu_bytes, plan_memory
from tests.conftest import ROOT
from tests.support.checkpoints import copy_checkpoint
from tests.support.gguf_family import write_gguf_member
from tests.support.gguf_files import write_gguf

GB = 1e9
ROW = re.compile(
    r"^\| (?P<name>[A-Z][^|]+?) \| (?P<layers>\d+) \| (?P<hidden>\d+) \| (?P<inner>\d+) \| 32 / 8 \| 128 \|"
)


@pytest.fixture(scope="module")
def small() -> Described:
    """Mistral Small 3.2, of which there is no file here."""
    described = describe(Path("mistral-small-3.2"))
    return replace(described, manifest=with_cache(described.manifest, "float16"))


@pytest.fixture(scope="module")
def eight_bit_head() -> Described:
    described = describe(Path("mistral-small-3.2"), Precisions(embedding="int8", head="int8"))
    return replace(described, manifest=with_cache(described.manifest, "float16"))


@pytest.mark.parametrize(
    ("board", "limit"), [("orin-64", 15.5), ("thor", 20.7), ("rtx4090", 76), ("rtx5090", 136), ("h200", 364)]
)
def test_the_limits_of_one_stream(eight_bit_head: Described, board: str, limit: float) -> None:
    """At 4.5 bits a weight and a head of 8.5, 13.2 GB a token."""
    read = sizes(eight_bit_head.manifest, gpu_bytes).read
    assert read == pytest.approx(13.2e9, rel=0.005)
    assert BOARDS[board].bandwidth_bytes_s / read == pytest.approx(limit, rel=0.005)
    line = next(line for line in _speed(eight_bit_head, board) if "behind 0 tokens" in line)
    assert float(re.findall(r"at most ([\d.]+) tokens/s", line)[0]) == pytest.approx(limit, rel=0.005)


def _speed(described: Described, board: str) -> list[str]:
    found = BOARDS[board]
    return list(speed_lines(described.manifest, Wanted(4096, 1540, found), of_board(found)))


def test_the_figures_of_the_24b(small: Described, eight_bit_head: Described) -> None:
    """As they were measured with random weights."""
    export, manifest = small.export, small.manifest
    assert export is not None
    assert export.weight_bytes == pytest.approx(13.80e9, rel=0.001)
    assert eight_bit_head.export is not None
    assert eight_bit_head.export.weight_bytes == pytest.approx(14.47e9, rel=0.001)
    assert export.checkpoint_bytes == pytest.approx(2 * 24.01e9, rel=0.001)
    assert layer_weights(manifest) + 2 * 131072 * 5120 == export.weights["int4"]
    assert tower(manifest)[0] == 24
    decode, bandwidth = 0.45, 22.7e9  # measured: 29 % of what the memory's bandwidth allows
    assert decode / (bandwidth / sizes(eight_bit_head.manifest, in_session).read) == pytest.approx(0.29, abs=0.005)
    assert (
        parts(manifest, Wanted(8192, 1540, BOARDS["orin-64"]))["KV cache, 8192 tokens of 163840 bytes"] == 8192 * 163840
    )
    text = "\n".join(export_lines(export, dict.fromkeys(export.weights, 10e6)))
    assert re.search(r"RAM at its peak, self-test included +[45]\.\d\d GB", text)
    assert "23.57 B int4 / 10 M a second" in text


@pytest.mark.parametrize(("side", "tokens"), [(448, 272), (1540, 3080), (4000, 3080)])
def test_the_tokens_of_a_picture(small: Described, side: int, tokens: int) -> None:
    """1540 px: 55 rows of 55, one more behind each. What is larger is shrunk."""
    assert small.manifest.image is not None
    assert picture(small.manifest.image, side).tokens == tokens


def test_the_operations_of_a_picture(small: Described) -> None:
    manifest = small.manifest
    assert manifest.image is not None
    shown = picture(manifest.image, 1540)
    matrices = 2 * 24 * (4 * 1024**2 + 3 * 1024 * 4096) * 12100
    attention = 4 * 12100**2 * 1024 * 24
    projector = 2 * 3080 * (5120 * 1024 + 5120**2 + 4 * 1024**2)
    assert vision_operations(manifest, shown) == matrices + attention + projector
    assert prefill_operations(manifest, 3080) == 2 * 22_229_811_200 * 3080 + 2 * 3080**2 * 4096 * 40
    row = next(line for line in _speed(small, "orin-64") if line.split()[0] == "1540").split()
    assert row[1:4] == ["12100", "3080", f"{(matrices + attention + projector) / 42.5e12:.2f}"]


def of_two_formats(_name: str, folder: Path) -> Path:
    """A GGUF file whose table and head are rounded in two ways."""
    return write_gguf(folder, {"token_embd": "Q4_0", "output": "Q6_K"}).path


@pytest.mark.parametrize(
    ("case", "write"),
    [("grouped", copy_checkpoint), ("tied", copy_checkpoint), ("mistral3", write_gguf_member), ("two", of_two_formats)],
)
def test_a_checkpoint_is_planned_as_its_bundle_turns_out(
    case: str, write: Callable[[str, Path], Path], tmp_path: Path
) -> None:
    checkpoint = write(case, tmp_path / "checkpoint")
    described = describe(checkpoint)
    assert described.export is not None
    bundle = export_bundle(checkpoint, tmp_path / "bundle")
    made = read_manifest(bundle)
    assert sum(made.files[name].bytes for name in made.files if name.endswith(".data")) == described.export.weight_bytes
    assert plan_memory(described.manifest, 64) == plan_memory(made, 64)
    on_disk = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    assert on_disk - described.export.weight_bytes < SPARE_BYTES
    assert describe(bundle).export is None
    assert sizes(describe(bundle).manifest, gpu_bytes) == sizes(described.manifest, gpu_bytes)


def test_the_family_is_that_of_its_page() -> None:
    rows = [found for line in (ROOT / "docs/family.md").read_text().splitlines() if (found := ROW.match(line))]
    assert len(rows) == 6
    for row in rows:
        name = re.sub(r" 24B.*", "", row["name"])
        network = member(name)
        assert network is not None, name
        decoder = network.decoder
        figures = (decoder.num_hidden_layers, decoder.hidden_size, decoder.intermediate_size)
        assert figures == tuple(int(row[key]) for key in ("layers", "hidden", "inner")), name
        cells = [cell.strip() for cell in row.string.split("|")]
        assert {None: "none", TOWER_A: "A", TOWER_B: "B"}[network.vision] == cells[9]
        assert float(cells[7].split(",")[0]) == decoder.rope.theta
        assert min(int(cells[8].replace(",", "")), 262144) == decoder.context_length
    assert FAMILY["ministral-3-3b"].decoder.tied_embeddings


def test_what_does_not_fit_says_what_to_change(small: Described) -> None:
    wanted = Wanted(32768, 1540, BOARDS["rtx4090"])
    total, free = sum(parts(small.manifest, wanted).values()), wanted.free_bytes
    assert free == 24 * 2**30 - 500_000_000 > total
    tight = replace(wanted, memory_bytes=int(total + 500_000_000 - 1.5 * GB))
    said = list(changes(small.manifest, tight))
    assert "`--kv-cache int8`: 32768 tokens x (163840 - 81920 bytes) = 2.68 GB less, which fits" in said[0]
    fewer = int(re.findall(r"--tokens (\d+)", said[1])[0])
    assert sum(parts(small.manifest, replace(tight, tokens=fewer)).values()) <= tight.free_bytes
    assert sum(parts(small.manifest, replace(tight, tokens=fewer + 1)).values()) > tight.free_bytes
    assert "`max_side = 448` of the camera: 0.83 GB less for vision, 0.67 are missing still" in said[2]
    assert said[3].startswith("a smaller model: ministral-3-14b")
    little = list(islice(changes(small.manifest, Wanted(4096, 1540, BOARDS["orin-nx-16"])), 2))
    assert "without a single one" in little[1]


def test_this_machine_is_measured() -> None:
    rates, speeds = measured(), weights_per_s(1024)
    assert all(0 < rate < 1e15 for rate in (rates.bandwidth, rates.matrices, rates.floats))
    assert not rates.estimated
    assert set(speeds) == {"int4", "int8", "transposed", "plain", "carried-over"}
    assert speeds["int4"] < speeds["int8"]  # which searches no scale


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = dict.fromkeys(("int4", "int8", "transposed", "plain", "carried-over"), 10e6)
    monkeypatch.setattr("lineside.export.planning.rates.weights_per_s", lambda *_: speeds)
    assert main(["plan", "Mistral-Small-3.2", "--device", "orin-64", "--tokens", "8192"]) == 0
    said = capsys.readouterr().out
    assert "no file was read" in said
    assert "at most 15.9 tokens/s" in said
    assert re.search(r"^fits: 4\d\.\d\d GB are left, 4\d\.\d\d GB as TensorRT engines$", said, re.MULTILINE)
    assert "nothing was run there" in said
    assert "docs/jetson.md" in said
    assert main(["plan", "mistral-small-3.2", "--device", "orin-nx-16"]) == 1
    assert "a smaller model: ministral-3-8b" in capsys.readouterr().out
    assert main(["plan", "ministral-3-9b"]) == 1
    assert "known are mistral-small-3.2" in capsys.readouterr().err
    checkpoint = copy_checkpoint("grouped", tmp_path)
    assert main(["plan", str(checkpoint), "--device", "thor", "--kv-cache", "int8"]) == 0
    assert "the export, on this machine" in capsys.readouterr().out
    assert main(["plan", "default", "--device", "h200", "--max-side", "448"]) == 0
    said = capsys.readouterr().out
    assert "the export" not in said
    assert "vision, a picture of 448 px" in said
    assert main(["plan", str(checkpoint), "--quantizer", "nearest", "--target", "cpu", "--sensitive", "int8"]) == 0
    assert main(["plan", str(checkpoint), "--target", "cpu", "--device", "thor"]) == 1
    assert "--target cpu is for a CPU alone: say --device cpu" in capsys.readouterr().err
    assert main(["plan", "default", "--quantizer", "awq"]) == 2
    assert "--quantizer: only for what is not exported yet" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["plan", str(tmp_path / "empty")]) == 1
    assert "is it a checkpoint folder?" in capsys.readouterr().err
    assert main(["plan", "default", "--device", "cpu", "--tokens", "9999"]) == 1
    assert "the context has 1 to 4096 tokens" in capsys.readouterr().err
    assert main(["plan", str(ROOT / "deploy/stations/ballscrew"), "--device", "cpu"]) == 2
    assert "--device, --max-side and --kv-cache are for" in capsys.readouterr().err


def test_a_text_model_has_no_pictures() -> None:
    described = describe(Path("mistral-small-3.0"))
    rates = Rates(1e9, 1e12, 1e12, 256, "made up", estimated=True)
    assert not [line for line in speed_lines(described.manifest, Wanted(64, 1540, None), rates) if "max_side" in line]


def test_the_default_bundle_at_a_smaller_picture() -> None:
    manifest = read_manifest(DEFAULT_BUNDLE)
    whole = parts(manifest, Wanted(4096, 1540, None))
    assert sum(whole.values()) == plan_memory(manifest, 4096).total_bytes
    assert sum(parts(manifest, Wanted(4096, 224, None)).values()) < sum(whole.values())
