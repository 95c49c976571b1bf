"""What can go wrong in an export.

ExportError
├── CheckpointError       the checkpoint cannot be used
│   ├── MissingPart       a file, shard or tensor is missing
│   └── Unsupported       an architecture, option or number format that Lineside does not export
├── DiskTooSmall          the bundle would not fit; found before the work starts
├── MemoryTooSmall        the export would not fit into the memory; found before the work starts
├── TargetExists          the bundle folder is there already, or something else is in the way
├── TargetInUse           another export to the same folder is running
├── TargetUnwritable      a file cannot be written, or read: a full disk, a read-only one
├── PullFailed            a hub does not give the model: unknown, gated, out of reach, or not what it lists
├── TooCoarse             rounding has taken the bundle too far from the float model
├── ParityError           the finished graphs do not compute finite numbers
└── EngineBuildFailed     TensorRT does not build for the target, or refuses the graph
"""

from __future__ import annotations


class ExportError(Exception):
    """Base of everything that `export` raises on purpose."""


class CheckpointError(ExportError):
    pass


class MissingPart(CheckpointError):
    pass


class Unsupported(CheckpointError):
    pass


class DiskTooSmall(ExportError):
    pass


class MemoryTooSmall(ExportError):
    pass


class TargetExists(ExportError):
    pass


class TargetInUse(ExportError):
    pass


class TargetUnwritable(ExportError):
    pass


class PullFailed(ExportError):
    pass


class TooCoarse(ExportError):
    pass


class ParityError(ExportError):
    pass


class EngineBuildFailed(ExportError):
    pass
