"""`cmd/model-install` and `cmd/model-rollback`: another model, tried out beside the one that runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from lineside.edge.commands.body import parse_change
from lineside.edge.config import STATION
from lineside.edge.errors import EdgeError, RequestError, UpdateError
from lineside.edge.frames.pipeline import open_look
from lineside.edge.live.exchange import exchange_models
from lineside.edge.live.reload import Reloader, Station
from lineside.edge.live.trial import Shadow, compare, kept_pictures
from lineside.edge.models import Models, open_beside, retire, wire_model
from lineside.edge.updates.install import key_of, models_store
from lineside.edge.updates.models_store import ModelsStore
from lineside.edge.updates.sources import Source, is_address, open_source
from lineside.edge.updates.staging import Wanted, fetch
from lineside.edge.wire.changes import ModelInstallCommand, ModelRollbackCommand
from lineside.edge.wire.messages import (
    JSON_TYPE,
    Reply,
    StationEvent,
    WireError,
    WireModel,
)
from lineside.edge.wire.store import Outgoing, StoredCommand
from lineside.runtime.bundle import Bundle
from lineside.runtime.errors import EngineError, RequestCancelled

log = logging.getLogger("lineside.live")


class ModelCommands:
    """Each works on the thread of its command; one at a time.

    Args:
        reloader: whose lock is held while the station changes.
        stopping: whether the station is; then what is under way is given up, and begun again after the next start.
    """

    def __init__(
        self, station: Station, reloader: Reloader, send: Callable[[Outgoing], None], stopping: Callable[[], bool]
    ) -> None:
        self._station, self._lock, self._send, self._stopping = station, reloader.lock, send, stopping

    def install(self, command: StoredCommand, waiting: Callable[[], None]) -> Reply:
        """Raises RequestError, RequestCancelled: the model that runs goes on."""
        request = parse_change(ModelInstallCommand, command.payload)
        waiting()
        text = self._guarded(lambda: self._install(request))
        return self._reply(command.name, request.transaction, text)

    def roll_back(self, command: StoredCommand, waiting: Callable[[], None]) -> Reply:
        """Raises RequestError, RequestCancelled: the model that runs goes on."""
        request = parse_change(ModelRollbackCommand, command.payload)
        waiting()
        text = self._guarded(self._roll_back)
        return self._reply(command.name, request.transaction, text)

    def say_interrupted(self) -> None:
        """After a start: which model runs, where the last one was cut short while it installed another."""
        store = models_store(self._station.config)
        if not (sha256 := store.interrupted()):
            return
        running = wire_model(self._station.models.frames)
        switched = running.sha256 == sha256
        outcome = "it had taken the place of the former" if switched else f"{sha256[:12]} had not taken its place"
        ended = "the station ended while a model was installed"
        detail = f"{ended}: {running.name} ({running.sha256[:12]}) runs, {outcome}"
        log.warning("%s", detail)
        self._say("model_switched" if switched else "model_kept", running, detail)
        with suppress(UpdateError):  # said again at the next start
            store.end()

    def _reply(self, name: str, transaction: str, text: str) -> Reply:
        model = wire_model(self._station.models.frames)
        return Reply(command=name, transaction=transaction, ok=True, text=text, model=model)

    def _guarded(self, work: Callable[[], str]) -> str:
        try:
            return work()
        except RequestCancelled:
            raise
        except (EdgeError, EngineError) as error:
            code = error.code if isinstance(error, RequestError | EngineError) else "model_refused"
            running = wire_model(self._station.models.frames)
            log.error("another model is refused, %s goes on: %s", running.name, error)
            self._say("model_refused", running, error=WireError(code=code, message=str(error)))
            raise RequestError(code, str(error)) from error

    def _install(self, request: ModelInstallCommand) -> str:
        config = self._station.config
        store = models_store(config)
        if is_address(request.source) and request.sha256 is None and key_of(config) is None:
            raise UpdateError(
                "unverified", "a bundle from the network needs its `sha256`, or `[updates] key_file` at the station"
            )
        with store.locked():
            source = _Stoppable(self._source(request.source), self._stopping)
            bundle = fetch(store, Wanted(source, request.sha256, key_of(config)))
            new = WireModel(name=bundle.manifest.name, sha256=bundle.sha256)
            if new == wire_model(self._station.models.frames):
                return f"{new.name} ({new.sha256[:12]}) runs already"
            self._say("model_verified", new, f"{len(bundle.manifest.files)} files, every SHA-256 as listed")
            store.begin(bundle.sha256)
            try:
                text = self._try_and_switch(store, bundle, request.shadow_frames)
            except RequestCancelled:
                raise  # the next start says which model runs, and begins again
            except (EdgeError, EngineError):
                store.remove(bundle.sha256)
                store.end()
                raise
            store.end()
            return text

    def _try_and_switch(self, store: ModelsStore, bundle: Bundle, shadow_frames: int) -> str:
        """Everything that can go wrong has gone well before the models are exchanged."""
        path = bundle.path if bundle.path == store.bundle(bundle.sha256) else store.place(bundle.sha256)
        with self._opened(path) as models:
            self._compare(models, shadow_frames)
            return self._switch(models, path, lambda: store.make_current(bundle.sha256))

    def _roll_back(self) -> str:
        store = models_store(self._station.config)
        with store.locked():
            former = store.current().former
            path = store.bundle(former) if former else None
            if former is None or (path is not None and not path.is_dir()):
                store.roll_back()  # says why it cannot
            with self._opened(path) as models:
                return self._switch(models, path, store.roll_back)

    def _opened(self, path: Path | None) -> _Trial:
        """The models of the station with the bundle at `path`, or its file's own, self-tested."""
        models = open_beside(replace(self._station.config, installed=path), self._station.models)
        self._say("model_tested", wire_model(models.frames), "its self-test, beside the model that runs")
        return _Trial(self._station, models)

    def _compare(self, models: Models, shadow_frames: int) -> None:
        station, config = self._station, self._station.config
        new = open_look(config, models.frames_engine)
        least, model = config.updates.agreement, wire_model(models.frames)
        pictures = kept_pictures(config, station.history)
        said = compare(station.pipeline.look, new, pictures, self._stopping).check(least)
        self._say("model_compared", model, said)
        if shadow_frames:
            shadow = Shadow(new, shadow_frames, self._stopping)
            station.pipeline.shadow = shadow.show
            try:
                self._say("model_compared", model, shadow.run().check(least))
            finally:
                station.pipeline.shadow = None

    def _switch(self, models: Models, path: Path | None, settle: Callable[[], object]) -> str:
        with self._lock:
            before = wire_model(self._station.models.frames)
            exchange_models(self._station, replace(self._station.config, installed=path), models, settle)
        new = wire_model(models.frames)
        text = f"{new.name} ({new.sha256[:12]}) runs in the place of {before.name} ({before.sha256[:12]})"
        log.info("%s", text)
        self._say("model_switched", new, text)
        return text

    def _source(self, text: str) -> Source:
        """From outside a folder is named below the station file's alone."""
        if is_address(text):
            return open_source(text)
        folder = self._station.config.folder.resolve()
        path = (folder / text).resolve()
        if not path.is_relative_to(folder):
            raise UpdateError("outside", f"`source` leads out of {folder}: name a folder below it, or an address")
        return open_source(str(path))

    def _say(self, event_type: Any, model: WireModel, detail: str = "", error: WireError | None = None) -> None:
        event = StationEvent(event_type=event_type, model=model, detail=detail, error=error)
        self._send(Outgoing(self._station.topics.event(STATION), event.encode(), JSON_TYPE))


class _Trial:
    """Models that are tried out; where they are not taken, their memory goes."""

    def __init__(self, station: Station, models: Models) -> None:
        self._station, self._models = station, models

    def __enter__(self) -> Models:
        return self._models

    def __exit__(self, *_raised: object) -> None:
        retire(self._models, self._station.models)


class _Stoppable:
    """A source from which nothing is read any more once the station stops."""

    def __init__(self, source: Source, stopping: Callable[[], bool]) -> None:
        self._source, self._stopping = source, stopping

    def chunks(self, name: str, offset: int) -> Iterator[bytes]:
        for chunk in self._source.chunks(name, offset):
            if self._stopping():
                raise RequestCancelled("the station is stopping")
            yield chunk
