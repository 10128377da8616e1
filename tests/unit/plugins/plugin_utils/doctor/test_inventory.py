"""What the doctor makes of the errors of an inventory, and of what went since the last run."""

from __future__ import annotations

import copy
from typing import Any

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


@pytest.mark.parametrize(
    ("host", "name", "word"),
    [
        ("dayabay", "altbackup_base", "altbackup_bas"),
        ("dayabay", "altbackup_targets", "altbackup_target"),
        ("cms01", "altbackup_target_base", "altbackup_targetbase"),
    ],
)
def test_what_is_there_misspelt_is_not_mended_a_second_time(host: str, name: str, word: str) -> None:
    given: dict[str, Facts] = copy.deepcopy(variables())
    given[host][word] = given[host].pop(name)
    found = wrong(inventory.errors(planned(given), ["sources", "targets"], COMMANDS))
    assert len(found) > 1
    assert {command for _, _, command in found} == {
        f"# write {name} in the place of {word}",
        f"# nothing besides: it is there as {word}, and what mends that mends this",
    }


def test_what_one_host_lacks_and_another_has_misspelt_is_mended_for_the_one_alone() -> None:
    given: dict[str, Facts] = copy.deepcopy(variables())
    given["lingao"] = {**given["dayabay"], "altbackup_bas": "/srv/own"}
    for host in ("dayabay", "lingao"):
        del given[host]["altbackup_base"]
    plan = planned(given, {"sources": ["dayabay", "lingao"], "targets": ["cms01"]})
    found = [command for _, _, command in wrong(inventory.errors(plan, ["sources", "targets"], COMMANDS))]
    assert any("host_vars/dayabay.yml" in command for command in found), found
    assert not any("host_vars/lingao.yml" in command for command in found), found


def test_what_went_since_the_last_run_is_told_until_somebody_says_so() -> None:
    plan = planned(variables())
    trees = [("dayabay", "dayabay", "source"), ("cms01", "dayabay", "target"), ("sdu", "dayabay", "target")]
    items = [("dayabay", "folders/notes"), ("dayabay", "svn/old")]
    found = wrong(inventory.gone(plan, trees, items, COMMANDS))
    assert [place for place, _, _ in found] == ["localhost", "dayabay"]
    assert found[1][2] == "altbackup retire dayabay/svn/old -i /inventory"
    plan["marks"] = {"dayabay": {"retired": {"svn/old": "2026/11/01"}}}
    assert wrong(inventory.gone(plan, trees[:2], items, COMMANDS)) == []


@pytest.mark.parametrize(
    ("text", "mend"),
    [
        ("something else is wrong", "# correct it in the inventory, as it says"),
        ("", "# correct it in the inventory, as it says"),
        ("group sources is missing or empty: add", "# correct it in the inventory, as it says"),
        ("dayabay: altbackup_base is required and missing. x", '"altbackup_base: \\"/var/backups/altbackup-own\\""'),
        ("nowhere: altbackup_base is required and missing. x", "# correct it in the inventory, as it says"),
        ("dayabay: altbackup_items is required and missing. x", "# correct it in the inventory, as it says"),
        ("x: y is set; it is in 'source', did you mean 'sources'?", "\\1sources\\2#g"),
        (
            "dayabay: altbackup_targets names 'cms1', which is no host of the inventory: did you mean 'cms01'?",
            "# write cms01 in the place of cms1",
        ),
        (
            "altbackup_only_targets: 'cms1' is no host of the inventory: did you mean 'cms01'?",
            "# write cms01 in the place of cms1",
        ),
    ],
)
def test_an_error_is_mended_as_far_as_it_is_known_how(text: str, mend: str) -> None:
    assert mend in inventory._mend(text, planned(variables()), ["sources", "targets"], COMMANDS)


def test_a_good_inventory_is_said_to_be_one() -> None:
    (found,) = inventory.errors(planned(variables()), ["sources", "targets"], COMMANDS)
    assert (found.state, found.why) == ("ok", "2 nodes, no error")


@pytest.mark.parametrize(
    ("trees", "items", "places"),
    [
        ([], [], []),
        ([("dayabay", "dayabay", "source"), ("cms01", "dayabay", "target")], [("dayabay", "folders/notes")], []),
        ([("sdu", "dayabay", "target"), ("sdu", "juno", "target")], [], ["localhost"]),
        ([("dayabay", "cms01", "target")], [], ["dayabay"]),
        ([], [("juno", "svn/x")], []),
        ([], [("dayabay", "svn/x"), ("dayabay", "svn/y")], ["dayabay", "dayabay"]),
    ],
)
def test_what_went_is_told_where_it_went_from(
    trees: list[tuple[str, str, str]], items: list[tuple[str, str]], places: list[str]
) -> None:
    found = inventory.gone(planned(variables()), trees, items, COMMANDS)
    assert [finding.node for finding in found] == places
    assert all(finding.state == "wrong" and finding.mend for finding in found)


@pytest.mark.parametrize("how", ["discover", "retired", "former", "marks", "misspelt"])
def test_what_was_given_up_or_may_be_found_is_not_missed(how: str) -> None:
    plan: dict[str, Any] = planned(variables())
    source = plan["sources"]["dayabay"]
    if how == "discover":
        source["discover"] = {"svn": "/svn"}
    elif how == "misspelt":  # it may be the item of which the kind is not known
        source["item_errors"] = [{"kind": "", "name": "x", "path": "/svn/x", "reason": "kind 'svm' is none"}]
    elif how == "marks":
        plan["marks"] = {"dayabay": {"retired": {"svn/x": "2026/11/01"}}}
    else:
        source["memory"][how]["svn/x"] = "2026/11/01"
    assert inventory.gone(plan, [], [("dayabay", "svn/x")], COMMANDS) == []
