"""Lists and mappings that are given as text."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.yaml_text import (
    is_collection,
    read_yaml,
    whole_value,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[{source: x}]", [{"source": "x"}]),
        ('[{"source": "x"}]', [{"source": "x"}]),
        ("- source: x\n  at: 2013/05/10\n", [{"source": "x", "at": "2013/05/10"}]),
        ("[{at: 2013-05-10, on: [2013-05-10 01:02:03]}]", [{"at": "2013-05-10", True: ["2013-05-10T01:02:03"]}]),
        ("{svn: /home/scm/svn}", {"svn": "/home/scm/svn"}),
        ("a word", "a word"),
    ],
)
def test_text_is_read_as_yaml(text: str, expected: object) -> None:
    assert read_yaml(text) == expected


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[{source: x]", "line 1, column 12, at ']': "),
        ("[{source: x}", "line 1, column 13: "),
        ("- a\n- {b: c\n  ] d", "line 3, column 3, at '] d': "),
        (
            "[!!python/object/apply:os.system ['true']]",
            "line 1, column 2, at '!!python/object/appl': could not determine",
        ),
        ("[!vault x]", "line 1, column 2, at '!vault x]': could not determine a constructor for the tag"),
        ("[a, *b]", "line 1, column 5, at '*b]': found undefined alias"),
        ("[a\x00]", "character 3: special characters are not allowed"),
        ("[2013-99-99]", "its beginning: "),
        ("[" * 5000, "its beginning: it is nested too deeply"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_position(text: str, where: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_yaml(text)
    assert str(caught.value).startswith(where)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[a]", True), (" {a: b}", True), ("- a", True), ("a,b", False), ("-1", False), ("a/b: c", False), ("", False)],
)
def test_what_begins_as_a_collection_is_told_from_words(text: str, expected: bool) -> None:
    assert is_collection(text) is expected


@pytest.mark.parametrize(
    ("given", "value", "expected"),
    [
        (["altbackup_restore=[{source: x}]"], "[{source:", "[{source: x}]"),
        (["altbackup_restore=[{source: 'x ]'}] altbackup_day=-1"], "[{source:", "[{source: 'x ]'}]"),
        (["a=1 altbackup_restore=[{source: x}] b=[1, 2]"], "[{source:", "[{source: x}]"),
        (["altbackup_restore=[{source: x", "other=[{source: y}]"], "[{source:", "[{source: x"),
        (["altbackup_restore=[a, b]", "altbackup_restore=[c, d]"], "[c,", "[c, d]"),
        (["altbackup_restore=[a, b]"], "[c,", "[c,"),
        (["altbackup_restorer=[a, b]"], "[a,", "[a,"),
        (["@file", '{"altbackup_restore": 1}'], "[a,", "[a,"),
        ([], "[a,", "[a,"),
    ],
)
def test_a_value_that_ansible_cut_is_whole_again(given: list[str], value: str, expected: str) -> None:
    assert whole_value("altbackup_restore", value, given) == expected
