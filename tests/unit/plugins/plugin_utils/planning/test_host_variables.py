"""The variables of a host that a plan is made from."""

from __future__ import annotations

import pytest
from ansible.utils.vars import load_extra_vars

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.host_variables import read_host
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import Unreadable

NAME = "altbackup_purge_confirm"


@pytest.mark.parametrize(
    ("value", "given", "is_good"),
    [(True, {}, False), (True, {NAME: True}, True), (False, {}, True), ("yes", {"altbackup_keep": 3}, False)],
)
def test_what_confirms_one_run_is_taken_from_that_run_alone(
    monkeypatch: pytest.MonkeyPatch, value: object, given: dict[str, object], is_good: bool
) -> None:
    monkeypatch.setattr(load_extra_vars, "extra_vars", given or {"other": 1}, raising=False)
    found = read_host({NAME: value, "altbackup_keep": 5})
    assert found["altbackup_keep"] == 5
    if is_good:
        assert found[NAME] == value
    else:
        assert isinstance(found[NAME], Unreadable)
        assert (
            f"is set in the inventory, where it would hold for all runs to come: take it out, and give it to one run, with -e {NAME}=true"
            in found[NAME].reason
        )
