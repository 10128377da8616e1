"""Values that a call takes from the plan: options of its module, the limit of the play's host, the priority of the node."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.doc_fragments.call import ModuleDocFragment
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.handed import GRACE, SHORT, TAKES, bound, handed

LIBRARY = Path(__file__).resolve().parents[5] / "library"
PLAN: dict[str, Any] = {
    "run": {"id": "r"},
    "stamp": "2026/01/02/030405",
    "clock": "2026/01/02/030406",
    "timezone": "UTC",
    "nodes": {
        "dayabay": {"step_timeout": 100, "nice": 3, "ionice": "idle"},
        "cms01": {"step_timeout": 7, "nice": 19, "ionice": ""},
    },
}


def options_of(module: str) -> set[str]:
    """Return the options of a module from its documentation and its fragments."""
    tree = ast.parse((LIBRARY / f"{module}.py").read_text())
    (text,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DOCUMENTATION"
    ]
    documented = yaml.safe_load(text)
    found = set(documented.get("options", {}))
    for name in documented.get("extends_documentation_fragment", []):
        fragment = name.removeprefix("altbackup.core.call").lstrip(".").upper() or "DOCUMENTATION"
        found |= set(yaml.safe_load(getattr(ModuleDocFragment, fragment)).get("options", {}))
    return found


@pytest.mark.parametrize("module", TAKES)
def test_each_module_has_the_options_that_it_is_handed(module: str) -> None:
    assert {*TAKES[module], "fail"} <= options_of(module)


@pytest.mark.parametrize("module", TAKES)
def test_a_module_that_has_a_limit_or_a_priority_is_handed_them(module: str) -> None:
    assert {"nice", "ionice", "step_timeout", "clock", "timezone"} & options_of(module) <= set(TAKES[module])


def test_every_module_of_the_playbooks_is_known() -> None:
    assert set(TAKES) == {path.stem for path in LIBRARY.glob("*.py")} - {"dna", "marked_base"}


def test_the_limit_is_that_of_the_host_in_the_play_and_the_priority_that_of_the_node() -> None:
    assert handed("tarball_accept", PLAN, "dayabay", "cms01") == {
        "run": {"id": "r"},
        "stamp": "2026/01/02/030405",
        "clock": "2026/01/02/030406",
        "timezone": "UTC",
        "step_timeout": 100,
        "nice": 19,
        "ionice": "",
        "fail": False,
    }


def test_a_host_without_a_part_in_the_plan_gets_no_limit_and_no_priority() -> None:
    assert handed("tarball_restore", PLAN, "fresh", "fresh") == {
        "run": {"id": "r"},
        "stamp": PLAN["stamp"],
        "fail": False,
    }


def test_the_controller_has_no_priority_of_a_node() -> None:
    assert handed("tarball_carry", PLAN, "dayabay", "localhost") == {"step_timeout": 100, "fail": False}


@pytest.mark.parametrize(
    ("module", "host", "options", "seconds"),
    [
        ("tarball_dump", "dayabay", {"step_timeout": 240}, 240 + GRACE),
        ("tarball_dump", "dayabay", {"step_timeout": "240.5"}, 240 + GRACE),
        ("tarball_dump", "dayabay", {}, 100 + GRACE),
        ("tarball_restore", "fresh", {}, 0),
        ("restore_adopt", "fresh", {}, SHORT + GRACE),
        ("marked_base", "dayabay", {}, SHORT + GRACE),
        ("pair_key", "dayabay", {}, SHORT + GRACE),
    ],
)
def test_a_call_is_ended_a_minute_after_its_own_limit(
    module: str, host: str, options: dict[str, Any], seconds: int
) -> None:
    assert bound(module, PLAN, host, options) == seconds
