"""The models of a station: one looks at frames, and commands are put to the same one or to another.

Two on one device share it: one scheduler gives the turns, one budget holds the KV caches. Where one of two cannot be
opened, the station runs on with the other, and says so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from lineside.edge.config import MIB, Config, Device
from lineside.edge.device_choice import Opened, open_engine
from lineside.edge.errors import RequestError
from lineside.edge.wire.messages import WireModel, WireSession
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.errors import EngineError

log = logging.getLogger("lineside.models")
DEVICE_FAILURES = 3
Model = TypeVar("Model")


@dataclass(frozen=True)
class NoModel:
    """Stands where an engine would: it could not be opened. `whose` is `frames` or `commands`."""

    whose: str
    path: Path
    error: EngineError = field(repr=False)

    def __str__(self) -> str:
        return f"{self.whose} have no model: {self.error}"


@dataclass(frozen=True)
class Models:
    """`commands` is `frames` itself where one model does both."""

    frames: Opened | NoModel
    commands: Opened | NoModel

    @property
    def frames_engine(self) -> Engine | NoModel:
        return self.frames.engine if isinstance(self.frames, Opened) else self.frames

    @property
    def commands_engine(self) -> Engine | NoModel:
        return self.commands.engine if isinstance(self.commands, Opened) else self.commands

    def opened(self) -> Iterator[Opened]:
        """Each that runs, once."""
        for model in (self.frames,) if self.commands is self.frames else (self.frames, self.commands):
            if isinstance(model, Opened):
                yield model

    def degraded(self) -> Iterator[str]:
        """What is not as the user would expect."""
        for model in (self.frames,) if self.commands is self.frames else (self.frames, self.commands):
            yield from model.choice.degraded if isinstance(model, Opened) else (str(model),)

    def lost_device(self) -> str:
        """The device that has failed for good, empty where none has."""
        return next((m.choice.device for m in self.opened() if m.engine.device_failures >= DEVICE_FAILURES), "")


def runs_alike(one: Config, other: Config) -> bool:
    """Whether two station files ask for the same models on the same devices, with the same room."""

    def wanted(config: Config) -> tuple[object, ...]:
        model = config.model
        paths = (config.bundle_path, config.commands_bundle_path, model.device, config.commands_device)
        return (*paths, model.threads, model.capacity, model.kv_cache_mb)

    return wanted(one) == wanted(other)


def open_models(config: Config) -> Models:
    """Every file of both bundles is held against its hash beside the loading.

    Raises:
        EngineError: the only model cannot be opened, or neither of two.
    """
    if one_model(config):
        opened = _open(config, config.bundle_path, config.model.device)
        return Models(opened, opened)
    frames: Opened | NoModel
    commands: Opened | NoModel
    try:
        frames = _open(config, config.bundle_path, config.model.device)
    except EngineError as error:
        frames = NoModel("frames", config.bundle_path, error)
    try:
        beside = frames.engine if isinstance(frames, Opened) else None
        commands = _open(config, config.commands_bundle_path, config.commands_device, beside)
    except EngineError as error:
        if isinstance(frames, NoModel):
            raise type(error)(f"{frames}; commands have no model either: {error}") from error
        commands = NoModel("commands", config.commands_bundle_path, error)
    models = Models(frames, commands)
    for model in (frames, commands):
        if isinstance(model, NoModel):
            log.error("%s", model)
    return models


def open_or_fall_back(config: Config) -> tuple[Config, Models, str]:
    """Where a model that was installed in the place of `model.bundle` cannot be opened, that of the station file runs
    again; the sentence says so, and is empty else. `config` is returned with the bundle that runs.

    Raises:
        EngineError: see `open_models`.
    """
    if config.installed is None:
        return config, open_models(config), ""
    try:
        models = open_models(config)
        if isinstance(models.frames, Opened):
            return config, models, ""
        for model in models.opened():
            model.engine.retire()
        why = str(models.frames)
    except EngineError as error:
        why = str(error)
    log.error("%s; `model.bundle` runs in its place", why)
    sentence = f"the installed model cannot be opened, `model.bundle` runs in its place; install it again: {why}"
    config = replace(config, installed=None)
    return config, open_models(config), sentence


def open_beside(config: Config, running: Models) -> Models:
    """Those of a station with another `bundle_path`, self-tested, beside those that run. What answers commands from a
    bundle of its own stays.

    Raises EngineError.
    """
    beside = next((model.engine for model in running.opened()), None)
    frames = _open(config, config.bundle_path, config.model.device, beside, tested=True)
    if config.commands.bundle and not one_model(config):
        return Models(frames, running.commands)
    if config.commands_device == config.model.device:
        return Models(frames, frames)
    try:
        return Models(frames, _open(config, config.bundle_path, config.commands_device, beside, tested=True))
    except EngineError:
        frames.engine.retire()
        raise


def retire(models: Models, running: Models) -> None:
    """The memory of those that do not run goes."""
    engines = [model.engine for model in running.opened()]
    for model in models.opened():
        if model.engine not in engines:
            model.engine.retire()


def open_for_commands(config: Config) -> Engine:
    """The model that commands are put to, alone. Raises EngineError."""
    return _open(config, config.commands_bundle_path, config.commands_device).engine


def one_model(config: Config) -> bool:
    """Whether commands are put to the model that looks at frames: the same bundle on the same device."""
    if config.commands_device != config.model.device:
        return False
    if config.bundle_path == config.commands_bundle_path:
        return True
    try:
        return open_bundle(config.bundle_path).sha256 == open_bundle(config.commands_bundle_path).sha256
    except EngineError:
        return False  # opening it will say what is wrong


def there(model: Model | NoModel) -> Model:
    """A model, or what stands on it. Raises RequestError where there is none, for the reply or the event."""
    if isinstance(model, NoModel):
        raise RequestError("no_model", f"{model}: repair it and start the station again")
    return model


def wire_model(model: Bundle | Opened | NoModel) -> WireModel:
    """Its name and hash; of one that cannot be read, the name of its folder."""
    if isinstance(model, Opened):
        model = model.engine.bundle
    elif isinstance(model, NoModel):
        try:
            model = open_bundle(model.path)
        except EngineError:
            return WireModel(name=model.path.name, sha256="")
    return WireModel(name=model.manifest.name, sha256=model.sha256)


def device_of(model: Opened | NoModel) -> Device:
    """What it runs on; `auto` where it could not be opened."""
    return model.choice.device if isinstance(model, Opened) else "auto"


def wire_session(model: Opened | NoModel) -> WireSession:
    if isinstance(model, NoModel):
        return WireSession(device="none", reason=str(model.error))
    return WireSession(device=model.choice.device, reason=model.choice.reason)


def _open(config: Config, path: Path, device: Device, beside: Engine | None = None, *, tested: bool = False) -> Opened:
    limits, threads = Limits(config.model.capacity, config.model.kv_cache_mb * MIB), config.model.threads
    return open_engine(path, device=device, threads=threads, limits=limits, beside=beside, tested=tested)
