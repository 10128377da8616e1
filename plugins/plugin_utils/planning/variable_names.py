"""Names of variables: which are known, and which are misspelled."""

from __future__ import annotations

import difflib
import functools

from .settings import PREFIX, names

_NEAR = 2
"""Most edits by which a misspelled name differs from the one that was meant, in its prefix and in its rest"""


def describe_unknown(name: str) -> str | None:
    """Return the correction of an unknown variable, None for a known one."""
    known = names()
    if name in known:
        return None
    if not name.startswith(PREFIX):
        return (
            f"unknown variable, did you mean {intended_name(name)}? Correct its name or remove it"
            if intended_name(name)
            else None
        )
    close = difflib.get_close_matches(name.removeprefix(PREFIX), [other.removeprefix(PREFIX) for other in known], 1)
    if not close:
        return "unknown variable: correct its name (docs/variables.md lists them all) or remove it"
    return f"unknown variable, did you mean {PREFIX}{close[0]}? Correct its name or remove it"


@functools.lru_cache(maxsize=4096)
def intended_name(name: str) -> str:
    """Return the variable that a name with a misspelled prefix means, "" for none.

    Names that begin with `__` are internal; the rest of a name must be similar to that of a variable, unlike in other people's names.
    """
    if name.startswith((PREFIX, "__")):
        return ""
    found = []
    for end in range(len(PREFIX) - _NEAR, len(PREFIX) + _NEAR + 1):
        start, rest = name[:end].lower(), name[end:].lower()
        if rest and distance(start, PREFIX, _NEAR) <= _NEAR:
            found += [
                (distance(start, PREFIX, _NEAR) + distance(rest, known, _NEAR), PREFIX + known)
                for known in (other.removeprefix(PREFIX) for other in names())
                if distance(rest, known, _NEAR) <= min(_NEAR, (len(known) + 1) // 3)
            ]
    return min(found)[1] if found else ""


def is_ours(name: str) -> bool:
    """Return whether a variable is one of this collection's, or was meant to be."""
    return name.startswith(PREFIX) or bool(intended_name(name))


def distance(one: str, other: str, most: int) -> int:
    """Return the edit distance (insertions, deletions, replacements) of two texts, at most `most` + 1."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    row = list(range(len(other) + 1))
    for number, character in enumerate(one, 1):
        before, row[0] = row[0], number
        for column, wanted in enumerate(other, 1):
            before, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, before + (character != wanted)),
            )
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)
