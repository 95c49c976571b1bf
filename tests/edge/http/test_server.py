"""Who is let in, what is refused before the engine hears of it, and `/healthz`."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lineside.edge.errors import EdgeError
from lineside.edge.http import completions
from lineside.runtime.engine.engine import Engine
from tests.support.served import KEY, Station, one_model, served
from tests.support.wait import LIMIT_S, until

JSON = {"Content-Type": "application/json"}
SHOWN = {"Authorization": f"Bearer {KEY}"}
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def station(random_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    with served(one_model(random_engine), tmp_path_factory.mktemp("served"), max_body_mb=1) as station:
        yield station


def answered(
    station: Station, method: str, path: str, headers: dict[str, str], body: Any = None, **options: Any
) -> tuple[int, Any, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", station.port, timeout=LIMIT_S)
    connection.request(method, path, body, headers, **options)
    response = connection.getresponse()
    read = json.loads(response.read())
    connection.close()
    return response.status, read, response


@pytest.mark.parametrize(
    "shown", ["", "Bearer", f"Bearer {KEY} more", f"Bearer {KEY[:-1]}", f"Basic {KEY}", "Bearer ü"]
)
def test_without_the_key_nothing_is_told(station: Station, shown: str, caplog: pytest.LogCaptureFixture) -> None:
    headers = {"Authorization": shown} if shown else {}
    for path in ("/v1/models", CHAT, "/else"):
        status, body, response = answered(station, "GET", path, headers)
        assert (status, body["error"]["code"]) == (401, "invalid_api_key")
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert KEY not in caplog.text


def test_without_a_key_this_machine_alone_is_served(random_engine: Engine, tmp_path: Path) -> None:
    with served(one_model(random_engine), tmp_path, key="") as station:
        for host in ("127.0.0.1", "localhost:8000", "[::1]:8000"):
            assert answered(station, "GET", "/v1/models", {"Host": host})[0] == 200
        for host in ("evil.example", "localhost.evil.example:80", ""):
            status, body, _ = answered(station, "GET", "/v1/models", {"Host": host})
            assert (status, body["error"]["code"]) == (403, "foreign_host")
    with pytest.raises(EdgeError, match="without a key"), served(station.models, tmp_path, key="", address="0.0.0.0"):
        pass


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status", "code"),
    [
        ("GET", "/v1/else", SHOWN, None, 404, "not_found"),
        ("GET", CHAT, SHOWN, None, 405, "not_found"),
        ("POST", CHAT, SHOWN | JSON, "{", 400, "invalid_json"),
        ("POST", CHAT, SHOWN | JSON, "[]", 400, "invalid_value"),
        ("POST", CHAT, SHOWN | JSON, b"\xff\xfe", 400, "invalid_json"),
        ("POST", CHAT, SHOWN | {"Content-Type": "text/plain"}, "{}", 415, "unsupported_media_type"),
        ("POST", CHAT, SHOWN | JSON | {"Content-Length": "1048577"}, "", 413, "request_too_large"),
    ],
)
def test_what_is_refused_has_openai_s_form(
    station: Station, method: str, path: str, headers: dict[str, str], body: Any, status: int, code: str
) -> None:
    before = station.statuses().get(str(status), 0)
    found, read, _ = answered(station, method, path, headers, body)
    assert (found, read["error"]["code"]) == (status, code)
    assert read["error"].keys() == {"message", "type", "param", "code"}
    until(lambda: station.statuses().get(str(status), 0) == before + 1)


def test_a_body_that_does_not_say_its_length_is_bounded_too(station: Station) -> None:
    pieces = (b"x" * 65536 for _ in range(17))
    status, read, _ = answered(station, "POST", CHAT, SHOWN | JSON, pieces, encode_chunked=True)
    assert (status, read["error"]["code"]) == (413, "request_too_large")


def test_a_client_that_does_not_send_its_body_is_left(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions, "BODY_S", 0.05)
    status, read, _ = answered(station, "POST", CHAT, SHOWN | JSON | {"Content-Length": "10"}, "")
    assert (status, read["error"]["code"]) == (408, "timeout")


def test_health_is_told_to_everybody(random_engine: Engine, tmp_path: Path) -> None:
    with served(one_model(random_engine), tmp_path) as station:
        assert answered(station, "GET", "/healthz", {})[:2] == (200, {"status": "ok", "stuck": []})
        station.pulse._stuck_s = -1.0
        station.pulse.begin("pipeline")
        assert answered(station, "GET", "/healthz", {})[:2] == (503, {"status": "stuck", "stuck": ["pipeline"]})


def test_a_port_that_is_taken_is_said(random_engine: Engine, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = served(one_model(random_engine), tmp_path, port=port)
        with pytest.raises(EdgeError, match=r"`http\.port`: 127\.0\.0\.1:\d+ cannot be used"), taken:
            pass
