"""As whom a host is reached: by its variables first, then by its task, and by the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.opened import user_name
from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import RUN, Failure, Place
from ansible_collections.altbackup.core.plugins.plugin_utils.report.reached_as import host_variable, with_user


class Broken(Mapping[str, Any]):
    """Variables of a host whose templates cannot be evaluated."""

    def __getitem__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("variables", "place", "command_line", "expected"),
    [
        ({}, Place(), None, (user_name(), "no")),
        ({}, Place(), "scm", ("scm", "no")),
        ({}, Place(user="task", become="backup"), "scm", ("task", "backup")),
        ({"ansible_user": "own"}, Place(user="task"), "scm", ("own", "no")),
        ({"ansible_become": True}, Place(), "scm", ("scm", "root")),
        ({"ansible_become": "yes", "ansible_become_user": "own"}, Place(become="task"), "scm", ("scm", "own")),
        ({"ansible_become": False}, Place(become="root"), "scm", ("scm", "no")),
        ({"ansible_become_user": "own"}, Place(), "scm", ("scm", "no")),
        (Broken(), Place(become="root"), "scm", ("scm", "root")),
        (None, Place(), "scm", ("scm", "no")),
    ],
)
@pytest.mark.parametrize("delegate", ["", "cms01"])
def test_a_host_or_its_delegate_is_reached_by_its_variables_first(
    variables: Any, place: Place, command_line: str | None, expected: tuple[str, str], delegate: str
) -> None:
    hostvars = {delegate or "dayabay": variables} if variables is not None else {}
    found = with_user(Failure("dayabay", "x", delegate=delegate, place=place), hostvars, command_line)
    assert (found.place.user, found.place.become) == expected


def test_a_failure_of_the_whole_run_has_no_user() -> None:
    failure = Failure("", "nothing was done", kind=RUN)
    assert with_user(failure, {}, "scm") is failure


@pytest.mark.parametrize(
    ("value", "keep", "text"),
    [("a", False, "a"), (0, False, ""), (0, True, "0"), (None, True, ""), (False, True, "False")],
)
def test_a_false_value_is_a_text_only_where_it_says_something(value: Any, keep: bool, text: str) -> None:
    assert host_variable({"a": {"x": value}}, "a", "x", keep=keep) == text
