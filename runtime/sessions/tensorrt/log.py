"""One logger for all that TensorRT does in this process.

TensorRT keeps the first logger that it is given, and says to that one alone what it does not say to the object at hand.
"""

from __future__ import annotations

import logging
from typing import Any

log = logging.getLogger("lineside.tensorrt")
MOST_ERRORS = 8
_LOGGERS: dict[Any, Any] = {}


def shared_logger(module: Any) -> Any:
    """The logger for `module`, TensorRT or the one for RTX. Its `errors` are the last ones, to be cleared before a call
    whose errors are wanted.
    """
    if module not in _LOGGERS:
        _LOGGERS[module] = _make(module)
    return _LOGGERS[module]


def _make(module: Any) -> Any:
    class Logger(module.ILogger):  # type: ignore[misc]
        """Keeps the errors for the message of an exception."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (module.ILogger.ERROR, module.ILogger.INTERNAL_ERROR):
                self.errors.append(message)
                del self.errors[:-MOST_ERRORS]
            log.debug("%s", message)

    return Logger()
