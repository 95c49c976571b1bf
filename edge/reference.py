"""References for `docs/`, made from the code: `python -m lineside.edge.reference docs/reference` writes them.

A test compares the files with what this module makes, so that they cannot fall behind.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import SecretStr, TypeAdapter

from lineside.edge import audit_config as audit_module
from lineside.edge import camera_config as camera_module
from lineside.edge import config as config_module
from lineside.edge import group_config as group_module
from lineside.edge import history_config as history_module
from lineside.edge import home_assistant_config as home_assistant_module
from lineside.edge import http_config as http_module
from lineside.edge import inspect_config as inspect_module
from lineside.edge import mcp_config as mcp_module
from lineside.edge import mqtt_config as mqtt_module
from lineside.edge import outputs_config as outputs_module
from lineside.edge import remote_config as remote_module
from lineside.edge import safety_config as safety_module
from lineside.edge import sparkplug_config as sparkplug_module
from lineside.edge import tool_config as tool_module
from lineside.edge import triggers_config as triggers_module
from lineside.edge import updates_config as updates_module
from lineside.edge import vss_config as vss_module
from lineside.edge import zigbee_config as zigbee_module
from lineside.edge.command_line.parser import make_parser

NOTE = "<!-- Made by `python -m lineside.edge.reference docs/reference` from the code: do not edit. -->"
TABLES = (
    ("station", config_module.StationConfig),
    ("mqtt", mqtt_module.MqttConfig),
    ("model", config_module.ModelConfig),
    ("inspect", inspect_module.InspectConfig),
    ("cameras.NAME", camera_module.CameraConfig),
    ("triggers.NAME", triggers_module.TriggerConfig),
    ("tools.NAME", tool_module.ToolConfig),
    ("tools.NAME.rate_limit", tool_module.RateLimit),
    ("tools.NAME.publish", tool_module.PublishConfig),
    ("tools.NAME.state", tool_module.StateConfig),
    ("tools.NAME.kuksa", tool_module.SignalConfig),
    ("[tools.NAME.phrases]", tool_module.PhraseConfig),
    ("[tools.NAME.home_assistant]", tool_module.HomeAssistantConfig),
    ("outputs.NAME", outputs_module.OutputConfig),
    ("mcp.NAME", mcp_module.McpConfig),
    ("mcp.NAME.tools.TOOL", mcp_module.McpToolConfig),
    ("zigbee2mqtt", zigbee_module.Zigbee2MqttConfig),
    ("zigbee2mqtt.devices.FRIENDLY_NAME", zigbee_module.ZigbeeDeviceConfig),
    ("sparkplug", sparkplug_module.SparkplugConfig),
    ("safety", safety_module.SafetyConfig),
    ("vss", vss_module.VssConfig),
    ("kuksa", vss_module.KuksaConfig),
    ("commands", config_module.CommandConfig),
    ("store", config_module.StoreConfig),
    ("history", history_module.HistoryConfig),
    ("group", group_module.GroupConfig),
    ("audit", audit_module.AuditConfig),
    ("metrics", config_module.MetricsConfig),
    ("remote", remote_module.RemoteConfig),
    ("updates", updates_module.UpdatesConfig),
    ("http", http_module.HttpConfig),
    ("home_assistant", home_assistant_module.DiscoveryConfig),
)


def station_reference() -> str:
    """Every key of a station file, table by table."""
    lines = [
        NOTE,
        "",
        "# Station file",
        "",
        "Every key of `station.toml`. An unknown key is an error that names it. A variable of the environment replaces",
        "one value: `LINESIDE_MQTT__PASSWORD` sets `mqtt.password`. Relative paths are taken from the file's folder.",
        "`lineside check station.toml` reads a file and says what is wrong in it.",
    ]
    for table, kind in TABLES:
        described = _described(sys.modules[kind.__module__], kind.__name__)
        about = " ".join((inspect.getdoc(kind) or "").split()).split(": ", 1)
        lines += ["", f"## `[{table}]`", "", _sentence(about[-1]), ""]
        lines += ["| key | type | default | |", "|---|---|---|---|"]
        for field in fields(kind):
            if field.name not in described:
                continue  # it stands at another table, whose keys this one has too
            cells = (f"`{field.name}`", _type(kind, field), _default(field), described[field.name])
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def command_line_reference() -> str:
    """Every command of `lineside` with its arguments and options."""
    lines = [
        NOTE,
        "",
        "# Command line",
        "",
        "Exit codes: 0 done; 1 what was asked for failed; 2 the command line or the",
    ]
    lines += ["station file is wrong; 130 interrupted. What is wrong is one sentence on standard error."]
    for name, command, about in _commands(make_parser()):
        lines += ["", f"## `lineside {_usage(name, command)}`", "", _sentence(about)]
        rows = [row for action in command._actions if (row := _option(action))]
        if rows:
            lines += ["", "| | default | |", "|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Each that does something, with its words and what it is for."""
    for commands in parser._actions:
        if isinstance(commands, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in commands._choices_actions}
            for name, command in commands.choices.items():
                inner = [(f"{name} {words}", each, about) for words, each, about in _commands(command)]
                yield from inner or [(name, command, helps[name])]


def _usage(name: str, command: argparse.ArgumentParser) -> str:
    words = [name]
    for action in command._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = str(action.metavar or action.dest)
        if action.required and action.option_strings:
            words.insert(1, f"{action.option_strings[0]} {value}")
        elif not action.option_strings:
            words.append(f"[{value}]" if action.nargs == "?" else f"{value} ..." if action.nargs == "+" else value)
    return " ".join(words)


def _option(action: argparse.Action) -> str:
    if isinstance(action, argparse._HelpAction):
        return ""
    value = action.metavar or (action.dest.upper() if action.option_strings and action.nargs != 0 else action.dest)
    shown = ", ".join(action.option_strings) or str(value)
    if action.option_strings and action.nargs != 0 and not action.choices:
        shown += f" {value}"
    text = action.help or ""
    if action.choices:
        text = f"{', '.join(f'`{choice}`' for choice in action.choices)}; {text}".rstrip("; ")
    default = action.default
    if action.required or (not action.option_strings and action.nargs != "?"):
        default = "needed"
    elif default in (None, "", [], 0, 0.0) or default is False:
        default = ""
    elif isinstance(default, Path) and default.is_absolute():
        default = "the ball screw station"
    return f"| `{shown}` | {default} | {text.replace('|', chr(92) + '|')} |"


def _described(module: ModuleType, name: str) -> dict[str, str]:
    """The text below each attribute of a class."""
    tree = ast.parse(inspect.getsource(module))
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    texts = {}
    for attribute, text in zip(found.body, found.body[1:], strict=False):
        if isinstance(attribute, ast.AnnAssign) and isinstance(attribute.target, ast.Name):
            described = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            if not described:
                raise ValueError(f"{name}.{attribute.target.id} has no text below it")
            texts[attribute.target.id] = " ".join(str(text.value.value).split())  # type: ignore[attr-defined]
    return texts


def _type(kind: type, field: Field[Any]) -> str:
    schema = TypeAdapter(kind).json_schema()
    return _schema_type(schema["properties"][field.name])


def _schema_type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return "table"
    if "anyOf" in schema:
        kinds = [_schema_type(option) for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    name = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "object": "table"}
    if schema.get("type") == "array":
        return "list of " + ("texts" if schema.get("items", {}).get("type") == "string" else "values")
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    above = "above " if "exclusiveMinimum" in schema else ""
    bounds = f", {above}{low}" if low is not None else ""
    if high is not None:
        bounds += f" to {high}" if not above else f", at most {high}"
    elif low is not None and not above:
        bounds += " or more"
    return name[schema["type"]] + bounds


def _default(field: Field[Any]) -> str:
    value = field.default
    if value is MISSING and field.default_factory is MISSING:
        return "needed"
    if value is MISSING or value is None or is_dataclass(value):
        return ""
    if isinstance(value, SecretStr):
        value = ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`' if value else ""
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`" if value else ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "station.md").write_text(station_reference(), encoding="utf-8")
    (folder / "command-line.md").write_text(command_line_reference(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
