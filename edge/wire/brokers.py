"""The brokers of a station, each tried in turn, and the MQTT version that each of them speaks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

from lineside.edge.address import parse_address, show_address
from lineside.edge.broker_access import read_password, tls_context
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.wire.paho_client import Attempt

Version = Literal[5, 4]
"""Of MQTT, as a CONNECT gives it: 4 is 3.1.1."""


class Speech:
    """Which version is spoken with one broker: 5, and 3.1.1 where the broker has no 5.

    A broker that says so is believed. One that closes the connection without a word may as well be one that starts, or
    no broker at all: it has no 5 when it takes 3.1.1 and closes the next connection with 5 again. After a connection
    that stood, 5 is tried first: the broker may be a newer one by now.

    Attributes:
        version: of the next attempt.
    """

    def __init__(self) -> None:
        self.version: Version = 5
        self._takes_older = self._has_no_5 = False

    def refused(self) -> None:
        """The broker says that it has no 5."""
        self._has_no_5, self.version = True, 4

    def closed(self) -> bool:
        """The connection was closed without an answer. Returns whether 3.1.1 is to be tried at once."""
        self._has_no_5 = self.version == 5 and (self._takes_older or self._has_no_5)
        self.version = 4 if self.version == 5 else 5
        return self.version == 4

    def accepted(self) -> bool:
        """The broker greets. Returns whether to stay: not where 5 is to be tried once more."""
        self._takes_older = self.version == 4
        if self._takes_older and not self._has_no_5:
            self.version = 5
            return False
        self._has_no_5 = self._takes_older
        return True

    def begin_anew(self) -> None:
        """A connection that stood is lost."""
        self.version = 5


@dataclass(frozen=True)
class Broker:
    host: str
    port: int

    def __str__(self) -> str:
        return show_address(self.host, self.port)


class Brokers:
    """`host` and then the `fallback_hosts`: the next after each failure, the first after a connection that stood.

    Attributes:
        current: the one that is tried, or connected.
    """

    def __init__(self, config: MqttConfig) -> None:
        others = (parse_address(text, config.port) for text in config.fallback_hosts)
        self._all = [Broker(config.host, config.port), *(Broker(host, port) for host, port in others)]
        self._at = 0

    @property
    def current(self) -> Broker:
        return self._all[self._at]

    def turn(self) -> bool:
        """To the next. Returns whether it has not been tried in this round yet."""
        self._at = (self._at + 1) % len(self._all)
        return self._at > 0

    def begin_anew(self) -> None:
        self._at = 0


class Attempts:
    """Of one connection to connect: which broker comes next, in which version, and whether at once.

    Args:
        leader: of another connection, whose broker this one goes to as well.
    """

    def __init__(self, config: MqttConfig, receive_maximum: int, leader: Attempts | None = None) -> None:
        self._config, self._receive_maximum = config, receive_maximum
        self._leads = leader is None
        self._brokers: Brokers = Brokers(config) if leader is None else leader._brokers
        self._speech: dict[Broker, Speech] = defaultdict(Speech)
        self._broker, self._again = self._brokers.current, False

    @property
    def broker(self) -> Broker:
        """Of the latest attempt."""
        return self._broker

    @property
    def astray(self) -> bool:
        """Whether the leader has gone to another broker."""
        return self._broker != self._brokers.current

    def begin(self) -> Attempt:
        """Raises ConfigError where a file that it needs cannot be used."""
        self._broker, self._again = self._brokers.current, False
        config = self._config
        return Attempt(
            self._broker.host,
            self._broker.port,
            self._speech[self._broker].version,
            config.keepalive_s,
            config.session_expiry_s,
            self._receive_maximum,
            config.username,
            read_password(config),
            tls_context(config),
        )

    def greeted(self) -> bool:
        """Returns whether to stay."""
        self._again = not self._speech[self._broker].accepted()
        return not self._again

    def has_no_5(self) -> None:
        """The broker has said so."""
        self._speech[self._broker].refused()
        self._again = True

    def ended(self, *, stood: bool, unanswered: bool) -> Literal["wait", "version", "broker"]:
        """What to do next: wait, or go at once for the other version or the next broker.

        Args:
            unanswered: the broker has closed the connection without a word.
        """
        speech = self._speech[self._broker]
        if stood:
            speech.begin_anew()
            if self._leads:
                self._brokers.begin_anew()
            return "wait"
        if self._again or (unanswered and speech.closed()):
            return "version"
        return "broker" if self._leads and self._brokers.turn() else "wait"
