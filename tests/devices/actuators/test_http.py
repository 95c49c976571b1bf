from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lineside.devices.actuators.http import HttpCall
from lineside.devices.errors import LinkError
from tests.support.plc import deaf_controller, free_port


class Relay(ThreadingHTTPServer):
    """Keeps what it is sent, and answers as `status` says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.calls = 200, list[tuple[str, str, str, bytes]]()


class Handler(BaseHTTPRequestHandler):
    def handle_any(self) -> None:
        assert isinstance(self.server, Relay)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append((self.command, self.path, self.headers.get("Content-Type", ""), body))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET = handle_any

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as relay:
        thread = threading.Thread(target=relay.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield relay
        relay.shutdown()
        thread.join()


def test_a_call_carries_its_body_and_type(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    url = f"http://127.0.0.1:{relay.server_port}/relay/1"
    HttpCall(url, "POST", {"X-Key": "k"}, 30).send(b'{"on": true}', "application/json")
    HttpCall(url, "GET", {}, 30).send(b"ignored", "text/plain")
    assert relay.calls == [("POST", "/relay/1", "application/json", b'{"on": true}'), ("GET", "/relay/1", "", b"")]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_any_other_answer_is_an_error_and_is_followed_nowhere(relay: Relay, status: int) -> None:
    relay.status = status
    with pytest.raises(LinkError, match=f"answers {status}"):
        HttpCall(f"http://127.0.0.1:{relay.server_port}/", "GET", {}, 30).send(b"", "text/plain")
    assert len(relay.calls) == 1


@pytest.mark.parametrize(
    ("path", "headers"),
    [("\u00fc?token=geheim", {}), ("a b?token=geheim", {}), ("", {"X": "geheim\nb"}), ("", {"X": "geheim\u2192"})],
)
def test_what_cannot_be_called_is_an_error_that_names_no_header(
    relay: Relay, path: str, headers: dict[str, str]
) -> None:
    with pytest.raises(LinkError) as caught:
        HttpCall(f"http://127.0.0.1:{relay.server_port}/{path}", "POST", headers, 30).send(b"", "text/plain")
    assert "geheim" not in str(caught.value)
    assert relay.calls == []


def test_what_is_secret_in_its_address_is_not_said() -> None:
    with pytest.raises(LinkError, match=r"http http://127\.0\.0\.1:\d+/api\?\*\*\*: no answer"):
        HttpCall(f"http://127.0.0.1:{free_port()}/api?token=geheim", "POST", {}, 30).send(b"", "text/plain")


def test_no_answer_is_an_error_after_the_timeout() -> None:
    with deaf_controller() as port, pytest.raises(LinkError, match=r"no answer within 0.1 s"):
        HttpCall(f"http://127.0.0.1:{port}/", "POST", {}, 0.1).send(b"", "text/plain")
    with pytest.raises(LinkError, match="refused"):
        HttpCall(f"http://127.0.0.1:{free_port()}/", "POST", {}, 0.1).send(b"", "text/plain")
