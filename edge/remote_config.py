"""What a station file may say about changes from outside: its keys, their types and defaults."""

from __future__ import annotations

from typing import Literal

from pydantic.dataclasses import dataclass

from lineside.edge.tool_config import STRICT

Allowed = Literal["call", "config", "model", "switch", "learn"]


@dataclass(frozen=True, config=STRICT)
class RemoteConfig:
    """What may be changed from outside. Tools, their limits and policy, and this table never are."""

    allow: tuple[Allowed, ...] = ()
    """`model` lets `cmd/model-install` and `cmd/model-rollback` through, `config` lets `cmd/config`, `switch` lets
    `cmd/switch`; `call` lets `cmd/call` name a tool and its arguments, of which the policy thinks as of any other call;
    `learn` lets the station's page teach from people's verdicts. What is not named is refused."""
