"""What all tests share: the collection of this checkout can be imported as it is installed."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

COLLECTIONS = str(Path(__file__).resolve().parents[1] / ".collections")

# No run of a test mails anybody, but those that say to whom.
os.environ["ALTBACKUP_MAIL_TO"] = "none"

if COLLECTIONS not in sys.path:
    sys.path.insert(0, COLLECTIONS)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test that is marked sampled(step), leave the first of each step variants to make test; the others are full."""
    seen: Counter[str] = Counter()
    for item in items:
        if marker := item.get_closest_marker("sampled"):
            test = item.nodeid.partition("[")[0]
            if seen[test] % marker.args[0]:
                item.add_marker(pytest.mark.full)
            seen[test] += 1
