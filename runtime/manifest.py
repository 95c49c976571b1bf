"""`bundle.json`: what a bundle says of itself.

Format 3 says besides format 2 what the model was taught, how often it may answer, which prompts it knows, how its
weights were rounded and which bundles it came from. Format 4 says of each part how it was taught. Older ones are still
read, with what is known of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from lineside.runtime.errors import BundleFormat
from lineside.runtime.inspection_template import InspectionTemplate

FORMAT_VERSION = 4
OLDEST_VERSION, FLAT_VERSION = 2, 3
"""Format 3 has one list of parts, and one for all of them of what was taught about each."""
MANIFEST = "bundle.json"
ROUNDS = 4
"""Answers to one command, of a model that reads what its calls gave back."""
PROMPT_TEMPLATE = "lineside/1"
"""The wording of prompts that this Lineside writes (`runtime.inspection.task`, `runtime.assistant`)."""
MINIMUM_SQUARED_ERROR, LARGEST_MAGNITUDE, CARRIED_OVER, NO_ROUNDING, UNKNOWN = (
    "minimum-squared-error",
    "largest-magnitude",
    "carried-over",
    "none",
    "unknown",
)
METHODS = {"int4": (MINIMUM_SQUARED_ERROR, 4), "int8": (LARGEST_MAGNITUDE, 8)}
"""How an export rounds floats, and to how many bits, by the format in which they are stored."""
BLOCK_SIZE = 32
"""Weights that share a scale there."""
Target = Literal["any", "cpu"]
"""What a bundle runs on; one for a CPU alone has zero points, and no graphs for a GPU."""
GGUF_ARCHITECTURE = "llama"

Positive = Annotated[int, Field(ge=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Language = Annotated[str, Field(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
"""A tag by BCP 47, such as `en` or `pt-BR`."""


@dataclass(frozen=True)
class FileEntry:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class KVLayout:
    """One key and one value buffer a layer, each `(1, num_key_value_heads, capacity, head_dim)`."""

    num_hidden_layers: int
    num_key_value_heads: int
    head_dim: int
    dtype: str

    @property
    def bytes_per_token(self) -> int:
        return self.bytes_of(self.dtype)

    def bytes_of(self, dtype: str) -> int:
        """A token's bytes in a cache of another type."""
        itemsize = {"float32": 4, "float16": 2, "int8": 1}[dtype]
        return 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim * itemsize


@dataclass(frozen=True)
class ImageSettings:
    """Pictures are fitted to `max_image_size` and cut into patches of `patch_size` pixels, of which blocks of
    `spatial_merge_size` squared become one token. `grid_size` is the row length of the flat patch positions.

    `hidden_size` and `intermediate_size` are the tower's."""

    patch_size: int
    spatial_merge_size: int
    max_image_size: int
    grid_size: int
    hidden_size: int
    intermediate_size: int


Color = Literal["color", "grey"]
Beside = Literal["with", "without"]
"""A picture is inspected with that of a good part beside it, or without."""


@dataclass(frozen=True)
class TaughtPart:
    """A kind of part that the model learnt to inspect. None where nothing bounds it.

    Attributes:
        name: of the part, as a station names it; None for any part.
        defect_types: the defects that it learnt to find there, as a station names them.
        colors: whether those pictures were in colour or grey, or both.
        reference: whether it saw them with the picture of a good part, without one, or both.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    name: str | None = None
    defect_types: tuple[str, ...] | None = None
    colors: tuple[Color, ...] | None = None
    reference: tuple[Beside, ...] | None = None


@dataclass(frozen=True)
class Taught:
    """What the model was taught. None where nothing bounds it, as a large general model declares.

    Attributes:
        parts: those that it learnt to inspect.
        report: whether it learnt to fill in a report by a station's own JSON Schema.
        languages: of the commands that it understands, by BCP 47.
        tools_at_once: the most tools that it learnt to choose from.
        conversation: whether it learnt to go on after its first answer, and to read what its calls gave back.
        describes_pictures: whether it learnt to say in words what a picture shows.
    """

    parts: tuple[TaughtPart, ...] | None = None
    report: bool | None = None
    languages: tuple[Language, ...] | None = None
    tools_at_once: Positive | None = None
    conversation: bool | None = None
    describes_pictures: bool | None = None


@dataclass(frozen=True)
class Quantizer:
    """How matrices were rounded.

    Attributes:
        method: `minimum-squared-error`: the scale of a block was searched for the least squared error.
            `largest-magnitude`: the largest weight of a block stands at the end of the range. `carried-over`: they
            came rounded, as in a GGUF file, and were taken as they are. `none`: they are floats. `unknown`: format 2
            does not say. Later exports may know others.
        bits: of a stored weight.
        block_size: weights that share a scale; None where nothing was rounded, or where it is not known.
        symmetric: whether blocks have a scale alone, and no minimum; None as before.
        calibration: name of the text that the rounding was fitted to; None where it was fitted to the weights alone.
        scales: type in which scales are stored; None where nothing was rounded, and in bundles of before, which have
            float32.
    """

    method: str
    bits: int
    block_size: int | None = None
    symmetric: bool | None = None
    calibration: str | None = None
    scales: Literal["float16", "float32"] | None = None


@dataclass(frozen=True)
class Manifest:
    """The contents of `bundle.json`. `image` is null where there is no `vision.onnx`: a model without vision.

    Attributes:
        verbatim_arguments: free texts in the arguments of calls are words of the conversation
            (see `runtime.grammar.verbatim`).
        any_way_up: the model was taught to inspect pictures whichever way up they are
            (see `runtime.inspection.augmentation`).
        rounds: how often the model may answer to one command where the station leaves it open: after each answer but
            the last it is told what came of its calls. 1 for a model that has not learnt to read that.
        taught: the bounds within which the model was taught.
        prompt_template: which wording of prompts the model was taught.
        quantizer: for each part of `quantization`, how its matrices were rounded; of several ways that of most weights
            first.
        supersedes: SHA-256 of every `bundle.json` that this one was upgraded from, the oldest first. The weights are
            the same, so what was learnt, calibrated or built for one of them holds for this one.
        inspection: how the model is asked to inspect a picture, and in what order it answers.
        target: what it runs on.
    """

    format_version: int
    name: str
    architecture: str
    source: str
    source_sha256: str
    quantization: Mapping[str, str]
    dialect: str
    tokenizer_version: str
    context_length: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    vocab_size: int
    tied_embeddings: bool
    image_token_id: int
    kv: KVLayout
    image: ImageSettings | None
    files: Mapping[str, FileEntry]
    verbatim_arguments: bool
    any_way_up: bool
    rounds: Positive
    taught: Taught
    prompt_template: str
    quantizer: Mapping[str, tuple[Quantizer, ...]]
    supersedes: tuple[Sha256, ...]
    inspection: InspectionTemplate = field(default_factory=InspectionTemplate)
    target: Target = "any"

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


_MANIFEST = TypeAdapter(Manifest)


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """Read the contents of `path`. Its `format_version` is that of the file.

    Raises:
        BundleFormat: it is no manifest, a key is missing or of another type, a file name leads out of the bundle, or
            it is of a format or for prompts that this Lineside does not know.
    """
    try:
        data = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BundleFormat(f"{path} is not a bundle manifest ({error})") from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if type(version) is not int:
        raise BundleFormat(f"{path} is not a bundle manifest: it has no `format_version`")
    _check_version(version, path)
    if version == FORMAT_VERSION:
        manifest = _validated(data, path)
    elif version == FLAT_VERSION:
        manifest = _validated({**data, "taught": by_part(data.get("taught"))}, path)
    else:
        manifest = _validated({"verbatim_arguments": False, "any_way_up": False} | data | _UNSAID, path)
        manifest = replace(manifest, quantizer=_known_quantizer(manifest))
    check_template(manifest.prompt_template, path)
    for name in manifest.files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise BundleFormat(f"{path}: file name {name!r} leads out of the bundle")
    return manifest


def by_part(taught: Any) -> Any:
    """`taught` of format 3 as format 4 has it; anything that it cannot be is left for the validation to name."""
    if not isinstance(taught, dict):
        return taught
    rest = {key: value for key, value in taught.items() if key not in _FLAT}
    names, types, colors, reference = (taught.get(key) for key in _FLAT)
    if not isinstance(names, list | None) or not isinstance(reference, bool | None):
        return taught
    beside = {None: None, True: ["with", "without"], False: ["without"]}[reference]
    if names is types is colors is beside is None:
        return {**rest, "parts": None}
    how = {"defect_types": types, "colors": colors, "reference": beside}
    return {**rest, "parts": [{"name": name, **how} for name in names or [None]]}


_FLAT = ("parts", "defect_types", "colors", "reference")


def check_template(name: str, path: Path) -> None:
    """Raises BundleFormat where this Lineside does not write the prompts that `path` names."""
    if name != PROMPT_TEMPLATE:
        raise BundleFormat(
            f"{path}: the model was taught the prompts {name!r}, this Lineside writes {PROMPT_TEMPLATE!r}: "
            "update Lineside"
        )


_UNSAID: Mapping[str, Any] = {
    "rounds": ROUNDS,
    "taught": {},
    "prompt_template": PROMPT_TEMPLATE,
    "quantizer": {},
    "supersedes": [],
}
"""What format 2 does not say."""


def _check_version(version: int, path: Path) -> None:
    reads = f"this Lineside reads {OLDEST_VERSION} to {FORMAT_VERSION}"
    if version > FORMAT_VERSION:
        raise BundleFormat(f"{path} is format {version}, {reads}: update Lineside")
    if version < OLDEST_VERSION:
        raise BundleFormat(f"{path} is format {version}, {reads}: export the checkpoint again")


def _validated(data: Mapping[str, Any], path: Path) -> Manifest:
    try:
        return _MANIFEST.validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        raise BundleFormat(f"{path} is not a bundle manifest: {explain(error)}") from None


def explain(error: ValidationError) -> str:
    """Every mistake with its key."""
    mistakes = error.errors(include_url=False)
    return "; ".join(f"`{'.'.join(map(str, mistake['loc']))}`: {mistake['msg']}" for mistake in mistakes)


def _known_quantizer(manifest: Manifest) -> dict[str, tuple[Quantizer, ...]]:
    """Of format 2: a GGUF file's matrices may have been carried over or not, all others were rounded in one way."""
    return {
        part: tuple(_of_format(form, manifest) for form in joined.split("+"))
        for part, joined in manifest.quantization.items()
    }


def _of_format(form: str, manifest: Manifest) -> Quantizer:
    if form not in METHODS:
        return Quantizer(NO_ROUNDING, 32)
    method, bits = METHODS[form]
    if manifest.architecture == GGUF_ARCHITECTURE:
        return Quantizer(UNKNOWN, bits)
    return Quantizer(method, bits, BLOCK_SIZE, symmetric=True)
