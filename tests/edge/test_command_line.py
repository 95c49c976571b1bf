"""The command line as a user runs it: exit codes, one clear sentence on standard error, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lineside.edge.command_line.main import main
from lineside.edge.inspection.evidence import BANNER_PX
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.picture import decode_picture
from tests.conftest import ROOT
from tests.support.broker import Mosquitto
from tests.support.checkpoints import copy_checkpoint
from tests.support.client import Client
from tests.support.station import LINESIDE
from tests.support.wait import LIMIT_S

Run = Callable[..., subprocess.CompletedProcess[str]]
PLAYED = 3
"""Pictures, where the demo runs."""


def lineside(*arguments: object, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [*LINESIDE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=folder)


@pytest.fixture
def within(capsys: pytest.CaptureFixture[str]) -> Run:
    """The same in this process, which imports nothing anew: where what is said matters, and nothing about a process."""

    def within(*arguments: object) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        words = [*map(str, arguments)]
        code = main(words)
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    return within


def assert_one_sentence(result: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert result.returncode == code, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("lineside: ")
    for part in parts:
        assert part in lines[0]


def test_export_check_ask(within: Run, tmp_path: Path, pictures: list[Path]) -> None:
    checkpoint = copy_checkpoint("tied", tmp_path)
    exported = within("export", checkpoint, tmp_path / "bundle")
    assert exported.returncode == 0, exported.stderr
    checked = within("check", tmp_path / "bundle")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "every SHA-256 as listed" in checked.stdout
    asked = within("ask", tmp_path / "bundle", "--image", pictures[0], "Is it good?", "--max-tokens", 5)
    assert asked.returncode == 0, asked.stderr
    assert "5 answer tokens" in asked.stderr


def test_the_default_model_inspects_pictures(within: Run, pictures: list[Path]) -> None:
    inspected = within("inspect", "default", *pictures[:2])
    assert inspected.returncode == 0, inspected.stderr
    lines = [line for line in inspected.stdout.splitlines() if not line.startswith(" ")]
    assert [line.split(": ")[0] for line in lines] == [path.name for path in pictures[:2]]
    assert all(line.split()[1] in ("pass", "fail", "unsure") for line in lines)


def test_inspect_writes_json_and_keeps_pictures(tmp_path: Path, pictures: list[Path]) -> None:
    shutil.copy(pictures[0], tmp_path / "part.jpg")
    options = ("--json", "--save", tmp_path / "drawn")
    inspected = lineside("inspect", "default", tmp_path / "part.jpg", tmp_path / "part.jpg", *options)
    assert inspected.returncode == 0, inspected.stderr
    found = [json.loads(line) for line in inspected.stdout.splitlines()]
    assert [Path(one["saved"]).name for one in found] == ["part.jpg", "part-2.jpg"], "none is overwritten"
    height, width = decode_picture((tmp_path / "part.jpg").read_bytes()).shape[:2]
    for one in found:
        assert one["verdict"] in ("pass", "fail", "unsure")
        assert one["timing_ms"]["prefill"] > 0
        assert decode_picture(Path(one["saved"]).read_bytes()).shape == (height + BANNER_PX, width, 3)


def test_inspect_says_where_it_cannot_keep_a_picture(within: Run, tmp_path: Path, pictures: list[Path]) -> None:
    (tmp_path / "file").write_text("")
    failed = within("inspect", "default", pictures[0], "--save", tmp_path / "file")
    assert_one_sentence(failed, 1, "--save", str(tmp_path / "file"), "cannot be written")


@pytest.mark.parametrize(
    "command",
    ["--help", "run --help", "completion bash", "plan default", "devices", "inspect default PICTURE", "nonsense"],
)
def test_nobody_reads_the_output(command: str, pictures: list[Path]) -> None:
    """As in `lineside ... | head`: no traceback, whichever command it is."""
    words = [str(pictures[0]) if word == "PICTURE" else word for word in command.split()]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ran = subprocess.run(
            [*LINESIDE, *words],
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            cwd=ROOT,
            env=environment,
            check=False,
        )
    finally:
        os.close(writing)
    assert "BrokenPipe" not in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.returncode == (2 if command == "nonsense" else 1)


def test_check_finds_a_flipped_byte(tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle"))
    weights = bytearray((bundle / "decoder.data").read_bytes())
    weights[100_000] ^= 0x40
    (bundle / "decoder.data").write_bytes(weights)
    assert_one_sentence(lineside("check", bundle), 1, "decoder.data", "damaged", "copy the bundle again")


def test_engines_are_built_for_a_named_gpu(within: Run, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    assert within("export", copy_checkpoint("tied", tmp_path), bundle).returncode == 0
    built = within("engine", bundle, "--target", "sm89", "--cache", "64")
    assert built.returncode == 0, built.stderr
    assert "engines for sm89" in built.stdout
    assert_one_sentence(within("engine", bundle, "--target", "sm75"), 1, "does not build for sm75")
    assert within("check", bundle).returncode == 0


def test_devices_are_listed_on_a_machine_without_a_gpu(within: Run) -> None:
    result = within("devices", DEFAULT_BUNDLE)
    assert result.returncode == 0, result.stderr
    found = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert "cores" in found["cpu"]
    assert "tokens" in found["bundle"]
    assert "works, onnxruntime" in result.stdout
    assert_one_sentence(within("devices", "no-such-bundle"), 1, "no-such-bundle")


def test_export_of_a_broken_checkpoint(within: Run, tmp_path: Path) -> None:
    checkpoint = copy_checkpoint("grouped", tmp_path)
    (checkpoint / "model-00004-of-00005.safetensors").unlink()
    assert_one_sentence(within("export", checkpoint, tmp_path / "b"), 1, "model-00004-of-00005.safetensors")
    assert_one_sentence(within("export", tmp_path, tmp_path / "b"), 1, "is it a checkpoint folder?")


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"", "0 bytes"), (b"text, not a picture", "no JPEG, PNG, BMP, TIFF or WebP"), (None, "cannot be read")],
)
def test_ask_about_a_bad_picture(within: Run, tmp_path: Path, content: bytes | None, part: str) -> None:
    path = tmp_path / "part.jpg"
    if content is not None:
        path.write_bytes(content)
    assert_one_sentence(within("ask", "default", "--image", path, "Good?"), 1, "part.jpg", part)
    assert_one_sentence(within("inspect", "default", path), 1, "part.jpg", part)


def test_a_wrong_station_file(within: Run, tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text("[mqtt]\nhots = 'x'")
    assert_one_sentence(lineside("run", "-c", path), 2, "station.toml", "unknown key `mqtt.hots`")
    path.write_text("[inspect]\nevidence_folder = '/proc/nothing'")
    assert_one_sentence(within("run", "-c", path), 2, "evidence_folder")
    path.write_text("[mqtt]\ntls = true\nca_file = '/nothing.pem'")
    assert_one_sentence(within("run", "-c", path), 2, "ca_file")
    path.write_text("[model]\nbundle = 'nowhere'")
    assert_one_sentence(within("run", "-c", path), 2, "station.toml:2: `model.bundle`", "a bundle folder")


def test_demo_against_a_broker_that_is_not_there(within: Run) -> None:
    result = within("demo", "--broker", "mqtt://127.0.0.1:1")
    assert_one_sentence(result, 1, "no broker at 127.0.0.1:1")


def test_the_demo_keeps_what_it_did_not_draw(within: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    assert_one_sentence(within("demo", "--broker", "mqtt://127.0.0.1:1", "--output", tmp_path), 1)
    assert (tmp_path / "mine.txt").read_text() == "keep me"


@pytest.mark.parametrize("address", ["http://x", "mqtt://h:99999", "mqtt://", "mqtt://u:hunter2@:1"])
def test_a_bad_broker_address(within: Run, address: str) -> None:
    result = within("demo", "--broker", address)
    assert_one_sentence(result, 2, "mqtt://host:1883")
    assert "hunter2" not in result.stderr


def test_demo_on_a_named_broker(within: Run, broker: Mosquitto, tmp_path: Path) -> None:
    """A line a picture, the call that came back, evidence, exit 0; the wheel's test does so on the embedded broker, and
    with all pictures."""
    station = Path(shutil.copytree(ROOT / "deploy/stations/ballscrew", tmp_path / "ballscrew"))
    for path in sorted((station / "pictures").iterdir())[PLAYED:]:
        path.unlink()
    address = f"mqtt://127.0.0.1:{broker.port}"
    result = within("demo", station, "--broker", address, "--output", tmp_path / "evidence")
    assert result.returncode == 0, result.stdout + result.stderr
    assert sum(line.startswith("01_2") for line in result.stdout.splitlines()) == PLAYED
    assert "call     set_belt_speed" in result.stdout
    assert "set_belt_speed: achieved" in result.stdout
    assert len(list((tmp_path / "evidence").glob("*.jpg"))) == PLAYED


def test_run_says_goodbye_on_sigterm(broker: Mosquitto, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "station.toml"
    path.write_text(
        f'[station]\nname = "polite"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
        'username = "polite"\npassword = "hunter2"\n'
    )
    process = subprocess.Popen([*LINESIDE, "run", "-c", str(path)], stderr=subprocess.PIPE, text=True)
    assert client.on("lineside/polite/status")[0].payload == b"online"
    for _ in range(5):  # as `timeout`, or Ctrl-C twice
        process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert client.on("lineside/polite/status", count=2)[1].payload == b"offline"
    assert "hunter2" not in log


def test_check_of_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "factory").mkdir()
    right = "name a station file, its folder, or a bundle folder"
    assert_one_sentence(
        lineside("check", tmp_path / "factry"), 2, f"factry does not exist: {right}; did you mean {tmp_path}/factory?"
    )
    assert_one_sentence(lineside("check", tmp_path / "factory"), 2, f"neither station.toml nor bundle.json: {right}")
