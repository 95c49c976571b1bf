"""What the station file says about the server for HTTP."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT


@dataclass(frozen=True, config=STRICT)
class HttpConfig:
    """The model for other programs over HTTP, as OpenAI's clients speak it, and the station's page."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """`/v1` and the page on this port; 0 for no server."""
    address: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Where it listens. Another address than this machine's own needs a key."""
    key: SecretStr = SecretStr("")
    """What a client must show, as `Authorization: Bearer KEY`. Better given as `LINESIDE_HTTP__KEY` in the environment,
    or in `key_file`. It is never logged."""
    key_file: str = ""
    """A file with the key alone, read at the start; a line break at its end is left out."""
    page_key: SecretStr = SecretStr("")
    """The page's own password. With it the page answers questions (`confirm_s`), and `key` does not open it; without it
    the page is behind `key` and answers none. Better given as `LINESIDE_HTTP__PAGE_KEY`, or in `page_key_file`."""
    page_key_file: str = ""
    """A file with the page's password alone."""
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 120.0
    """How long an answer may take, with the time that it waits for frames, commands and other answers."""
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    """The longest answer, in tokens; a client may ask for less."""
    max_body_mb: Annotated[int, Field(ge=1, le=1024)] = 20
    """The largest request, with its pictures."""
