"""Exits of a module: with all its keys, and failed on a failure unless `fail` is false."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import STAMP, marked, put

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.failures import failure
from ansible_collections.altbackup.core.plugins.module_utils.tree.module_call import run_module

ENDED = AltbackupError("x is full")


class Module:
    """Notes how it exits."""

    def __init__(self, **params: Any) -> None:
        self.params = {"fail": True, **params}
        self.exits: list[tuple[str, dict[str, Any]]] = []

    def exit_json(self, **result: Any) -> None:
        self.exits.append(("exited", result))
        raise SystemExit(0)

    def fail_json(self, **result: Any) -> None:
        self.exits.append(("failed", result))
        raise SystemExit(1)


def call(function: Any, good: bool = False, **params: Any) -> tuple[str, dict[str, Any]]:
    """Run a module's function; return how it exited, and its result."""
    module = Module(**params)
    with pytest.raises(SystemExit):
        run_module(module, "dump", {"notes": []}, function, good=params if good else None)
    (exited,) = module.exits
    return exited


def test_what_is_not_told_is_as_where_nothing_was_done() -> None:
    assert call(dict) == ("exited", {"changed": False, "failures": [], "notes": []})
    assert call(lambda: {"changed": True, "more": 1})[1] == {"changed": True, "failures": [], "notes": [], "more": 1}


@pytest.mark.parametrize(("fail", "how"), [(True, "failed"), (False, "exited")])
def test_an_error_of_ours_or_the_systems_is_one_failure_of_the_stage(fail: bool, how: str) -> None:
    for error, reason in ((ENDED, "x is full"), (OSError(28, "No space left on device", "x"), "x: No space left")):

        def end(error: Exception = error) -> dict[str, Any]:
            raise error

        exited, result = call(end, fail=fail)
        assert exited == how
        (entry,) = result["failures"]
        assert entry["stage"] == "dump" and entry["reason"].startswith(reason)
        assert result.get("msg", "") == (entry["reason"] if fail else "")
        assert (result["changed"], result["notes"]) == (False, [])


def test_any_other_error_is_a_fault_of_the_module() -> None:
    module = Module()
    with pytest.raises(ZeroDivisionError):
        run_module(module, "dump", {}, lambda: {"changed": 1 // 0})
    assert module.exits == []


def test_a_failed_module_says_all_that_is_wrong_and_returns_what_it_did() -> None:
    failures = [failure("dump", "one"), failure("dump", "two")]
    exited, result = call(lambda: {"failures": failures, "notes": ["x"]})
    assert exited == "failed"
    assert result["msg"] == "2 failures:\n- one\n- two"
    assert (result["failures"], result["notes"]) == (failures, ["x"])


@pytest.mark.parametrize("good", [True, False])
def test_the_last_good_copy_is_told_where_it_is_asked_for(tmp_path: Path, good: bool) -> None:
    base = marked(tmp_path / "base")
    put(base, f"svn/x/{STAMP}/x-1.tar")
    _, result = call(lambda: {"failures": [failure("dump", "one", key="svn/x")]}, good, base=str(base))
    assert [entry.get("good") for entry in result["failures"]] == [STAMP if good else None]
