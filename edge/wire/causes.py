"""Why there is no connection, in a sentence that says what to look at; at once, and then once a minute."""

from __future__ import annotations

import logging
import socket
import ssl
import time

AGAIN_S = 60.0


def explain(error: Exception, host: str, port: int) -> str:
    """Of an attempt to connect that raised."""
    where = f"{host}:{port}"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"the name {host!r} of the broker is not found ({error.args[-1]}): check `mqtt.host` and the name server"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS with {where}: the broker's certificate is refused ({error.verify_message}): check `mqtt.ca_file`"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or error
        return f"TLS with {where} fails ({reason}): is it the TLS port, and are the versions the same?"
    if isinstance(error, TimeoutError):
        return f"no broker at {where}: the connection timed out; is the address right, does a firewall drop it?"
    if isinstance(error, ConnectionRefusedError):
        return f"no broker at {where}: the connection is refused, so nothing listens there"
    return f"no broker at {where}: {getattr(error, 'strerror', None) or error}"


class Reports:
    """Logs a sentence at once, and the same one again only after a minute."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[str, float] = {}

    def say(self, sentence: str) -> None:
        now = time.monotonic()
        if now - self._said.get(sentence, -AGAIN_S) >= AGAIN_S:
            self._said[sentence] = now
            self._log.warning("%s; trying again until it works", sentence)

    def clear(self) -> None:
        """All is well: whatever comes next is new."""
        self._said.clear()
