"""Regular expressions that mean the same in ECMA-262 (JSON Schema), Python (jsonschema) and Rust (llguidance)."""

from __future__ import annotations

ANY = r"[^\n\r\u2028\u2029]"
"""What `.` is in ECMA-262; Rust's also takes a carriage return."""
DIFFERENT = {"D": "[^0-9]", "W": "[^0-9A-Za-z_]", "A": "^", "Z": "$", "z": "$"}
"""Escapes that mean different things, and what to write instead."""


class NotPortable(ValueError):
    """Says what in the pattern is read differently elsewhere, and what would be right."""


def portable(pattern: str) -> str:
    """The pattern with the same meaning for all.

    Raises:
        NotPortable: a construct that one of them reads differently.
    """
    out: list[str] = []
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "\\":
            out.append(_escape(pattern, at))
            at += 2
        elif character == "[":
            end = _class_end(pattern, at)
            out.append(pattern[at:end])
            at = end
        else:
            if pattern.startswith("(?", at) and not pattern.startswith("(?:", at):
                raise NotPortable(f"{pattern[at : at + 4]!r}: groups are ( ) or (?: )")
            out.append(ANY if character == "." else character)
            at += 1
    return "".join(out)


def _escape(pattern: str, at: int) -> str:
    escape = pattern[at + 1 : at + 2]
    if escape in DIFFERENT:
        raise NotPortable(f"\\{escape} is read differently by JSON Schema libraries: write {DIFFERENT[escape]}")
    return pattern[at : at + 2]


def _class_end(pattern: str, start: int) -> int:
    """Behind the `]` that closes the class at `start`."""
    at = start + 2 if pattern.startswith("[^", start) else start + 1
    if pattern.startswith("]", at):
        raise NotPortable("an empty class, or one that begins with ]: escape it as \\]")
    while at < len(pattern) and pattern[at] != "]":
        if pattern[at] == "[":
            raise NotPortable("[ within a class: escape it as \\[")
        if pattern[at : at + 2] in ("&&", "--", "~~", "||"):
            raise NotPortable(f"{pattern[at : at + 2]} within a class: escape it")
        if pattern[at] == "\\":
            _escape(pattern, at)
            at += 1
        at += 1
    return at + 1
