"""What is wrong with `[mqtt]`, besides the types of its values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from lineside.edge.address import parse_address
from lineside.edge.broker_access import beyond_loopback, read_password, tls_context
from lineside.edge.config import Config
from lineside.edge.errors import ConfigError
from lineside.edge.mqtt_config import MqttConfig

Key = tuple[str, ...]
Problem = tuple[Key, str]
"""The key, and a sentence that names it."""
FIRST_KEY = re.compile(r"`mqtt\.(\w+)`")


def broker_problems(config: Config) -> Iterator[Problem]:
    mqtt = config.mqtt
    addresses = list(_addresses(mqtt))
    yield from addresses
    if not addresses:
        yield from _anonymous(mqtt)
    yield from _login(mqtt)
    yield from _transport(mqtt)
    files = [*_certificates(mqtt), *_missing_files(config)]
    yield from files
    if not files:
        yield from _unusable_files(config.broker_access)
    if "" in mqtt.response_prefixes:
        yield ("mqtt", "response_prefixes"), "`mqtt.response_prefixes` has an empty one: a reply could go anywhere"
    for prefix in mqtt.response_prefixes:
        if re.search(r"[#+\x00]|^[$/]", prefix):
            yield ("mqtt", "response_prefixes"), f"`mqtt.response_prefixes` {prefix!r} does not begin a plain topic"


def _addresses(mqtt: MqttConfig) -> Iterator[Problem]:
    if re.search(r"[\s/\[\]\x00]", mqtt.host) or "://" in mqtt.host or mqtt.host.count(":") == 1:
        advice = "a name or an address alone: the port is `mqtt.port`, encryption `mqtt.tls`"
        yield ("mqtt", "host"), f"`mqtt.host` {mqtt.host!r} is not {advice}"
        return
    seen = Counter([(mqtt.host, mqtt.port)])
    for text in mqtt.fallback_hosts:
        try:
            address = parse_address(text, mqtt.port)
        except ValueError:
            advice = "a name or an address, with :port behind it where it is not `mqtt.port`"
            yield ("mqtt", "fallback_hosts"), f"`mqtt.fallback_hosts` {text!r} is not {advice}"
            continue
        seen[address] += 1
        if seen[address] == 2:
            yield ("mqtt", "fallback_hosts"), f"`mqtt.fallback_hosts` {text!r} is there already"


def _anonymous(mqtt: MqttConfig) -> Iterator[Problem]:
    if mqtt.username or mqtt.cert_file or mqtt.allow_anonymous:
        return
    for key, host in beyond_loopback(mqtt):
        advice = "give `mqtt.username` or `mqtt.cert_file`, or say `mqtt.allow_anonymous = true`"
        yield ("mqtt", key), f"`mqtt.{key}`: the station would speak to {host} without saying who it is: {advice}"


def _login(mqtt: MqttConfig) -> Iterator[Problem]:
    password = mqtt.password.get_secret_value()
    if password and mqtt.password_file:
        yield ("mqtt", "password"), "`mqtt.password` and `mqtt.password_file` are both given: one of them is right"
    if (password or mqtt.password_file) and not mqtt.username:
        key = "password" if password else "password_file"
        yield ("mqtt", key), f"`mqtt.{key}` without `mqtt.username`: it would not be sent"


def _transport(mqtt: MqttConfig) -> Iterator[Problem]:
    if not re.fullmatch(r"/[^\s#]*", mqtt.websocket_path):
        yield ("mqtt", "websocket_path"), f"`mqtt.websocket_path` {mqtt.websocket_path!r} is not a path such as /mqtt"
    if mqtt.transport == "tcp" and mqtt.websocket_path != MqttConfig.websocket_path:
        yield ("mqtt", "websocket_path"), '`mqtt.websocket_path` is of no use without `mqtt.transport = "websockets"`'


def _certificates(mqtt: MqttConfig) -> Iterator[Problem]:
    if mqtt.ca_file and not mqtt.tls:
        yield ("mqtt", "ca_file"), "`mqtt.ca_file` without `mqtt.tls = true`: the password would go out in the clear"
    if mqtt.cert_file and not mqtt.tls:
        yield ("mqtt", "cert_file"), "`mqtt.cert_file` without `mqtt.tls = true`: nobody would ask for it"
    if bool(mqtt.cert_file) != bool(mqtt.key_file):
        there, missing = ("cert_file", "key_file") if mqtt.cert_file else ("key_file", "cert_file")
        yield ("mqtt", there), f"`mqtt.{there}` without `mqtt.{missing}`: they belong together"


def _missing_files(config: Config) -> Iterator[Problem]:
    for name in ("ca_file", "cert_file", "key_file", "password_file"):
        path = getattr(config.mqtt, name)
        if path and not config.resolve(path).is_file():
            yield ("mqtt", name), f"`mqtt.{name}`: {config.resolve(path)} is not a file"


def _unusable_files(mqtt: MqttConfig) -> Iterator[Problem]:
    for use in (tls_context, read_password):
        try:
            use(mqtt)
        except ConfigError as error:
            named = FIRST_KEY.search(str(error))
            yield ("mqtt", named[1] if named else "tls"), str(error)
