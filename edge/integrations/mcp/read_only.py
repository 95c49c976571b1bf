"""What a station sees and would do, for a program that may look and not touch: no broker, no store, no call.

The engine is imported when it is needed: clients wait for the first answer, and phrases need none.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from typing import TYPE_CHECKING, Any

from lineside.edge.commands.rehearsal import Rehearsal
from lineside.edge.config import Config
from lineside.edge.errors import RequestError

if TYPE_CHECKING:
    from lineside.edge.models import Models
    from lineside.runtime.engine.engine import Engine
    from lineside.runtime.inspection.gated import GatedInspector
    from lineside.runtime.inspection.inspector import Inspector

MAX_TEXT = 8000
"""Characters of a command, as over MQTT."""


class ReadOnlyStation:
    """Its models are loaded when they are first needed. Requests are answered one by one.

    Every method raises EngineError, RequestError or ConfigError, whose sentence is for the requester.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._models: Models | None = None
        self._inspectors: dict[str, Inspector | GatedInspector] = {}
        self._rehearsal: Rehearsal | None = None

    def inspect(self, path: str, picture: str, camera: str) -> dict[str, Any]:
        """What the station would publish on `result/{camera}` for a file of its folder, or a picture in base64."""
        from lineside.devices.cameras.frame import Frame
        from lineside.edge.frames.results import Clock, to_result
        from lineside.edge.inspection.inspectors import open_inspectors
        from lineside.edge.inspection.preparing import preparation_of, upright_picture
        from lineside.edge.models import there, wire_model
        from lineside.runtime.engine.scheduler import Priority, Request

        data = self._read(path, picture)
        name = self._camera(camera)
        preparation = preparation_of(self._config.cameras[name])
        pixels = upright_picture(data, preparation, self._config.inspect.max_pixels)
        with self._lock:
            engine = there(self._opened().frames_engine)
            if not self._inspectors:
                self._inspectors, _ = open_inspectors(self._config, engine)
            inspector = self._inspectors[name]
            frame = Frame(name, data=data, name=path)
            inspection = inspector.inspect(pixels, Request(Priority.FRAME))
        timings = inspection.timings
        total_ms = timings.preprocess_ms + timings.vision_ms + timings.prefill_ms + timings.decode_ms
        clock = Clock(0.0, total_ms)
        result = to_result(frame, inspection, inspector, wire_model(engine.bundle), clock, float("inf"))
        return dict(json.loads(result.encode()))

    def ask(self, text: str) -> dict[str, Any]:
        """What would come of a command: the answer, and the calls that would be made or refused. None is made."""
        if not text.strip() or len(text) > MAX_TEXT:
            raise RequestError("malformed", f"the command has 1 to {MAX_TEXT} characters")
        with self._lock:
            if self._rehearsal is None:
                self._rehearsal = Rehearsal(self._config, self._commands_engine)
            told = self._rehearsal.tell(text)
        calls = [
            {
                "name": call.name,
                "arguments": call.arguments,
                "would_be": "refused" if call.outcome == "refused" else "called",
                "why": call.detail,
            }
            for call in told.calls
        ]
        return {"calls": calls, "decided_by": told.by, "code": told.code, "text": told.why}

    def _opened(self) -> Models:
        from lineside.edge.models import open_models

        if self._models is None:
            self._models = open_models(self._config)
        return self._models

    def _commands_engine(self) -> Engine:
        from lineside.edge.models import there

        return there(self._opened().commands_engine)

    def _camera(self, camera: str) -> str:
        known = ", ".join(self._config.cameras) or "none"
        if camera in self._config.cameras:
            return camera
        if not camera and len(self._config.cameras) == 1:
            return next(iter(self._config.cameras))
        said = f"there is no camera {camera!r}" if camera else "say which `camera`"
        raise RequestError("unknown_camera", f"{said}: the station has {known}")

    def _read(self, path: str, picture: str) -> bytes:
        """Raises RequestError where it is none, both, too large, or leads out of the station's folder."""
        most = self._config.store.max_payload_bytes
        if bool(path) == bool(picture):
            raise RequestError("malformed", "give either a `path` or a `picture`")
        if picture:
            if len(picture) > 4 * most // 3 + 4:
                raise RequestError("too_large", f"a picture may have {most} bytes")
            try:
                return base64.b64decode(picture, validate=True)
            except binascii.Error as error:
                raise RequestError("malformed", f"`picture` is not base64 ({error})") from None
        folder = self._config.folder.resolve()
        file = (folder / path).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            raise RequestError("unknown_file", f"{path!r} is no file of the station's folder {folder}")
        if file.stat().st_size > most:
            raise RequestError("too_large", f"a picture may have {most} bytes")
        return file.read_bytes()
