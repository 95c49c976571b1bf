"""What is not as the user would expect, at this moment: the sentences of `degraded` in `info`."""

from __future__ import annotations

import threading


class Degraded:
    """Sentences by key, which any thread may set and clear; in the order in which they came.

    Attributes:
        changed: set at each change. Whoever publishes the sentences clears it; nothing is published from `set`, which
            may be called where paho holds its locks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sentences: dict[str, str] = {}
        self.changed = threading.Event()

    def set(self, key: str, sentence: str) -> bool:
        """Say `sentence` until `key` is cleared or set anew. Returns whether nobody has said it yet."""
        with self._lock:
            if self._sentences.get(key) == sentence:
                return False
            new = sentence not in self._sentences.values()
            self._sentences[key] = sentence
        self.changed.set()
        return new

    def clear(self, key: str) -> None:
        """Say nothing of `key` any more, where anything was said."""
        with self._lock:
            if self._sentences.pop(key, None) is None:
                return
        self.changed.set()

    def sentence(self, key: str) -> str:
        """What is said of `key`; empty where nothing is."""
        with self._lock:
            return self._sentences.get(key, "")

    def sentences(self) -> list[str]:
        """Each once, whoever says it."""
        with self._lock:
            return list(dict.fromkeys(self._sentences.values()))
