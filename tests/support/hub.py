"""A hub on this machine: the interface of Hugging Face's, as far as `huggingface_hub` uses it for a download."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """Models by their names, as folders. Everything else is how it misbehaves.

    Attributes:
        requests: method, path and `Range` of each.
        tokens: every `Authorization` that came.
        cut: files whose connection breaks after so many bytes, each as often as it stands here.
        wrong: files that are listed with another hash.
        large: suffixes of files that are kept as large ones are, with their SHA-256.
        error: status and `X-Error-Code` of every answer about a model.
    """

    models: dict[str, Path]
    url: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    cut: list[tuple[str, int]] = field(default_factory=list)
    wrong: set[str] = field(default_factory=set)
    large: tuple[str, ...] = (".safetensors", ".gguf", "tekken.json")
    error: tuple[int, str] | None = None

    def downloaded(self) -> set[str]:
        return {path.rpartition("/")[2] for method, path, _ in self.requests if method == "GET" and "/resolve/" in path}

    def sibling(self, path: Path) -> dict[str, object]:
        data = path.read_bytes()
        sha256 = hashlib.sha256(data + (b"x" if path.name in self.wrong else b"")).hexdigest()
        blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        lfs = (
            {"lfs": {"size": len(data), "sha256": sha256, "pointerSize": 134}} if path.name.endswith(self.large) else {}
        )
        return {"rfilename": path.name, "size": len(data), "blobId": blob, **lfs}

    def entry(self, path: Path) -> dict[str, object]:
        return {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": "0" * 40}


@contextmanager
def serve_hub(models: dict[str, Path]) -> Iterator[FakeHub]:
    hub = FakeHub(models)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            hub.requests.append((self.command, self.path, self.headers.get("Range", "")))
            if token := self.headers.get("Authorization"):
                hub.tokens.add(token)
            path = self.path.partition("?")[0]
            if hub.error:
                return self._fail(*hub.error)
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path):
                return self._model(found[1], found[2] or "main")
            if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
                return self._json(
                    [hub.entry(each) for each in sorted(hub.models[found[1]].iterdir()) if each.is_file()]
                )
            if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
                return self._file(hub.models[found[1]] / found[3])
            return self._fail(404, "EntryNotFound")

        def _fail(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _model(self, name: str, revision: str) -> None:
            if name not in hub.models:
                return self._fail(404, "RepoNotFound")
            if revision not in ("main", COMMIT):
                return self._fail(404, "RevisionNotFound")
            files = [hub.sibling(path) for path in sorted(hub.models[name].iterdir()) if path.is_file()]
            return self._json({"id": name, "sha": COMMIT, "siblings": files})

        def _json(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _file(self, path: Path) -> None:
            data = path.read_bytes()
            start, last = 0, len(data) - 1
            if ranged := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start, last = int(ranged[1]), min(last, int(ranged[2] or last))
            part = data[start : last + 1]
            self.send_response(206 if ranged else 200)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(part)))
            if ranged:
                self.send_header("Content-Range", f"bytes {start}-{last}/{len(data)}")
            self.end_headers()
            if self.command == "HEAD":
                return
            for cut in hub.cut:
                if cut[0] == path.name and len(part) > cut[1]:
                    hub.cut.remove(cut)
                    self.wfile.write(part[: cut[1]])
                    self.wfile.flush()
                    self.close_connection = True
                    return
            self.wfile.write(part)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
