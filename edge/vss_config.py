"""What the station file says of a vehicle: its signals, which of them are offered, and where they are set."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT

Spoken = Literal["en", "de", "fr", "es"]
SPOKEN: tuple[Spoken, ...] = ("en", "de", "fr", "es")
Path = Annotated[str, Field(pattern=r"^[\w*]+(\.[\w*]+)*$", description='a path such as "Cabin.Sunroof.Position"')]


@dataclass(frozen=True, config=STRICT)
class VssConfig:
    """Tools made from a file of the COVESA Vehicle Signal Specification (VSS)."""

    file: str = ""
    """What `vspec export json` of vss-tools writes, from the station file's folder; no tools are made where it is
    empty."""
    actuators: tuple[Path, ...] = ()
    """Signals that may be set, each a tool `set_...`: paths such as `Cabin.Sunroof.Position`, with `*` for one part and
    `**` for any number of them. Nothing is offered that is not named here."""
    sensors: tuple[Path, ...] = ()
    """Signals that may be asked for, each a tool `get_...`: paths as above. An actuator must be named without `*`."""
    languages: tuple[Spoken, ...] = SPOKEN
    """Those in which phrases are made for signals whose words are known."""
    publish: str = ""
    """Calls of actuators are published below this topic, as `{"value": 22}` on `PUBLISH/Cabin/Sunroof/Position`. With
    `[kuksa]` they go to the databroker instead; where neither is given to `call/NAME`."""
    states: str = ""
    """The values of signals are heard below this topic, such as `STATES/Speed`: a number or text, or `{"value": 22}`.
    With `[kuksa]` they come from the databroker."""


@dataclass(frozen=True, config=STRICT)
class KuksaConfig:
    """A KUKSA databroker, to which the signals of a vehicle are set and from which their values are heard."""

    address: Annotated[
        str,
        Field(
            pattern=r"^$|^[^\s:]+:\d{1,5}$|^\[[0-9a-fA-F:]+\]:\d{1,5}$",
            description='host:port, such as "127.0.0.1:55555",',
        ),
    ] = ""
    """Where it listens, such as `127.0.0.1:55555`; no databroker is spoken to where it is empty."""
    tls: bool = False
    """Encrypts the connection, and checks the databroker's certificate."""
    ca_file: str = ""
    """A file of certificates to trust instead of the system's."""
    token_file: str = ""
    """A file with the token (JWT) that the databroker asks for, read at each connect. It is never logged."""
