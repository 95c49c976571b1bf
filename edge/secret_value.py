"""A secret of the station file that may stand in the environment instead."""

from __future__ import annotations

import os

from pydantic import SecretStr

from lineside.edge.errors import ConfigError


def value_of(secret: SecretStr, key: str) -> str:
    """`$NAME` is the variable of that name. Raises ConfigError where there is none."""
    text = secret.get_secret_value()
    if not text.startswith("$"):
        return text
    if text[1:] not in os.environ:
        raise ConfigError(f"`{key}`: there is no variable {text[1:]} in the station's environment")
    return os.environ[text[1:]]
