"""Why there is no connection, in a sentence that says what to look at; at once, and then once a minute."""

from __future__ import annotations

import logging
import socket
import ssl
import time

from paho.mqtt.client import WebsocketConnectionError

from lineside.edge.address import show_address

AGAIN_S = 60.0
ISSUER = "nobody that this station trusts has issued it: give its issuer's certificate as `mqtt.ca_file`"
NAME = "it is for another name than `mqtt.host`: use one that stands in it"
VERIFICATION = {
    9: "it is not valid yet: is this machine's clock right?",
    10: "renew it, or is this machine's clock wrong?",
    18: ISSUER,
    19: ISSUER,
    20: ISSUER,
    21: ISSUER,
    62: NAME,
    64: NAME,
}
"""By OpenSSL's number of the check that failed."""
WANTED = "the broker wants a certificate: give `mqtt.cert_file` and `mqtt.key_file`"
OURS = "the broker does not take the certificate in `mqtt.cert_file`"
ALERTS = (
    ("CERTIFICATE_REQUIRED", WANTED),
    ("HANDSHAKE_FAILURE", f"{WANTED}, or the versions of TLS differ"),
    ("CERTIFICATE_EXPIRED", f"{OURS}: it has expired"),
    ("CERTIFICATE_REVOKED", f"{OURS}: it is revoked"),
    ("ALERT_UNKNOWN_CA", f"{OURS}: it does not know who has issued it"),
    ("BAD_CERTIFICATE", OURS),
    ("CERTIFICATE_UNKNOWN", OURS),
    ("ALERT_ACCESS_DENIED", OURS),
    ("WRONG_VERSION_NUMBER", "is it the TLS port?"),
    ("RECORD_LAYER_FAILURE", "is it the TLS port?"),
    ("EOF", "is it the TLS port?"),
)
"""By words of OpenSSL's reason."""
NO_SHARED = (
    "the broker at {} says that it has no shared subscriptions, and a group needs them: take another broker, or "
    "`group.name` out of the station file"
)


def explain(error: Exception, host: str, port: int) -> str:
    """Of an attempt to connect that raised."""
    where = show_address(host, port)
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"the name {host!r} of the broker is not found ({error.args[-1]}): check `mqtt.host` and the name server"
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = VERIFICATION.get(error.verify_code, "check `mqtt.ca_file`")
        said = error.verify_message.rstrip(".")
        return f"TLS with {where}: the broker's certificate is refused ({said}): {advice}"
    if isinstance(error, ssl.SSLError):
        reason = (getattr(error, "reason", None) or str(error)).upper().replace(" ", "_")
        advice = next((sentence for words, sentence in ALERTS if words in reason), "are the versions of TLS the same?")
        return f"TLS with {where} fails ({reason}): {advice}"
    if isinstance(error, TimeoutError):
        return f"no broker at {where}: the connection timed out; is the address right, does a firewall drop it?"
    if isinstance(error, ConnectionResetError):
        return f"{where} closes the connection during its greeting: is it the port for TLS, or for websockets?"
    if isinstance(error, ConnectionRefusedError):
        return f"no broker at {where}: the connection is refused, so nothing listens there"
    if isinstance(error, WebsocketConnectionError):
        advice = "is it the port for websockets, and `mqtt.websocket_path` right?"
        return f"{where} does not speak websockets ({error}): {advice}"
    return f"no broker at {where}: {getattr(error, 'strerror', None) or error}"


def closed_without_a_word(host: str, port: int, tls: bool) -> str:
    where = show_address(host, port)
    advice = "does it want a certificate (`mqtt.cert_file`)?" if tls else "does it want TLS (`mqtt.tls`)?"
    return f"{where} closes the connection without an answer: is it the port of a broker, {advice}"


def silent(host: str, port: int, seconds: float) -> str:
    where = show_address(host, port)
    return f"no broker at {where}: it accepts the connection, and the answer timed out ({seconds:g} s)"


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
