"""`lineside pull` against a hub on this machine: what it fetches, what it leaves, and what it says when it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from lineside.export.pull import pulling
from lineside.export.pull.command import pull_command
from lineside.export.pull.hub import Arrived, Hub
from lineside.export.pull.listing import HubFile
from lineside.runtime.bundle import open_bundle
from tests.support.checkpoints import copy_checkpoint
from tests.support.gguf_files import write_gguf
from tests.support.hub import COMMIT, FakeHub, serve_hub
from tests.support.tokenizers import write_small_tokenizer

SHARD = "model-00003-of-00005.safetensors"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    model = copy_checkpoint("grouped", tmp_path)
    for name in ("consolidated.safetensors", "README.md", "tokenizer.json"):
        (model / name).write_text("not needed")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serve_hub({"factory/Model-1": model}) as served:
        yield served


def left() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def model(hub: FakeHub) -> str:
    return f"{hub.url}/factory/Model-1"


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.startswith("lineside: ")
    assert said.count("\n") == 1
    return said


def test_a_name_becomes_a_bundle_and_nothing_else_stays(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command(model(hub), None, {}) == 0
    assert left() == ["Model-1"]
    assert open_bundle(Path("Model-1")).manifest.source == "Model-1"
    assert capsys.readouterr().out.endswith('[model]\nbundle = "Model-1"\n')
    shards = {f"model-0000{n}-of-00005.safetensors" for n in range(1, 6)}
    assert hub.downloaded() == {"config.json", "tekken.json", "model.safetensors.index.json", *shards}
    assert not hub.tokens  # an address of another hub is not the one that the token is for


def test_the_download_can_be_kept(hub: FakeHub) -> None:
    assert pull_command(model(hub), Path("mine"), {}, keep=True) == 0
    assert left() == ["mine", "mine.download"]
    assert (Path("mine.download") / "Model-1" / "config.json").is_file()
    count = len(hub.requests)
    assert pull_command(model(hub), Path("mine"), {}) == 0  # it is there: checked, and cleared up
    assert left() == ["mine"]
    assert len(hub.requests) == count


def test_a_gguf_file_is_named_by_its_address(hub: FakeHub, tmp_path: Path) -> None:
    folder = tmp_path / "ggufs"
    folder.mkdir()
    shutil.move(write_gguf(folder, {}).path, folder / "small.Q8_0.gguf")
    shutil.copy(folder / "small.Q8_0.gguf", folder / "other.gguf")
    write_small_tokenizer(folder / "tekken.json")
    hub.models["factory/Ggufs"] = folder
    assert pull_command(f"{hub.url}/factory/Ggufs/blob/main/small.Q8_0.gguf", None, {}) == 0
    assert left() == ["small.Q8_0"]
    assert hub.downloaded() == {"small.Q8_0.gguf", "tekken.json"}


def test_a_connection_that_breaks_is_taken_up_where_it_broke(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    hub.cut.append((SHARD, 20_000))
    assert pull_command(model(hub), None, {}) == 0
    assert ("GET", f"/factory/Model-1/resolve/{COMMIT}/{SHARD}", "bytes=20000-") in hub.requests


def test_a_pull_that_was_broken_off_goes_on(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the files that are here, the bytes of the one that was on its way, and the commit of its beginning."""
    fetch = Hub.fetch

    def interrupted(self: Hub, file: HubFile, commit: str, folder: Path, _arrived: Arrived) -> None:
        arrivals: list[int] = []

        def stop(count: int) -> None:
            arrivals.append(count)
            if file.name == SHARD and len(arrivals) == 3:  # its beginning, and two chunks, of which one is written
                raise KeyboardInterrupt

        fetch(self, file, commit, folder, stop)

    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 8_000)
    with monkeypatch.context() as patch:
        patch.setattr(Hub, "fetch", interrupted)
        assert pull_command(model(hub), None, {}) == 130
    assert left() == ["Model-1.download"]
    done = set(json.loads(Path("Model-1.download/listing.json").read_text())["checked"])
    assert "model-00002-of-00005.safetensors" in done
    hub.requests.clear()
    assert pull_command(model(hub), None, {}) == 0
    assert left() == ["Model-1"]
    whole = {path.rpartition("/")[2] for method, path, ranged in hub.requests if method == "GET" and not ranged}
    assert whole == {"model-00004-of-00005.safetensors", "model-00005-of-00005.safetensors"}
    assert ("GET", f"/factory/Model-1/resolve/{COMMIT}/{SHARD}", "bytes=8000-") in hub.requests


def test_a_file_with_another_hash_is_refused(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.wrong.add(SHARD)
    assert pull_command(model(hub), None, {}) == 1
    assert f"{SHARD} of factory/Model-1: what {hub.url} sent is not the file that is listed" in refused(capsys)
    assert left() == ["Model-1.download"]
    assert not (Path("Model-1.download") / "Model-1" / SHARD).exists()
    hub.wrong.clear()
    shutil.rmtree("Model-1.download")
    assert pull_command(model(hub), None, {}) == 0


def test_a_small_file_is_checked_too(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """By git's own hash."""
    monkeypatch.setattr(FakeHub, "sibling", lambda _self, path: {"rfilename": path.name, "size": 5, "blobId": "0" * 40})
    assert pull_command(model(hub), None, {}) == 1


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ((403, "GatedRepo"), "is gated: agree to its terms on http://"),
        ((401, "RepoNotFound"), "shows no model factory/Model-1: check the name"),
        ((503, ""), "answered 503 for factory/Model-1"),
    ],
)
def test_what_the_hub_refuses_is_said(
    hub: FakeHub, error: tuple[int, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.error = error
    assert pull_command(model(hub), None, {}) == 1
    assert message in refused(capsys)
    assert left() == []


def test_what_is_not_there_is_said(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert pull_command(f"{hub.url}/factory/Other", None, {}) == 1
    assert "shows no model factory/Other" in refused(capsys)
    assert pull_command(f"{model(hub)}/tree/v9", None, {}) == 1
    assert "has no revision v9" in refused(capsys)
    assert pull_command("http://127.0.0.1:9/factory/Model-1", None, {}) == 1
    assert "http://127.0.0.1:9 cannot be reached" in refused(capsys)
    assert left() == []


def test_what_cannot_be_exported_is_refused_before_its_weights_come(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    path = hub.models["factory/Model-1"] / "config.json"
    config = json.loads(path.read_text())
    config["text_config"]["intermediate_size"] = 128
    path.write_text(json.dumps(config))
    assert pull_command(model(hub), None, {}) == 1
    assert "config.json" in refused(capsys)
    whole = {path for _, path, ranged in hub.requests if path.endswith(".safetensors") and not ranged}
    assert not whole
    assert not (Path("Model-1.download") / pulling.PREVIEW).exists()


def test_the_disk_is_asked_before_the_weights_come(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lineside.export.bundle.checks.SPARE_BYTES", 10**18)
    assert pull_command(model(hub), None, {}) == 1
    assert "GB free" in refused(capsys)
    assert not [path for _, path, ranged in hub.requests if path.endswith(".safetensors") and not ranged]


def test_a_self_test_that_does_not_fit_is_left_to_the_station(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pulling, "free_bytes", lambda: 1)
    assert pull_command(model(hub), None, {}) == 0
    assert "`lineside check Model-1` on the station" in capsys.readouterr().out


def test_a_folder_that_no_pull_has_made_is_left_alone(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    Path("Model-1.download").mkdir()
    Path("Model-1.download/photo.jpg").write_text("mine")
    assert pull_command(model(hub), None, {}) == 1
    assert "is in the way, and no pull has made it" in refused(capsys)
    assert Path("Model-1.download/photo.jpg").read_text() == "mine"


def test_two_pulls_into_one_bundle_exclude_each_other(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    with pulling._held(Path("Model-1.download")):
        assert pull_command(model(hub), None, {}) == 1
    assert "another pull into Model-1.download is running" in refused(capsys)


CALL = "import sys; from lineside.export.pull.command import pull_command; sys.exit(pull_command({!r}, None, {{}}))"


def test_a_mirror_gets_the_token_and_nobody_is_shown_it(hub: FakeHub, tmp_path: Path) -> None:
    """In a process of its own, which reads the hub's variables as it starts, with every log line on."""
    own = {"HF_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url, "PYTHONPATH": str(Path(__file__).parents[3])}
    code = "import logging; logging.basicConfig(level=logging.DEBUG); " + CALL.format("factory/Model-1")
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in found.stdout + found.stderr
    assert left() == ["Model-1"]
    assert not list((tmp_path / "home").rglob("*.safetensors"))


def test_offline_the_hubs_cache_is_all_there_is(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    with monkeypatch.context() as offline:
        offline.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        assert pull_command("factory/Model-1", None, {}) == 1
        assert "HF_HUB_OFFLINE is set, and factory/Model-1 is not here as a whole" in refused(capsys)
    assert not hub.requests
    huggingface_hub.snapshot_download("factory/Model-1", endpoint=hub.url, token=False)
    hub.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert pull_command("factory/Model-1", None, {}) == 0, capsys.readouterr().err
    assert not hub.requests
    assert left() == ["Model-1"]
    assert list(cache.rglob(SHARD))
