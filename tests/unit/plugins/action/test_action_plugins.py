"""Each module that a run calls has its action plugin, by the name of the module, and none has another one's."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.plugin_utils.calls.action import ActionModule
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.handed import TAKES

ROOT = Path(__file__).resolve().parents[4]
PLUGINS = sorted(path.stem for path in (ROOT / "plugins" / "action").glob("*.py"))
LIBRARY = {path.stem for path in (ROOT / "library").glob("*.py")}
UNTOLD = {"dna", "marked_base"}
"""Modules of which a plan says nothing: what they return is read within bounds all the same"""
_OURS = re.compile(r"altbackup\.core\.(\w+)")


def tasks_of(value: Any) -> Iterator[dict[str, Any]]:
    """Yield all mappings in what a file of tasks or of plays holds."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from tasks_of(each)


def called() -> dict[str, str]:
    """Return {module: a file that calls it} of all tasks of roles and playbooks."""
    found: dict[str, str] = {}
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/handlers/*.yml"), *ROOT.glob("playbooks/**/*.yml")]
    for path in files:
        for task in tasks_of(yaml.safe_load(path.read_text(encoding="utf-8"))):
            for key in task:
                ours = _OURS.fullmatch(str(key))
                if ours and ours[1] in LIBRARY:
                    found[ours[1]] = str(path.relative_to(ROOT))
    return found


@pytest.mark.parametrize("name", PLUGINS)
def test_a_plugin_is_that_of_the_module_whose_name_it_has(name: str) -> None:
    assert name in LIBRARY
    found = importlib.import_module(f"ansible_collections.altbackup.core.plugins.action.{name}")
    assert (found.__all__, found.ActionModule) == (["ActionModule"], ActionModule)
    task = SimpleNamespace(action=f"altbackup.core.{name}", args={}, _role=None, async_val=0)
    assert ActionModule(task, None, None, None, None, None)._module == name


@pytest.mark.parametrize(("module", "file"), sorted(called().items()))
def test_each_module_that_a_run_calls_has_its_plugin(module: str, file: str) -> None:
    assert module in PLUGINS, file


def test_every_module_has_one_be_it_that_a_plan_says_something_of_it_or_not() -> None:
    assert {*TAKES, *UNTOLD} == set(PLUGINS) == LIBRARY


def test_modules_are_found_in_the_tasks_of_the_chain() -> None:
    chain = {
        "preflight",
        "tarball_dump",
        "tarball_check",
        "tarball_prepare",
        "tarball_send",
        "tarball_accept",
        "tarball_purge",
    }
    assert chain <= set(called())
