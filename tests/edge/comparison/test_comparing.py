"""Two bundles held against each other, in this process: what is the same, what is worse, what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate

import numpy as np
import pytest

from lineside.edge.command_line.compare import print_tables
from lineside.edge.command_line.main import main
from lineside.edge.comparison import comparing
from lineside.edge.comparison.comparing import ROUNDS, Wanted, compare, find_pictures
from lineside.edge.comparison.figures import Comparison
from lineside.edge.comparison.process import Given, Result, SideProcess
from lineside.edge.comparison.readings import passes, read_text, stored_logits
from lineside.edge.comparison.report import as_json, lines, sentence
from lineside.edge.comparison.side import Side
from lineside.edge.config import Device
from lineside.edge.errors import EdgeError
from lineside.export.bundle.writer import export_bundle
from lineside.runtime.bundle import file_sha256
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.inspection.task import InspectionTask
from lineside.runtime.text.tokenizer import Tokenizer
from tests.support.bundles import copy_bundle, edit_manifest
from tests.support.gguf_files import write_gguf
from tests.support.small import small_picture

TEXT = "The belt runs at forty percent. " * 12


class InThisProcess(SideProcess):
    def __init__(self) -> None:
        self._sides: list[Side] = []

    def open(self, path: Path, device: Device, tokens: int, task: InspectionTask) -> None:
        self._sides.append(Side(path, device, tokens, task))

    def call(
        self, method: Callable[Concatenate[Side, Given], Result], *args: Given.args, **named: Given.kwargs
    ) -> Result:
        return method(self._sides[0], *args, **named)


class InTurn:
    """Opens sides in this process, and knows how many were open at a time."""

    def __init__(self) -> None:
        self.open = self.most = 0

    @contextmanager
    def __call__(self, _: str) -> Iterator[SideProcess]:
        self.open += 1
        self.most = max(self.most, self.open)
        yield InThisProcess()
        self.open -= 1


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> Wanted:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(2):
        (folder / f"{number}.jpg").write_bytes(small_picture(number))
    return Wanted(TEXT, find_pictures(folder), InspectionTask(("pitting",)), "cpu")


@pytest.fixture(scope="module")
def own(random_bundle: Path, wanted: Wanted) -> Comparison:
    """A bundle with itself."""
    return compare(random_bundle, random_bundle, wanted, InTurn())


def rounded(bundle: Path, target: Path, kept_bits: int) -> Path:
    """A copy of a float bundle whose weights keep so many of their 23 bits."""
    copy = copy_bundle(bundle, target)
    data = copy / "decoder.data"
    bits = np.frombuffer(data.read_bytes(), np.uint32)
    data.write_bytes((bits & np.uint32(0xFFFFFFFF << (23 - kept_bits) & 0xFFFFFFFF)).tobytes())

    def change(manifest: dict[str, Any]) -> None:
        manifest["files"]["decoder.data"]["sha256"] = file_sha256(data)

    edit_manifest(copy, change)
    return copy


def test_a_bundle_agrees_with_itself(own: Comparison) -> None:
    assert (own.tokens.kl, own.tokens.kl_worst, own.tokens.top1) == (0.0, 0.0, 1.0)
    assert own.tokens.perplexity_a == own.tokens.perplexity_b > 1
    assert own.pictures is not None
    assert (own.pictures.same, own.pictures.pictures, own.pictures.differing) == (2, 2, ())
    assert own.pictures.boxes_a == own.pictures.boxes_b == own.pictures.boxes.found
    assert own.pictures.f1 in (None, 1.0)
    assert [looked.defects for looked in own.a.looked] == [looked.defects for looked in own.b.looked]


def test_each_costs_something(own: Comparison, random_bundle: Path) -> None:
    for one in (own.a, own.b):
        assert one.disk_bytes == sum(path.stat().st_size for path in random_bundle.iterdir() if path.is_file())
        assert len(one.prefill) == len(one.decode) == ROUNDS
        assert min(*one.prefill, *one.decode, *(looked.seconds for looked in one.looked)) > 0
        assert one.memory.resident_bytes is not None
        assert one.memory.peak_bytes is not None
        assert one.memory.peak_bytes >= one.memory.resident_bytes > 50e6
        assert one.device == "cpu"


def test_the_report(own: Comparison) -> None:
    tokens = own.tokens.tokens
    assert sentence(own) == (
        f"B agrees with A on 100.0% of {tokens} tokens; KL 0.0000 nat a token; the same verdict on 2 of 2 pictures."
    )
    assert "A and B turn about" in lines(own)[-1]
    told = json.loads(json.dumps(as_json(own), allow_nan=False))
    assert told["text"]["kl"] == 0
    assert told["pictures"]["same_verdict"] == 2
    assert told["a"]["prefill_tokens_per_s"] > 0
    assert told["b"]["picture_s"] > 0


def test_tables_for_people(own: Comparison, capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(own)
    printed = capsys.readouterr().out
    for words in ("KL(A || B)", "same top token", "same verdict", "prefill, tokens/s", "on disk, MB", "runs on"):
        assert words in printed
    assert printed.splitlines()[-1] == sentence(own)


@pytest.mark.parametrize(("bound", "code"), [("0.03", 0), ("0.01", 1)])
def test_the_bound(
    own: Comparison, bound: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = replace(own, tokens=replace(own.tokens, kl=0.02))
    monkeypatch.setattr(comparing, "compare", lambda *_: worse)
    assert main(["compare", "default", "default", "--json", "--max-kl", bound]) == code
    printed = capsys.readouterr()
    assert json.loads(printed.out)["text"]["kl"] == 0.02
    assert ("KL 0.0200 nat a token is above --max-kl 0.01" in printed.err) == (code == 1)


def test_what_was_rounded_worse_is_worse(float_bundle: Path, wanted: Wanted, tmp_path: Path) -> None:
    found = []
    for bits in (6, 2, 1):
        other = rounded(float_bundle, tmp_path / str(bits), bits)
        found.append(compare(float_bundle, other, Wanted(wanted.text, (), wanted.task, "cpu"), InTurn()))
    kl = [each.tokens.kl for each in found]
    assert 0 < kl[0] < kl[1] < kl[2]
    assert found[0].tokens.top1 > found[2].tokens.top1
    assert all(each.tokens.perplexity_a == found[0].tokens.perplexity_a for each in found), "of the same A"
    assert found[0].tokens.perplexity_b != found[0].tokens.perplexity_a


def test_one_after_the_other_where_both_do_not_fit(
    own: Comparison, random_bundle: Path, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "free_bytes", lambda: 1000)
    processes = InTurn()
    found = compare(random_bundle, random_bundle, wanted, processes)
    assert (processes.most, found.in_turn) == (1, False)
    assert found.tokens == own.tokens
    assert "one after the other" in found.notes[0]
    assert "A first, then B" in lines(found)[0]


def test_both_at_a_time_where_they_fit(random_bundle: Path, wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "free_bytes", lambda: 10**12)
    processes = InTurn()
    assert compare(random_bundle, random_bundle, wanted, processes).in_turn
    assert processes.most == 2


def test_another_vocabulary_is_refused(random_bundle: Path, wanted: Wanted, tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match=r"not the same vocabulary \(640 and 10240 tokens\).*--precision float32"):
        compare(random_bundle, DEFAULT_BUNDLE, wanted, InTurn())
    other = copy_bundle(random_bundle, tmp_path / "other")
    tekken = json.loads((other / "tekken.json").read_text())
    vocab = tekken["vocab"]
    for key in ("token_bytes", "token_str"):
        vocab[400][key], vocab[401][key] = vocab[401][key], vocab[400][key]
    (other / "tekken.json").write_text(json.dumps(tekken))

    def change(manifest: dict[str, Any]) -> None:
        path = other / "tekken.json"
        manifest["files"]["tekken.json"] = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}

    edit_manifest(other, change)
    with pytest.raises(EdgeError, match="not the same vocabulary"):
        compare(random_bundle, other, wanted, InTurn())


def test_a_model_without_a_vision_tower(wanted: Wanted, tmp_path: Path) -> None:
    bundle = export_bundle(write_gguf(tmp_path, {}).path, tmp_path / "bundle")
    found = compare(bundle, bundle, wanted, InTurn())
    assert found.pictures is None
    assert "no pictures: A has no vision tower" in found.notes
    assert "verdict" not in sentence(found)
    told = as_json(found)
    assert told["pictures"] is told["a"]["picture_s"] is None


def test_a_text_is_read_in_windows(random_bundle: Path) -> None:
    tokenizer = Tokenizer(random_bundle / "tekken.json")
    tokens = tokenizer.encode_text(TEXT).tolist()
    found = passes(TEXT, tokenizer, 50)
    assert [token for each in found for token in each.following.tolist()] == tokens, "each is predicted once"
    begins = [each.ids for each in found if each.past == 0]
    assert len(begins) == -(-len(tokens) // 50)
    assert all(ids[0] == tokenizer.bos_id for ids in begins)
    assert all(each.ids[1:] == tuple(each.following[:-1].tolist()) for each in found)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "latin.txt").write_bytes("Größe".encode("latin-1"))
    for name, said in (("empty.txt", "is empty"), ("latin.txt", "UTF-8"), ("none.txt", "cannot be read")):
        with pytest.raises(EdgeError, match=rf"--text: .*{name}.*{said}"):
            read_text(tmp_path / name)
    with pytest.raises(EdgeError, match=r"--pictures: .* has no pictures"):
        find_pictures(tmp_path)
    with pytest.raises(EdgeError, match=r"--pictures: .* cannot be read"):
        find_pictures(tmp_path / "none")


def test_no_room_for_what_a_made_of_the_text() -> None:
    with pytest.raises(EdgeError, match="TMPDIR"), stored_logits(10**9, 10**9):
        pass
