"""What is wrong with the servers of the Model Context Protocol, for `lineside check`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.util import find_spec

from lineside.edge.config import NAME, Config
from lineside.edge.mcp_config import McpConfig

Problem = tuple[tuple[str, ...], str]
"""A key, and a sentence that names it."""


def mcp_problems(config: Config) -> Iterator[Problem]:
    """Every mistake there. None is contacted, and the library is not loaded."""
    if config.mcp and find_spec("mcp") is None:
        yield ("mcp",), "`mcp` needs another package: pip install 'lineside[mcp]'"
    taken = {name: f"tools.{name}" for name in config.tools} | {name: f"cameras.{name}" for name in config.cameras}
    for name, server in config.mcp.items():
        above, key = ("mcp", name), f"mcp.{name}"
        if bool(server.command) == bool(server.url):
            yield above, f"`{key}` needs either a `command` or a `url`"
        if server.url and not re.match(r"https?://[^/]", server.url):
            yield (*above, "url"), f"`{key}.url` begins with neither http:// nor https://"
        if not re.fullmatch(NAME, name):
            yield above, f"`{key}`: a name has letters, digits, _ and - only"
        yield from _secrets(name, server)
        if not server.tools:
            yield above, f"`{key}.tools` names none: nothing of the server would be offered"
        for tool, settings in server.tools.items():
            own = (*above, "tools", tool)
            said = f"`{'.'.join(own)}`"
            if tool in taken:
                yield own, f"{said} has the name of `{taken[tool]}`: give it another, and the server's own as `tool`"
            taken[tool] = ".".join(own)
            if not re.fullmatch(NAME, tool):
                yield own, f"{said}: a name has letters, digits, _ and - only; the server's own goes into `tool`"
            if settings.publish is not None or settings.python or settings.query:
                yield own, f"{said}: a call goes to the server, and neither to `publish`, `python` nor `query`"


def _secrets(name: str, server: McpConfig) -> Iterator[Problem]:
    above, key = ("mcp", name), f"mcp.{name}"
    for section, other in (("env", "command"), ("headers", "url")):
        if getattr(server, section) and not getattr(server, other):
            yield (*above, section), f"`{key}.{section}` is for a server with a `{other}`"
        for variable, secret in getattr(server, section).items():
            text = secret.get_secret_value()
            if text.startswith("$") and text[1:] not in os.environ:
                problem = f"there is no variable {text[1:]} in the environment"
                yield (*above, section, variable), f"`{key}.{section}.{variable}`: {problem}"
