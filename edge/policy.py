"""Which calls are let through: declared in the station file, decided outside the model."""

from __future__ import annotations

from collections.abc import Mapping

import jsonschema
from jsonschema.validators import Draft202012Validator

from edge.config import ToolConfig
from edge.errors import ConfigError, RequestError
from runtime.chat import Tool, ToolCall


class Policy:
    """The allow list of one station.

    Raises:
        ConfigError: a tool's parameters are not a JSON Schema of an object.
    """

    def __init__(self, tools: Mapping[str, ToolConfig]) -> None:
        self._tools = dict(tools)
        self._validators = {name: _validator(name, tool) for name, tool in tools.items()}

    def offered(self) -> tuple[Tool, ...]:
        """The tools that the model is shown."""
        return tuple(Tool(name, tool.description, tool.parameters) for name, tool in self._tools.items())

    def check(self, call: ToolCall) -> ToolConfig:
        """The tool's settings where the call may go through.

        Raises:
            RequestError: the tool is not declared, not allowed, or the arguments do not satisfy its parameters.
        """
        tool = self._tools.get(call.name)
        if tool is None:
            raise RequestError("unknown_tool", f"{call.name} is not declared in the station file")
        if not tool.allowed:
            raise RequestError("not_allowed", f"{call.name} is declared with allowed = false")
        error = jsonschema.exceptions.best_match(self._validators[call.name].iter_errors(dict(call.arguments)))
        if error is not None:
            raise RequestError("bad_arguments", f"{call.name}: {error.json_path}: {error.message}")
        return tool


def _validator(name: str, tool: ToolConfig) -> Draft202012Validator:
    try:
        Draft202012Validator.check_schema(tool.parameters)
    except jsonschema.exceptions.SchemaError as error:
        raise ConfigError(f"`tools.{name}.parameters` is not a JSON Schema: {error.message}") from error
    if tool.parameters.get("type") != "object":
        raise ConfigError(f'`tools.{name}.parameters` must have type = "object"')
    return Draft202012Validator(tool.parameters)
