"""One model for frames and one for commands: on one device they share its time and its memory."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lineside.edge.command_line.main import main
from lineside.edge.config import MIB, CommandConfig, Config, ModelConfig
from lineside.edge.errors import RequestError
from lineside.edge.models import Models, NoModel, open_models, there
from lineside.runtime.assistant import ask
from lineside.runtime.chat import Message, Prompt
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.engine.scheduler import Priority, Request
from lineside.runtime.errors import BundleDamaged, BundleFormat
from tests.support.bundles import copy_bundle, damaged
from tests.support.station import THREADS
from tests.support.wait import until

HELLO = [Message("user", ("Hello",))]
CPU = ModelConfig(device="cpu", threads=THREADS)


def two(commands: Path, frames: Path | str = "", *, kv_cache_mb: int = 0, capacity: int = 1024) -> Config:
    model = replace(CPU, bundle=str(frames), kv_cache_mb=kv_cache_mb, capacity=capacity)
    return Config(model=model, commands=CommandConfig(bundle=str(commands)), folder=Path("/"))


def both(models: Models) -> tuple[Engine, Engine]:
    return there(models.frames_engine), there(models.commands_engine)


def prompt(engine: Engine, tokens: int, kind: int) -> Prompt:
    ids = engine.tokenizer.encode_chat(HELLO).ids[:1].repeat(tokens)
    ids[1:] = 200 + kind
    return Prompt(ids)


def use(engine: Engine, tokens: int, kind: int = 0) -> int:
    """How many tokens of the prompt were in a cache."""
    with engine.sequence(prompt(engine, tokens, kind), reserve=1) as sequence:
        return sequence.counts.reused


@pytest.fixture(scope="module")
def models(random_bundle: Path) -> Models:
    return open_models(two(random_bundle))


def test_the_same_bundle_is_loaded_once(random_bundle: Path, tmp_path: Path) -> None:
    """Wherever it lies."""
    copied = copy_bundle(random_bundle, tmp_path / "copy")
    for commands in (random_bundle, copied):
        config = two(commands, random_bundle)
        found = open_models(config)
        assert found.commands is found.frames
        assert len(list(found.opened())) == 1


def test_two_share_one_scheduler_and_each_has_its_own_name(models: Models) -> None:
    frames, commands = both(models)
    assert frames.bundle.manifest.name == "default"
    assert commands.bundle.sha256 != frames.bundle.sha256
    assert commands.scheduler is frames.scheduler
    assert commands.pool.budget is frames.pool.budget
    assert len(list(models.opened())) == 2
    assert list(models.degraded()) == []


def test_a_command_waits_for_the_pass_of_a_frame_and_goes_first(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never are there two passes at once, and what waits goes by priority, whichever engine it is for."""
    frames, commands = both(models)
    scheduler, turn = frames.scheduler, frames.scheduler.turn
    given: list[Priority] = []

    @contextmanager
    def watched(request: Request) -> Iterator[None]:
        with turn(request):
            given.append(request.priority)
            yield

    def look() -> None:
        with frames.sequence(prompt(frames, 20, 5), reserve=1, request=Request(Priority.FRAME)):
            pass

    monkeypatch.setattr(scheduler, "turn", watched)
    with ThreadPoolExecutor(2) as threads, turn(Request(Priority.FRAME)):
        threads.submit(look)
        until(lambda: scheduler.waiting == 1)
        threads.submit(ask, commands, HELLO, max_tokens=1, request=Request(Priority.COMMAND))
        until(lambda: scheduler.waiting == 2)
        assert given == []
    assert given[0] is Priority.COMMAND
    assert Priority.FRAME in given


def test_their_caches_have_one_budget(random_bundle: Path) -> None:
    """What was used least lately goes, whosever it is; the others keep what they hold."""
    frames, commands = both(open_models(two(random_bundle, kv_cache_mb=8)))
    budget = frames.pool.budget
    assert budget.bytes == 8 * MIB
    assert frames.pool.cost(256) < budget.bytes < 2 * frames.pool.cost(256)
    use(frames, 200)
    assert use(frames, 200) == 199
    fitting = (budget.bytes - budget.used_bytes()) // commands.pool.cost(1024)
    for kind in range(fitting + 1):
        use(commands, 1000, kind)
        assert budget.used_bytes() <= budget.bytes
    assert frames.pool.statistics().caches == 0, "the frames' cache went: it was used least lately"
    assert use(frames, 200) == 0, "and what the other engine's caches hold is not taken for its own"
    assert use(frames, 200) == 199
    assert budget.used_bytes() <= budget.bytes


def test_a_budget_that_is_not_named_is_two_caches_for_each(models: Models) -> None:
    frames, commands = both(models)
    assert frames.pool.budget.bytes == 2 * (frames.pool.cost(1024) + commands.pool.cost(commands.capacity))


def test_one_that_cannot_be_opened_leaves_the_other_alone(random_bundle: Path, tmp_path: Path) -> None:
    bad = damaged(random_bundle, tmp_path / "bad")
    for config, whose in ((two(bad), "commands"), (two(DEFAULT_BUNDLE, bad), "frames")):
        found = open_models(config)
        refused = getattr(found, whose)
        assert isinstance(refused, NoModel)
        (working,) = found.opened()
        assert working.engine.capacity
        (sentence,) = found.degraded()
        assert sentence.startswith(f"{whose} have no model: ")
        assert "decoder.data is damaged" in sentence
        with pytest.raises(RequestError, match="copy the bundle again") as caught:
            there(getattr(found, f"{whose}_engine"))
        assert caught.value.code == "no_model"


def test_without_any_nothing_starts(random_bundle: Path, tmp_path: Path) -> None:
    bad = damaged(random_bundle, tmp_path / "bad")
    with pytest.raises(BundleFormat, match=r"frames have no model.*commands have no model either"):
        open_models(two(tmp_path / "nowhere", bad))
    with pytest.raises(BundleDamaged):
        open_models(two(bad, bad))


def test_a_device_that_one_has_lost_ends_the_station(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models.lost_device() == ""
    monkeypatch.setattr(there(models.commands_engine), "device_failures", 3)
    assert models.lost_device() == "cpu"


def test_plan_and_check_are_over_both(random_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    station = tmp_path / "station.toml"
    station.write_text(f'[model]\ndevice = "cpu"\n[commands]\nbundle = "{random_bundle}"\n')
    assert main(["plan", str(station)]) == 0
    planned = capsys.readouterr().out
    for line in ("frames: default", "commands: ", "frames: weights", "commands: weights", "KV caches of all requests"):
        assert line in planned
    assert main(["plan", str(station), "--memory-gb", "0.1"]) == 1
    assert "lower `model.capacity`" in capsys.readouterr().err
    assert main(["check", str(station), "--bundles"]) == 0
    checked = capsys.readouterr().out
    assert checked.count("every SHA-256 as listed") == 2
    assert checked.count("self-test") >= 2
    station.write_text('[commands]\nbundle = "nowhere"\n')
    assert main(["check", str(station)]) == 2
    assert "station.toml:2: `commands.bundle`" in capsys.readouterr().err
