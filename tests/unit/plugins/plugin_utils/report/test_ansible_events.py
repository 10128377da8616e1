"""Attributes that Ansible hands to a callback are read by their names in each version."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.ansible_events import (
    host_of,
    place_of,
    task_of,
    values_of,
)

HOST = SimpleNamespace(get_name=lambda: "dayabay")


def task(**more: Any) -> Any:
    """Return a task of Ansible's with only some attributes."""
    names = (
        "no_log",
        "run_once",
        "any_errors_fatal",
        "ignore_unreachable",
        "delegate_to",
        "remote_user",
        "become_user",
        "become",
    )
    plain = dict.fromkeys(names) | {
        "_uuid": "u",
        "action": "debug",
        "name": "Say {{ it }}",
        "get_path": lambda: "x.yml:3",
    }
    return SimpleNamespace(**plain | more)


@pytest.mark.parametrize("prefix", ["", "_"])
def test_result_is_read_by_old_and_new_names(prefix: str) -> None:
    result = SimpleNamespace(**{f"{prefix}host": HOST, f"{prefix}task": "the task", f"{prefix}result": {"rc": 1}})
    assert (host_of(result), task_of(result), values_of(result)) == ("dayabay", "the task", {"rc": 1})


def test_place_of_a_task_says_where_and_as_whom() -> None:
    place = place_of(task(become=True, remote_user="scm", delegate_to="cms01", run_once=True), {}, "Back up")
    assert (place.name, place.path, place.play, place.user) == ("Say {{ it }}", "x.yml:3", "Back up", "scm")
    assert (place.become, place.delegate, place.run_once, place.no_log) == ("root", "cms01", True, False)


@pytest.mark.parametrize(
    ("written", "shown"), [("Say it", "Say it"), ("Say {{ it }}", "(its name is hidden by no_log)")]
)
def test_name_of_a_hidden_task_is_told_as_it_was_written_only(written: str, shown: str) -> None:
    assert place_of(task(no_log=True, name="Say 42", get_ds=lambda: {"name": written}), {}, "").name == shown


def test_delegate_that_is_a_template_is_none_yet() -> None:
    assert place_of(task(delegate_to="{{ item }}"), {}, "").delegate == ""
