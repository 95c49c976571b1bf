"""mistral-common's tokenizer for a `tekken.json`, without the part of its making that nothing here needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mistral_common.protocol.instruct.normalize import get_normalizer
from mistral_common.protocol.instruct.validator import ValidationMode, get_validator
from mistral_common.tokens.tokenizers.base import TokenizerVersion
from mistral_common.tokens.tokenizers.instruct import (
    InstructTokenizerV3,
    InstructTokenizerV7,
    InstructTokenizerV11,
    InstructTokenizerV13,
)
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer, load_image_encoder
from mistral_common.tokens.tokenizers.tekken import Tekkenizer, is_tekken

MODE = ValidationMode.serving
FORMATS: dict[TokenizerVersion, Any] = {
    TokenizerVersion.v3: InstructTokenizerV3,
    TokenizerVersion.v7: InstructTokenizerV7,
    TokenizerVersion.v11: InstructTokenizerV11,
    TokenizerVersion.v13: InstructTokenizerV13,
}


def read_mistral(path: Path) -> Any:
    """What `MistralTokenizer.from_file` makes of the file, in half the time. Raises what that raises."""
    try:
        made = _quickly(path) if is_tekken(path) else None
    except (AttributeError, TypeError):  # a later mistral-common is made otherwise
        made = None
    return MistralTokenizer.from_file(path, mode=MODE) if made is None else made


def _quickly(path: Path) -> Any:
    """None for what has a format of its own."""
    inner = QuickTekkenizer.from_file(path)
    instruct = FORMATS.get(inner.version)
    if instruct is None or inner.audio is not None:
        return None
    images = load_image_encoder(inner.image, inner) if inner.image is not None else None
    return MistralTokenizer(
        instruct(inner, image_encoder=images),
        validator=get_validator(inner.version, mode=MODE),
        request_normalizer=get_normalizer(inner.version, inner.model_settings_builder),
    )


class QuickTekkenizer(Tekkenizer):
    """Spells the whole vocabulary when somebody asks for it. A `Tekkenizer` does when it is made, which takes longer
    than all else.
    """

    _made = False

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._made = True

    def id_to_piece(self, token_id: int) -> str:
        return super().id_to_piece(token_id) if self._made else ""

    def vocab(self) -> list[str]:
        return [self.id_to_piece(token) for token in range(self.n_words)]
