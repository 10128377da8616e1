"""What the doctor makes of the errors of an inventory, and of what went since the last run."""

from __future__ import annotations

import copy

import pytest
from helpers.findings import (
    COMMANDS,
    Facts,
    planned,
    variables,
    wrong,
)

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor import decide, inventory


@pytest.mark.parametrize(
    ("change", "groups", "where", "mend"),
    [
        ({"dayabay": {"altbackup_kep": 3}}, None, "dayabay", "# write altbackup_keep in the place of altbackup_kep"),
        ({}, {"source": ["dayabay"], "targets": ["cms01"]}, "localhost", "\\1sources\\2#g' /inventory/hosts.yml"),
        ({"cms01": {"altbackup_target_base": None}}, None, "cms01", "/var/backups/altbackup/.altbackup"),
        ({"dayabay": {"altbackup_targets": None}}, None, "dayabay", 'altbackup_targets: [\\"cms01\\"]'),
        ({"dayabay": {"altbackup_targets": ["cms1"]}}, None, "dayabay", "# write cms01 in the place of cms1"),
        ({}, {"sources": ["dayabay"], "targets": ["cms01", "sdu"]}, "localhost", '[\\"cms01\\", \\"sdu\\"]'),
    ],
)  # fmt: skip
def test_errors_of_the_inventory_are_findings_with_what_mends_them(
    change: dict[str, Facts], groups: dict[str, list[str]] | None, where: str, mend: str
) -> None:
    given: dict[str, Facts] = copy.deepcopy(variables())
    for host, more in change.items():
        given[host].update(more)
    plan = planned(given, groups)
    found = wrong(inventory.errors(plan, groups or {"sources": [], "targets": []}, COMMANDS))
    assert mend in "\n".join(command for _, _, command in found), found
    assert decide.decide(plan, groups or [], {}, {}, COMMANDS), "the rest is judged as far as that goes"


def test_what_went_since_the_last_run_is_told_until_somebody_says_so() -> None:
    plan = planned(variables())
    trees = [("dayabay", "dayabay", "source"), ("cms01", "dayabay", "target"), ("sdu", "dayabay", "target")]
    items = [("dayabay", "folders/notes"), ("dayabay", "svn/old")]
    found = wrong(inventory.gone(plan, trees, items, COMMANDS))
    assert [place for place, _, _ in found] == ["localhost", "dayabay"]
    assert found[1][2] == "altbackup retire dayabay/svn/old -i /inventory"
    plan["marks"] = {"dayabay": {"retired": {"svn/old": "2026/11/01"}}}
    assert wrong(inventory.gone(plan, trees[:2], items, COMMANDS)) == []
