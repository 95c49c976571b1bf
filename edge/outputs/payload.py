"""What an output sends, from the template of the station file."""

from __future__ import annotations

import json

from lineside.devices.errors import LinkError
from lineside.edge.outputs.job import About
from lineside.edge.outputs_config import OutputConfig
from lineside.edge.templates import FAILURES, compile_template
from lineside.edge.wire.messages import JSON_TYPE

TEXT_TYPE = "text/plain"
WHOLE = {name: f"{{{{ {name} }}}}" for name in ("on", "output", "verdict", "camera", "part_id", "id", "captured_at")}
COUNTED = {name: f"{{{{ {name} }}}}" for name in ("count", "output")}
"""What is sent where the station file says nothing else: for a verdict, and for a heartbeat."""


class Payload:
    """Raises ConfigError where the template does not parse."""

    def __init__(self, name: str, config: OutputConfig) -> None:
        self._name = name
        usual = COUNTED if config.heartbeat_s else WHOLE
        template = usual if config.payload is None else config.payload
        self._render = compile_template(template, f"outputs.{name}.payload")

    def make(self, on: bool, count: int, about: About) -> tuple[bytes, str] | None:
        """Bytes and their content type; None where there is nothing to send.

        Raises:
            LinkError: the template cannot be filled in.
        """
        try:
            value = self._render({"on": on, "count": count, "output": self._name, **about})
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
        except FAILURES as error:
            raise LinkError(f"`outputs.{self._name}.payload` cannot be made: {error}") from error
        if not text.strip():
            return None
        return text.encode(), TEXT_TYPE if isinstance(value, str) else JSON_TYPE
