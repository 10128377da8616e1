"""Names and numbers of users and groups from this node's database."""

from __future__ import annotations

import grp
import os
import pwd
import threading
from collections.abc import Iterator

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system import names as names_module
from ansible_collections.altbackup.core.plugins.module_utils.system.names import Directory, Names, is_name

UNKNOWN = 4_000_000_000
ME, MINE = pwd.getpwuid(os.geteuid()), grp.getgrgid(os.getegid())


@pytest.mark.parametrize(
    "name", ["root", "www-data", "DOMAIN\\jo", "domain users", "jo@example.org", "pc$", "1234567", "jürgen", "x" * 256]
)
def test_a_name_of_any_directory_is_one(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a\nb",
        "a\0b",
        "a\x1b[31m",
        "a\tb",
        "a\u202eb",
        "a:b",
        "a ",
        " a",
        "x" * 257,
        "ü" * 129,
        "a\udcff",
        "a\u2028b",
    ],
)
def test_what_is_empty_endless_or_steers_is_no_name(name: str) -> None:
    assert not is_name(name)


def test_names_are_those_of_this_node_and_what_it_does_not_know_has_none() -> None:
    found = Directory().names([ME.pw_uid, UNKNOWN], [MINE.gr_gid, UNKNOWN])
    assert found == Names({ME.pw_uid: ME.pw_name}, {MINE.gr_gid: MINE.gr_name})


def test_numbers_are_those_of_this_node_and_what_it_does_not_know_has_none() -> None:
    found = Directory().numbers([ME.pw_name, "no such user"], [MINE.gr_name, "no such group"])
    assert found == ({ME.pw_name: ME.pw_uid}, {MINE.gr_name: MINE.gr_gid}, "")


def test_the_database_is_asked_once_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def look_up(uid: int) -> str:
        asked.append(uid)
        return "" if uid == UNKNOWN else f"user{uid}"

    monkeypatch.setattr(names_module, "_user_name", look_up)
    directory = Directory()
    assert directory.names([3, 1], []).users == {1: "user1", 3: "user3"}
    assert directory.names([3, 2, UNKNOWN], []).users == {2: "user2", 3: "user3"}
    assert directory.names([UNKNOWN], []).users == {}
    assert asked == [1, 3, 2, UNKNOWN]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Numbers looked up in a database that does not answer during the test."""
    answers, asked = threading.Event(), []

    def look_up(uid: int) -> str:
        asked.append(uid)
        answers.wait()
        return "late"

    monkeypatch.setattr(names_module, "_user_name", look_up)
    yield asked
    answers.set()


def test_a_database_that_does_not_answer_holds_nothing_up_and_is_asked_no_more(held: list[int]) -> None:
    directory = Directory(seconds=0.05)
    none = Names(lacking="this node's database of users and groups did not answer within 0.05 s")
    assert directory.names([1], [MINE.gr_gid]) == none
    assert directory.names([2], []) == none
    assert held == [1]


def test_a_database_that_is_slow_but_answers_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = threading.Event()
    monkeypatch.setattr(names_module, "_user_name", lambda uid: "" if slow.wait(0.02) else f"user{uid}")
    directory = Directory(seconds=0.1)
    found = directory.names(range(30), [])
    assert (len(found.users), found.lacking) == (30, "")


def test_a_slow_database_costs_no_later_item_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = threading.Event()
    monkeypatch.setattr(names_module, "_user_name", lambda uid: "" if slow.wait(0.05) else f"user{uid}")
    directory = Directory(seconds=0.5, whole_seconds=0.4)
    found = directory.names(range(1000), [])
    assert found.lacking.startswith("this node's database of users and groups is slow: it told ")
    assert found.lacking.endswith(" of 1,000 users in time")
    assert 0 < len(found.users) < 1000
    assert directory.names([0, 999], []) == Names({0: "user0", 999: "user999"})


def test_one_item_waits_for_no_other_ones_owners(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, asked = threading.Event(), threading.Event()

    def look_up(uid: int) -> str:
        if uid < 1000:
            asked.set()
            answers.wait()
        return f"user{uid}"

    monkeypatch.setattr(names_module, "_user_name", look_up)
    directory = Directory(seconds=60)
    waiting = threading.Thread(target=directory.names, args=([1], []), daemon=True)
    waiting.start()
    asked.wait()
    other = threading.Thread(target=directory.names, args=([1000], []), daemon=True)
    other.start()
    other.join(20)
    is_held_up = other.is_alive()
    answers.set()
    waiting.join()
    assert not is_held_up
    assert directory.names([1, 1000], []) == Names({1: "user1", 1000: "user1000"})


def test_one_number_that_is_never_told_is_waited_for_once_and_takes_no_other_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers, asked = threading.Event(), []

    def look_up(uid: int) -> str:
        asked.append(uid)
        if uid == 5:
            answers.wait()
        return f"user{uid}"

    monkeypatch.setattr(names_module, "_user_name", look_up)
    directory = Directory(seconds=0.2)
    for _ in range(2):
        found = directory.names([1, 5], [])
        assert (found.users, "did not answer" in found.lacking) == ({1: "user1"}, True)
    assert directory.names([1, 9], []) == Names({1: "user1", 9: "user9"})
    assert asked == [1, 5, 9]
    answers.set()


def test_a_database_that_goes_down_is_asked_no_more_after_some_tries(held: list[int]) -> None:
    directory = Directory(seconds=0.05)
    assert directory.names([], [MINE.gr_gid]).lacking == ""
    for uid in range(1, 10):
        assert "did not answer" in directory.names([uid], [MINE.gr_gid]).lacking
    assert held == [1, 2, 3]


def test_too_many_owners_are_not_asked_for(held: list[int]) -> None:
    found = Directory(most=3).names(range(4), [])
    assert found == Names(lacking="4 users are more than the 3 of which this node's database is asked")
    assert held == []
