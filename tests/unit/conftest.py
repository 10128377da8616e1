"""What several files of unit tests share, as it takes long to make."""

from __future__ import annotations

import pytest
from helpers.drills import Copies, make_copies


@pytest.fixture(scope="session")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Copies:
    """Return a target's tree with one verified tarball of each kind, to be copied by those who change it."""
    return make_copies(tmp_path_factory.mktemp("every_kind"))
