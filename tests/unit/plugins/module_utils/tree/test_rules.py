"""By what rules items were purged last: what fell since is told, and what is damaged counts for no rule at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import marked

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.rules import fallen, known_rules, remember_rules


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return open_tree(str(marked(tmp_path / "base")))


@pytest.mark.parametrize(
    ("then", "now", "expected"),
    [
        ({}, {"keep": 3}, []),
        ({"keep": 3}, {"keep": 3, "daily": 7}, []),
        ({"keep": 3, "daily": 7}, {"keep": 4, "daily": 6}, [("daily", 7, 6)]),
        ({"keep": 3, "daily": 7}, {"keep": 3}, [("daily", 7, 0)]),
        ({"keep": 3, "within": 86400.0}, {"keep": 2, "within": 0.0}, [("keep", 3, 2), ("within", 86400.0, 0.0)]),
    ],
)
def test_what_fell_is_told_with_what_it_was(then: Any, now: Any, expected: Any) -> None:
    assert fallen({"svn/x": then}, {"svn/x": now}) == ({"svn/x": expected} if expected else {})


@pytest.mark.parametrize(
    ("known", "rules", "fell"),
    [
        ({}, {}, []),
        ({"svn/x": {"keep": 3}}, {}, []),
        ({}, {"svn/x": {"keep": 3}}, []),
        ({"svn/x": {"keep": 3}, "svn/y": {"keep": 3}}, {"svn/x": {"keep": 2}, "svn/y": {"keep": 3}}, ["svn/x"]),
        ({"svn/x": {"within": 86400.5}}, {"svn/x": {"within": 86400.0}}, ["svn/x"]),
        ({"svn/x": {"keep": 3}}, {"svn/x": {}}, ["svn/x"]),
    ],
)
def test_rules_of_each_item_are_compared_with_its_own(known: Any, rules: Any, fell: list[str]) -> None:
    assert list(fallen(known, rules)) == fell


@pytest.mark.parametrize("rules", [{}, {"svn/x": {}}, {"svn/ä": {"keep": 3, "within": 0.5}, "git/y": {"daily": 0}}])
def test_rules_come_back_as_they_were_kept(tree: Tree, rules: Any) -> None:
    assert known_rules(tree) == {}
    remember_rules(tree, rules)
    assert known_rules(tree) == rules


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("", id="empty"),
        pytest.param("no JSON", id="no JSON"),
        pytest.param("[" * 100_000, id="nested without end"),
        pytest.param("\udcff", id="no text"),
        pytest.param("[]", id="no mapping"),
        pytest.param('"x"', id="a text"),
        pytest.param('{"svn/x": 3}', id="no rules of an item"),
        pytest.param('{"svn/x": ["keep"]}', id="a list of rules"),
        pytest.param('{"svn/x": {"keep": "3"}}', id="a text for a number"),
        pytest.param('{"svn/x": {"keep": null}}', id="nothing for a number"),
        pytest.param('{"svn/x": {"keep": true}}', id="true for a number"),
        pytest.param('{"svn/x": {"keep": NaN}}', id="no number, above which nothing would ever fall"),
        pytest.param('{"svn/x": {"keep": Infinity}}', id="more than any"),
        pytest.param('{"svn/x": {"keep": -1}}', id="below 0, above which nothing would ever fall"),
    ],
)
def test_what_was_never_written_is_told(tree: Tree, content: str) -> None:
    remember_rules(tree, {"svn/x": {"keep": 3}})
    path = Path(tree.private_path("rules", "items"))
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(
        AltbackupError, match=f"^{path}, which tells by what rules this tree was purged last, is damaged"
    ):
        known_rules(tree)


def test_each_source_of_a_target_has_rules_of_its_own(tmp_path: Path) -> None:
    copies = marked(tmp_path / "copies")
    one, other = (open_tree(str(copies / name)) for name in ("dayabay", "sdu"))
    remember_rules(one, {"svn/x": {"keep": 3}})
    assert (known_rules(other), known_rules(one)) == ({}, {"svn/x": {"keep": 3}})
    assert json.loads((copies / ".altbackup/rules/dayabay/items").read_text()) == {"svn/x": {"keep": 3}}
