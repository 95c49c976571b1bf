"""The station's page in a real browser: twenty verdicts, a question, people's verdicts, what is learnt from them."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lineside.devices.cameras.frame import Frame
from lineside.edge.config import Config
from lineside.edge.daemon import Daemon
from lineside.edge.errors import RequestError
from lineside.edge.history.records import Query
from lineside.edge.remote_config import RemoteConfig
from lineside.edge.station_file import load_config
from lineside.runtime.chat import ToolCall
from tests.support.broker import Mosquitto
from tests.support.client import Client
from tests.support.served import KEY
from tests.support.station import BASE
from tests.support.wait import LIMIT_S, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"]
API_KEY = "of programs"
VERDICTS, VERDICTS_WIDE = 20, 640
STATION = f"""
[station]
name = "press4"
base_topic = "{BASE}"
drain_s = 0.0
[mqtt]
host = "127.0.0.1"
port = {{port}}
{{access}}
[model]
threads = 1
[inspect]
part = "ball screw"
max_age_s = 3600.0
[http]
port = {{http}}
key_file = "api-key"
page_key_file = "key"
[remote]
allow = ["learn"]
[cameras.cam0]
kind = "mqtt"
[tools.stop_line]
description = "Stop the line."
confirm_s = 60.0
"""

pytestmark = pytest.mark.plain_broker


@pytest.fixture
def config(broker: Mosquitto, tmp_path: Path) -> Config:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "api-key").write_text(API_KEY)
    file = tmp_path / "press4.toml"
    access = "\n".join(f"{key} = {json.dumps(value)}" for key, value in broker.station_access.items())
    file.write_text(STATION.format(port=broker.port, http=port, access=access))
    return load_config(file, {})


@pytest.fixture
def station(config: Config, client: Client, pictures: list[Path]) -> Iterator[Daemon]:
    """It has twenty verdicts."""
    del client
    with Daemon(config) as daemon:
        assert daemon.wait_online(LIMIT_S)
        for number in range(VERDICTS):
            data = pictures[number % len(pictures)].read_bytes()
            daemon.pipeline.offer(Frame("cam0", data=data, part_id=f"A-{number}"), triggered=True)
        until(lambda: daemon.counters.snapshot().get("history_kept") == VERDICTS)
        yield daemon


def ask(config: Config, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """What any program may try."""
    url = f"http://127.0.0.1:{config.http.port}{path}"
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {KEY}"} | headers)
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_who_may(station: Daemon, config: Config) -> None:
    (record, *_) = station.history.search(Query(limit=1))
    review = f"/page/review/{record.id}"
    assert ask(config, "/page/state", Authorization="Bearer wrong")[0] == 401
    assert ask(config, review, {"verdict": "pass"})[1]["error"]["code"] == "foreign_page"
    assert ask(config, review, {"verdict": "unsure"}, **{"X-Lineside": "1"})[0] == 400
    assert ask(config, review, {"verdict": "x" * 20_000}, **{"X-Lineside": "1"})[0] == 413
    assert ask(config, "/page/review/none", {"verdict": "pass"}, **{"X-Lineside": "1"})[0] == 404
    assert ask(config, "/page/confirm/stop_line", {"id": "a", "confirmed": True}, **{"X-Lineside": "1"})[0] == 409
    assert ask(config, "/page/learn/cam0", {}, **{"X-Lineside": "1"})[1]["error"]["code"] == "no_reviews"
    assert station.history.reviews_of([record.id]) == {}
    assert ask(config, "/page/state", Authorization=f"Bearer {API_KEY}")[0] == 401
    assert ask(config, "/v1/models", Authorization=f"Bearer {API_KEY}")[0] == 200
    assert ask(config, "/v1/models")[0] == 401
    http = station.config.http
    station.config = replace(station.config, http=replace(http, page_key_file=""))
    assert ask(config, "/page/confirm/stop_line", {"id": "a", "confirmed": True}, **{"X-Lineside": "1"})[0] == 403
    station.config = replace(station.config, remote=RemoteConfig())
    assert ask(config, "/page/learn/cam0", {}, **{"X-Lineside": "1"})[1]["error"]["code"] == "not_allowed"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")
def test_in_a_browser(station: Daemon, config: Config) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    asked = ToolCall("aaaaaaaaa", "stop_line", {})
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        context = browser.new_context(
            viewport={"width": 1280, "height": 900}, http_credentials={"username": "line", "password": KEY}
        )
        page = context.new_page()
        page.set_default_timeout(LIMIT_S * 1000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"http://127.0.0.1:{config.http.port}/")
        until(lambda: page.locator("#verdicts .card").count() == VERDICTS)
        until(lambda: loaded(page, "#cameras img", VERDICTS_WIDE))
        assert page.text_content("#station") == "press4"
        assert page.text_content("#link") == "broker connected"
        shown = {badge: page.locator(f"#verdicts .badge.{badge}").count() for badge in ("pass", "fail", "unsure")}
        counted = station.counters.snapshot()
        assert shown == {verdict: counted.get(f"results_{verdict}", 0) for verdict in shown}

        # a question, answered with no
        answers: list[str] = []
        asker = answering(station, asked, answers)
        page.click("#waiting button:has-text('No')")
        asker.join(LIMIT_S)
        assert answers == ["declined"]
        page.wait_for_selector("#waiting", state="hidden")

        # people's verdicts
        for card in page.locator("#verdicts .card").all():
            verdict = "pass" if card.locator(".badge.pass").count() else "fail"
            card.locator(f"button.{verdict}").click()
            card_id = card.locator("img").get_attribute("src").split("/")[-1].split(".")[0]
            until(lambda: station.history.reviews_of([card_id]) == {card_id: verdict})  # noqa: B023
        page.click("#teaching button:has-text('Learn')")
        until(lambda: "done, and in use" in (page.text_content("#job") or ""))
        until(lambda: loaded(page, "#drawn img", 1))
        until(lambda: station.pipeline.look.inspectors["cam0"].__class__.__name__ == "GatedInspector")
        page.locator("#verdicts .picture").first.click()
        until(lambda: loaded(page, "#large img", VERDICTS_WIDE))
        assert problems == []
        browser.close()


def loaded(page: Any, selector: str, width: int) -> bool:
    """Whether a picture is shown there, and so wide."""
    pictures = page.locator(selector)
    return pictures.count() > 0 and int(pictures.first.evaluate("(image) => image.naturalWidth")) >= width


def answering(station: Daemon, call: ToolCall, answers: list[str]) -> Any:
    """Asks people about a call, on a thread of its own; what came of it is put into `answers`."""

    def run() -> None:
        rules = station.calls.rules
        try:
            station.calls.confirmations.require(call, 600.0, lambda: None, rules.audit)
            answers.append("confirmed")
        except RequestError as error:
            answers.append(error.code)

    thread = threading.Thread(target=run)
    thread.start()
    return thread
