"""Where each key stands, whatever TOML allows."""

from __future__ import annotations

import tomllib

from lineside.edge.toml_lines import key_lines, line_of

TEXT = '''# comment = 1
top = 1
[a] # [z]
b = """
[c]
d = 1
"""
"e f".g = { h = 1, i = [1,
  2] }
list = [
  "[x]",  # y = 1
  ["]", "q = 1"],
]
[[many]]
name = 1
[[many]]
name = 2
[a."d.e".f]
text = \'\'\'
k = \'\'\'
last = 1979-05-27T07:32:00Z
'''


def test_keys_stand_where_they_begin() -> None:
    assert tomllib.loads(TEXT)
    found = key_lines(TEXT)
    assert found == {
        ("top",): 2,
        ("a",): 3,
        ("a", "b"): 4,
        ("a", "e f"): 8,
        ("a", "e f", "g"): 8,
        ("a", "list"): 10,
        ("many",): 14,
        ("many", "name"): 15,
        ("a", "d.e"): 18,
        ("a", "d.e", "f"): 18,
        ("a", "d.e", "f", "text"): 19,
        ("a", "d.e", "f", "last"): 21,
    }
    assert line_of(found, ("a", "e f", "g", "i", 1)) == 8
    assert line_of(found, ("a", "none")) == 3
    assert line_of(found, ("none",)) == 0


def test_a_value_over_many_lines_is_read_in_one_go() -> None:
    """Each line is tried, and there may be thousands."""
    text = "a = [\n" + "1,\n" * 1000 + "]\nb = 2\n"
    assert key_lines(text) == {("a",): 1, ("b",): 1003}
