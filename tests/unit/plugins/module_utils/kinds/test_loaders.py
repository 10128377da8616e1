"""Each kind that goes into a server has what loads it."""

from __future__ import annotations

from ansible_collections.altbackup.core.plugins.module_utils.kinds.into import KEYS
from ansible_collections.altbackup.core.plugins.module_utils.kinds.loaders import loader_of


def test_each_kind_that_goes_into_a_server_has_a_loader() -> None:
    assert [loader_of(kind) for kind in KEYS]
