"""Restores of sets: the members of one list, all of one point in time, all or none."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore import choose, plan_restores

NOW = 1368182821.0
OLD, NEW, LAST = "2013/05/08/104701", "2013/05/09/104701", "2013/05/10/104701"
HOSTS = ["dayabay", "cms01"]
PEERS: dict[str, dict[str, Any]] = {host: {"host": host, "port": None, "user": "", "problem": ""} for host in HOSTS}
GIT = {"kind": "git", "name": "forge", "path": "/srv/forge/git"}
FOLDER = {"kind": "folder", "name": "data", "path": "/srv/forge/data"}
SET = {"kind": "set", "name": "forge", "members": [GIT, FOLDER], "before": [["/bin/true"]]}
ENTRY = {"source": "dayabay", "kind": "set", "name": "forge"}


def plan_of(*entries: Any, items: Any = (SET,), **settings: Any) -> dict[str, Any]:
    """Return a plan of one source, with more settings, and one target, with these restores."""
    own = {"altbackup_base": "/backup", "altbackup_items": list(items), "altbackup_targets": ["cms01"]}
    variables: dict[str, dict[str, Any]] = {
        "dayabay": {**own, **settings},
        "cms01": {"altbackup_target_base": "/copies"},
    }
    for values in variables.values():
        values["altbackup_restore"] = list(entries)
    groups = {"all": HOSTS, "sources": ["dayabay"], "targets": ["cms01"]}
    plan = build_plan(variables, groups, {}, NOW)
    assert plan["errors"] == []
    return plan


def tarball(key: str, stamp: str, record: Any = None, state: str = "verified") -> dict[str, Any]:
    """Return what a node tells of a tarball."""
    filename = f"{key.partition('/')[2]}.tar.zst"
    return {
        "relpath": f"{key}/{stamp}/{filename}",
        "stamp": stamp,
        "size": 9,
        "dig": "a" * 64,
        "alg": "sha256",
        "base": "",
        "base_dig": "",
        "state": state,
        "problem": "is damaged" if state != "verified" else "",
        "record": record or {},
    }


def listed(stamp: str, **stamps: str) -> dict[str, Any]:
    """Return the list of the set of a stamp; its members are of that, but for those that are given."""
    members = [f"{key}/{stamps.get(word, stamp)}/{key.partition('/')[2]}.tar.zst" for word, key in KEYS.items()]
    return tarball("sets/forge", stamp, {"kind": "set", "members": members})


MEMBERS = [f"git/forge/{NEW}/forge.tar.zst", f"folders/data/{NEW}/data.tar.zst"]
KEYS = {"git": "git/forge", "folder": "folders/data"}


def chosen(*tarballs: dict[str, Any], settings: Any = None, **entry: Any) -> dict[str, Any]:
    """Return what is chosen for the set where the source has these."""
    plan = plan_of({**ENTRY, **entry}, **(settings or {}))
    planned = plan_restores(plan, HOSTS)
    assert planned["failures"] == []
    tree = {"source": "dayabay", "base": "/backup", "problem": "", "tarballs": list(tarballs), "keys": []}
    nodes = {"dayabay": {"trees": [tree]}, "cms01": {"trees": [{**tree, "base": "/copies/dayabay", "tarballs": []}]}}
    return choose(plan, planned["orders"], nodes, PEERS, {}, {"when": "", "by": ""})


def paths(choice: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (relpath, destination) of what is restored, in order."""
    return [(each["restore"]["tarballs"][-1]["relpath"], each["restore"]["destination"]) for each in choice["chosen"]]


def every(stamp: str) -> list[dict[str, Any]]:
    return [tarball(key, stamp) for key in KEYS.values()]


def test_members_of_the_newest_list_are_restored_in_their_order() -> None:
    newer = tarball("git/forge", LAST)  # which no list names: the folder failed that night
    choice = chosen(*every(OLD), listed(OLD), *every(NEW), listed(NEW), newer)
    assert choice["failures"] == []
    assert paths(choice) == [
        (f"git/forge/{NEW}/forge.tar.zst", "/srv/forge/git"),
        (f"folders/data/{NEW}/data.tar.zst", "/srv/forge/data"),
    ]


def test_another_time_and_another_place_may_be_given() -> None:
    choice = chosen(*every(OLD), listed(OLD), *every(NEW), listed(NEW), at=OLD, to="/srv/looked/at")
    assert paths(choice) == [
        (f"git/forge/{OLD}/forge.tar.zst", "/srv/looked/at/git/forge"),
        (f"folders/data/{OLD}/data.tar.zst", "/srv/looked/at/folders/data"),
    ]


def test_a_member_that_did_not_change_on_the_day_is_the_one_that_is_listed() -> None:
    morning = "2013/05/10/080000"
    choice = chosen(tarball("git/forge", LAST), tarball("folders/data", morning), listed(LAST, folder=morning))
    assert [path for path, _ in paths(choice)] == [
        f"git/forge/{LAST}/forge.tar.zst",
        f"folders/data/{morning}/data.tar.zst",
    ]


def test_into_goes_to_the_members_that_a_server_takes_and_the_others_to_their_places() -> None:
    database = {"kind": "mysql", "name": "forge", "user": "mysql", "login": "reader", "host": "/run/mysqld/mysqld.sock"}
    entry = {**ENTRY, "into": {"globals": True}, "replace": "move_aside"}
    planned = plan_restores(plan_of(entry, items=[{**SET, "members": [database, FOLDER]}]), HOSTS)
    assert planned["failures"] == []
    _, server, folder = planned["orders"]
    assert server["into"] == {"globals": True, "user": "mysql", "host": "/run/mysqld/mysqld.sock"}
    assert (folder["into"], folder["destination"], folder["replace"]) == ({}, "/srv/forge/data", "move_aside")


@pytest.mark.parametrize(
    ("tarballs", "said"),
    [
        ([*every(NEW)], ["has no tarball of sets/forge"]),
        ([tarball("git/forge", NEW), listed(NEW)], ["has no tarball of folders/data", "nothing of sets/forge"]),
        (
            [tarball("git/forge", NEW), tarball("folders/data", NEW, state="mismatch"), listed(NEW)],
            ["has no verified one", "nothing of sets/forge"],
        ),
        ([*every(NEW), tarball("sets/forge", NEW)], ["no record"]),
        ([*every(NEW), tarball("sets/forge", NEW, {"members": ["../../etc/passwd"]})], ["no record"]),
        (
            [*every(NEW), tarball("sets/forge", NEW, {"members": [f"git/forge/{NEW}/forge.tar.zst"]})],
            ["folders/data is not in the list", "nothing of sets/forge"],
        ),
        (
            [*every(NEW), tarball("sets/forge", NEW, {"members": [*MEMBERS, f"databases/forge/{NEW}/forge.tar.zst"]})],
            ["names databases/forge, which is no member of it in this inventory"],
        ),
    ],
)
def test_where_one_member_cannot_be_restored_none_is(tarballs: Any, said: list[str]) -> None:
    choice = chosen(*tarballs)
    assert choice["chosen"] == []
    assert len(choice["failures"]) == len(said), choice["failures"]
    for entry, text in zip(choice["failures"], said, strict=True):
        assert text in entry["reason"]


@pytest.mark.parametrize(
    ("consent", "found"), [("files", (False, True)), (True, (True, True)), (False, (False, False))]
)
def test_consent_may_be_to_folders_alone(consent: Any, found: tuple[bool, bool]) -> None:
    members = [{"kind": "postgresql", "name": "forge", "user": "postgres"}, FOLDER]
    entry = {**ENTRY, "into": {"globals": True}, "replace": "move_aside", "consent": consent}
    planned = plan_restores(plan_of(entry, items=[{**SET, "members": members}]), HOSTS)
    assert planned["failures"] == []
    _, server, folder = planned["orders"]
    assert (server["consent"], folder["consent"]) == found


@pytest.mark.parametrize(
    ("entry", "items", "said"),
    [
        ({"member": "x", "to": "/x"}, (SET,), "not its set"),
        ({"consent": "all"}, (SET,), "consent 'all' is neither true nor false"),
        ({"name": "other"}, (SET,), "is no set of dayabay"),
        ({}, (GIT,), "is no set of dayabay"),
        ({"into": {"database": "wiki"}}, (SET,), "no member of sets/forge goes into a server"),
        ({"to": "relative"}, (SET,), "member git/forge: to 'relative/git/forge' is not an absolute path"),
        (
            {},
            (
                {
                    "kind": "set",
                    "name": "forge",
                    "members": [{"kind": "command", "name": "x", "argv": ["/bin/x"], "user": "x"}],
                },
            ),
            "member commands/x: commands/x of dayabay has no path of its own: give the path where it is to stand, as to",
        ),
        (
            {},
            ({**SET, "members": [{"kind": "mysql", "name": "forge", "user": "root"}, FOLDER]},),
            "member databases/forge: databases/forge of dayabay has no path of its own: give the server that takes it, as into, or the path",
        ),
    ],
)
def test_a_set_that_cannot_be_restored_is_one_failure(entry: Any, items: Any, said: str) -> None:
    planned = plan_restores(plan_of({**ENTRY, **entry}, items=items), HOSTS)
    (failure,) = planned["failures"]
    assert said in failure["reason"] and planned["orders"] == []


def test_a_member_whose_place_another_entry_has_takes_its_whole_set_along() -> None:
    other = {"source": "dayabay", "kind": "folder", "name": "data"}
    planned = plan_restores(plan_of(ENTRY, other), HOSTS)
    assert planned["orders"] == []
    assert "nothing of sets/forge" in planned["failures"][-1]["reason"]


def test_the_plan_has_the_members_beside_their_set() -> None:
    source = plan_of(ENTRY)["sources"]["dayabay"]
    assert source["item_keys"] == ["folders/data", "git/forge", "sets/forge"]
    assert source["expect"] == {"data": 1, "forge": 2}
    assert [item["kind"] for item in source["item_list"]] == ["git", "folder", "set"]
    assert source["item_list"][2]["members"] == ["git/forge", "folders/data"]


def test_a_member_that_is_to_be_encrypted_and_is_not_is_taken_by_no_list() -> None:
    age = "age1g4g5qfujfqphvnxk2esljtk7hwvczk9hj7lnmng2h5qjhtadvgyskyeuaw"
    settings = {"altbackup_encrypt_to": [age], "altbackup_single_recipient": True}

    def sealed(entry: dict[str, Any]) -> dict[str, Any]:
        return {**entry, "relpath": f"{entry['relpath']}.age"}

    git, folder = every(NEW)
    choice = chosen(sealed(git), folder, sealed(listed(NEW)), settings=settings)
    assert choice["chosen"] == []
    assert "has none that is encrypted, as folders/data is to be" in choice["failures"][0]["reason"]
    assert len(paths(chosen(sealed(git), sealed(folder), sealed(listed(NEW)), settings=settings))) == 2
    assert len(paths(chosen(git, folder, listed(NEW), settings=settings, at=NEW))) == 2, "somebody named the night"
