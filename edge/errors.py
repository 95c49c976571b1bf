"""What can go wrong in the daemon.

EdgeError
├── ConfigError        the station file or a LINESIDE_* variable is wrong; names the key
├── BrokerError        the broker cannot be reached, or does not take a message
│   ├── QueueFull      too many messages wait for the broker; try again later
│   ├── NotConnected   there is no connection; try again later
│   └── TooLarge       the message has more bytes than the broker takes
├── StoreError         the daemon's database cannot be used
├── AuditError         the audit log cannot be written
└── RequestError       a command or frame is refused; carries a code for the reply
    └── UpdateError    a model is not installed, or settings are not taken: all is as before
"""

from __future__ import annotations


class EdgeError(Exception):
    """Base of everything that `edge` raises on purpose."""


class ConfigError(EdgeError):
    pass


class BrokerError(EdgeError):
    pass


class QueueFull(BrokerError):
    pass


class NotConnected(BrokerError):
    pass


class TooLarge(BrokerError):
    pass


class StoreError(EdgeError):
    pass


class AuditError(EdgeError):
    pass


class RequestError(EdgeError):
    """Raised with a machine-readable `code` and a sentence that says what would be right."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class UpdateError(RequestError):
    pass
