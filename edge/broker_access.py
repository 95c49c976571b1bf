"""How a station shows a broker who it is, and checks who the broker is: password, certificates, TLS.

All files are read at each connect, so that a new password or a renewed certificate is used without a restart.
"""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

from lineside.edge.address import is_loopback, parse_address
from lineside.edge.errors import ConfigError
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.secret_file import read_secret


def read_password(config: MqttConfig) -> str | None:
    """From `password_file`, else `password`; None where there is neither.

    Raises:
        ConfigError: the file cannot be read, is empty, or is no text.
    """
    if not config.password_file:
        return config.password.get_secret_value() or None
    return read_secret(config.password_file, "mqtt.password_file", "password")


def tls_context(config: MqttConfig) -> ssl.SSLContext | None:
    """None without `tls`.

    Raises:
        ConfigError: a file cannot be used; it names the key.
    """
    if not config.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=config.ca_file or None)
    except (OSError, ValueError) as error:
        raise ConfigError(f"`mqtt.ca_file`: {config.ca_file}: {_said(error)}") from None
    if config.cert_file:
        try:
            context.load_cert_chain(config.cert_file, config.key_file, _no_passphrase)
        except _Passphrase:
            raise ConfigError(
                f"`mqtt.key_file`: {config.key_file} has a passphrase, which nobody is there to type: take it off"
            ) from None
        except (OSError, ValueError) as error:
            files = f"{config.cert_file} with {config.key_file}"
            raise ConfigError(f"`mqtt.cert_file`: {files}: {_said(error)}") from None
    return context


class _Passphrase(Exception):
    """A key asks for one."""


def _no_passphrase() -> str:
    raise _Passphrase


def _said(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        if error.reason == "KEY_VALUES_MISMATCH":
            return "the key is not that of the certificate"
        return f"is it PEM? ({error.reason or error})"
    return getattr(error, "strerror", None) or str(error)


def beyond_loopback(config: MqttConfig) -> Iterator[tuple[str, str]]:
    """Key and host of each broker that is, or may be, on another machine."""
    if not is_loopback(config.host):
        yield "host", config.host
    for text in config.fallback_hosts:
        host, _ = parse_address(text, config.port)
        if not is_loopback(host):
            yield "fallback_hosts", host


def warnings_of(config: MqttConfig) -> Iterator[str]:
    """What works, and gives secrets away."""
    for key in ("password_file", "key_file"):
        path = getattr(config, key)
        if path and Path(path).stat().st_mode & stat.S_IROTH:
            yield f"`mqtt.{key}`: every user of this machine can read {path}: chmod o-r {path}"
    secret = config.username and (config.password_file or config.password.get_secret_value())
    far = next(beyond_loopback(config), None)
    if secret and far is not None and not config.tls:
        yield f"`mqtt.{far[0]}`: the password goes to {far[1]} in the clear: set `mqtt.tls = true`"
