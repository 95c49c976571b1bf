"""A file that holds one secret, such as a password, as service managers hand them over."""

from __future__ import annotations

from pathlib import Path

from lineside.edge.errors import ConfigError

LONGEST_BYTES = 65535
"""What MQTT takes."""


def read_secret(path: str, key: str, what: str) -> str:
    """What stands in the file of `key`; a line break at its end is left out. `what` names it in messages.

    Raises:
        ConfigError: the file cannot be read, is empty, or is no text of one line.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"`{key}`: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"`{key}`: {path} is not UTF-8 text") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret or "\n" in secret or len(secret.encode()) > LONGEST_BYTES:
        raise ConfigError(f"`{key}`: {path} must hold the {what} alone, on one line")
    return secret
