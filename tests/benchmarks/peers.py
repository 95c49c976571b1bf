"""The engines side by side: each loads the model, appends tokens, and chooses the next ones greedily.

Tokens are the GGUF file's ids everywhere; Lineside's adaptor renumbers them (see `smollm`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lineside.runtime.chat import Prompt
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.sampling import GREEDY
from tests.benchmarks.smollm import SmolLM

CAPACITY = 4096
Schema = dict[str, Any]
Float32 = npt.NDArray[np.float32]


class Peer(Protocol):
    """`start` appends a prompt to an empty context and yields -1, then greedy tokens, one after the other.

    With `reuse` the engine may keep what it knows of an earlier prompt that began alike. `logits` gives those behind
    each of some tokens, `(T, vocab)`, taken one a pass, as when it decodes.
    """

    def start(self, ids: Sequence[int], *, schema: Schema | None = None, reuse: bool = False) -> Iterator[int]: ...

    def logits(self, ids: Sequence[int]) -> Float32: ...


class Lineside:
    def __init__(self, bundle: Path, model: SmolLM, threads: int, *, draft: bool = True) -> None:
        self.engine = Engine.open(bundle, threads=threads, limits=Limits(CAPACITY))
        self._file_ids = model.file_ids
        self._ids = model.own_ids
        self._columns = self.own(range(len(model.own_ids)))
        self._draft = draft

    def own(self, ids: Sequence[int]) -> npt.NDArray[np.int64]:
        """The file's ids in the bundle's numbering."""
        return np.asarray([self._ids[i] for i in ids], np.int64)

    def logits(self, ids: Sequence[int]) -> Float32:
        decoder, own = self.engine._decoder, self.own(ids)
        cache = decoder.allocate(len(own))
        rows = [decoder.decode(cache, [int(token)], past)[0][self._columns] for past, token in enumerate(own)]
        return np.stack(rows)

    def start(self, ids: Sequence[int], *, schema: Schema | None = None, reuse: bool = False) -> Iterator[int]:
        own = self.own(ids)
        constraint = self.engine.grammars.json(schema) if schema is not None else None
        if not reuse:
            self.engine.pool.clear()
        room = self.engine.capacity - len(own)
        with self.engine.sequence(Prompt(own), reserve=room) as sequence:
            yield -1  # the prompt is in
            for token in self.engine.decode(
                sequence, max_tokens=room, sampling=GREEDY, constraint=constraint, draft=self._draft
            ):
                yield int(self._file_ids[token])


class LlamaCpp:
    def __init__(self, gguf: Path, threads: int) -> None:
        import llama_cpp

        self._module: Any = llama_cpp
        with silenced():
            self.model: Any = llama_cpp.Llama(
                str(gguf), n_ctx=CAPACITY, n_threads=threads, n_threads_batch=threads, verbose=False, n_batch=512
            )

    def tokenize(self, text: str) -> list[int]:
        ids: list[int] = self.model.tokenize(text.encode(), add_bos=False, special=True)
        return ids

    def text(self, ids: Sequence[int]) -> str:
        raw: bytes = self.model.detokenize(list(ids))
        return raw.decode("utf-8", "replace")

    def start(self, ids: Sequence[int], *, schema: Schema | None = None, reuse: bool = False) -> Iterator[int]:
        grammar = None
        if schema is not None:
            with silenced():
                grammar = self._module.LlamaGrammar.from_json_schema(json.dumps(schema), verbose=False)
        if reuse:  # `generate` itself keeps the longest prefix that agrees
            tokens = self.model.generate(list(ids), temp=0.0, top_k=1, repeat_penalty=1.0, grammar=grammar)
        else:
            self.model.reset()
            self.model._ctx.kv_cache_clear()
            self.model.eval(ids)
            tokens = self._go_on(grammar)
        yield -1
        for token in tokens:
            if token == self.model.token_eos():
                return
            yield int(token)

    def _go_on(self, grammar: Any) -> Iterator[int]:
        """`Llama.generate` without a prompt: the context holds it already."""
        while True:
            token = self.model.sample(temp=0.0, top_k=1, repeat_penalty=1.0, grammar=grammar)
            yield token
            self.model.eval([token])

    def logits(self, ids: Sequence[int]) -> Float32:
        self.model.reset()
        self.model._ctx.kv_cache_clear()
        rows = []
        for token in ids:
            self.model.eval([token])
            last = self.model._ctx.get_logits_ith(-1)
            rows.append(np.ctypeslib.as_array(last, (self.model.n_vocab(),)).copy())
        return np.stack(rows)


class Genai:
    def __init__(self, folder: Path, eos_id: int) -> None:
        import onnxruntime_genai

        self._module: Any = onnxruntime_genai
        self.model: Any = onnxruntime_genai.Model(str(folder))
        self._eos_id = eos_id

    def start(self, ids: Sequence[int], *, schema: Schema | None = None, reuse: bool = False) -> Iterator[int]:  # noqa: ARG002
        parameters = self._module.GeneratorParams(self.model)
        parameters.set_search_options(max_length=CAPACITY, do_sample=False)
        if schema is not None:
            parameters.set_guidance("json_schema", json.dumps(schema))
        generator = self._module.Generator(self.model, parameters)
        generator.append_tokens(list(ids))
        yield -1
        while not generator.is_done():
            generator.generate_next_token()
            token = int(generator.get_next_tokens()[0])
            if token == self._eos_id:
                return
            yield token

    def logits(self, ids: Sequence[int]) -> Float32:
        parameters = self._module.GeneratorParams(self.model)
        parameters.set_search_options(max_length=CAPACITY, do_sample=False)
        generator = self._module.Generator(self.model, parameters)
        rows = []
        for token in ids:
            generator.append_tokens([token])
            rows.append(np.array(generator.get_logits(), np.float32).reshape(-1))
        return np.stack(rows)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """llama.cpp writes to the process's standard error whatever it is told."""
    saved, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
