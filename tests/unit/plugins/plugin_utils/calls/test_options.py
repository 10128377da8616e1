"""Which calls are completed, and which are not made."""

from __future__ import annotations

import pytest
from helpers.told_runs import Told

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import options
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.handed import TAKES


def test_each_module_that_is_completed_is_one_that_a_plan_says_something_of() -> None:
    assert set(options.COMPLETED) <= set(TAKES)
    assert options.options_of("dna_verify", Told().run, {}, {}) == {}


@pytest.mark.parametrize("module", ["tarball_send", "tarball_find", "restore_adopt"])
def test_where_there_is_nothing_to_do_no_call_is_made(module: str) -> None:
    assert options.options_of(module, Told().run, {}, {}) is None
