"""Hooks as users write them."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.hooks import (
    LIMIT,
    Hook,
    Hooks,
    parse_hooks,
    parse_list,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput

STOP = ["/usr/bin/systemctl", "stop", "two words"]


def test_both_forms_mean_the_same() -> None:
    hooks = parse_hooks({"before": [STOP, {"argv": STOP, "user": "www", "time_limit": "2m"}], "after": None})
    assert hooks == Hooks(before=(Hook(tuple(STOP)), Hook(tuple(STOP), "www", 120.0)))
    assert hooks.before[0].time_limit == LIMIT
    assert parse_hooks(hooks.plain()) == hooks
    assert str(hooks.before[1]) == "/usr/bin/systemctl stop 'two words' as www"


def test_nothing_is_no_hook() -> None:
    assert not parse_hooks({}) and not parse_hooks({"before": [], "after": [], "on_failure": []})
    assert parse_hooks({}).plain() == {}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("/bin/true", "is not a list of programs"),
        (["/bin/true"], "list of words, not of programs"),
        ({"argv": ["/bin/true"]}, "is not a list of programs"),
        ([[]], "is not a list of texts"),
        ([["/bin/true", 3]], "is not a list of texts"),
        ([["/bin/true", True]], "is not a list of texts"),
        ([["true"]], "absolute path"),
        ([["/bin/true", "a\0b"]], "absolute path"),
        ([7], "is not a list of texts"),
        ([{}], "'argv' is missing"),
        ([{"argv": "/bin/true -x"}], "no shell is called"),
        ([{"argv": ["/bin/true"], "users": "www"}], "did you mean 'user'?"),
        ([{"argv": ["/bin/true"], "user": "a b"}], "is not the name of a user"),
        ([{"argv": ["/bin/true"], "time_limit": 0}], "is not a duration"),
    ],
)
def test_what_cannot_be_meant_is_one_clear_error(value: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match="before: ") as error:
        parse_hooks({"before": value})
    assert said in str(error.value)
    with pytest.raises(InvalidInput):
        parse_list(value)
    with pytest.raises(InvalidInput, match="item svn 'x': before: "):
        parse_item({"kind": "svn", "name": "x", "path": "/x", "before": value})
