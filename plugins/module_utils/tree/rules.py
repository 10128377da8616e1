"""Rules by which a tree's items were last purged: if an item's rules fell since, nothing of it is removed until somebody confirms it.

`.altbackup/rules/items` of a source, `.altbackup/rules/<source>/items` of its tree on a target: `{"<category>/<name>": {"<rule>":
number}}`.
"""

from __future__ import annotations

import json
import math
import os
from typing import Mapping

from ..system.errors import AltbackupError
from .layout import Tree
from .private import read_private
from .publish import make_folders, write_text

Numbers = Mapping[str, float]
"""{rule: number that it keeps, or seconds}; a missing rule is 0"""
_LONGEST = 1 << 26


def known_rules(tree: Tree) -> dict[str, dict[str, float]]:
    """Return {item: its rules} of each item's last purge. Raise AltbackupError if the file is damaged, or OSError."""
    path = tree.private_path("rules", "items")
    try:
        value = json.loads(read_private(tree, path, _LONGEST))
        return {
            str(key): {str(word): _number(number) for word, number in rules.items()} for key, rules in value.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise AltbackupError(
            f"{path}, which tells by what rules this tree was purged last, is damaged, so nothing is removed: see that the rules of the "
            "inventory are those that are meant, and remove that file"
        ) from None


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError
    return value


def remember_rules(tree: Tree, rules: Mapping[str, Numbers]) -> None:
    """Write {item: its rules}. Raise AltbackupError or OSError."""
    path = tree.private_path("rules", "items")
    make_folders(os.path.dirname(path), tree.private)
    write_text(path, json.dumps(rules, sort_keys=True) + "\n")


def fallen(known: Mapping[str, Numbers], rules: Mapping[str, Numbers]) -> dict[str, list[tuple[str, float, float]]]:
    """Return {item: [(rule, number then, number now)]} of the rules that fell since the last purge."""
    found = {}
    for key, now in rules.items():
        then = known.get(key, {})
        fell = [(word, then[word], now.get(word, 0)) for word in sorted(then) if now.get(word, 0) < then[word]]
        if fell:
            found[key] = fell
    return found
