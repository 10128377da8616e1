"""Items as users write them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.kinds import items
from ansible_collections.altbackup.core.plugins.module_utils.kinds.registry import CATEGORIES, KINDS
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput

GOOD = {"kind": "folder", "name": "svnsetup", "path": "/etc/apache2/svnsetup"}
CATEGORY = {
    "svn": "svn",
    "trac": "tracs",
    "git": "git",
    "hg": "hg",
    "folder": "folders",
    "command": "commands",
    "set": "sets",
    **dict.fromkeys(("sqlite", "postgresql", "mysql", "ldap"), "databases"),
}
PLACED = sorted(kind for kind, entry in KINDS.items() if entry.placed)


def smallest(kind: str, path: str = "/etc/apache2/svnsetup") -> dict[str, Any]:
    """Return an item of a kind with only the required keys."""
    more = {"argv": {"argv": ["/bin/true"]}, "user": {"user": "nobody"}, "members": {"members": ["folders/other"]}}
    required = {key: value for word in KINDS[kind].required for key, value in more[word].items()}
    return {"kind": kind, "name": "svnsetup", **({"path": path} if KINDS[kind].placed else {}), **required}


@pytest.mark.parametrize("kind", sorted(CATEGORIES))
def test_kind_gives_the_category(kind: str) -> None:
    item = items.parse_item(smallest(kind))
    assert (item.category, item.key) == (CATEGORY[kind], f"{CATEGORY[kind]}/svnsetup")
    assert item.place == (item.path or f"{kind} 'svnsetup'")


def test_an_item_that_is_nothing_at_a_path_holds_no_folder() -> None:
    for kind in sorted(KINDS.keys() - set(PLACED)):
        more = [{"kind": "folder", "name": "other", "path": "/etc/apache2"}] if kind == "set" else []
        good, bad = items.find_problems([smallest(kind), *more], os.getcwd(), ["/data/received"])
        assert (sorted(one.kind for one in good), bad) == (sorted([kind, *(each["kind"] for each in more)]), [])


def test_optional_keys_are_read_and_null_means_absent() -> None:
    item = items.parse_item({**GOOD, "path": "/etc//x/", "keep": "7", "exclude": ["*.tmp"], "require": "a/b"})
    assert item == items.Item("folder", "svnsetup", "/etc/x", 7, ("*.tmp",), "a/b")
    more = {"changing": ["*.log"], "exclude_caches": True, "exclude_if_present": [".nobackup"]}
    item = items.parse_item({**GOOD, **more})
    assert (item.changing, item.exclude_caches, item.exclude_if_present) == (("*.log",), True, (".nobackup",))
    moving = items.parse_item({**GOOD, "kind": "git", "may_move": ["refs/heads/wip/*", "HEAD"]})
    assert moving.may_move == ("refs/heads/wip/*", "HEAD")
    for kind in ("trac", "sqlite"):
        assert items.parse_item({**GOOD, "kind": kind, "may_empty": ["session*"]}).may_empty == ("session*",)
    assert items.parse_item({**GOOD, "keep": None, "exclude": None, "require": None}) == items.parse_item(GOOD)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"kind": "gti", "name": "x", "path": "/x"}, "item gti 'x': unknown kind 'gti', did you mean 'git'?"),
        ({"kind": "git", "nmae": "x", "path": "/x"}, "item git 'x': unknown key 'nmae', did you mean 'name'?"),
        ({"knd": "git", "name": "x", "path": "/x"}, "item git 'x': unknown key 'knd', did you mean 'kind'?"),
        (
            {"kind": "gti", "nmae": "x", "path": "/x"},
            "item gti 'x': unknown key 'nmae', did you mean 'name'?; unknown kind 'gti', did you mean 'git'?",
        ),
        ({"kind": "git", "path": "/x"}, "item git of path '/x': key 'name' is missing"),
        ({"kind": "git"}, "item git with neither name nor path: key 'name' is missing"),
        ({}, "item with neither name nor path: key 'kind' is missing; key 'name' is missing"),
    ],
)
def test_a_misspelt_item_is_named_as_far_as_it_is_known(written: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        items.parse_item(written)
    assert str(caught.value) == said


def test_former_names_are_items_of_the_same_kind() -> None:
    item = items.parse_item({**GOOD, "former_names": ["old", "folders/older"]})
    assert item.former_names == ("folders/old", "folders/older")


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("old", "former_names 'old' is not a list of names: write former_names: \\[\"old\"\\]"),
        (["svnsetup"], "which is what it is called now"),
        (["folders/svnsetup"], "which is what it is called now"),
        (["svn/old"], "contains a slash"),
        ([".old"], "begins with a dot"),
        ([7], "is not a text"),
    ],
)
def test_bad_former_names_are_told(value: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        items.parse_item({**GOOD, "former_names": value})


@pytest.mark.parametrize(
    ("keep", "number", "rules"),
    [
        ("14", 14, {}),
        ({"keep": 14}, 14, {}),
        ({"daily": 0}, None, {"daily": 0}),
        ({"keep": None, "daily": None}, None, {}),
        ({"keep": 2, "daily": "7", "weekly": 4, "monthly": 6, "yearly": 1, "within": "36h"}, 2,
         {"daily": 7, "weekly": 4, "monthly": 6, "yearly": 1, "within": 129600.0}),
        ({"within": 0}, None, {"within": 0.0}),
    ],
)  # fmt: skip
def test_an_items_own_keep_is_a_number_or_a_mapping_of_rules(keep: Any, number: Any, rules: dict[str, float]) -> None:
    item = items.parse_item({**GOOD, "keep": keep})
    assert (item.keep, dict(item.rules)) == (number, rules)


@pytest.mark.parametrize(
    "name", ["a b", "-rf", "$HOME", 'it\'s "x"', "ünïcödé", "a" * 200, "group%2Fproject", "last", "..."[:0] + "a..b"]
)
def test_odd_names_are_legal(name: str) -> None:
    assert items.check_name(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *((name, "is not a text") for name in ("", None, 5, True, ["a"], {"a": 1}, b"a")),
        ("a/b", "contains a slash"),
        ("a\0b", "contains a NUL byte"),
        ("a\nb", "contains a newline"),
        *((name, "begins with a dot") for name in (".", "..", ".altbackup", ".hidden")),
        *((name, "is longer than 200 bytes") for name in ("a" * 201, "ü" * 101)),
        *((name, "is not UTF-8 text") for name in ("a\udcff", "\ud800")),
    ],
)
def test_illegal_name_is_an_error_that_shows_it(name: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        items.check_name(name)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "foldr"}, "unknown kind 'foldr', did you mean 'folder'"),
        ({"kind": "cvs"}, "unknown kind 'cvs', "),
        ({"kind": ["svn"]}, r"unknown kind \['svn'\]"),
        ({"kind": {}}, "unknown kind"),
        ({"kind": 5}, "unknown kind 5"),
        ({"kind": None}, "key 'kind' is missing"),
        ({"name": None}, "key 'name' is missing"),
        ({"path": None}, "key 'path' is missing"),
        ({"pth": "/x"}, "unknown key 'pth', did you mean 'path'"),
        ({5: "/x"}, "unknown key 5"),
        ({"path": "etc"}, "is not an absolute path"),
        ({"path": ""}, "is not an absolute path"),
        ({"path": 5}, "is not an absolute path"),
        ({"path": "~/x"}, "is not an absolute path"),
        ({"path": "/a\0b"}, "is not an absolute path"),
        ({"name": "a/b"}, "contains a slash"),
        ({"exclude": "*.tmp"}, r'is not a list of patterns: write exclude: \["\*.tmp"\]'),
        ({"exclude": 5}, "is not a list of patterns"),
        ({"exclude": {"a": 1}}, "is not a list of patterns"),
        ({"exclude": [5]}, "is not a list of patterns"),
        ({"exclude": [""]}, "is not a list of patterns"),
        ({"exclude": ["*.tmp", "./a", "{b,c}"]}, r"exclude: './a' cannot be meant: .*; '{b,c}' cannot be meant: "),
        ({"exclude": [f"{GOOD['path']}/cache"]}, "write /cache for what lies there"),
        ({"changing": "*.log"}, r"changing '\*.log' is not a list of patterns"),
        ({"changing": ["a//b"]}, "changing: 'a//b' cannot be meant: "),
        ({"exclude_caches": "yes"}, "exclude_caches 'yes' is neither true nor false"),
        (
            {"exclude_if_present": ".nobackup"},
            r'not a list of names of files: write exclude_if_present: \["\.nobackup"\]',
        ),
        ({"exclude_if_present": ["a/b"]}, "is not a list of names of files"),
        ({"kind": "git", "exclude_caches": True}, "'exclude_caches' is for kind folder only"),
        ({"require": "/abs"}, "is not a path inside the folder"),
        ({"require": "a/../../b"}, "is not a path inside the folder"),
        ({"require": ["a"]}, "is not a path inside the folder"),
        ({"kind": "svn", "exclude": ["a"]}, "'exclude' is for kind folder only"),
        ({"kind": "git", "require": "a"}, "'require' is for kind folder only"),
        ({"may_move": ["refs/heads/a"]}, "'may_move' is for kind git only"),
        ({"kind": "git", "may_empty": ["a"]}, "'may_empty' is for kind trac and sqlite and postgresql and mysql only"),
        (
            {"kind": "git", "may_move": "refs/heads/a"},
            r'of references, such as refs/heads/wip/\*: write may_move: \["refs/heads/a"\]',
        ),
        (
            {"kind": "git", "may_move": ["wip/*"]},
            "may_move: 'wip/.' is no reference, .* write 'refs/heads/wip/.' if a branch",
        ),
        ({"kind": "git", "may_move": [1]}, "may_move .1. is not a list of names or patterns of references"),
        ({"kind": "sqlite", "may_empty": [""]}, "is not a list of names or patterns of tables"),
        ({"keep": 0}, "keep 0 is not a positive whole number"),
        ({"shrink": 30}, "shrink 30 is not a part above 0 and up to all: write one, like 30% or 0.3"),
        ({"churn": "half"}, "churn 'half' is not a part above 0 and up to all"),
        ({"keep": [3]}, r"keep \[3\] is not a positive whole number"),
        ({"keep": {"keep": 0}}, "keep: keep 0 is not a positive whole number"),
        ({"keep": {"dayly": 7}}, "keep: unknown rule 'dayly', did you mean 'daily'"),
        ({"keep": {"kep": 7}}, "keep: unknown rule 'kep', did you mean 'keep'"),
        ({"keep": {5: 7}}, "keep: unknown rule 5"),
        ({"keep": {"daily": -1}}, "keep: daily -1 is not a whole number: write how many, like 7, or 0 for none"),
        ({"keep": {"weekly": True}}, "keep: weekly True is not a whole number"),
        ({"keep": {"monthly": [6]}}, r"keep: monthly \[6\] is not a whole number"),
        ({"keep": {"within": "soon"}}, "keep: within 'soon' is not a duration: .* like 36h or 1d, or 0 for none"),
        ({"keep": {"within": -5}}, "keep: within -5 is not a duration"),
    ],
)
def test_bad_item_is_an_error_that_names_key_and_value(change: dict[Any, Any], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        items.parse_item({**GOOD, **change})


@pytest.mark.parametrize("value", ["svn", 5, None, ["a"]])
def test_an_item_that_is_no_mapping_is_an_error(value: Any) -> None:
    with pytest.raises(InvalidInput, match="is not a mapping of kind, name and path"):
        items.parse_item(value)


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=12).filter(lambda part: b"/" not in part), min_size=1, max_size=4))
def test_name_of_a_nested_repository_is_legal_and_reversible(parts: list[bytes]) -> None:
    path = os.fsdecode(b"/".join(parts))
    name = items.encode_name(path)
    assert items.check_name(name) == name
    assert items.decode_name(name) == path


def test_nested_names_are_encoded_as_documented() -> None:
    assert items.encode_name("group/project") == "group%2Fproject"
    assert items.encode_name("100%") == "100%25"
    assert items.encode_name(".hidden") == "%2Ehidden"
    assert len({items.encode_name(path) for path in ("a/b", "a%2Fb", "a%252Fb")}) == 3


def test_of_items_with_one_identity_none_is_good(tmp_path: Path) -> None:
    one, two = {**GOOD, "path": "/a"}, {**GOOD, "path": "/b"}
    other = {**GOOD, "kind": "svn"}
    good, bad = items.find_problems([one, other, two, {"kind": "svn"}], str(tmp_path))
    assert [item.key for item in good] == ["svn/svnsetup"]
    assert [value for value, _ in bad] == [{"kind": "svn"}, one, two]
    assert "folders/svnsetup stands 2 times (/a, /b)" in bad[1][1]


@pytest.mark.parametrize(
    ("base", "path", "inside"),
    [
        ("/data/backup", "/data/backup", True),
        ("/data/backup", "/data", True),
        ("/data/backup", "/", True),
        ("/data/backup", "/data/back", False),
        ("/data/backup", "/data/backup2", False),
        ("/data/backup", "/home", False),
    ],
)
def test_base_inside_a_path_is_refused(base: str, path: str, inside: bool) -> None:
    _, bad = items.find_problems([{**GOOD, "path": path}], base)
    assert bool(bad) is inside
    assert all("lies inside its path" in why for _, why in bad)


def test_base_inside_a_path_is_seen_through_links(tmp_path: Path) -> None:
    (tmp_path / "real" / "backup").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/backup")
    _, bad = items.find_problems([{**GOOD, "path": str(tmp_path / "real")}], str(tmp_path / "link"))
    assert "lies inside its path" in bad[0][1]


@pytest.mark.parametrize("path", ["/", "/data", "/data/received", "/data/received2"])
@pytest.mark.parametrize("kind", PLACED)
def test_folder_of_received_copies_inside_a_path_is_refused(path: str, kind: str) -> None:
    value = {"kind": kind, "name": "x", "path": path}
    good, bad = items.find_problems([value], "/own/base", ["/data/received"])
    reasons = [why for _, why in bad]
    if path == "/data/received2":
        assert (len(good), reasons) == (1, [])
    elif path == "/":
        assert "the base /own/base lies inside its path /" in reasons[0]
    else:
        (reason,) = reasons
        assert reason == (
            f"item {kind} 'x': /data/received (altbackup_target_base), where this node keeps the copies that it receives, lies inside "
            f"its path {path}: every tarball would hold all of them; choose a path without it, or a folder elsewhere"
        )


def test_items_that_do_not_answer_are_left_out_and_no_link_of_theirs_is_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(items.os.path, "realpath", lambda path: looked.append(path) or path)
    values = [{**GOOD, "name": name, "path": f"/live/{name}"} for name in ("dead", "good", "twice", "twice")]
    asked: list[str] = []

    def silent(some: Sequence[items.Item]) -> dict[items.Item, str]:
        asked.extend(item.name for item in some)
        return {item: "/live/dead does not answer" for item in some if item.name == "dead"}

    good, bad = items.find_problems(values, str(tmp_path), hung=silent)
    assert [item.name for item in good] == ["good"]
    assert bad[0][1] == "item folder 'dead': /live/dead does not answer"
    assert asked == ["dead", "good"]
    assert looked == [str(tmp_path), "/live/good"]


@pytest.mark.full
def test_many_items_are_looked_through_at_once(tmp_path: Path) -> None:
    values = [{"kind": "svn", "name": f"n{number}", "path": f"/nowhere/{number}"} for number in range(5000)]
    assert len(items.find_problems([*values, values[0]], str(tmp_path))[0]) == 4999


def test_items_of_any_kind_say_how_far_they_may_change() -> None:
    for kind in CATEGORIES:
        item = items.parse_item({**smallest(kind), "shrink": "20%", "churn": 0.9})
        assert (item.shrink, item.churn) == (0.2, 0.9)
    assert (items.parse_item(GOOD).shrink, items.parse_item({**GOOD, "churn": None}).churn) == (None, None)
