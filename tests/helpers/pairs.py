"""Trees with full tarballs and differentials of arbitrary bytes: only their sidecars matter."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from helpers.original_trees import modern_text, put


def relpath_of(word: str, key: str = "folders/notes") -> str:
    """Return the relpath of a tarball named by a day of May 2013 and F (full) or D (differential), as in 08F."""
    name = key.split("/")[1]
    return f"{key}/2013/05/{word[:2]}/104701/{name}{'.diff' if word[2] == 'D' else ''}.tar"


def put_pairs(base: Path, words: str, key: str = "folders/notes") -> list[str]:
    """Write tarballs: 08F is a full one of that day, 09D a differential against the full one before, 10D08 against that of the 8th.

    Return their relpaths.
    """
    found, full = [], ""
    for word in words.split():
        path = relpath_of(word, key)
        content = f"{key} {word}".encode() * 40
        text = json.loads(modern_text(content))
        if word[2] == "F":
            full = word
        else:
            needed = relpath_of(f"{word[3:]}F" if word[3:] else full, key)
            there = f"{key} {word[3:] or full[:2]}F".encode() * 40
            text.update(base=needed.split("/", 2)[2], base_dig=hashlib.sha256(there).hexdigest())
        put(base, path, content, json.dumps(text) + "\n")
        found.append(path)
    return found
