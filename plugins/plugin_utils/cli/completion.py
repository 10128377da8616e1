"""Shell completion, by argcomplete where it is installed: it calls this program, which knows the items, too."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from typing import Any

from ...module_utils.system.errors import InvalidInput
from .days import WEEKDAYS
from .inventory import all_kept_items
from .run_store import state_folder

SHELLS = ("bash", "zsh", "fish")
_MISSING = f"argcomplete is not installed: {sys.executable} -m pip install argcomplete"


def script(shell: str) -> str:
    """Return the shell's code that completes the commands. Raise InvalidInput for an unknown shell, or without argcomplete."""
    if shell not in SHELLS:
        raise InvalidInput(f"{shell!r} is none of {', '.join(SHELLS)}")
    if not importlib.util.find_spec("argcomplete"):
        raise InvalidInput(_MISSING)
    import argcomplete

    return str(argcomplete.shellcode(["altbackup"], shell=shell))


def complete(action: argparse.Action, word: str) -> None:
    """Set how an argument is completed; `word` is the name of what it takes."""
    if word in ("item", "items"):
        action.completer = _items  # type: ignore[attr-defined]
    else:
        known = {"shell": SHELLS, "days": ("today", "yesterday", *WEEKDAYS)}.get(word, ())
        action.completer = lambda prefix="", **_: [each for each in known if each.startswith(prefix)]  # type: ignore[attr-defined]


def _items(prefix: str = "", **_: Any) -> list[str]:
    """Return the items of earlier lists that begin with `prefix` or, if none does, contain it."""
    known = all_kept_items(state_folder("", os.environ))
    return [item for item in known if item.startswith(prefix)] or [item for item in known if prefix in item]


def answer(parser: argparse.ArgumentParser) -> None:
    """Answer a completion request of a shell and exit; return if there is none."""
    if "_ARGCOMPLETE" in os.environ and importlib.util.find_spec("argcomplete"):
        import argcomplete

        argcomplete.autocomplete(parser, validator=lambda *_: True)
