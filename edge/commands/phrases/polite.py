"""What makes a sentence polite or urgent, in four languages, and says nothing of what is wanted; |
between entries."""

from __future__ import annotations

REQUESTS = """
could you|can you|would you|will you|i want you to|i would like you to|i'd like you to|i want to|i would like to|
i'd like to|i'd like|i would like|would you mind|do you mind|would you kindly|could you possibly|i need you to|
you can|go ahead and|be so kind and|would you be so kind and|
kannst du|könntest du|kannst du mir|könntest du mir|können sie|könnten sie|würdest du|würden sie|magst du|
ich möchte|ich will|ich würde gern|ich würde gerne|sei so nett und|seien sie so nett und|seien sie so gut und|
würden sie mir|können sie mir|könnten sie mir|ich hätte gern|ich hätte gerne|sei so gut und|du kannst|
peux-tu|tu peux|pouvez-vous|vous pouvez|pourrais-tu|tu pourrais|pourriez-vous|vous pourriez|est-ce que tu peux|
est-ce que tu pourrais|est-ce que vous pouvez|est-ce que vous pourriez|veuillez|merci de|je voudrais|je veux|
j'aimerais|tu veux bien|tu voudrais bien|tu voudrais|vous voulez bien|vous voudriez bien|veux-tu bien|
voudrais-tu bien|
pourrais-tu me|peux-tu me|peux-tu nous|tu peux me|tu pourrais me|pouvez-vous me|pourriez-vous me|
est-ce que tu veux bien|veux-tu|voulez-vous|voudrais-tu|
puedes|podrías|puede|podría|me puedes|me podrías|puedes tú|quiero|quisiera|me gustaría|haz el favor de|
te importaría|te importa|le importaría|podrías por favor|vuelve a|vuelva a|serías tan amable de|sería tan amable de|
quieres|querrías"""
"""Before what is wanted: the sentence is a request, also where it ends with a question mark."""
PLEASE = """
please|kindly|thanks|thank you|bitte|bitte schön|s'il te plaît|s'il vous plaît|svp|stp|por favor|porfa|porfavor"""
"""At either end, or in between: the sentence is a request."""
COURTESY = """
please|kindly|bitte|bitte schön|s'il te plaît|s'il vous plaît|svp|stp|por favor|porfa|porfavor"""
"""Of these, what is polite and nothing else in each of the languages: no answer, no "mal"."""
NEGATION = """
not|no|don't|dont|do not|never|nicht|nein|kein|keine|nie|niemals|non|ne|pas|ne pas|jamais|nunca|jamás"""
"""What says nothing by itself of what is wanted."""
GREETINGS = """
hey|hi|hello|ok|okay|alright|hallo|also|bonjour|salut|allez|hola|oye|oiga|vale|venga"""
"""At the beginning."""
URGENCY = """
now|right now|right away|immediately|at once|just|jetzt|sofort|nun|wieder|mal|doch|eben|kurz|
maintenant|tout de suite|immédiatement|ahora|ahora mismo|ya|inmediatamente"""
"""At either end, or in between."""
ENDINGS = """
ok|okay|would you|will you|could you|can you|danke|vielen dank|merci|gracias|for me|für mich|pour moi"""
"""At the end: the sentence is a request."""
