"""No stage role swallows an error: what its modules find is always noted, and the report fails on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.handed import TAKES

ROLES = Path(__file__).resolve().parents[3] / "roles"
FILES = sorted(ROLES.glob("*/tasks/*.yml"))
MODULES = {path.stem for path in (ROLES.parent / "library").glob("*.py")}


def module_tasks(tasks: list[dict[str, Any]]) -> list[tuple[int, str, dict[str, Any]]]:
    """Return (position, module, task) of the tasks that call modules of this collection."""
    return [
        (position, key.removeprefix("altbackup.core."), task)
        for position, task in enumerate(tasks)
        for key in task
        if key.startswith("altbackup.core.")
    ]


TOLD_BY_THE_CHOICE = {"tarball_find"}
"""What it does not find on one node is no failure if another one has it."""
CALLS = [(path, *call) for path in FILES for call in module_tasks(yaml.safe_load(path.read_text()))]


def test_roles_call_modules() -> None:
    assert {module for _, _, module, _ in CALLS} == MODULES - {"dna", "dna_verify", "tarball_count"}


@pytest.mark.parametrize(
    ("path", "position", "module", "task"),
    CALLS,
    ids=[f"{path.parent.parent.name}-{module}" for path, _, module, _ in CALLS],
)
def test_no_call_repeats_what_the_plan_says_and_what_it_finds_is_noted(
    path: Path, position: int, module: str, task: dict[str, Any]
) -> None:
    assert task["ignore_unreachable"] is True
    assert task["ignore_errors"] is True
    options = task[f"altbackup.core.{module}"]
    assert "fail" not in options
    assert not [
        name
        for name in TAKES[module]
        if "__altbackup_plan." in str(options.get(name)) and "combine" not in options[name]
    ]
    if module in TOLD_BY_THE_CHOICE:
        return
    later = [
        yaml.safe_dump(entry["ansible.builtin.set_fact"], width=1000)
        for entry in yaml.safe_load(path.read_text())[position + 1 :]
        if "ansible.builtin.set_fact" in entry and "when" not in entry
    ]
    noted = [text for text in later if "altbackup.core.record" in text and task["register"] in text]
    assert noted, f"{path}: {task['register']} is never recorded"


def test_nothing_else_ignores_errors() -> None:
    for path in FILES:
        tasks = yaml.safe_load(path.read_text())
        calls = {position for position, _, _ in module_tasks(tasks)}
        for position, task in enumerate(tasks):
            if position not in calls:
                assert not {"ignore_errors", "ignore_unreachable", "failed_when", "rescue"} & set(task), (
                    path,
                    task["name"],
                )
