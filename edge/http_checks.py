"""What is wrong with `[http]`, besides the types of its values."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from lineside.edge.address import is_loopback
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.secret_file import read_secret

Problem = tuple[tuple[str, ...], str]
"""A key, and a sentence that names it."""


def http_problems(config: Config) -> Iterator[Problem]:
    """Every mistake there. Nothing listens, and the libraries are not loaded."""
    http = config.http
    if not http.port:
        return
    if find_spec("uvicorn") is None or find_spec("starlette") is None:
        yield ("http", "port"), "`http.port` needs other packages: pip install 'lineside[http]'"
    if http.port == config.metrics.port:
        yield ("http", "port"), f"`http.port` {http.port} is `metrics.port` too: choose another"
    key = http.key.get_secret_value()
    if not key and not http.key_file and not is_loopback(http.address):
        advice = "give `http.key_file`, or LINESIDE_HTTP__KEY in the environment"
        yield ("http", "address"), f"`http.address` {http.address}: anybody who reaches it could ask: {advice}"
    yield from _secret_problems(config, "key", key, http.key_file)
    yield from _secret_problems(config, "page_key", http.page_key.get_secret_value(), http.page_key_file)


def _secret_problems(config: Config, name: str, given: str, file: str) -> Iterator[Problem]:
    if given and file:
        yield ("http", name), f"`http.{name}` and `http.{name}_file` are both given: one of them is right"
    if not given.isascii():
        yield ("http", name), f"`http.{name}` has other characters than ASCII, which HTTP cannot carry"
    if file:
        key = f"http.{name}_file"
        try:
            secret = read_secret(str(config.resolve(file)), key, "key")
        except ConfigError as error:
            yield ("http", f"{name}_file"), str(error)
        else:
            if not secret.isascii():
                yield ("http", f"{name}_file"), f"`{key}` has other characters than ASCII, which HTTP cannot carry"
