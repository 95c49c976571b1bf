"""A station of which only its HTTP server runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from openai import OpenAI

from lineside.edge.config import Config, ModelConfig
from lineside.edge.counters import Counters
from lineside.edge.device_choice import Choice, Opened
from lineside.edge.http.station import StationServer
from lineside.edge.http_config import HttpConfig
from lineside.edge.models import Models, NoModel
from lineside.edge.pulse import Pulse
from lineside.runtime.engine.engine import Engine
from tests.support.wait import LIMIT_S

KEY = "a key of this test"


@dataclass
class Station:
    """`port` is where it listens."""

    config: Config
    models: Models
    counters: Counters = field(default_factory=Counters)
    pulse: Pulse = field(default_factory=Pulse)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> OpenAI:
        return openai_client(self.url)

    def statuses(self) -> dict[str, int]:
        """Requests that were counted, by status."""
        split = self.counters.split().items()
        return {dict(labels)["status"]: value for (name, labels), value in split if name == "http_requests"}


def openai_client(url: str) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=LIMIT_S)


def one_model(model: Engine | NoModel) -> Models:
    whole = Opened(model, Choice("cpu", "of a test")) if isinstance(model, Engine) else model
    return Models(whole, whole)


@contextmanager
def served(models: Models, folder: Path, key: str = KEY, **changes: Any) -> Iterator[Station]:
    """Listens on a port of its own."""
    http: dict[str, Any] = {"port": 0, "key": key, "timeout_s": LIMIT_S, "max_tokens": 32} | changes
    config = Config(http=HttpConfig(**http), model=ModelConfig(temperature=0.0), folder=folder)
    station = Station(config, models)
    server = StationServer(station)
    station.port = server.port
    server.start()
    try:
        yield station
    finally:
        server.close()
