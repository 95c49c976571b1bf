"""What people say to well-known features, in English, German, French and Spanish: patterns with the device's names.

`<N>` stands for the device, with or without an article. A pattern belongs to one call: its arguments stand beside it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

ARTICLES = "[the|das|die|der|den|dem|la|le|les|l'|el|los|las|al]"
Patterns = tuple[str, ...]

ON: Patterns = (
    "(turn|switch|put) on <N>",
    "(turn|switch|put) <N> on",
    "<N> on",
    "(schalt|schalte|schalten|mach|mache|stell|stelle|dreh|drehe) <N> (an|ein)",
    "<N> (an|ein|anschalten|einschalten|anmachen)",
    "(allume|allumer|allumez|active|activer) <N>",
    "(mets|mettre|mettez) <N> en marche",
    "(enciende|encender|encienda|prende|prender) <N>",
)
OFF: Patterns = (
    "(turn|switch|put) off <N>",
    "(turn|switch|put) <N> off",
    "<N> off",
    "(schalt|schalte|schalten|mach|mache|stell|stelle|dreh|drehe) <N> (aus|ab)",
    "<N> (aus|ausschalten|abschalten|ausmachen)",
    "(éteins|éteindre|éteignez|coupe|couper|désactive|désactiver) <N>",
    "(apaga|apagar|apague) <N>",
)
OPEN: Patterns = (
    "(open|raise) <N>",
    "(öffne|öffnen) <N>",
    "<N> (öffnen|auf|hoch|aufmachen)",
    "(mach|mache|machen) <N> auf",
    "(fahr|fahre|fahren) <N> hoch",
    "(ouvre|ouvrir|ouvrez) <N>",
    "(abre|abrir|abra|sube|subir) <N>",
)
CLOSE: Patterns = (
    "(close|shut|lower) <N>",
    "(schließ|schließe|schließen) <N>",
    "<N> (schließen|zu|runter|zumachen)",
    "(mach|mache|machen) <N> zu",
    "(fahr|fahre|fahren) <N> (runter|herunter)",
    "(ferme|fermer|fermez) <N>",
    "(cierra|cerrar|cierre|baja|bajar) <N>",
)
STOP: Patterns = (
    "stop <N>",
    "(stopp|stoppe|stoppen) <N>",
    "(halt|halte) <N> an",
    "<N> (stopp|stoppen|anhalten)",
    "(arrête|arrêter|arrêtez) <N>",
    "(para|parar|pare|detén|detener) <N>",
)
LOCK: Patterns = (
    "lock <N>",
    "(verriegle|verriegele|verriegeln) <N>",
    "<N> (verriegeln|abschließen|absperren)",
    "(schließ|schließe|sperr|sperre) <N> ab",
    "(verrouille|verrouiller|verrouillez) <N>",
    "(bloquea|bloquear|bloquee) <N>",
)
UNLOCK: Patterns = (
    "unlock <N>",
    "(entriegle|entriegele|entriegeln|entsperre|entsperren) <N>",
    "<N> (entriegeln|aufschließen|aufsperren|entsperren)",
    "(schließ|schließe|sperr|sperre) <N> auf",
    "(déverrouille|déverrouiller|déverrouillez) <N>",
    "(desbloquea|desbloquear|desbloquee) <N>",
)
TO: Patterns = (
    "(set|put|turn) [the (<EN>) of] <N> [<EN>] to <ARG> <MAYBE>",
    "<N> [<EN>] [to] <ARG> (<UNIT>)",
    "(stell|stelle|stellen|setz|setze|setzen|mach|mache|dreh|drehe) [(<DE>) (von|vom|der|des)] <N> auf <ARG> <MAYBE>",
    "<N> auf <ARG> <MAYBE>",
    "(règle|régler|réglez|mets|mettre|mettez) [(<FR>) (de|du)] <N> (à|sur) <ARG> <MAYBE>",
    "(pon|poner|ponga|ajusta|ajustar|ajuste) [(<ES>) (de|del)] <N> (a|al|en) <ARG> <MAYBE>",
)
DIM: Patterns = ("(dim|brighten) <N> to {percent} [percent|%]", "(dimm|dimme) <N> auf {percent} [Prozent|%]")
PERCENT = "percent|%|prozent|pour cent|por ciento"
DEGREES = "degrees|degrees celsius|celsius|grad|grad celsius|degrés|grados"
WORDS: Mapping[str, tuple[str, str, str, str]] = {
    "brightness": ("brightness", "die Helligkeit", "la luminosité", "el brillo"),
    "color_temp": (
        "color temperature|colour temperature",
        "die Farbtemperatur",
        "la température de couleur",
        "la temperatura de color",
    ),
    "position": ("position", "die Position", "la position", "la posición"),
    "setpoint": ("temperature|heating", "die Temperatur", "la température", "la temperatura"),
    "temperature": ("temperature", "die Temperatur", "la température", "la temperatura"),
    "humidity": ("humidity", "die Luftfeuchtigkeit|die Luftfeuchte", "l'humidité", "la humedad"),
    "power": ("power", "die Leistung", "la puissance", "la potencia"),
    "energy": ("energy", "der Verbrauch|der Stromverbrauch", "la consommation", "el consumo"),
    "battery": ("battery", "die Batterie|der Batteriestand", "la batterie", "la batería"),
    "illuminance": ("illuminance|light level", "die Beleuchtungsstärke", "la luminosité", "la luz"),
    "pressure": ("pressure", "der Luftdruck", "la pression", "la presión"),
    "co2": ("co2", "der CO2-Wert", "le CO2", "el CO2"),
}
"""What a feature is called in each language."""
WHITES: Mapping[str, str] = {
    "cool": "cool white|cold white|kaltweiß|blanc froid|blanco frío",
    "neutral": "neutral white|neutralweiß|blanc neutre|blanco neutro",
    "warm": "warm white|warmweiß|blanc chaud|blanco cálido",
}
"""Presets of a colour temperature."""
MAKE: Patterns = (
    "(make|turn|set) <N> [to] (<WHITE>)",
    "<N> [auf] (<WHITE>)",
    "(mach|mache|stell|stelle) <N> [auf] (<WHITE>)",
    "(mets|règle) <N> (en|à) (<WHITE>)",
    "(pon|ajusta) <N> (en|a) (<WHITE>)",
)
IS: Mapping[str, Patterns] = {
    "on": (
        "is <N> (on|off)?",
        "(ist|brennt|läuft) <N> [noch] (an|aus)?",
        "[est-ce que] <N> est (allumé|allumée|éteint|éteinte)?",
        "¿está (encendido|encendida|apagado|apagada) <N>?",
        "¿<N> está (encendido|encendida|apagado|apagada)?",
    ),
    "open": (
        "is <N> (open|closed|shut)?",
        "ist <N> [noch] (offen|zu|auf|geschlossen)?",
        "[est-ce que] <N> est (ouvert|ouverte|fermé|fermée)?",
        "¿está (abierto|abierta|cerrado|cerrada) <N>?",
    ),
    "locked": (
        "is <N> (locked|unlocked)?",
        "ist <N> (verriegelt|abgeschlossen|abgesperrt|entriegelt)?",
        "[est-ce que] <N> est (verrouillé|verrouillée|déverrouillé|déverrouillée)?",
        "¿está (bloqueado|bloqueada|desbloqueado|desbloqueada) <N>?",
    ),
    "occupancy": (
        "is there (motion|movement|somebody|someone|anybody|anyone) (at|in|on) <N>?",
        "ist [da] (jemand|Bewegung) (bei|in|im|an) <N>?",
        "y a-t-il (quelqu'un|du mouvement) (à|dans) <N>?",
        "¿hay (alguien|movimiento) en <N>?",
    ),
    "temperature": ("how (warm|cold) is <N>?", "wie (warm|kalt) ist <N>?"),
}
"""Questions that name no feature."""
MEASURED: Patterns = (
    "(what is|what's|how high is) the (<EN>) (of|in|at|on) <N>?",
    "(wie hoch ist|wie ist|was ist) (<DE>) (von|vom|der|des|in|im) <N>?",
    "(quelle est|quel est) (<FR>) (de|du|dans) <N>?",
    "¿(cuál es|cómo está) (<ES>) (de|del|en) <N>?",
)


def names_pattern(names: Iterable[str]) -> str:
    """What stands for a device: its names, without what means something in a template; empty where none is left."""
    plain = [" ".join(re.sub(r"[^\w' -]|_", " ", name).split()) for name in names]
    known = list(dict.fromkeys(name for name in plain if name))
    return f"{ARTICLES} ({'|'.join(known)})" if known else ""


def with_names(patterns: Iterable[str], names: str) -> tuple[str, ...]:
    return tuple(pattern.replace("<N>", names) for pattern in patterns) if names else ()


def setting(feature: str, argument: str, unit: str, *, unit_needed: bool = False) -> Patterns:
    """Sentences that set a well-known number."""
    maybe = f"({unit})" if unit_needed else f"[{unit}]"
    return tuple(
        _named(feature, pattern).replace("<ARG>", f"{{{argument}}}").replace("<UNIT>", unit).replace("<MAYBE>", maybe)
        for pattern in TO
    )


def measured(feature: str) -> Patterns:
    """Questions for a well-known number."""
    return tuple(_named(feature, pattern) for pattern in MEASURED) + IS.get(feature, ())


def _named(feature: str, pattern: str) -> str:
    for token, words in zip(("<EN>", "<DE>", "<FR>", "<ES>"), WORDS[feature], strict=True):
        pattern = pattern.replace(token, words)
    return pattern
