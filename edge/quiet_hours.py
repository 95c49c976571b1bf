"""Times of day in which a tool is left alone, in the station's time zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

from lineside.edge.errors import ConfigError

SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True)
class QuietHours:
    """From `start` until just before `end`, over midnight where `end` is the earlier."""

    start: time
    end: time

    def contains(self, moment: time) -> bool:
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def parse_quiet_hours(text: str, key: str) -> QuietHours:
    """Raises ConfigError, which names `key`, where `text` is not like "22:00-06:00"."""
    match = SPAN.fullmatch(text)
    if match is None or match[1] + match[2] == match[3] + match[4]:
        raise ConfigError(f'`{key}`: {text!r} is not a span of time such as "22:00-06:00"')
    hours = [int(part) for part in match.groups()]
    return QuietHours(time(hours[0], hours[1]), time(hours[2], hours[3]))


def time_of_day(timestamp: float, zone: str) -> time:
    """Of a Unix time, in the zone, or in the machine's own where `zone` is empty."""
    return datetime.fromtimestamp(timestamp, ZoneInfo(zone) if zone else None).time()


def check_zone(zone: str) -> None:
    """Raises ConfigError where the zone is not known here."""
    try:
        ZoneInfo(zone or "UTC")
    except (OSError, ValueError, LookupError) as error:
        raise ConfigError(f"`station.timezone`: {zone!r} is not a time zone such as Europe/Berlin ({error})") from None
