"""Which model is meant, and which of its files are needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from lineside.export.errors import Unsupported

HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
NAME = re.compile(r"[^\W_][\w.-]*/[^\W_][\w.-]*", re.ASCII)
TOKENIZER = "tekken.json"
LAYOUTS = (
    ("config.json", r"model\.safetensors\.index\.json|model-\d+-of-\d+\.safetensors"),
    ("config.json", r"model\.safetensors"),
    ("params.json", r"consolidated\.safetensors\.index\.json|consolidated-\d+-of-\d+\.safetensors"),
    ("params.json", r"consolidated\.safetensors"),
)
"""A configuration and the weights that belong to it: as transformers writes them, and as Mistral does, each in several
files or in one. Many models come in more than one way; the first is taken."""


@dataclass(frozen=True)
class Wanted:
    """A model of a hub.

    Attributes:
        revision: a branch, tag or commit.
        file: the one file that is meant, of a model with several GGUF files.
        endpoint: the hub where it is not the usual one (`HF_ENDPOINT`, or Hugging Face's).
    """

    repo: str
    revision: str = "main"
    file: str = ""
    endpoint: str = ""


def parse(name: str) -> Wanted:
    """`owner/model`, `owner/model@revision`, or the address of a model or of a file in one. Raises Unsupported."""
    if "://" not in name:
        repo, _, revision = name.partition("@")
        if NAME.fullmatch(repo):
            return Wanted(repo, revision or "main")
        raise _unknown(name)
    address = urlsplit(name)
    parts = [unquote(part) for part in address.path.split("/") if part]
    repo, rest = "/".join(parts[:2]), parts[2:]
    if address.scheme not in ("http", "https") or not address.hostname or not NAME.fullmatch(repo):
        raise _unknown(name)
    endpoint = "" if address.hostname in HOSTS else f"{address.scheme}://{address.netloc.rpartition('@')[2]}"
    match rest:
        case []:
            return Wanted(repo, endpoint=endpoint)
        case ["tree", revision]:
            return Wanted(repo, revision, endpoint=endpoint)
        case ["blob" | "resolve", revision, *file] if file:
            return Wanted(repo, revision, "/".join(file), endpoint)
    raise _unknown(name)


def _unknown(name: str) -> Unsupported:
    return Unsupported(
        f"{name} is no model of a hub: it is named like mistralai/Ministral-3-3B-Instruct-2512, or by its address, "
        "https://huggingface.co/OWNER/MODEL"
    )


def needed(names: Sequence[str], wanted: Wanted) -> list[str]:
    """Those of a model's files that an export reads. Raises Unsupported where Lineside exports no such model."""
    if TOKENIZER not in names:
        raise Unsupported(
            f"{wanted.repo} holds no {TOKENIZER}, Mistral's own tokenizer: take the model that it was made from, or "
            f"download it, lay the {TOKENIZER} of that model beside it, and use `lineside export`"
        )
    names = [name for name in names if not name.startswith("/") and ".." not in name.split("/")]
    ggufs = [name for name in names if is_gguf_model(name)]
    if wanted.file:
        if wanted.file in ggufs:
            return [TOKENIZER, wanted.file, *_vision_file(names, wanted.file)]
        raise Unsupported(f"{wanted.file} is no GGUF file of {wanted.repo}: it holds {', '.join(ggufs) or 'none'}")
    for config, pattern in LAYOUTS:
        weights = [name for name in names if re.fullmatch(pattern, name)]
        if config in names and weights:
            return [config, TOKENIZER, *weights]
    if len(ggufs) == 1:
        return [TOKENIZER, *ggufs, *_vision_file(names, ggufs[0])]
    if ggufs:
        raise Unsupported(f"{wanted.repo} holds several GGUF files, name one by its address: {', '.join(ggufs)}")
    raise Unsupported(f"{wanted.repo} holds no weights that Lineside reads: safetensors or GGUF")


def is_gguf_model(name: str) -> bool:
    """Whether it is a language model, and no vision file."""
    return name.endswith(".gguf") and "mmproj" not in name


def _vision_file(names: Sequence[str], model: str) -> list[str]:
    """The one in the folder of `model`; of several the one in float16."""
    folder = model.rpartition("/")[0]
    found = [n for n in names if n.endswith(".gguf") and "mmproj" in n and n.rpartition("/")[0] == folder]
    return sorted(found, key=lambda name: (re.search(r"(?i)(?<!b)f16", name) is None, name))[:1]
