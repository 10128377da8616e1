"""What tests of kinds share whose items are served by servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.servers import reachable_base
from helpers.trees import Base


@pytest.fixture
def served_base() -> Iterator[Base]:
    """Return a base that servers' user can reach."""
    with reachable_base() as made:
        yield made
