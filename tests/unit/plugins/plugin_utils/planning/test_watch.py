"""What a target is told of a source that is to come."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleError
from helpers.inventories import STAMP, plan_of

from ansible_collections.altbackup.core.plugins.plugin_utils.planning import watch
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.trees import source_trees

WATCHED = {"altbackup_watch": True, "altbackup_watch_mail_to": "ops@example.org", "altbackup_watch_mail_host": "mx"}


def told(complete: bool = True, **more: Any) -> dict[str, Any]:
    """Return what cms01 is told of dayabay, with variables of cms01."""
    plan = plan_of({"cms01": {**WATCHED, **more}}, run={"controller": "hub"})
    assert plan["errors"] == []
    (tree,) = [tree for tree in source_trees(plan, "dayabay", targets=True) if tree["node"] == "cms01"]
    return watch.watched(plan, "dayabay", tree, complete=complete)


@pytest.mark.parametrize(
    ("base", "argv"),
    [
        ("/data", ["/usr/bin/python3", "-I", "/data/.altbackup/watch/altbackup-watch", "/data"]),
        ("/data//x/", ["/usr/bin/python3", "-I", "/data/x/.altbackup/watch/altbackup-watch", "/data/x"]),
        ("/", ["/usr/bin/python3", "-I", "/.altbackup/watch/altbackup-watch", "/"]),
        ("/a b", ["/usr/bin/python3", "-I", "/a b/.altbackup/watch/altbackup-watch", "/a b"]),
    ],
)
def test_a_target_checks_by_the_program_in_its_marker(base: str, argv: list[str]) -> None:
    assert watch.watch_argv(base) == argv
    assert watch.watch_argv(base, "/opt/python")[0] == "/opt/python"


def test_a_target_that_is_not_to_watch_is_told_nothing() -> None:
    assert told(altbackup_watch=False) == {}


def test_a_target_is_told_of_whom_it_waits_for_and_whom_to_tell() -> None:
    found = told()
    assert (found["source"], found["target"], found["stamp"], found["timezone"]) == ("dayabay", "cms01", STAMP, "UTC")
    assert found["items"] == ["folders/svnsetup", "svn/dybsvn", "tracs/dybsvn"]
    assert (found["complete"], found["max_age"], found["controller"]) == (True, 129600.0, "hub")
    assert (found["mail"]["to"], found["mail"]["host"]) == ("ops@example.org", "mx")
    assert told(complete=False)["complete"] is False


def test_a_pause_of_either_side_is_told() -> None:
    assert told()["pause_until"] == 0.0
    assert told(altbackup_pause_until="2013/05/11")["pause_until"] == 1368316799.0


def test_mail_goes_to_those_of_the_node_where_no_one_else_is_named() -> None:
    assert told(altbackup_watch_mail_to="", altbackup_mail_to="node@example.org")["mail"]["to"] == "node@example.org"
    assert told(altbackup_mail_to="node@example.org")["mail"]["to"] == "ops@example.org"


def test_none_is_no_recipient() -> None:
    assert told(altbackup_watch_mail_to="", altbackup_mail_to="none")["mail"]["to"] == ""
    assert told(altbackup_watch_mail_to="None", altbackup_mail_to="node@example.org")["mail"]["to"] == ""


def test_secrets_are_no_part_of_what_is_shown() -> None:
    secret = {f"altbackup_{name}": "https://hunter2.example.org/x" for name in watch.SECRETS.values()}
    assert "hunter2" not in str(told(**secret))
    assert watch.secrets({"cms01": secret}, "cms01") == dict.fromkeys(watch.SECRETS, "https://hunter2.example.org/x")
    assert watch.secrets({"cms01": {}}, "cms01") == dict.fromkeys(watch.SECRETS, "")


@pytest.mark.parametrize("value", ["no address", "ftp://x", "https://a b/", ["https://x"], {"a": 1}])
def test_a_secret_that_is_none_is_named_and_not_shown(value: Any) -> None:
    with pytest.raises(AnsibleError) as error:
        watch.secrets({"cms01": {"altbackup_watch_ping_url": value}}, "cms01")
    assert str(error.value) == "cms01: altbackup_watch_ping_url cannot be read, or is no address"
