"""A server of the Model Context Protocol that does whatever a test wants: `python mcp_server.py FOLDER`.

It looks into `FOLDER/says.json` at each request: `tools` is what it lists, `on_call` and `on_list` what it does then:
nothing (it answers), `die`, `hang`, `flood` (a message without end), `megabytes`, `error` or `fail`. It notes its
process and that of a child of its own in `FOLDER/processes`, and the calls that it got in `FOLDER/calls`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])


def main() -> None:
    child = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with (FOLDER / "processes").open("a") as file:
        file.write(f"{os.getpid()} {child.pid}\n")
    if says().get("at_start") == "hang":
        time.sleep(600)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message:
            answer(message["id"], message["method"], message.get("params", {}))
    if says().get("at_end") == "stay":
        time.sleep(600)
    child.kill()


def says() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "says.json").read_text())
    return found


def answer(number: int, method: str, params: dict[str, Any]) -> None:
    if method == "initialize":
        known = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
        send(number, result=known | {"serverInfo": {"name": "scripted", "version": "1"}})
    elif method == "tools/list":
        if misbehave(number, says().get("on_list", "")):
            return
        send(number, result={"tools": says()["tools"]})
    elif method == "tools/call":
        with (FOLDER / "calls").open("a") as file:
            file.write(json.dumps(params) + "\n")
        if misbehave(number, says().get("on_call", "")):
            return
        environment = os.environ.get("TOKEN", "")
        text = says().get("text", f"{params['name']} is done {environment}".strip())
        failed = says().get("on_call") == "fail"
        send(number, result={"content": [{"type": "text", "text": text}], "isError": failed})
    else:
        send(number, error={"code": -32601, "message": f"{method} is not known"})


def misbehave(number: int, what: str) -> bool:
    """Whether that was all."""
    if what == "die":
        os._exit(3)
    elif what == "hang":
        time.sleep(600)
    elif what == "error":
        send(number, error={"code": -32000, "message": "the disk is\nfull"})
    elif what == "megabytes":
        send(number, result={"content": [{"type": "text", "text": "x" * 3_000_000}]})
    elif what == "flood":
        while True:
            sys.stdout.write("x" * 65536)
    return what in ("error", "megabytes")


def send(number: int, **body: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", "id": number, **body}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
