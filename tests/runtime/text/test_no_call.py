"""Without tools no control token can be written, however likely the model thinks it, in any way of decoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from lineside.runtime.assistant import ask
from lineside.runtime.chat import Message, Prompt, Tool
from lineside.runtime.engine.decoding import Decoding
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.sampling import GREEDY, Sampler, Sampling
from lineside.runtime.errors import NotFinite
from lineside.runtime.grammar.constraint import Grammars
from lineside.runtime.sessions.device_cache import DeviceCache
from lineside.runtime.sessions.ort import OrtDecoder
from lineside.runtime.text.tokenizer import Tokenizer
from tests.support.cuda import EmulatedCuda, EmulatedMemory
from tests.support.tokenizers import write_small_tokenizer

BUDGET = 48
STOP = Tool("stop", "Stop.", {"type": "object", "properties": {}, "additionalProperties": False})
COMMANDS = ["What is a ball screw?", "Write a long list about rust.", "stop the belt " * 8]
SAMPLINGS = [GREEDY, Sampling(0.7, 1), Sampling(4.0, 2)]


def messages(text: str) -> list[Message]:
    return [Message("user", (text,))]


def controls(engine: Engine, ids: tuple[int, ...]) -> list[int]:
    return [token for token in ids if not engine.tokenizer.token_bytes[token]]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("weights", ["random_engine", "float_engine", "default_engine"])
def test_no_control_token_without_tools(weights: str, sampling: Sampling, request: pytest.FixtureRequest) -> None:
    engine: Engine = request.getfixturevalue(weights)
    raw = 0
    for text in COMMANDS:
        if weights != "default_engine":  # which was not taught to converse
            answer = ask(engine, messages(text), max_tokens=BUDGET, sampling=sampling)
            assert controls(engine, answer.ids) == []
        none = ask(engine, messages(text), [STOP], tool_choice="none", max_tokens=BUDGET, sampling=sampling)
        assert controls(engine, none.ids) == []
        with engine.sequence(engine.tokenizer.encode_chat(messages(text)), reserve=BUDGET) as sequence:
            raw += len(controls(engine, engine.generate(sequence, max_tokens=BUDGET, sampling=sampling).ids))
    if weights != "default_engine":
        assert raw, "a raw user of the engine is not bound"


@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_a_model_that_wants_to_call_cannot(
    float_engine: Engine, sampling: Sampling, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network is sure of a call from the `at`-th token on; drafts of several tokens included."""
    call = float_engine.tokenizer.tool_calls_id
    assert call is not None
    take = Decoding._choose

    def choose(decoding: Decoding) -> int:
        if decoding._sequence.counts.generated >= at:
            decoding._rows = decoding._rows.copy()
            decoding._rows[:, call] = 1e4
        return take(decoding)

    monkeypatch.setattr(Decoding, "_choose", choose)
    answer = ask(float_engine, messages(COMMANDS[2]), max_tokens=BUDGET, sampling=sampling)
    assert answer.counts.generated > 3
    assert controls(float_engine, answer.ids) == []
    called = ask(float_engine, messages(COMMANDS[2]), [STOP], max_tokens=BUDGET, sampling=sampling, call_above=0.0)
    assert call in called.ids, "with tools it may"


def test_drafts_change_nothing(float_engine: Engine) -> None:
    """What is guessed from the prompt holds its control tokens too: they are rejected like any wrong guess."""
    tokenizer = float_engine.tokenizer
    controls_in_it = tokenizer.encode_chat([*messages("stop"), Message("assistant", ("yes",)), *messages("stop")])
    prompt = Prompt(np.tile(controls_in_it.ids, 6))
    for sampling in SAMPLINGS:
        answers = []
        for draft in (True, False):
            with float_engine.sequence(prompt, reserve=BUDGET) as sequence:
                decoding = float_engine.decode(
                    sequence, max_tokens=BUDGET, sampling=sampling, forbidden=tokenizer.control_ids, draft=draft
                )
                answers.append(tuple(decoding))
        assert answers[0] == answers[1]
        assert controls(float_engine, answers[0]) == []


class OnCuda(OrtDecoder):
    """What runs on CUDA, on the CPU's kernels; counts the rows of logits that were fetched."""

    def __init__(self, engine: Engine) -> None:
        options: dict[str, Any] = {"graph": "decoder.float16.onnx", "kv_dtype": "float16", "capture": True}
        super().__init__(engine.bundle, 1, memory=EmulatedMemory(EmulatedCuda()), **options)
        self.fetched = 0

    def row(self, cache: DeviceCache, index: int) -> npt.NDArray[np.float32]:
        self.fetched += 1
        return super().row(cache, index)


class WithoutPicks(OnCuda):
    picker = None


def test_picks_of_a_device_fall_back_to_their_row(random_engine: Engine) -> None:
    """The same text as with all logits on the host; only rows whose likeliest token is forbidden are fetched."""
    bundle, tokenizer = random_engine.bundle, random_engine.tokenizer
    decoder, plain = OnCuda(random_engine), WithoutPicks(random_engine)
    engines = [Engine(bundle, tokenizer, None, each, Limits(capacity=300)) for each in (decoder, plain)]
    for text in COMMANDS:
        answers = [ask(engine, messages(text), max_tokens=BUDGET, sampling=GREEDY).ids for engine in engines]
        assert answers[0] == answers[1]
        assert controls(engines[0], answers[0]) == []
    assert decoder.picker is not None
    assert 0 < decoder.fetched < len(COMMANDS) * BUDGET / 2
    assert plain.fetched == 0


@pytest.mark.parametrize("temperature", [0.0, 0.5, 100.0])
def test_the_rest_keeps_its_odds(temperature: float) -> None:
    """As if the forbidden tokens were not in the vocabulary, though one of them is far more likely than all others."""
    logits = np.random.default_rng(0).normal(size=50).astype(np.float32)
    logits[3] = 1e4
    rest = np.delete(logits, [3, 7])
    kept = np.delete(np.arange(50), [3, 7])
    bound = Sampler(Sampling(temperature, 1), 50, frozenset({3, 7}))
    small = Sampler(Sampling(temperature, 1), 48)
    for _ in range(200):
        assert bound.pick(logits, None) == kept[small.pick(rest, None)]
    assert logits[3] == 1e4, "the row is the engine's: it is left as it is"


def test_damaged_logits_are_noticed_all_the_same() -> None:
    sampler = Sampler(GREEDY, 4, frozenset({1}))
    for damaged in ([0, np.nan, 1, 2], [-np.inf, 5, -np.inf, -np.inf]):
        with pytest.raises(NotFinite):
            sampler.pick(np.asarray(damaged, np.float32), None)


@pytest.mark.parametrize("version", ["v3", "v7", "v11", "v13"])
def test_a_grammar_for_text_names_no_control_token(tmp_path: Path, version: str) -> None:
    """So an answer with `tool_choice` "none" needs no ban of its own."""
    path = tmp_path / "tekken.json"
    write_small_tokenizer(path, version)
    tokenizer = Tokenizer(path)
    constraint = Grammars(tokenizer).tools([STOP], "none")
    for text in ("", "a", "\n", "[TOOL_CALLS]"):
        constraint.accept(tokenizer.encode_text(text).tolist())
        assert not constraint.mask()[sorted(tokenizer.control_ids)].any()


def test_thoughts_are_not_forbidden(tmp_path: Path) -> None:
    """A model that thinks aloud writes the marks around a thought in a text answer too."""
    path = tmp_path / "tekken.json"
    write_small_tokenizer(path)
    text = path.read_text(encoding="utf-8")
    assert "<SPECIAL_34>" in text
    path.write_text(text.replace("<SPECIAL_34>", "[THINK]").replace("<SPECIAL_35>", "[/THINK]"), encoding="utf-8")
    tokenizer = Tokenizer(path)
    special = set(range(tokenizer.vocab_size - sum(map(bool, tokenizer.token_bytes))))
    assert special - tokenizer.control_ids == {tokenizer.eos_id, 34, 35}
