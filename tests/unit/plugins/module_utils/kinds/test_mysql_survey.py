"""How dumps of MariaDB are asked about in a scratch server, and what its client says, without a server."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.mysql_survey import (
    OBJECTS,
    TABLES,
    Failed,
    identifier,
    rows_from,
    text_of,
)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", "X''"),
        ("a", "X'61'"),
        ("a'b", "X'612762'"),
        ("\\", "X'5c'"),
        ("ä", "X'c3a4'"),
        ("a\0b", "X'610062'"),
        ("\udcff", "X'ff'"),
    ],
)
def test_a_name_in_a_text_of_sql_is_bytes(name: str, told: str) -> None:
    assert text_of(name) == told


@pytest.mark.parametrize(
    ("name", "told"),
    [("a", "`a`"), ("", "``"), ("a`b", "`a``b`"), ("`; DROP TABLE x; `", "```; DROP TABLE x; ```"), ("a.b", "`a.b`")],
)
def test_a_name_is_one_identifier(name: str, told: str) -> None:
    assert identifier(name) == told


@pytest.mark.parametrize("name", ["a", "x' OR '1'='1", "{database}", "a\\'; DROP TABLE x; --", "%s"])
@pytest.mark.parametrize("query", [TABLES, OBJECTS])
def test_no_name_of_a_database_leads_out_of_a_query(query: str, name: str) -> None:
    asked = query.format(database=text_of(name))
    assert asked.count(text_of(name)) == query.count("{database}") > 0
    assert re.sub("X'[0-9a-f]*'", "{database}", asked) == query


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        ('["t", "InnoDB"]\n["v", ""]\n', [["t", "InnoDB"], ["v", ""]]),
        ("5\n0\n", [5, 0]),
        ('"a@%"\n', ["a@%"]),
        ('["\u2028\r"]\n'.replace("\r", "\\r"), [["\u2028\r"]]),
    ],
)
def test_each_line_is_a_row(text: str, rows: list[Any]) -> None:
    assert rows_from(text) == rows


@pytest.mark.parametrize("text", ["ERROR 1064", "[1", "[" * 100_000, "NULL", "1\t2"])
def test_what_is_no_row_is_told(text: str) -> None:
    with pytest.raises(Failed, match="the client said what is no JSON"):
        rows_from(text)
