from __future__ import annotations

import pytest

from lineside.export.errors import Unsupported
from lineside.export.pull.wanted import Wanted, needed, parse

MODEL = "mistralai/Ministral-3-3B-Instruct-2512"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        (MODEL, Wanted(MODEL)),
        (f"{MODEL}@v2", Wanted(MODEL, "v2")),
        (f"https://huggingface.co/{MODEL}", Wanted(MODEL)),
        (f"https://hf.co/{MODEL}/", Wanted(MODEL)),
        (f"https://huggingface.co/{MODEL}/tree/v2", Wanted(MODEL, "v2")),
        (f"https://huggingface.co/{MODEL}/blob/main/a/b.gguf", Wanted(MODEL, file="a/b.gguf")),
        (f"https://huggingface.co/{MODEL}/resolve/v2/b%20c.gguf?download=true", Wanted(MODEL, "v2", "b c.gguf")),
        (f"http://127.0.0.1:8080/{MODEL}", Wanted(MODEL, endpoint="http://127.0.0.1:8080")),
        (f"https://user:secret@hub.local/{MODEL}", Wanted(MODEL, endpoint="https://hub.local")),
    ],
)
def test_names_and_addresses(name: str, wanted: Wanted) -> None:
    assert parse(name) == wanted


@pytest.mark.parametrize(
    "name",
    ["", "mistral", "a/b/c", "../etc", "https://huggingface.co", "https://huggingface.co/a", "ftp://huggingface.co/a/b",
     f"https://huggingface.co/{MODEL}/discussions/3", f"https://huggingface.co/{MODEL}/blob/main", "file:///a/b"],
)  # fmt: skip
def test_what_is_no_model_is_refused(name: str) -> None:
    with pytest.raises(Unsupported, match="is named like mistralai/"):
        parse(name)


def test_only_what_an_export_reads_is_needed() -> None:
    """Of both layouts the first, of a model in shards no second copy in one file."""
    common = ["README.md", "chat_template.jinja", "tekken.json", "tokenizer.json", "pytorch_model.bin"]
    hugging_face = ["config.json", "model.safetensors"]
    sharded = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    mistral = ["params.json", "consolidated.safetensors"]
    wanted = Wanted(MODEL)
    assert set(needed([*common, *hugging_face, *mistral], wanted)) == {"tekken.json", *hugging_face}
    both = [*common, *hugging_face, *sharded, *mistral]
    assert set(needed(both, wanted)) == {"tekken.json", "config.json", *sharded}
    assert set(needed([*common, *mistral, "config.json"], wanted)) == {"tekken.json", *mistral}
    assert set(needed([*common, "model.Q4_0.gguf"], wanted)) == {"tekken.json", "model.Q4_0.gguf"}
    vision = ["mmproj-model-bf16.gguf", "mmproj-model-f16.gguf", "a/mmproj.gguf"]
    assert set(needed([*common, "m.gguf", *vision], wanted)) == {"tekken.json", "m.gguf", "mmproj-model-f16.gguf"}
    assert set(needed([*common, "a/m.gguf", *vision], wanted)) == {"tekken.json", "a/m.gguf", "a/mmproj.gguf"}
    several = [*common, "model.Q4_0.gguf", "model.Q8_0.gguf"]
    assert set(needed(several, Wanted(MODEL, file="model.Q8_0.gguf"))) == {"tekken.json", "model.Q8_0.gguf"}


@pytest.mark.parametrize(
    ("names", "file", "message"),
    [
        (["config.json", "model.safetensors"], "", r"holds no tekken\.json"),
        (["tekken.json", "a.gguf", "b.gguf"], "", r"several GGUF files, name one by its address: a\.gguf, b\.gguf"),
        (["tekken.json", "a.gguf"], "c.gguf", r"c\.gguf is no GGUF file of .*: it holds a\.gguf"),
        (["tekken.json", "a/../../b.gguf", "/etc/c.gguf"], "", "holds no weights that Lineside reads"),
        (["tekken.json", "config.json", "pytorch_model.bin"], "", "holds no weights that Lineside reads"),
    ],
)
def test_what_cannot_be_exported_is_refused_by_its_names(names: list[str], file: str, message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        needed(names, Wanted(MODEL, file=file))
