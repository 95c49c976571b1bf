"""Commands about the models of a station: install, list, rollback. What is heavy is loaded when its command runs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lineside.edge.config import Config

NEXT = "the station takes it up at its next start"


def install(options: argparse.Namespace) -> int:
    from lineside.edge.updates.install import install, key_of
    from lineside.edge.updates.sources import open_source
    from lineside.edge.updates.staging import Wanted

    config = _config(options)
    wanted = Wanted(open_source(options.source), options.sha256 or None, options.key or key_of(config))
    bundle = install(config, wanted, lambda sentence: print(sentence, flush=True))
    print(f"ok: {bundle.manifest.name}, bundle {bundle.sha256[:12]}, is the current model: {NEXT}")
    return 0


def list_models(options: argparse.Namespace) -> int:
    from lineside.edge.updates.install import models_store

    config = _config(options)
    store = models_store(config)
    current = store.current()
    marks = {current.bundle: "current", current.former: "former"}
    for sha256 in ("", *store.installed()):
        print(f"{marks.get(sha256, ''):<9}{sha256[:12] or '-':<14}{_described(config, sha256)}")
    return 0


def rollback(options: argparse.Namespace) -> int:
    from lineside.edge.updates.install import roll_back

    config = _config(options)
    print(f"ok: {_described(config, roll_back(config).bundle)} is the current model: {NEXT}")
    return 0


def _config(options: argparse.Namespace) -> Config:
    """Whether or not the installed model can be used."""
    from lineside.edge.station_file import load_config

    return load_config(options.config, installed=False)


def _described(config: Config, sha256: str) -> str:
    """Name and folder of an installed bundle, or of that which the station file names."""
    from lineside.edge.updates.install import models_store
    from lineside.runtime.bundle import read_manifest
    from lineside.runtime.errors import BundleFormat

    path = models_store(config).bundle(sha256) if sha256 else config.named_bundle_path
    try:
        name = read_manifest(path).name
    except BundleFormat as error:
        name = str(error)
    return f"{name} ({path})" if sha256 else f"{name} ({path}, of the station file)"
