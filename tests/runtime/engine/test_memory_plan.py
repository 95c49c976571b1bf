"""The plan against what a process really takes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lineside.edge.command_line.main import main
from lineside.runtime.bundle import read_manifest
from lineside.runtime.defaults import DEFAULT_BUNDLE
from lineside.runtime.engine.memory_plan import plan_memory
from lineside.runtime.manifest import KVLayout

WORK = """
import sys
from pathlib import Path
import numpy as np
from lineside.runtime.chat import Prompt
from lineside.runtime.engine.engine import Engine, Limits
from lineside.runtime.engine.sampling import GREEDY
path, tokens = Path(sys.argv[1]), int(sys.argv[2])
engine = Engine.open(path, limits=Limits(capacity=tokens))
rng = np.random.default_rng(0)
image = engine.bundle.manifest.image
token = image.patch_size * image.spatial_merge_size
side = image.max_image_size // token * token
engine.vision_cache._vision.embed(rng.normal(size=(3, side, side)).astype(np.float32))
ids = rng.integers(100, engine.bundle.manifest.vocab_size, tokens - 40)
with engine.sequence(Prompt(ids), reserve=40) as sequence:
    engine.generate(sequence, max_tokens=40, sampling=GREEDY)
status = Path("/proc/self/status").read_text().splitlines()
print(int(next(line for line in status if line.startswith("VmHWM")).split()[1]) * 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's account of memory")
def test_the_plan_is_right_to_ten_percent() -> None:
    manifest = read_manifest(DEFAULT_BUNDLE)
    command = [sys.executable, "-c", WORK, str(DEFAULT_BUNDLE), str(manifest.context_length)]
    taken = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    planned = plan_memory(manifest, manifest.context_length).total_bytes
    assert abs(planned - taken) < 0.1 * taken, f"planned {planned / 1e6:.1f} MB, taken {taken / 1e6:.1f} MB"


def test_the_cache_of_128k_tokens_at_the_shapes_of_the_24b() -> None:
    """Mistral Small 3.2: 160 KiB a token in float16, 21 GB at 128k."""
    layout = KVLayout(num_hidden_layers=40, num_key_value_heads=8, head_dim=128, dtype="float16")
    manifest = replace(read_manifest(DEFAULT_BUNDLE), kv=layout, context_length=131072, hidden_size=5120)
    plan = plan_memory(manifest, 131072)
    assert layout.bytes_per_token == 160 * 1024
    assert plan.kv_bytes == 160 * 1024 * 131072
    rest = plan.total_bytes - plan.kv_bytes
    assert plan.largest_context(rest + 1000 * 160 * 1024) == 1000
    assert plan.largest_context(rest - 1) == 0


def test_the_command_says_what_fits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "default"]) == 0
    assert "fits" in capsys.readouterr().out
    assert main(["plan", "default", "--memory-gb", "0.1"]) == 1
    assert "the weights alone do not fit" in capsys.readouterr().err
    assert main(["plan", "default", "--tokens", "9999"]) == 2
    context = read_manifest(DEFAULT_BUNDLE).context_length
    assert f"the context has 1 to {context} tokens" in capsys.readouterr().err
    assert main(["plan", "/nowhere"]) == 1
    assert "is /nowhere a bundle folder?" in capsys.readouterr().err
