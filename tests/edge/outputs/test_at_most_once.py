"""Whatever comes: a part's output is done at most once, for its own verdict alone, and its result goes out once."""

from __future__ import annotations

import tempfile
import time
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
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("verdict"),
            st.sampled_from(["pass", "fail", "unsure"]),
            st.sampled_from(["top", "side"]),
            st.sampled_from([0.0, 0.004, 0.05]),
        ),
        st.sampled_from([("break",), ("repair",), ("unfit",), ("fit",), ("pause",)]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(outputs=st.tuples(OUTPUTS, OUTPUTS), steps=STEPS)
def test_at_most_once_and_for_its_own_verdict(
    outputs: tuple[OutputConfig, OutputConfig], steps: list[tuple[object, ...]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with Station(Path(folder), one=outputs[0], two=outputs[1]) as station:
            said = _play(station, steps)
            until(lambda: station.results().keys() == said.keys())
            results = station.results()
        for name, output in zip(("one", "two"), outputs, strict=True):
            machine = station.machines[name]
            about = [part for _, part, _ in machine.writes if part]
            assert len(about) == len(set(about)), "a part's output was done twice"
            for on, part, _ in machine.writes:
                if part:
                    assert on == (said[part] in output.verdicts), "done for another verdict"
            done = {part for part, body in results.items() if body["outputs"][name]["outcome"] == "done"}
            assert done == set(about), "what was done is not what the results say"


def _play(station: Station, steps: list[tuple[object, ...]]) -> dict[str, Verdict]:
    said: dict[str, Verdict] = {}
    for what, *how in steps:
        if what == "verdict":
            verdict, camera, age_s = how
            said[station.verdict(verdict, camera, age_s=age_s)] = verdict  # type: ignore[arg-type, index]
        elif what == "break":
            station.machines["one"].break_down()
        elif what == "repair":
            station.machines["one"].repair()
        elif what in ("unfit", "fit"):
            station.unfit = "camera top: black" if what == "unfit" else ""
        else:
            time.sleep(0.01)
    return said
