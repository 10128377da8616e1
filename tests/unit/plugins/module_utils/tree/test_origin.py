"""A source's copies belong to one base: that of the first source that delivered, identified by its id, not by its name."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers.original_trees import put
from helpers.pair import DAY1, DAY2, Pair, content, relpath

from ansible_collections.altbackup.core.plugins.module_utils.restore.find import find
from ansible_collections.altbackup.core.plugins.module_utils.stages import preflight
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable
from ansible_collections.altbackup.core.plugins.module_utils.tree import origin
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.owner import Owner, identify

FIRST = {"name": "dayabay", "base": "/home/scm/backup", "id": "1" * 32}
OTHER = {"name": "dayabay", "base": "/srv/backup", "id": "2" * 32}
NEW = {**OTHER, "id": ""}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A marked base of a target."""
    base = tmp_path / "copies"
    (base / ".altbackup").mkdir(parents=True, mode=0o700)
    return base


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """A source and a target."""
    source, copies = tmp_path / "source", tmp_path / "pair"
    for base in (source, copies):
        (base / ".altbackup").mkdir(parents=True)
    return Pair(source, copies)


def bind(target: Path, value: dict[str, str]) -> None:
    origin.bind(open_tree(str(target / "dayabay")), origin.parse_origin(value))


def test_first_delivery_binds_and_the_same_source_finds_itself_again(target: Path) -> None:
    bind(target, FIRST)
    path = target / ".altbackup" / "origins" / "dayabay"
    before = path.stat()
    bind(target, FIRST)
    assert (path.stat().st_mtime_ns, oct(path.stat().st_mode & 0o777)) == (before.st_mtime_ns, "0o600")
    origin.require_origin(open_tree(str(target / "dayabay")), origin.parse_origin(FIRST))
    assert not (target / "dayabay").exists(), "nothing of it lies where a source's data goes"


def test_base_that_moved_with_its_marker_is_the_same_source(target: Path) -> None:
    bind(target, FIRST)
    bind(target, {**FIRST, "base": "/new/disk"})
    known = origin.origin_of(open_tree(str(target / "dayabay")))
    assert known == origin.parse_origin({**FIRST, "base": "/new/disk"})


@pytest.mark.parametrize("value", [OTHER, NEW], ids=["another id", "no id yet"])
def test_another_source_of_that_name_is_told_of_both_and_what_to_do(target: Path, value: dict[str, str]) -> None:
    bind(target, FIRST)
    path = target / ".altbackup" / "origins" / "dayabay"
    before = path.read_text()
    tree = open_tree(str(target / "dayabay"))
    for function in (origin.require_origin, origin.bind):
        with pytest.raises(BaseUnusable) as error:
            function(tree, origin.parse_origin(value))
        for word in ("dayabay", "/home/scm/backup", "1" * 32, "/srv/backup", '{"altbackup_adopt": ["dayabay"]}'):
            assert word in str(error.value), word
    assert path.read_text() == before
    origin.bind(tree, origin.parse_origin({**value, "id": "3" * 32, "adopt": True}))
    assert json.loads(path.read_text())["id"] == "3" * 32
    with pytest.raises(BaseUnusable):
        bind(target, FIRST)


def test_another_machine_of_that_name_is_adopted_or_refused(target: Path) -> None:
    bind(target, FIRST)
    bind(target, {**FIRST, "machine": "a" * 32})
    bind(target, FIRST)
    path = target / ".altbackup" / "origins" / "dayabay"
    assert json.loads(path.read_text())["machine"] == "a" * 32, "what is not known takes nothing away"
    for function in (origin.require_origin, origin.bind):
        with pytest.raises(BaseUnusable, match="of another machine") as error:
            function(open_tree(str(target / "dayabay")), origin.parse_origin({**FIRST, "machine": "b" * 32}))
        assert '{"altbackup_adopt": ["dayabay"]}' in str(error.value)
    bind(target, {**FIRST, "machine": "b" * 32, "adopt": True})
    assert json.loads(path.read_text()) == {**FIRST, "machine": "b" * 32}
    bind(target, {**FIRST, "machine": "b" * 32})


def test_what_is_not_known_binds_nothing_and_is_not_compared(target: Path) -> None:
    for value in ({}, None, NEW):
        origin.bind(open_tree(str(target / "dayabay")), origin.parse_origin(value))
        assert not (target / ".altbackup" / "origins").exists()
    bind(target, FIRST)
    origin.require_origin(open_tree(str(target / "dayabay")), None)


@pytest.mark.parametrize("text", ["x", "[]", "{}", '{"id": "../x", "base": "/b", "name": "n"}', "1" * 20_000])
def test_what_says_nothing_is_an_error_that_names_the_file(target: Path, text: str) -> None:
    path = target / ".altbackup" / "origins" / "dayabay"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(BaseUnusable, match=f"{path}.*remove it"):
        bind(target, FIRST)


def test_file_that_a_killed_machine_left_empty_counts_as_none(target: Path) -> None:
    path = target / ".altbackup" / "origins" / "dayabay"
    path.parent.mkdir()
    path.write_text("")
    bind(target, FIRST)
    assert json.loads(path.read_text())["id"] == FIRST["id"]


def test_ids_and_bases_of_nodes_are_data(target: Path) -> None:
    bind(target, {**FIRST, "base": "/a\n\x1b[31m"})
    with pytest.raises(BaseUnusable) as error:
        origin.require_origin(open_tree(str(target / "dayabay")), origin.parse_origin(OTHER))
    assert "\n" not in str(error.value) and "\x1b" not in str(error.value)


@pytest.mark.parametrize("claim", [True, False])
def test_preflight_tells_it_of_that_tree_alone(target: Path, claim: bool) -> None:
    bind(target, FIRST)
    trees = [{"base": str(target / "dayabay"), "origin": OTHER}, {"base": str(target / "lingao"), "origin": {}}]
    owners = [{"base": str(target), "role": "target", "name": "cms01"}]
    found = preflight.inspect(preflight.Demands([str(target)], trees=trees, owners=owners, claim=claim))
    assert found["unusable"] == [str(target / "dayabay")]
    assert found["usable"]
    (entry,) = found["failures"]
    assert "another source" in entry["reason"]


def test_delivery_of_another_source_changes_nothing(pair: Pair) -> None:
    put(pair.source, relpath(DAY1), content(1))
    assert pair.run(origin=FIRST) == []
    before, private = pair.there(), sorted((pair.copies / ".altbackup").rglob("*"))
    put(pair.source, relpath(DAY2), content(2))
    with pytest.raises(BaseUnusable, match="another source"):
        pair.prepare(origin=OTHER)
    asked = pair.prepare(origin=FIRST)["tarballs"]
    with pytest.raises(BaseUnusable, match="another source"):
        pair.accept(asked, origin=OTHER)
    assert pair.there() == before
    assert [path for path in sorted((pair.copies / ".altbackup").rglob("*")) if "incoming" not in path.parts] == [
        path for path in private if "incoming" not in path.parts
    ]


def test_copies_of_an_older_version_take_the_id_of_the_first_that_delivers(pair: Pair) -> None:
    put(pair.source, relpath(DAY1), content(1))
    assert pair.run() == []
    assert pair.run(origin=FIRST) == []
    assert json.loads((pair.copies / ".altbackup" / "origins" / "dayabay").read_text())["id"] == FIRST["id"]


def test_finding_tells_whose_the_copies_are(target: Path, tmp_path: Path) -> None:
    base = tmp_path / "source"
    (base / ".altbackup").mkdir(parents=True)
    wanted = [
        {"source": "dayabay", "base": str(base), "keys": [], "own": True},
        {"source": "dayabay", "base": str(target / "dayabay"), "keys": []},
    ]
    assert [tree["origin"] for tree in find(wanted, None)["trees"]] == [{}, {}]
    identify(open_tree(str(base)), Owner("source", "dayabay"), claim=True)
    bind(target, FIRST)
    own, copies = (tree["origin"] for tree in find(wanted, None)["trees"])
    assert (own["base"], len(own["id"])) == (str(base), 32)
    assert copies == {"base": FIRST["base"], "id": FIRST["id"]}
    assert os.listdir(base) == [".altbackup"]
