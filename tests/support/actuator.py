"""An actuator that carries one call out."""

from __future__ import annotations

import json
import threading

from tests.support.client import Client
from tests.support.station import TOPICS


def act(client: Client, outcome: str = "achieved") -> threading.Thread:
    """Play the actuator: answer the first call on any tool."""

    def answer() -> None:
        call = client.wait_for(lambda message: "/call/" in message.topic)[0]
        body = {"id": call.json()["id"], "outcome": outcome, "detail": "belt drive"}
        client.publish(TOPICS.returned(call.topic.rsplit("/", 1)[1]), json.dumps(body))

    thread = threading.Thread(target=answer)
    thread.start()
    return thread
