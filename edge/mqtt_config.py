"""What the station file says of the broker."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import DAY_S, STRICT


@dataclass(frozen=True, config=STRICT)
class MqttConfig:
    """Where the broker is, and how the station shows who it is."""

    host: Annotated[str, Field(min_length=1)] = "localhost"
    """Name or address of the broker."""
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    """Its port; with `tls` usually 8883."""
    fallback_hosts: tuple[str, ...] = ()
    """Brokers to try in turn where `host` does not answer: a name or an address, with `:port` where it has another port
    than `port`. After a connection that was lost `host` comes first again."""
    transport: Literal["tcp", "websockets"] = "tcp"
    """`websockets` where nothing but HTTP gets through."""
    websocket_path: str = "/mqtt"
    """What the broker's websockets listener is called, with `transport = "websockets"`."""
    username: str = ""
    """Empty where the broker asks for none, or knows the station by its certificate."""
    password: SecretStr = SecretStr("")
    """Better given as `LINESIDE_MQTT__PASSWORD` in the environment, or in `password_file`. It is never logged."""
    password_file: str = ""
    """A file with the password alone, read at each connect; a line break at its end is left out."""
    allow_anonymous: bool = False
    """A broker on another machine is spoken to with a `username` or a `cert_file`, unless this is true."""
    tls: bool = False
    """Encrypts the connection, and checks the broker's certificate."""
    ca_file: str = ""
    """A file of certificates to trust instead of the system's."""
    cert_file: str = ""
    """The station's own certificate (PEM, with those of its issuers behind it), for a broker that asks for one. Read at
    each connect."""
    key_file: str = ""
    """The private key of `cert_file`, without a passphrase."""
    client_id: str = ""
    """`lineside-{station.name}` where it is empty. Two stations with one id throw each other out. Frames come under the
    same id with `-frames` behind it."""
    keepalive_s: Annotated[int, Field(ge=5, le=65535)] = 30
    """How often a connection without traffic is checked."""
    session_expiry_s: Annotated[int, Field(ge=0, le=30 * DAY_S)] = 3600
    """How long the broker keeps commands and frames for a station that is away."""
    response_prefixes: tuple[str, ...] = ("clients/",)
    """Where replies may go, besides the station's own `rsp/`: what a response topic may begin with."""
