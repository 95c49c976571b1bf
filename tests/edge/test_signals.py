"""Signals that come together end a process, and none of them hangs it or cuts its end short."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )


def test_a_storm_of_signals_does_not_hang_what_waits_for_them() -> None:
    """One every 20 microseconds, from before the waiting until behind its end, 200 times. A handler that sets an event
    interrupts itself there, for ever."""
    found = run("""
import signal
import lineside.edge.signals as signals

signals.STOPPING = (signal.SIGALRM,)
for _ in range(200):
    with signals.StopSignals() as stop:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.00002)
        while not stop.wait(0.5):
            pass
    signal.setitimer(signal.ITIMER_REAL, 0)
print("ended by itself")
""")
    assert (found.returncode, found.stdout, found.stderr) == (0, "ended by itself\n", "")


def test_each_signal_stops_and_others_do_not() -> None:
    found = run("""
import os, signal
from lineside.edge.signals import StopSignals

signal.signal(signal.SIGUSR1, lambda *_: None)
for number, stops in ((signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGUSR1, False)):
    with StopSignals() as signals:
        os.kill(os.getpid(), number)
        assert signals.wait(0.1) == stops
        assert not signals.wait(0.0001), "it was taken"
os.kill(os.getpid(), signal.SIGTERM)  # behind the end, it is passed over
print("ended by itself")
""")
    assert (found.returncode, found.stdout, found.stderr) == (0, "ended by itself\n", "")


def test_sighup_reloads_and_a_process_that_does_not_end_is_ended() -> None:
    found = run("""
import os, signal, threading
from lineside.edge.signals import StopSignals, end_in_time

asked = []
with StopSignals(lambda: asked.append(1)) as signals:
    os.kill(os.getpid(), signal.SIGHUP)
    assert not signals.wait(0.1)
    assert asked == [1]
    os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.wait(0.1)
end_in_time(0.01)
threading.Event().wait(30)
print("not ended")
""")
    assert (found.returncode, found.stdout) == (1, "")
    assert "did not end within" in found.stderr
