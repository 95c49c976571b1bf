"""What the demo prints: a line a result, and what was said with what came of it."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from lineside.edge.demo.plc import PlcServer
from lineside.edge.demo.scene import Plc, Scene, Step
from lineside.edge.demo.watcher import Watcher

DONE = ("issued", "accepted", "achieved")


class Printer:
    """Prints to standard output; knows when the part before the photo-eye came."""

    def __init__(self) -> None:
        self._began = 0.0
        self._switched: dict[str, float] = {}

    def switched(self, name: str, value: bool, when: float) -> None:
        """The station has switched a coil of the PLC."""
        if value:
            part = f", {1e3 * (when - self._began):.0f} ms after the photo-eye saw the part" if self._began else ""
            _say(f"plc      {name} on{part}")
        else:
            _say(f"plc      {name} off, {1e3 * (when - self._switched.get(name, when)):.0f} ms later")
        self._switched[name] = when

    def results(self, watcher: Watcher, open_cameras: int) -> int:
        """One line a frame, until every camera has ended: it says so behind its last result."""
        _head()
        count = 0
        while open_cameras:
            kind, name, body = _next(watcher)
            if kind == "result":
                _result(body)
                count += 1
            elif kind == "event" and name != "station":
                if body["event_type"] == "frame_rejected":
                    _say(f"{body['name']:<44} rejected: {_problem(body)}")
                else:
                    open_cameras -= 1
                    if problem := _problem(body):
                        _say(problem)
        return count

    def parts(self, watcher: Watcher, plc: PlcServer, scene: Plc) -> int:
        """Parts pass the photo-eye; each has one result of all its cameras. Returns how many had one."""
        _head()
        count = 0
        for _ in range(scene.parts):
            began = self._began = time.monotonic()
            self._began = plc.pass_part()
            while True:
                kind, _name, body = _next(watcher)
                if kind == "result":
                    break
                if kind == "event" and (problem := _problem(body)):
                    _say(problem)
            _result(body)
            count += 1
            time.sleep(max(began + scene.every_s - time.monotonic(), 0.0))
        return count

    def steps(self, watcher: Watcher, scene: Scene) -> list[str]:
        """What is said, and what came of it. Returns the sentences of which something else came than should."""
        wrong = []
        time.sleep(max((2 * step.every_s for step in scene.before()), default=0.0))  # the station has heard the world
        for step in scene.later():
            if step.topic:
                said = step.payload if isinstance(step.payload, str) else json.dumps(step.payload)
                _say(f"\nworld    {step.topic} {said}")
                watcher.say(step.topic, step.payload, step.every_s)
                time.sleep(step.every_s)
            elif not _said(watcher, step):
                wrong.append(step.say)
        return wrong


def _said(watcher: Watcher, step: Step) -> bool:
    _say(f'\ncommand  "{step.say}"')
    watcher.send_command(step.say)
    while True:
        kind, name, body = _next(watcher)
        if kind == "call":
            _say(f"call     {name}({json.dumps(body['arguments'], ensure_ascii=False)})")
        elif kind == "device":
            _say(f"publish  {name} {json.dumps(body, ensure_ascii=False)}")
        elif kind == "event" and body["event_type"] == "confirmation_needed" and step.confirm:
            _say(f"person   yes, {name}")
            watcher.confirm(name, body["call_id"])
        elif kind == "rsp":
            return _replied(body) == step.expect


def _replied(reply: dict[str, Any]) -> str:
    ms = reply["timing_ms"].get("total", 0)
    for item in reply["calls"]:
        if item["outcome"] in DONE:
            _say(f"reply    {reply['text'] or item['name'] + ': ' + item['outcome']}  ({ms:.0f} ms)")
    if not reply["ok"]:
        _say(f"reply    {reply['error']['message']}  ({ms:.0f} ms)")
        return "refused"
    if not reply["calls"]:
        _say(f"reply    {reply['text']}  ({ms:.0f} ms)")
    return "done"


def _next(watcher: Watcher) -> tuple[str, str, dict[str, Any]]:
    """What kind of message it is, whose, and its body."""
    topic, payload = watcher.next()
    below = topic.removeprefix(f"{watcher.topics.base}/")
    body = json.loads(payload)
    if below == topic:
        return "device", topic, body
    kind, _, name = below.partition("/")
    return kind, name, body


def _head() -> None:
    _say(f"\n{'picture':<44} {'verdict':<8} {'conf.':>6} {'defects':<34} {'ms':>6}")


def _result(result: dict[str, Any]) -> None:
    boxes = [f"{d['type']} {'/'.join(str(round(v)) for v in d['box'])}" for d in result["defects"]]
    found = f"{boxes[0]} +{len(boxes) - 1}" if len(boxes) > 1 else "".join(boxes)
    timing = result["timing_ms"]["total"]
    views = ", ".join(f"{view['camera']} {view['verdict']}" for view in result.get("views") or ())
    name = f"{result['camera']}: {views}" if views else result["name"]
    for output, did in (result.get("outputs") or {}).items():
        if did["outcome"] in ("late", "failed"):
            _say(f"plc      {output} {did['outcome']}, not done: {did.get('detail', '')}")
    _say(f"{name:<44} {result['verdict']:<8} {result['confidence']:>6.1%} {found:<34} {timing:>6.0f}")


def _problem(event: dict[str, Any]) -> str:
    return str((event.get("error") or {}).get("message", ""))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
