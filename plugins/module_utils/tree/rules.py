"""By what rules the items of a tree were purged last: of one whose rules fell since nothing is removed until somebody confirms it.

`.altbackup/rules/items` of a source, `.altbackup/rules/<source>/items` of its tree on a target: `{"<category>/<name>": {"<rule>": number}}`.
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
"""{rule: how many it keeps, or for how many seconds}; one that is not there is 0"""
_LONGEST = 1 << 26


def known_rules(tree: Tree) -> dict[str, dict[str, float]]:
    """Return {item: its rules} of the last purge of each. Raise AltbackupError if the file has what was never written to it, or OSError."""
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
    """Keep {item: its rules}. Raise AltbackupError or OSError."""
    path = tree.private_path("rules", "items")
    make_folders(os.path.dirname(path), tree.private)
    write_text(path, json.dumps(rules, sort_keys=True) + "\n")


def fallen(known: Mapping[str, Numbers], rules: Mapping[str, Numbers]) -> dict[str, list[tuple[str, float, float]]]:
    """Given {item: rules} of the last purge and of this one, return {item: (rule, number then, number now)} of those that fell."""
    found = {}
    for key, now in rules.items():
        then = known.get(key, {})
        fell = [(word, then[word], now.get(word, 0)) for word in sorted(then) if now.get(word, 0) < then[word]]
        if fell:
            found[key] = fell
    return found
