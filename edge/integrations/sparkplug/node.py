"""The station as an edge node of Sparkplug B: births, data, deaths, and results that wait for a host.

Source: Sparkplug 3.0 (ISO/IEC 20237:2023), "Operational Behavior".
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from lineside.edge.counters import Counters
from lineside.edge.degraded import Degraded
from lineside.edge.errors import EdgeError, StoreError
from lineside.edge.integrations.sparkplug import metrics
from lineside.edge.integrations.sparkplug.payload import INT64, Command, Metric, decode, encode
from lineside.edge.integrations.sparkplug.waiting import BDSEQS, WaitingResults
from lineside.edge.mqtt_config import MqttConfig
from lineside.edge.sparkplug_config import SparkplugConfig
from lineside.edge.steady import unix_time
from lineside.edge.wire.clean_session import CleanSession, Will
from lineside.edge.wire.messages import InspectionResult
from lineside.edge.wire.mqtt import Connection
from lineside.runtime.text.strict_json import load_json

log = logging.getLogger("lineside.sparkplug")
NAMESPACE = "spBv1.0"
SEQS = 256
AT_ONCE = 100
TICK_S, AGAIN_S = 1.0, 0.05
ABOUT = "sparkplug"
"""The key of what `degraded` says."""


class SparkplugNode:
    """One thread speaks, whatever the network thread and the pipeline tell it.

    Args:
        node_id: the edge node's name.
        cameras: the cameras and triggers that have results now: each is a device.
        properties: what the birth says of the station.
    """

    def __init__(
        self,
        config: SparkplugConfig,
        node_id: str,
        access: MqttConfig,
        client_id: str,
        waiting: WaitingResults,
        cameras: Callable[[], Iterable[str]],
        properties: Mapping[str, str],
        counters: Counters,
        degraded: Degraded,
        leader: Connection | None,
    ) -> None:
        self._config, self._node_id, self._waiting = config, node_id, waiting
        self._cameras, self._properties = cameras, properties
        self._counters, self._degraded = counters, degraded
        self._state = f"{NAMESPACE}/STATE/{config.host_id}" if config.host_id else ""
        self._host: bool | None = None
        self._host_since = -1
        self._condition = threading.Condition()
        self._stands = self._rebirth = self._closed = False
        self._connection, self._born_on = 0, 0
        self._sent = self._old = self._confirmed = self._arrived = 0
        self._asked, self._covered = 0, 0
        self._again_at = 0.0
        self._seq = self._bdseq = 0
        self._devices: dict[str, int] = {}
        self._alive: list[str] = []
        self._counts: dict[str, Counter[str]] = {}
        self._last: dict[str, tuple[int, Mapping[str, Any]]] = {}
        filters = [self._topic("NCMD"), *([self._state] if self._state else [])]
        self._link = CleanSession(access, f"{client_id}-sparkplug", filters, self, leader)
        self._thread = threading.Thread(target=self._run, name="sparkplug", daemon=True)
        self._results: list[InspectionResult] = []

    def _topic(self, kind: str, device: str = "") -> str:
        return "/".join(filter(None, (NAMESPACE, self._config.group_id, kind, self._node_id, device)))

    def start(self) -> None:
        self._thread.start()
        self._link.start()

    def connect_now(self) -> None:
        self._link.connect_now()

    def close(self) -> None:
        """Say the node's death, and keep what waits."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        self._thread.join(timeout=5)
        if self._born:
            self._link.publish(self._topic("NDEATH"), self._death())
        self._link.stop()
        self._waiting.close()

    def tell(self, result: InspectionResult) -> None:
        """On the pipeline's thread, which goes on at once."""
        with self._condition:
            self._results.append(result)
            self._condition.notify_all()

    # As `edge.wire.clean_session.Peer`, on the network thread

    def will(self) -> Will:
        try:
            self._bdseq = self._waiting.next_bdseq()
        except StoreError as error:  # the disk is full: the number is another all the same
            self._fail(error)
            self._bdseq = (self._bdseq + 1) % BDSEQS
        self._host, self._host_since = None, -1
        return Will(self._topic("NDEATH"), self._death())

    def stands(self) -> None:
        with self._condition:
            self._stands, self._connection = True, self._connection + 1
            self._asked = self._arrived = 0
            self._condition.notify_all()

    def heard(self, topic: str, payload: bytes) -> None:
        if topic == self._state:
            self._hear_host(payload)
            return
        try:
            commands = list(decode(payload))
        except EdgeError as error:
            self._counters.add("sparkplug_unreadable")
            log.warning("%s: %s", topic, error)
            return
        if any(each.value is True and _is_rebirth(each) for each in commands):
            with self._condition:
                self._rebirth = True
                self._condition.notify_all()

    def _hear_host(self, payload: bytes) -> None:
        """`{"online": true, "timestamp": ...}`; what is older than the last word does not count."""
        try:
            body = load_json(payload.decode())
            online, since = body["online"], int(body["timestamp"])
        except (ValueError, KeyError, TypeError):
            log.warning("%s says neither that the host is online nor that it is not", self._state)
            return
        with self._condition:
            if since >= self._host_since:
                self._host, self._host_since = online is True, since
                self._condition.notify_all()

    def arrived(self, mark: int) -> None:
        with self._condition:
            if mark == self._asked:
                self._arrived, self._asked = self._covered, 0
                self._condition.notify_all()

    def ended(self, cause: str) -> None:
        with self._condition:
            self._stands = False
        self._degraded.set(ABOUT, f"no host hears the verdicts in Sparkplug B, they are kept: {cause}")

    # On the thread that speaks

    def _run(self) -> None:
        while True:
            with self._condition:
                if not (self._closed or (self._may_try() and (self._results or self._has_work()))):
                    self._condition.wait(TICK_S)
                results, self._results = self._results, []
                closed = self._closed
            try:
                self._keep(results)
                if closed:
                    return
                self._speak()
            except StoreError as error:
                self._fail(error)
            except Exception as error:  # the station goes on: counted, logged
                log.exception("the verdicts could not be told in Sparkplug B")
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._counters.add("sparkplug_failed")
        if self._degraded.set(f"{ABOUT} failed", f"verdicts may be missing in Sparkplug B: {error}"):
            log.error("%s", error)
        self._again_at = time.monotonic() + TICK_S

    @property
    def _born(self) -> bool:
        """On the connection that stands."""
        return self._stands and self._born_on == self._connection

    def _may_try(self) -> bool:
        """Not at once after a failure."""
        return time.monotonic() >= self._again_at

    def _has_work(self) -> bool:
        if not (self._stands and self._may_speak()):
            return self._stands and self._born  # the host has gone
        return bool(self._arrived) or self._rebirth or not self._born

    def _may_speak(self) -> bool:
        return not self._state or self._host is True

    def _keep(self, results: list[InspectionResult]) -> None:
        for result in results:
            counts = self._counts.setdefault(result.camera, Counter())
            counts[result.verdict] += 1
            stamp = int(result.captured_at.timestamp() * 1000)
            values = metrics.values_of(result, counts)
            self._last[result.camera] = stamp, values
            lost = self._waiting.put(result.camera, stamp, values)
            if lost:
                self._counters.add("sparkplug_results_lost", lost)
                sentence = f"more than {self._config.max_waiting} results wait for Sparkplug B: the oldest are lost"
                self._degraded.set(f"{ABOUT} lost", sentence)

    def _speak(self) -> None:
        with self._condition:
            stands, connection, arrived, rebirth = self._stands, self._connection, self._arrived, self._rebirth
            self._arrived, self._rebirth = 0, False
        if arrived:
            self._waiting.remove(arrived)
            self._confirmed = arrived
        if not stands:
            return
        if not self._may_speak():
            self._wait_for_host()
            return
        if rebirth or not self._born:
            self._give_birth(connection)
        elif list(self._cameras()) != self._alive:
            self._renew_devices()
        self._send()

    def _wait_for_host(self) -> None:
        """The primary host is away: the node dies, and comes back with a connection of its own."""
        self._degraded.set(ABOUT, f"the host {self._config.host_id} is not online: results are kept for it")
        if self._born:
            self._link.publish(self._topic("NDEATH"), self._death())
            self._born_on = 0
            self._link.leave()

    def _give_birth(self, connection: int) -> None:
        """Of the node and of each camera. What waits on a connection's first is of the past."""
        if self._born_on != connection:
            self._sent, self._old = 0, self._waiting.newest()
        now = _now()
        self._seq = 0
        if not self._publish("NBIRTH", "", metrics.node_metrics(self._bdseq, now, self._properties), now):
            self._again_at = time.monotonic() + AGAIN_S
            return
        self._alive = list(self._cameras())
        for camera in self._alive:
            self._bear(camera, now)
        self._born_on = connection
        if self._born:
            self._degraded.clear(ABOUT)
            log.info("%s/%s is born (bdSeq %d)", self._config.group_id, self._node_id, self._bdseq)

    def _bear(self, camera: str, now: int) -> None:
        index = self._devices.setdefault(camera, len(self._devices))
        stamp, values = self._last.get(camera, (now, {}))
        self._publish("DBIRTH", camera, metrics.device_metrics(values, stamp, index, named=True), now)

    def _renew_devices(self) -> None:
        """The station file has other cameras now."""
        now, cameras = _now(), list(self._cameras())
        for camera in self._alive:
            if camera not in cameras:
                self._publish("DDEATH", camera, (), now)
        for camera in cameras:
            if camera not in self._alive:
                self._bear(camera, now)
        self._alive = cameras

    def _send(self) -> None:
        """What waits, the oldest first, and the question whether it has arrived."""
        rows = self._waiting.after(self._sent, AT_ONCE)
        for row in rows:
            if row.camera not in self._alive:  # the station file has it no more
                self._counters.add("sparkplug_results_lost")
            else:
                old = row.id <= self._old
                index = self._devices[row.camera]
                data = metrics.device_metrics(row.values, row.timestamp, index, named=False, historical=old)
                if not self._publish("DDATA", row.camera, data, _now()):
                    return
            self._sent = row.id
        with self._condition:
            if self._sent > self._confirmed and not self._asked:
                self._asked, self._covered = self._link.ask(), self._sent

    def _publish(self, kind: str, device: str, content: Iterable[Metric], now: int) -> bool:
        sent = self._link.publish(self._topic(kind, device), encode(now, self._seq, content))
        if sent:
            self._seq = (self._seq + 1) % SEQS
            self._counters.add("sparkplug_sent", kind=kind)
        return sent

    def _death(self) -> bytes:
        now = _now()
        return encode(now, None, [Metric(metrics.BDSEQ, INT64, self._bdseq, now)])


def _is_rebirth(command: Command) -> bool:
    return command.name == metrics.REBIRTH or (not command.name and command.alias == metrics.REBIRTH_ALIAS)


def _now() -> int:
    return int(unix_time() * 1000)
