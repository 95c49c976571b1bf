"""Bundles on a web server of the test's own, which can break off in the middle of a file."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Shelf(BaseHTTPRequestHandler):
    """`GET` of a file, from `Range: bytes=N-` on where it is asked for."""

    breaks_off: dict[str, int]
    """File names, and after how many bytes their next transfer ends."""
    served: list[tuple[str, int]]
    """File names, and from where they were asked for."""

    def __init__(self, folder: Path, *rest: object) -> None:
        self._folder = folder
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        path = self._folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.served.append((path.name, start))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = self.breaks_off.pop(path.name, len(content))
        self.wfile.write(content[start:end])

    def log_message(self, *_said: object) -> None:
        """Nobody reads it."""


@contextmanager
def shelf(folder: Path) -> Iterator[tuple[str, type[Shelf]]]:
    """Its address, and its notes."""
    notes = type("Notes", (Shelf,), {"breaks_off": {}, "served": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(notes, folder))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", notes
    finally:
        server.shutdown()
        server.server_close()
