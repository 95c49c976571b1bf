"""Sensors, as Linux shows them on boards of several kinds."""

from __future__ import annotations

from pathlib import Path

from lineside.devices.board import read_board


def write(sys: Path, **files: str) -> None:
    for name, text in files.items():
        path = sys / name.replace("__", "/").replace("ZONE", "class/thermal/thermal_zone0")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")


def test_a_jetson_tells_temperatures_and_the_power_of_its_rails(tmp_path: Path) -> None:
    write(tmp_path, ZONE__type="cpu-thermal", ZONE__temp="48500")
    chip = "class__hwmon__hwmon3__"
    write(tmp_path, **{f"{chip}name": "ina3221", f"{chip}in1_label": "VDD_IN", f"{chip}in1_input": "5040"})
    write(tmp_path, **{f"{chip}curr1_input": "1500", f"{chip}curr2_input": "9"})
    board = read_board(tmp_path)
    assert board.temperature_c == {"cpu-thermal": 48.5}
    assert board.power_w == {"VDD_IN": 7.56}


def test_older_jetsons_and_chips_that_measure_power(tmp_path: Path) -> None:
    rails = "bus__i2c__drivers__ina3221x__7-0040__iio:device0__"
    write(tmp_path, **{f"{rails}rail_name_0": "POM_5V_IN", f"{rails}in_power0_input": "2310"})
    chip = "class__hwmon__hwmon0__"
    write(tmp_path, **{f"{chip}name": "amdgpu", f"{chip}power1_average": "31000000", f"{chip}temp1_input": "61000"})
    board = read_board(tmp_path)
    assert board.power_w == {"amdgpu power1": 31.0, "POM_5V_IN": 2.31}
    assert board.temperature_c == {"amdgpu temp1": 61.0}


def test_two_sensors_of_one_name_and_one_that_sleeps(tmp_path: Path) -> None:
    for number, value in enumerate(("20000", "", "30000")):
        write(tmp_path, **{f"class__thermal__thermal_zone{number}__type": "acpitz"})
        write(tmp_path, **{f"class__thermal__thermal_zone{number}__temp": value})
    assert read_board(tmp_path).temperature_c == {"acpitz": 20.0, "acpitz 2": 30.0}


def test_nothing_is_made_up(tmp_path: Path) -> None:
    board = read_board(tmp_path)
    assert (board.temperature_c, board.power_w) == ({}, {})
