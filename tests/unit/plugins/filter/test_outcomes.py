"""Filters that tell a person what was found: thin, and what they are given wrongly is an error of the task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.altbackup.core.plugins.filter.outcomes import FilterModule
from ansible_collections.altbackup.core.plugins.module_utils.tree.failures import KEYS
from ansible_collections.altbackup.core.plugins.plugin_utils.report import run_summary, tarball_table

FILTERS = FilterModule().filters()
PAGES = Path(__file__).resolve().parents[4] / "plugins" / "filter"
FAILURE = {"node": "dayabay", "stage": "dump", "category": "svn", "name": "dybsvn", "reason": "no space"}
TARBALL = {"node": "dayabay", "source": "dayabay", "role": "source", "state": "verified", "size": 7, "dig": "ab"}


def test_they_are_those_that_are_documented() -> None:
    assert set(FILTERS) == {"report", "table"}


def test_they_return_what_outcomes_makes() -> None:
    failures = [{**dict.fromkeys(KEYS, ""), "delegate": "", "tree": "", **FAILURE}]
    assert FILTERS["report"](failures) == run_summary.report(failures) and "no space" in FILTERS["report"](failures)
    listed = [{**TARBALL, "category": "svn", "name": "x", "stamp": "", "relpath": "svn/x/y", "problem": ""}]
    assert FILTERS["table"](listed) == tarball_table.table(listed) != []
    assert FILTERS["table"]([]) == []


@pytest.mark.parametrize("name", ["report", "table"])
def test_the_sample_of_each_page_is_what_its_example_returns(name: str) -> None:
    page = yaml.safe_load((PAGES / f"{name}.yml").read_text())
    (example,) = yaml.safe_load(page["EXAMPLES"])
    (given,) = example["vars"].values()
    assert FILTERS[name](given) == page["RETURN"]["_value"]["sample"]


@pytest.mark.parametrize("value", [None, 7, ["x"], [7], [{}]], ids=repr)
@pytest.mark.parametrize("name", ["report", "table"])
def test_what_is_none_is_an_error_that_names_the_filter(name: str, value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=rf"altbackup\.core\.{name}: "):
        FILTERS[name](value)
