"""Failures of one call, in every form."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.plans import loop

from ansible_collections.altbackup.core.plugins.module_utils.tree.failures import KEYS
from ansible_collections.altbackup.core.plugins.plugin_utils.report import call_failures, outcomes


@pytest.mark.parametrize(
    ("registered", "expected"),
    [
        ({}, []),
        ({"skipped": True, "failures": [{"reason": "no"}]}, []),
        ({"changed": True, "failures": []}, []),
        (
            {"failures": [{"reason": "no space", "category": "svn", "name": "dybsvn"}]},
            [("dayabay", "", "dump", "svn", "no space")],
        ),
        ({"unreachable": True, "msg": "no route"}, [("dayabay", "", "dump", "", "unreachable: no route")]),
        ({"failed": True, "msg": "MODULE FAILURE", "rc": 1}, [("dayabay", "", "dump", "", "MODULE FAILURE")]),
        ({"failed": True}, [("dayabay", "", "dump", "", "it said nothing")]),
        (loop({"unreachable": True, "msg": "timed out"}), [("dayabay", "cms01", "dump", "", "unreachable: timed out")]),
        (loop({"failures": [{"reason": "no"}]}, {"failures": []}), [("dayabay", "cms01", "dump", "", "no")]),
        (
            {"failures": [{"reason": "cut", "delegate": "sdu", "stage": "synchronize"}]},
            [("dayabay", "sdu", "synchronize", "", "cut")],
        ),
    ],
)
def test_failures_of_every_form_are_recorded(registered: dict[str, Any], expected: list[tuple[str, ...]]) -> None:
    state = outcomes.record({}, registered, "dump", "dayabay")
    assert [
        tuple(entry[key] for key in ("node", "delegate", "stage", "category", "reason")) for entry in state["failures"]
    ] == expected
    assert all(set(KEYS) <= set(entry) for entry in state["failures"])


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Task failed: over ssh: no route to host", "over ssh: no route to host"),
        (
            "Task failed: Make sure it can be reached over ssh: ",
            "Make sure it can be reached over ssh; ssh said nothing",
        ),
        (None, "it said nothing"),
        (
            f"Failed to connect via ssh: {'@' * 59}\r\n@    WARNING: HOST KEY HAS CHANGED!     @\r\n{'@' * 59}\r\nIT IS",
            "Failed to connect via ssh: WARNING: HOST KEY HAS CHANGED!\nIT IS",
        ),
    ],
)
def test_unreachable_node_is_said_to_be_so_with_the_words_of_ssh(said: str | None, expected: str) -> None:
    (failure,) = call_failures.failures_of({"unreachable": True, "msg": said}, "dump", "dayabay")
    assert failure["reason"] == f"unreachable: {expected}"


@pytest.mark.parametrize(
    ("code", "said", "expected"),
    [
        (137, "Killed\n", "killed by SIGKILL (was memory short? the kernel's log of that node tells): Killed"),
        (-15, "", "killed by SIGTERM"),
        (1, "Traceback:\nMemoryError\n", "exit code 1: MemoryError"),
        (255, "", "exit code 255"),
        (None, "", "exit code None"),
    ],
)
def test_module_without_a_result_is_said_to_have_ended_so(code: int | None, said: str, expected: str) -> None:
    result = {"failed": True, "rc": code, "module_stdout": "", "module_stderr": said, "msg": "No start of json char"}
    (failure,) = call_failures.failures_of(result, "dump", "dayabay")
    assert failure["reason"] == f"the module ended without a result: {expected}"


@pytest.mark.parametrize("key", ["module_stderr", "module_stdout"])
@pytest.mark.parametrize(
    "said",
    [
        "/bin/sh: 1: /usr/bin/python3: not found\n",
        "bash: line 1: /opt/bin/python3.12: No such file or directory\r\nShared connection to cms01 closed.\r\n",
        "sh: python: command not found\n",
        "sudo: /usr/bin/python3: command not found\n",
        "pyenv: python3.13: command not found\n\nThe `python3.13' command exists in these versions:\n  3.13.1\n\nNote: how to have both\n",
    ],
)
def test_a_node_without_python_is_said_to_have_none(said: str, key: str) -> None:
    result = {
        "failed": True,
        "rc": 127,
        "module_stdout": "",
        "module_stderr": "",
        "msg": "No start of json char",
        key: said,
    }
    (failure,) = call_failures.failures_of(result, "preflight", "dayabay")
    assert failure["reason"].startswith(
        "Python is missing on this node, or ansible_python_interpreter names another place ("
    )
    assert "install python3 there" in failure["reason"]
    assert failure["reason"].endswith(said.split("\n", maxsplit=1)[0].strip())
