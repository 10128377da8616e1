"""Priorities apply to the process and its children."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.priority import (
    ionice_words,
    lower_priority,
    priority_words,
)


@pytest.mark.parametrize(
    ("ionice", "words"),
    [("idle", ["-c", "3"]), ("best-effort", ["-c", "2"]), ("best-effort:7", ["-c", "2", "-n", "7"])],
)
def test_classes_are_those_of_ionice(ionice: str, words: list[str]) -> None:
    assert ionice_words(ionice) == words


@pytest.mark.parametrize("ionice", ["realtime", "best-effort:8", "idle:1", "best", "", "-c 3"])
def test_any_other_class_is_refused(ionice: str) -> None:
    with pytest.raises(InvalidInput, match="is not idle, best-effort"):
        ionice_words(ionice)


@pytest.mark.parametrize("nice", [-1, 20])
def test_any_other_niceness_is_refused(nice: int) -> None:
    with pytest.raises(InvalidInput, match="from 0 to 19"):
        lower_priority(nice, "")


def test_children_have_the_priority_of_their_module() -> None:
    script = (
        "import subprocess\n"
        "from ansible_collections.altbackup.core.plugins.module_utils.system.priority import lower_priority\n"
        "lower_priority(7, 'best-effort:6')\n"
        "subprocess.run(['sh', '-c', 'nice; ionice'])\n"
        "lower_priority(3, '')\n"  # it is lowered, never raised
        "subprocess.run(['nice'])\n"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["7", "best-effort: prio 6", "7"]


def test_words_start_a_program_of_another_machine() -> None:
    assert priority_words(0, "") == []
    assert priority_words(5, "idle") == ["nice", "-n", "5", "ionice", "-c", "3"]
