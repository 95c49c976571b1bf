"""What was announced to Home Assistant, kept on the disk: a camera, a tool or the table that leaves the station file
while the station is down is taken back all the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lineside.edge.errors import ConfigError
from lineside.edge.integrations.home_assistant.device import Device
from lineside.edge.lasting import replace_file

Platforms = dict[str, str]
"""Of components, by their keys."""
_KEPT: TypeAdapter[dict[str, Platforms]] = TypeAdapter(dict[str, Platforms])


class Published:
    """Devices by their discovery topics. Raises ConfigError where the file cannot be used, OSError where it cannot be
    written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._devices = _KEPT.validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            self._devices = {}
        except (OSError, ValidationError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not what this station writes"
            advice = "delete it, and what it named in Home Assistant, too"
            raise ConfigError(f"{path} cannot be read ({why}): {advice}") from None

    @property
    def topics(self) -> list[str]:
        return list(self._devices)

    def messages(self, devices: Mapping[str, Device]) -> dict[str, bytes]:
        """What is to be retained on each topic, empty for a device that is gone. It is noted down first.

        A component that is gone stays named in the message of its device: whenever Home Assistant reads that, it takes
        the component away.
        """
        gone = {topic: b"" for topic in self._devices if topic not in devices}
        said = {}
        before, after = self._devices, {topic: dict(platforms) for topic, platforms in self._devices.items()}
        for topic, device in devices.items():
            here = device.platforms()
            left = {key: platform for key, platform in before.get(topic, {}).items() if key not in here}
            after[topic] = here | left
            said[topic] = device.encode(left)
        self._keep(after)
        return gone | said

    def forget(self, topic: str) -> None:
        """The broker has nothing on it any more."""
        self._keep({known: platforms for known, platforms in self._devices.items() if known != topic})

    def _keep(self, devices: dict[str, Platforms]) -> None:
        if devices == self._devices:
            return
        if devices:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, _KEPT.dump_json(devices, indent=2) + b"\n")
        else:
            self._path.unlink(missing_ok=True)
        self._devices = devices
