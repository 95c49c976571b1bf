"""A model is installed at a station that may run meanwhile: it takes it up when it starts the next time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lineside.edge.config import Config, Device
from lineside.edge.current_model import Current
from lineside.edge.device_choice import choose
from lineside.edge.updates.models_store import ModelsStore
from lineside.edge.updates.staging import Wanted, fetch
from lineside.runtime.bundle import Bundle, open_bundle
from lineside.runtime.sessions.selftest import self_test

Say = Callable[[str], None]


def models_store(config: Config) -> ModelsStore:
    return ModelsStore(config.models_path, config.model.bundle)


def key_of(config: Config) -> Path | None:
    """The public key that the station file names."""
    return config.resolve(config.updates.key_file) if config.updates.key_file else None


def install(config: Config, wanted: Wanted, say: Say) -> Bundle:
    """Fetch, verify, try out, make it the current one.

    Raises:
        ConfigError, UpdateError, EngineError: all is as before.
    """
    store = models_store(config)
    with store.locked():
        bundle = fetch(store, wanted)
        say(f"verified: {bundle.manifest.name}, bundle {bundle.sha256[:12]}, {len(bundle.manifest.files)} files")
        say(f"self-tested on {try_out(bundle, config.model.device)}")
        settle(store, bundle)
    return open_bundle(store.bundle(bundle.sha256))


def settle(store: ModelsStore, bundle: Bundle) -> None:
    """From now on the station comes up with it. Raises ConfigError, UpdateError."""
    if bundle.path != store.bundle(bundle.sha256):
        store.place(bundle.sha256)
    store.make_current(bundle.sha256)


def roll_back(config: Config) -> Current:
    """Raises ConfigError, UpdateError where there is nothing to go back to."""
    store = models_store(config)
    with store.locked():
        return store.roll_back()


def try_out(bundle: Bundle, device: Device) -> str:
    """The self-test, on the device; returns its name. Raises EngineError."""
    choice, _report = choose(bundle, device, lambda sessions: self_test(bundle, sessions))
    return choice.device
