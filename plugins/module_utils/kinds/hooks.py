"""Hooks: programs that run before and after a dump, as users write them. Pure; the plan and the nodes judge alike."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..system.errors import InvalidInput
from ..system.values import nearest, quoted
from .keys import PARSERS

BEFORE, AFTER, ON_FAILURE = KEYS = ("before", "after", "on_failure")
"""When hooks run: before a dump, whenever that was begun, and where it failed"""
LIMIT = 600.0
"""Seconds that a program may take which has no `time_limit` of its own"""
_WORDS = ("argv", "user", "time_limit")
_LIKE = "[[/usr/bin/systemctl, stop, wiki]]"


@dataclass(frozen=True)
class Hook:
    """One program."""

    argv: tuple[str, ...]
    user: str = ""
    """As whom it runs, empty for the user of the call"""
    time_limit: float = LIMIT
    """Seconds after which it is ended"""

    def plain(self) -> dict[str, Any]:
        """Return it as users write it."""
        return {"argv": list(self.argv), **({"user": self.user} if self.user else {}), "time_limit": self.time_limit}

    def __str__(self) -> str:
        return shlex.join(self.argv) + (f" as {self.user}" if self.user else "")


@dataclass(frozen=True)
class Hooks:
    """All programs of an item, or of a source."""

    before: tuple[Hook, ...] = ()
    after: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.before or self.after or self.on_failure)

    def of(self, when: str) -> tuple[Hook, ...]:
        """Return the hooks that run at `when`, one of KEYS."""
        found: tuple[Hook, ...] = getattr(self, when)
        return found

    def plain(self) -> dict[str, list[dict[str, Any]]]:
        """Return them as users write them, without what is not set."""
        return {when: [hook.plain() for hook in self.of(when)] for when in KEYS if self.of(when)}


NO_HOOKS = Hooks()


def parse_hooks(values: Mapping[str, Any]) -> Hooks:
    """Parse the hooks in a mapping with some of KEYS. Raise InvalidInput, naming the key."""
    found: dict[str, tuple[Hook, ...]] = {}
    for when in KEYS:
        try:
            found[when] = parse_list(values.get(when) or ())
        except InvalidInput as error:
            raise InvalidInput(f"{when}: {error}") from None
    return Hooks(**found)


def parse_list(value: object) -> tuple[Hook, ...]:
    """Parse a list of programs to run one after another. Raise InvalidInput."""
    if not isinstance(value, (list, tuple)):
        raise InvalidInput(f"{quoted(value)} is not a list of programs, each a list of words, like {_LIKE}")
    if value and all(isinstance(word, str) for word in value):
        raise InvalidInput(f"{quoted(value)} is a list of words, not of programs: put it in a list, like {_LIKE}")
    return tuple(_parse(each) for each in value)


def _parse(value: object) -> Hook:
    """Parse the words of a program, or a mapping with them as `argv`. Raise InvalidInput."""
    given = value if isinstance(value, Mapping) else {"argv": value}
    for key in given:
        if key not in _WORDS:
            raise InvalidInput(f"{quoted(value)}: unknown key {quoted(key)}, {nearest(str(key), _WORDS)}")
    if "argv" not in given:
        raise InvalidInput(f"{quoted(value)}: key 'argv' is missing, the words of the program")
    parsed = {key: PARSERS[key](given[key], key) for key in _WORDS if given.get(key) is not None}
    return Hook(**parsed)
