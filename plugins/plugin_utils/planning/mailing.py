"""Who gets mail, as settings of nodes and of the mail name them."""

from __future__ import annotations

import re
from collections.abc import Iterable

NONE = "none"
"""As recipient: no mail is wanted."""


def named(text: str) -> list[str]:
    """Return the words of a setting that name recipients, each once; it is separated by commas, semicolons or blanks, and NONE names nobody."""
    return list(dict.fromkeys(word for word in re.split(r"[,;\s]+", text) if word and word.lower() != NONE))


def of_all(settings: Iterable[str]) -> str:
    """Return who gets mail by any of the settings, NONE where they say that nobody does, "" where they say nothing."""
    given = [text for text in settings if text.strip()]
    return ",".join(named(",".join(given))) or (NONE if given else "")
