"""What the station file says about a tool: its interface, its policy, and what a call of it does."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from lineside.edge.topic_choice import Topic

STRICT = ConfigDict(extra="forbid")
DAY_S = 24 * 3600
Check = Literal["confidence", "words", "values", "negation", "question"]
Pin = Annotated[str, Field(description='a pin such as "GPIO17" or "BOARD11"')]
Safety = Literal["never", "parked", "confirm", "free"]


@dataclass(frozen=True, config=STRICT)
class RateLimit:
    """`[tools.NAME.rate_limit]`: at most `calls` in any stretch of `per_s` seconds."""

    calls: Annotated[int, Field(ge=1)]
    """How many calls are let through."""
    per_s: Annotated[float, Field(gt=0, le=30 * DAY_S)]
    """The stretch of time that they are counted in, in seconds."""


@dataclass(frozen=True, config=STRICT)
class PublishConfig:
    """`[tools.NAME.publish]`: a call publishes on a topic."""

    topic: Topic
    """The topic, or `{ argument = { value = "topic", ... } }` with one for each value of the argument's `enum`: no
    argument says where the call publishes, it chooses."""
    payload: str | dict[str, Any] | list[Any] | None = None
    """Text or JSON with Jinja2 templates over the arguments; where it is left out the arguments as JSON, without the
    one that chooses the topic."""
    retain: bool = False
    """Whether the broker keeps the message for later subscribers."""


@dataclass(frozen=True, config=STRICT)
class StateConfig:
    """`[tools.NAME.state]`: where the device says how it is, and what it says when a call has been carried out."""

    topic: Topic
    """Where its state comes, written as `publish.topic` is. A retained message counts as the state that was."""
    value: Annotated[str, Field(min_length=1)] = "{{ value }}"
    """The state, a Jinja2 template over the message: the keys of a JSON object by name; `value` is a message that is a
    text or a number."""
    expect: str | float | bool | None = None
    """The state that a call asks for, a template over the arguments. Where it is left out it is what `value` makes of
    the payload that the call publishes, or of its arguments, or the only argument."""
    within: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """How far a number may be from the one asked for: a lamp rounds."""


@dataclass(frozen=True, config=STRICT)
class PhraseConfig:
    """`[[tools.NAME.phrases]]`: sentences that say an argument without a slot for it."""

    say: str | tuple[str, ...]
    """The sentence, or several, in the syntax of `phrases`."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What a call gets that no slot says, such as `{ percent = 0 }` for "stop the fan"."""
    units: dict[str, str] = field(default_factory=dict)
    """The unit in which a slot's number is said here, such as `{ temperature = "degF" }`."""


@dataclass(frozen=True, config=STRICT)
class HomeAssistantConfig:
    """`[[tools.NAME.home_assistant]]`: an intent of Home Assistant whose sentences call this tool."""

    intent: str
    """Its name, such as `HassTurnOn`."""
    slots: dict[str, str] = field(default_factory=dict)
    """What stands in its slots: `{ area = "{room}" }` makes an argument of one, `{ domain = "light" }` asks for it."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What a call gets that no slot says, such as `{ state = "on" }`."""


@dataclass(frozen=True, config=STRICT)
class SignalConfig:
    """`[tools.NAME.kuksa]`: the signal of a vehicle that a call sets."""

    signal: Annotated[
        str, Field(pattern=r"^\w+(\.\w+)+$", description='a path such as "Vehicle.Cabin.Sunroof.Position"')
    ]
    """Its path, such as `Vehicle.Cabin.Sunroof.Position`."""
    value: str | float | bool | None = None
    """What it is set to, a Jinja2 template over the arguments; the only argument where it is left out."""


@dataclass(frozen=True, config=STRICT)
class ToolConfig:
    """`[tools.NAME]`: a function that the model may call."""

    description: str
    """What the function does, for the model."""
    parameters: dict[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    )
    """JSON Schema of the arguments; the grammar and the policy both enforce it."""
    allowed: bool = True
    """`false` shows the tool to the model but never lets a call through."""
    phrases: tuple[str | PhraseConfig, ...] = ()
    """Sentences that call the tool without the model: `[optional]`, `(one|other)`, `{slot}` for an argument."""
    words: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    """For an argument's values, what people call them: `[tools.NAME.words.state]` with `off = ["out", "aus"]`."""
    units: dict[str, str] = field(default_factory=dict)
    """The unit of an argument, such as `{ temperature = "degC" }`, for sentences that name another."""
    home_assistant: tuple[HomeAssistantConfig, ...] = ()
    """Intents of Home Assistant whose sentences call the tool, in the languages of `commands.home_assistant`."""
    limits: dict[str, dict[str, Any]] = field(default_factory=dict)
    """For some arguments, JSON Schemas tighter than `parameters`; the model does not see them."""
    rate_limit: RateLimit | None = None
    """How many calls are let through in a stretch of time."""
    quiet_hours: tuple[str, ...] = ()
    """Local times such as `22:00-06:00` in which no call goes through."""
    cool_down_s: Annotated[float, Field(ge=0, le=30 * DAY_S)] = 0.0
    """Seconds that must pass between two calls."""
    confirm_s: Annotated[float, Field(ge=0, le=DAY_S)] = 0.0
    """How long a person has to say yes on `confirm/NAME`; 0 where none is asked."""
    dry_run: bool = False
    """`true` decides and reports, but carries nothing out."""
    wait_s: Annotated[float, Field(ge=0, le=600)] = 5.0
    """How many seconds the reply waits for the call to be carried out; 0 does not wait."""
    opposite: str = ""
    """The tool whose effect this one undoes: where a sentence denies that one, this one may be called, and "stop that"
    calls it after that one."""
    read_only: bool | None = None
    """Whether the tool tells something and changes nothing, so that a question may lead to it. Where it is left out,
    its name says so: `get_`, `read_`, `find_`, `list_`, `query_`, `search_`, `define_`, `describe_`, `tell_`..."""
    unchecked: tuple[Check, ...] = ()
    """Checks that a call by the model need not pass here: `confidence`, `words`, `values`, `negation`, `question`."""
    publish: PublishConfig | None = None
    """A call publishes there, instead of on `call/NAME`."""
    python: str = ""
    """A call runs this function, `module:function`, or an entry point of the group `lineside.tools`."""
    state: StateConfig | None = None
    """Where the device says how it is: a call is `achieved` when that is what was asked for."""
    step: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = field(default_factory=dict)
    """How much "a bit more" is, such as `{ percent = 10 }`: of one argument, a number."""
    query: str = ""
    """The answer to a question, a Jinja2 template over the arguments, `state` (this tool's own) and `states.NAME`
    (another tool's). Such a tool answers and does nothing."""
    kuksa: SignalConfig | None = None
    """A call sets this signal in the databroker of `[kuksa]`, instead of publishing on `call/NAME`."""
    only_if: str = ""
    """A call goes through only where this is true of states that are known and fresh, such as `Vehicle.Speed < 5`."""
    safety: Safety = "free"
    """`never` lets no call through, `parked` only those in the state that `safety.parked` names, `confirm` only those
    that a person confirms (`confirm_s`); `free` asks for nothing."""

    @property
    def acts(self) -> bool:
        """False where a call of it changes nothing: it may answer a question."""
        return not self.query

    @property
    def binding(self) -> Literal["actuator", "publish", "python", "query", "mcp", "kuksa", "zigbee2mqtt"]:
        if self.query:
            return "query"
        if self.kuksa is not None:
            return "kuksa"
        if self.publish is not None:
            return "publish"
        return "python" if self.python else "actuator"
