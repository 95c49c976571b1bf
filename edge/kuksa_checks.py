"""What is wrong with `[kuksa]` and with what needs it, for `lineside check`. The databroker is not contacted."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from lineside.edge.address import is_loopback
from lineside.edge.config import Config
from lineside.edge.topic_choice import KUKSA, topics_of

Problem = tuple[tuple[str, ...], str]
"""A key, and a sentence that names it."""


def kuksa_problems(config: Config) -> Iterator[Problem]:
    """Every mistake there."""
    kuksa = config.kuksa
    if kuksa.address:
        if find_spec("kuksa") is None or find_spec("grpc") is None:
            yield ("kuksa",), "`kuksa` needs another package: pip install 'lineside[kuksa]'"
        if not 0 < int(kuksa.address.rpartition(":")[2]) < 65536:
            yield ("kuksa", "address"), f"`kuksa.address` {kuksa.address!r}: a port is a number from 1 to 65535"
        if kuksa.token_file and not kuksa.tls and not is_loopback(kuksa.address.rpartition(":")[0].strip("[]")):
            yield ("kuksa", "token_file"), "`kuksa.token_file` would cross the network for all to read: set `kuksa.tls`"
    if kuksa.ca_file and not kuksa.tls:
        yield ("kuksa", "ca_file"), "`kuksa.ca_file` does nothing without `kuksa.tls`"
    for name in ("ca_file", "token_file"):
        path = getattr(kuksa, name)
        if path and not config.resolve(path).is_file():
            yield ("kuksa", name), f"`kuksa.{name}`: {config.resolve(path)} is not a file"
    for name, tool in config.tools.items():
        above, key = ("tools", name), f"tools.{name}"
        others = [other for other in ("publish", "python", "query") if getattr(tool, other)]
        if tool.kuksa is not None and others:
            yield (*above, "kuksa"), f"`{key}` has both `kuksa` and `{others[0]}`: a call does one thing"
        if tool.kuksa is not None and not kuksa.address:
            yield (*above, "kuksa"), f"`{key}.kuksa`: say with `kuksa.address` where the databroker is"
        if tool.state is not None:
            yield from _topics((*above, "state", "topic"), config, tool.state.topic)
    for name, state in config.safety.states.items():
        yield from _topics(("safety", "states", name, "topic"), config, state.topic)


def _topics(key: tuple[str, ...], config: Config, topic: str | dict[str, dict[str, str]]) -> Iterator[Problem]:
    for each in topics_of(topic).values():
        if each.startswith(KUKSA) and not config.kuksa.address:
            yield key, f"`{'.'.join(key)}` {each!r}: say with `kuksa.address` where the databroker is"
