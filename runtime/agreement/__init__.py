"""How far one model agrees with another: on the tokens of a text. `text.txt` is one to measure on."""
