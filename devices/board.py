"""What the board tells of itself: temperatures and power, as Linux shows them below /sys. Nothing is estimated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SYS = Path("/sys")


@dataclass(frozen=True)
class Board:
    """By the names of its sensors; empty where it has none, or does not let us read them."""

    temperature_c: dict[str, float]
    power_w: dict[str, float]


def read_board(sys: Path = SYS) -> Board:
    """Thermal zones, the sensors of hwmon (with the INA3221 of a Jetson), and the older drivers of Jetsons."""
    temperatures = _named([*_zones(sys), *_hwmon_temperatures(sys)])
    powers = _named([*_hwmon_powers(sys), *_older_jetson(sys)])
    return Board(temperatures, powers)


def _zones(sys: Path) -> Iterator[tuple[str, float]]:
    for zone in sorted(sys.glob("class/thermal/thermal_zone*")):
        if (value := _number(zone / "temp")) is not None:
            yield _text(zone / "type") or zone.name, value / 1e3


def _hwmon_temperatures(sys: Path) -> Iterator[tuple[str, float]]:
    for chip in _chips(sys):
        for path in sorted(chip.glob("temp*_input")):
            if (value := _number(path)) is not None:
                yield _label(chip, path), value / 1e3


def _hwmon_powers(sys: Path) -> Iterator[tuple[str, float]]:
    """Microwatts where a chip has them, else the product of millivolts and milliamperes."""
    for chip in _chips(sys):
        direct = [*sorted(chip.glob("power*_input")), *sorted(chip.glob("power*_average"))]
        for path in direct:
            if (value := _number(path)) is not None:
                yield _label(chip, path), value / 1e6
        for path in [] if direct else sorted(chip.glob("curr*_input")):
            volts = chip / path.name.replace("curr", "in")
            current, voltage = _number(path), _number(volts)
            if current is not None and voltage is not None:
                yield _label(chip, volts), current * voltage / 1e6


def _older_jetson(sys: Path) -> Iterator[tuple[str, float]]:
    """The INA3221 of JetPack 4: milliwatts, with the rail's name beside them."""
    for path in sorted(sys.glob("bus/i2c/drivers/ina3221x/*/iio:device*/in_power*_input")):
        if (value := _number(path)) is not None:
            rail = path.name.removeprefix("in_power").removesuffix("_input")
            yield _text(path.parent / f"rail_name_{rail}") or f"rail {rail}", value / 1e3


def _chips(sys: Path) -> list[Path]:
    return sorted(sys.glob("class/hwmon/hwmon*"))


def _label(chip: Path, path: Path) -> str:
    sensor = path.name.rsplit("_", 1)[0]
    return _text(chip / f"{sensor}_label") or f"{_text(chip / 'name') or chip.name} {sensor}"


def _named(values: list[tuple[str, float]]) -> dict[str, float]:
    """Two sensors of one name are told apart by a number."""
    named: dict[str, float] = {}
    for name, value in values:
        number, own = 2, name
        while own in named:
            own, number = f"{name} {number}", number + 1
        named[own] = round(value, 3)
    return named


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None


def _text(path: Path) -> str:
    """Empty where it cannot be read: a sensor of a chip that sleeps gives an error."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
