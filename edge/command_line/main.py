"""The command line, `lineside COMMAND`; `lineside --help` lists the commands.

Exit codes: 0 done; 1 what was asked for failed (a damaged bundle, a checkpoint that cannot be used, no broker); 2 the
command line or the station file is wrong; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from lineside.edge.command_line.fail import fail
from lineside.edge.command_line.parser import make_parser
from lineside.edge.errors import ConfigError, EdgeError
from lineside.runtime.errors import EngineError

SAYS_WHAT_IT_DOES = (
    "ask", "say", "mcp", "inspect", "check", "learn", "calibrate", "demo", "history", "replay", "audit", "top",
    "model", "home-assistant",
)  # fmt: skip
"""On standard output; their log holds warnings only."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of `lineside`."""
    try:
        return _main(arguments)
    except BrokenPipeError:  # `lineside completion bash | head`
        return _unread()
    except SystemExit:  # of argparse, which has printed its help or a mistake
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            return _unread()
        raise


def _unread() -> int:
    """Nobody reads the output any more. What is left of it goes nowhere, or Python would complain as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _main(arguments: Sequence[str] | None) -> int:
    options = make_parser().parse_args(arguments)
    os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # one that is installed would see, and may send, every message
    from lineside.edge import logs

    usual = "WARNING" if options.command in SAYS_WHAT_IT_DOES else "INFO"
    logs.set_up(options.log_level.upper() or usual, options.log)
    module, function = options.handler.split(".")
    handler = getattr(import_module(f"lineside.edge.command_line.{module}"), function)
    try:
        code = int(handler(options))
        sys.stdout.flush()
        return code
    except ConfigError as error:
        return fail(str(error), 2)
    except (EdgeError, EngineError) as error:
        return fail(str(error), 1)
    except KeyboardInterrupt:
        return fail("interrupted", 130)


def completion(options: argparse.Namespace) -> int:
    import shtab

    print(shtab.complete(make_parser(), options.shell))
    return 0
