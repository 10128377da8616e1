"""Each kind that goes into a server has what loads it, and not that of another one."""

from __future__ import annotations

from ansible_collections.altbackup.core.plugins.module_utils.kinds.into import KEYS
from ansible_collections.altbackup.core.plugins.module_utils.kinds.loaders import loader_of


def test_each_kind_that_goes_into_a_server_has_a_loader_of_its_own() -> None:
    assert [type(loader_of(kind)).__module__.rpartition(".")[2] for kind in KEYS] == [f"{kind}_load" for kind in KEYS]
