"""Fixtures shared by all tests: a real broker, a client, real pictures, and a small random-weight bundle."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits
from xdist.remote import Producer

from lineside.export.bundle.options import ExportOptions
from lineside.export.bundle.plan import PRECISIONS
from lineside.export.bundle.writer import export_bundle
from lineside.export.calibration import sample
from lineside.runtime.cores import usable_cores
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.engine import Engine
from lineside.runtime.sessions import ort
from tests.support.broker import Mosquitto
from tests.support.checkpoints import copy_checkpoint
from tests.support.client import Client
from tests.support.secured import make_files
from tests.support.side_by_side import SideBySide
from tests.support.station import THREADS

settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
ROOT = Path(__file__).parent.parent
PICTURES = sorted((ROOT / "deploy/stations/ballscrew/pictures").glob("*.jpg"))
VIDEO = ROOT / "deploy/stations/bottles/bottle-detection.mp4"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SideBySide:
    return SideBySide(config, log)


WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


@pytest.fixture(autouse=True, scope="session")
def _a_share_of_the_cores() -> Iterator[None]:
    """Workers side by side share the cores: more threads than cores wait for one another, and a pass takes ten times as
    long. Processes that tests start have their share, too.
    """
    share = max(1, usable_cores() // WORKERS)
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(share, "blas"):
        patch.setattr(ort, "usable_cores", lambda: share)
        patch.setenv("OPENBLAS_NUM_THREADS", str(share))
        yield


@pytest.fixture(autouse=True, scope="session")
def _a_short_sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hundreds of tests export a small model: two passages calibrate it as well as thirty."""
    passages = sample.SAMPLE.read_text(encoding="utf-8").split(sample.PASSAGE_END)
    short = tmp_path_factory.mktemp("sample") / "sample.txt"
    short.write_text(sample.PASSAGE_END.join(passages[:2]), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "SAMPLE", short)
        patch.setattr(sample, "MEASURED_TOKENS", 64)
        yield


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    mosquitto = Mosquitto(tmp_path)
    yield mosquitto
    mosquitto.stop()


@pytest.fixture(scope="session")
def broker_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates, passwords and access rules of `deploy/mosquitto`."""
    return make_files(tmp_path_factory.mktemp("mosquitto"))


@pytest.fixture
def client(broker: Mosquitto) -> Iterator[Client]:
    connected = Client(broker)
    yield connected
    connected.close()


@pytest.fixture(scope="session")
def pictures() -> list[Path]:
    """A dozen photographs of ball screws (see NOTICE)."""
    return PICTURES


@pytest.fixture(scope="session")
def random_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An INT4 bundle with random weights: what holds for it holds for any model."""
    folder = tmp_path_factory.mktemp("random")
    return export_bundle(copy_checkpoint("grouped", folder), folder / "bundle")


@pytest.fixture(scope="session")
def random_engine(random_bundle: Path) -> Engine:
    return Engine.open(random_bundle, threads=1)


@pytest.fixture(scope="session")
def float_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in float32: two ways of computing the same thing agree to rounding noise."""
    folder = tmp_path_factory.mktemp("float")
    return export_bundle(copy_checkpoint("grouped", folder), folder / "bundle", ExportOptions(PRECISIONS["float32"]))


@pytest.fixture(scope="session")
def float_engine(float_bundle: Path) -> Engine:
    return Engine.open(float_bundle, threads=1)


@pytest.fixture(scope="session")
def default_engine() -> Engine:
    return Engine.open(DEFAULT_BUNDLE, threads=THREADS)
