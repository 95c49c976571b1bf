"""Whatever comes: a part's output is done at most once, for its own verdict alone, and its result goes out once."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from lineside.edge.outputs_config import OutputConfig
from lineside.edge.wire.messages import Verdict
from tests.support.outputs import Station
from tests.support.wait import until

DELAYS_S = st.sampled_from([0.0, 0.005, 0.03])
OUTPUTS = st.builds(
    lambda on, delay_s, pulse_s, safe, late: OutputConfig(
        "modbus",
        on=on,
        delay_s=delay_s,
        deadline_s=delay_s and delay_s + late,
        pulse_s=pulse_s,
        safe=safe,
        on_unsure="keep",
        timeout_s=0.05,
    ),
    st.sampled_from(["fail", ("fail", "unsure"), "pass"]),
    DELAYS_S,
    st.sampled_from([0.0, 0.001, 0.02]),
    st.sampled_from(["on", "off", "keep"]),
    st.sampled_from([0.0, 1.0]),
)


@dataclass(frozen=True)
class Step:
    """A verdict of a part that was captured `age_s` ago; or something else that happens."""

    what: str = "verdict"
    verdict: Verdict = "fail"
    camera: str = "top"
    age_s: float = 0.0


VERDICTS: tuple[Verdict, ...] = ("pass", "fail", "unsure")
STEPS = st.lists(
    st.one_of(
        st.builds(
            Step,
            st.just("verdict"),
            st.sampled_from(VERDICTS),
            st.sampled_from(["top", "side"]),
            st.sampled_from([0.0, 0.004, 0.05]),
        ),
        st.builds(Step, st.sampled_from(["break", "repair", "unfit", "fit", "pause"])),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(outputs=st.tuples(OUTPUTS, OUTPUTS), steps=STEPS)
def test_at_most_once_and_for_its_own_verdict(outputs: tuple[OutputConfig, OutputConfig], steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Station(Path(folder), one=outputs[0], two=outputs[1]) as station:
            said, came = _play(station, steps)
            until(lambda: station.results().keys() == said.keys())
            results = station.results()
        for name, output in zip(("one", "two"), outputs, strict=True):
            machine = station.machines[name]
            about = [part for _, part, _ in machine.writes if part]
            assert len(about) == len(set(about)), "a part's output was done twice"
            for on, part, at in machine.writes:
                if part:
                    assert on == (said[part].verdict in output.verdicts), "done for another verdict"
                    assert at >= came[part] - said[part].age_s + output.delay_s, "done before it was due"
            done = {part for part, body in results.items() if body["outputs"][name]["outcome"] == "done"}
            assert done == set(about), "what was done is not what the results say"


def _play(station: Station, steps: list[Step]) -> tuple[dict[str, Step], dict[str, float]]:
    """What was said of each part, and a time before which it did not come."""
    said: dict[str, Step] = {}
    came: dict[str, float] = {}
    for step in steps:
        if step.what == "verdict":
            now = time.monotonic()
            part = station.verdict(step.verdict, step.camera, age_s=step.age_s)
            said[part], came[part] = step, now
        elif step.what == "break":
            station.machines["one"].break_down()
        elif step.what == "repair":
            station.machines["one"].repair()
        elif step.what == "pause":
            time.sleep(0.01)
        else:
            station.unfit = "camera top: black" if step.what == "unfit" else ""
    return said, came
