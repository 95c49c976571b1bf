"""Which language, question or not, negated or not: in four languages."""

import pytest

from lineside.runtime.commands.language import CODES, language, languages, plain, recognise, words_of


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("turn the light off", "en"),
        ("Sitzheizung aus", "de"),
        ("Band auf fünfzig Prozent", "de"),
        ("éteins la lumière de la cuisine", "fr"),
        ("apaga la luz de la cocina", "es"),
        ("xyzzy", "en"),
        ("", "en"),
    ],
)
def test_a_language_is_known_by_its_function_words(text: str, code: str) -> None:
    assert recognise(text).code == code


@pytest.mark.parametrize(
    "text",
    [
        "how fast is the belt?",
        "is the garage open",
        "lights off?",
        "please, is it on",
        "could you tell me how fast the belt is",
        "wie schnell ist das Band",
        "Ist das Licht an",
        "Sag mir, wie warm es ist",
        "est-ce que la porte est ouverte",
        "la porte est-elle ouverte",
        "sais-tu si la porte est ouverte",
        "¿Está abierta la puerta?",
        "está encendida la luz",
        "¿puedes decirme la temperatura?",
    ],
)
def test_a_question_for_information(text: str) -> None:
    assert recognise(text).is_question(text)


@pytest.mark.parametrize(
    "text",
    [
        "could you stop the line, please?",
        "would you mind closing the door?",
        "hey, can you please stop it?",
        "stop the line",
        "Könntest du bitte das Band anhalten?",
        "Halt das Band an",
        "peux-tu fermer la porte ?",
        "est-ce que tu peux fermer la porte ?",
        "éteins la lumière",
        "¿podrías apagar la luz?",
        "apaga la luz",
    ],
)
def test_a_request_is_no_question(text: str) -> None:
    assert not recognise(text).is_question(text)


@pytest.mark.parametrize(
    ("text", "negated", "ends"),
    [
        ("do not stop the line", True, False),
        ("don’t open the trunk", True, False),
        ("never open it", True, False),
        ("not the kitchen but the bedroom", True, False),
        ("don't leave the light on", True, True),
        ("don't archive any more pictures", True, True),
        ("stop archiving pictures", False, False),
        ("turn the knob", False, False),
        ("Mach das Licht nicht aus", True, False),
        ("kein Licht mehr im Bad", True, True),
        ("knicke nichts", True, False),
        ("mach die Nische hell", False, False),
        ("n'ouvre pas la porte", True, False),
        ("ne laisse pas la lumière allumée", True, True),
        ("passe au suivant", False, False),
        ("no abras la puerta", True, False),
        ("no dejes la luz encendida", True, True),
        ("pon la noche", False, False),
    ],
)
def test_a_negation_is_a_word_of_its_own(text: str, negated: bool, ends: bool) -> None:
    spoken = recognise(text)
    assert (spoken.negation(text) is not None) is negated
    assert spoken.ends_something(text) is ends


def test_every_language_refuses_in_its_own_words() -> None:
    codes = set(language("en").refusals)
    for spoken in languages():
        assert set(spoken.refusals) == codes, spoken.code
    assert len({spoken.refusal("nothing_fits") for spoken in languages()}) == len(CODES)


def test_a_refusal_names_values() -> None:
    assert "150 ist über 100" in language("de").refusal("above", value=150, limit=100, parameter="percent")


def test_a_code_without_a_sentence_stays_a_code() -> None:
    assert language("fr").refusal("no_such_code", value=1) == "no_such_code"


def test_a_text_is_made_plain() -> None:
    assert plain("  Don’t  STOP ") == "don't stop"
    assert words_of("l'eau n'est pas don't") == ["l'", "eau", "n'", "est", "pas", "don't"]
