"""How intents and slots of HWU64 and SNIPS become calls of the tools in `tools/public.toml`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lineside.export.evaluation.cases import Expected

WHOLE_HOME = ("house", "home", "room", "rooms")
"""Rooms that say no more than leaving the room out."""
TIMES = ("time", "date", "when")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
INTEGERS = ("people", "rating")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white", "brown", "black")

Slots = Sequence[tuple[str, str]]
"""Name and value of every slot, in the order of the utterance."""


@dataclass(frozen=True)
class Rule:
    """An intent that becomes calls of one tool.

    Attributes:
        slots: slot -> argument; slots of the annotation that are not here rule an utterance out.
        ignored: slots that tell nothing which the tool needs.
        needed: slots of which at least one must be there.
        fixed: arguments that the intent itself says.
        words: a regular expression that the text must match, since some lines are annotated carelessly.
    """

    intent: str
    tool: str
    slots: Mapping[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    needed: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""

    def call(self, text: str, slots: Slots) -> Expected | None:
        """The call that an utterance asks for; None where its annotation is not clean enough to tell."""
        names = [name for name, _ in slots if name not in self.ignored]
        if len(set(names)) < len(names) or set(names) - self.slots.keys() or not re.search(self.words, text, re.I):
            return None
        if self.needed and not set(self.needed) & set(names):
            return None
        arguments = dict(self.fixed)
        for name, value in slots:
            if name in self.ignored:
                continue
            argument = self.slots[name]
            spoken: Any = " ".join(value.split())
            if spoken.casefold() not in text.casefold():
                return None
            if argument in INTEGERS:
                spoken = _integer(spoken)
            if argument == "color":
                spoken = spoken.casefold() if spoken.casefold() in COLORS else None
            if spoken is None or argument in arguments:
                return None
            arguments[argument] = spoken
        return Expected(self.tool, arguments, _accept(arguments, text))


def _accept(arguments: Mapping[str, Any], text: str) -> dict[str, list[Any]]:
    """Further right values: a time with or without its preposition, a name without its genitive, no room for all."""
    accept: dict[str, list[Any]] = {}
    for name, value in arguments.items():
        if name == "room" and value in WHOLE_HOME:
            accept[name] = [None]
        elif name == "company" and value.endswith("'s"):
            accept[name] = [value.removesuffix("'s")]
        elif name in TIMES:
            bare = re.sub(r"^(in|at|on|for) ", "", value)
            spoken = re.search(rf"\b(in|at|on|for|around|right) {re.escape(bare)}", text)
            accept[name] = [form for form in (bare, spoken[0] if spoken else bare) if form != value]
    return {name: values for name, values in accept.items() if values}


def hwu64_slots(row: Mapping[str, Any]) -> Slots:
    """`[name : value]` in the annotated text."""
    return [(name, value.strip()) for name, value in re.findall(r"\[(\w+) :([^\]]*)\]", row["annotated"])]


def snips_slots(row: Mapping[str, Any]) -> Slots:
    return [(slot["slot"], slot["value"]) for slot in row["slots"]]


def _integer(spoken: str) -> int | None:
    if spoken.isdigit():
        return int(spoken)
    return NUMBERS.index(spoken.casefold()) if spoken.casefold() in NUMBERS else None


ROOM = {"house_place": "room"}
DEVICE = frozenset({"device_type"})
HWU64 = (
    Rule("iot_hue_lightchange", "change_light_color", {"color_type": "color", **ROOM}, needed=("color_type",)),
    Rule("iot_hue_lightdim", "dim_lights", ROOM, words="dim|lower|darke|down|less"),
    Rule("iot_hue_lightup", "brighten_lights", ROOM, words="bright|increase|more light|turn up"),
    Rule("iot_hue_lightoff", "switch_lights", ROOM, fixed={"state": "off"}, words="light.*off|off.*light"),
    Rule("iot_hue_lighton", "switch_lights", ROOM, fixed={"state": "on"}, words=r"light.*\bon\b|\bon\b.*light"),
    Rule("iot_wemo_on", "switch_device", {"device_type": "device"}, needed=("device_type",), fixed={"state": "on"}),
    Rule("iot_wemo_off", "switch_device", {"device_type": "device"}, needed=("device_type",), fixed={"state": "off"}),
    Rule("alarm_set", "set_alarm_clock", {"time": "time", "date": "date"}, needed=("time",), words="alarm|wake"),
    Rule("weather_query", "get_weather", {"date": "when", "place_name": "place"}, needed=("place_name",)),
    Rule("audio_volume_up", "change_volume", fixed={"change": "up"}, words="volume|loud|sound|speaker"),
    Rule("audio_volume_down", "change_volume", fixed={"change": "down"}, words="volume|loud|quiet|lower"),
    Rule("audio_volume_mute", "change_volume", fixed={"change": "mute"}, words="mute|silen|sound off|off sound"),
    Rule("qa_definition", "define_word", {"definition_word": "word"}, needed=("definition_word",)),
    Rule("qa_stock", "get_stock_price", {"business_name": "company"}, needed=("business_name",), words="stock|price"),
    Rule("play_radio", "play_radio", {"radio_name": "station"}, needed=("radio_name",), words="play|turn|start|tune"),
)
OWNER = frozenset({"playlist_owner"})
RATED = frozenset({"rating_unit", "best_rating", "object_type"})
TABLE = {"party_size_number": "people", "restaurant_name": "restaurant", "city": "city", "timeRange": "when"}
SNIPS = (
    Rule(
        "GetWeather", "get_weather", {"city": "place", "timeRange": "when"}, needed=("city",), words="weather|forecast"
    ),
    Rule("GetWeather", "get_weather", {"country": "place", "timeRange": "when"}, needed=("country",), words="weather"),
    Rule("PlayMusic", "play_music", {"artist": "artist"}, needed=("artist",)),
    Rule("PlayMusic", "play_music", {"artist": "artist", "service": "service"}, needed=("service",), words=" on | by "),
    Rule("AddToPlaylist", "add_to_playlist", {"artist": "item", "playlist": "playlist"}, OWNER, ("artist",)),
    Rule("AddToPlaylist", "add_to_playlist", {"entity_name": "item", "playlist": "playlist"}, OWNER, ("entity_name",)),
    Rule("RateBook", "rate_book", {"object_name": "title", "rating_value": "rating"}, RATED, ("object_name",)),
    Rule("BookRestaurant", "book_restaurant", TABLE, frozenset(), ("restaurant_name", "city")),
    Rule(
        "SearchScreeningEvent",
        "find_screening",
        {"movie_name": "film", "location_name": "cinema"},
        needed=("movie_name",),
    ),
)
NOTHING_FITS = ("qa_factoid", "general_joke", "cooking_recipe", "qa_maths", "social_post", "email_sendemail")
UNCLEAR = frozenset(
    (
        "show us red",
        "turn on all upstairs lights",
        "turn the lights on full bright",
        "whats the weather like right now in new york",
        "switch lights to dim red",
        "please set the brightness of lightness appropriately in kitchen",
        "please turn my speakers on google",
        "please unmute yourself",
        "can you mute when i am not home",
        "start my playlist on i heart radio",
        "play program on xmtune please",
        "play npr on this station",
        "can you play acoustic music with no commercials",
        "would you please turn on the am radio",
        "weather in home town",
        "what is home town weather",
        "switch off the power",
        "turn on the lights that are outdoors",
        "overhead lights on please",
        "please turn on all the outdoor lights",
        "i need to know current weather in new york city",
        "add Totally Stress Free by bobby lord to my playlist",
    )
)
"""Utterances whose annotation is wrong, or that more than one call would be right for: seen when reading the cases."""
