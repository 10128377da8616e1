"""The stages' tasks say only which module is called and where: not its options, nor what happens with its findings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.handed import TAKES
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.loops import LOOPS
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.options import COMPLETED

ROLES = Path(__file__).resolve().parents[3] / "roles"
OF_SETUP = ("nodes", "schedule")
"""Roles that are not stages of a run: they make it possible, also by modules of Ansible's own"""
UNTOLD = {"marked_base"}
"""Modules of the roles of set-up that no stage calls: a plan completes none of their options"""
FILES = sorted(path for path in ROLES.glob("*/tasks/*.yml") if path.parts[-3] not in OF_SETUP)
MODULES = {path.stem for path in (ROLES.parent / "library").glob("*.py")}
CALLS = [
    (path, key.removeprefix("altbackup.core."), task)
    for path in FILES
    for task in yaml.safe_load(path.read_text())
    for key in task
    if key.startswith("altbackup.core.")
]
NEVER = {"ignore_errors", "ignore_unreachable", "failed_when", "rescue", "register", "no_log", "timeout"}
"""Keywords that would swallow a failure of a call, or lose its findings"""


def test_roles_call_every_module_but_those_for_users() -> None:
    assert {module for _, module, _ in CALLS} == MODULES - {"dna", "dna_verify", "tarball_count"} - UNTOLD
    assert {module for _, module, _ in CALLS} == set(COMPLETED)


@pytest.mark.parametrize(
    ("path", "module", "task"), CALLS, ids=[f"{path.parent.parent.name}-{module}" for path, module, _ in CALLS]
)
def test_a_call_repeats_nothing_that_the_plan_says(path: Path, module: str, task: dict[str, Any]) -> None:
    assert not NEVER & set(task), path
    assert not {*TAKES[module], "fail"} & set(task[f"altbackup.core.{module}"] or {})


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_no_task_swallows_an_error(path: Path) -> None:
    for task in yaml.safe_load(path.read_text()):
        assert not (NEVER - {"no_log"}) & set(task), task["name"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_what_is_gone_over_is_known(path: Path) -> None:
    named = re.findall(r"query\('altbackup\.core\.calls', '(\w+)'", path.read_text())
    assert set(named) <= set(LOOPS)
