"""What is loaded into a scratch cluster of PostgreSQL, and what it says then, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.postgresql_survey import (
    Failed,
    conninfo,
    facts_of,
    rows_from,
    script_of,
)


def test_a_script_is_loaded_behind_a_restriction_of_our_own() -> None:
    text = "--\n\\restrict abc\nCREATE ROLE postgres;\nCREATE ROLE a;\nCREATE TABLESPACE t LOCATION '/x';\n\\unrestrict xyz\n\\unrestrict abc\n"
    script, left_out = script_of(text, "postgres", "OURS")
    assert script.splitlines() == [
        "\\restrict OURS",
        "--",
        "CREATE ROLE a;",
        "\\unrestrict xyz",
        "",
        "\\unrestrict OURS",
    ]
    assert left_out == 1


def test_what_psql_says_that_is_no_json_is_refused() -> None:
    with pytest.raises(Failed, match="no JSON"):
        rows_from("[1]\nnonsense\n")


SPACE = "CREATE TABLESPACE t OWNER a LOCATION '/x';"


@pytest.mark.parametrize(
    ("lines", "kept", "left_out"),
    [
        pytest.param([], [], 0, id="nothing"),
        pytest.param(["CREATE ROLE a;"], ["CREATE ROLE a;"], 0, id="a role"),
        pytest.param(
            ["CREATE ROLE postgres;", "ALTER ROLE postgres;"], ["ALTER ROLE postgres;"], 0, id="the first role"
        ),
        pytest.param(["CREATE ROLE postgres2;"], ["CREATE ROLE postgres2;"], 0, id="a name that begins alike"),
        pytest.param(
            [SPACE, "ALTER TABLESPACE t SET (a=1);", "GRANT ALL ON TABLESPACE t TO a;"], [], 3, id="tablespaces"
        ),
        pytest.param(["COMMENT ON TABLESPACE t IS 'one", "two';", "x;"], ["x;"], 1, id="a comment of two lines"),
        pytest.param(["COMMENT ON TABLESPACE t IS 'it''s", "", "o';", "x;"], ["x;"], 1, id="with a quote in it"),
        pytest.param(["COMMENT ON TABLESPACE \"o'b\" IS 'x';", "x;"], ["x;"], 1, id="a name with a quote"),
        pytest.param(
            ["COMMENT ON ROLE a IS 'x", SPACE.replace("'", "''"), "';"], None, 0, id="a text that looks like one"
        ),
        pytest.param(
            ["COMMENT ON ROLE a IS 'x", "CREATE ROLE postgres;", "';"], None, 0, id="a text like the first role"
        ),
        pytest.param(['CREATE ROLE "o\'brien";', SPACE], ['CREATE ROLE "o\'brien";'], 1, id="a role with a quote"),
        pytest.param(["-- it's a comment", SPACE], ["-- it's a comment"], 1, id="a quote in a comment"),
        pytest.param(
            ["ALTER ROLE a SET x TO '--'; -- it's", SPACE], ["ALTER ROLE a SET x TO '--'; -- it's"], 1, id="dashes"
        ),
        pytest.param(["\\! id", "\\unrestrict x"], ["\\! id", "\\unrestrict x"], 0, id="commands are psql's to refuse"),
        pytest.param(["\\restrict"], ["\\restrict"], 0, id="a restriction without a key"),
        pytest.param([*["--"] * 39, "\\restrict k"], ["--"] * 39, 0, id="a late restriction"),
        pytest.param([*["--"] * 40, "\\restrict k"], None, 0, id="one that is too late is the script's"),
    ],
)
def test_of_a_script_what_no_scratch_cluster_can_do_is_left_out(
    lines: list[str], kept: list[str] | None, left_out: int
) -> None:
    script, number = script_of("\n".join(lines), "postgres", "OURS")
    found = script.split("\n")
    assert (found[0], found[-2:], number) == ("\\restrict OURS", ["\\unrestrict OURS", ""], left_out)
    assert found[1:-2] == (lines if kept is None else kept or ([""] if not lines else []))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        ("\n\n", []),
        ('["a\\nb"]\n', [["a\nb"]]),
        ('["\u2028"]\n[1, null]\n', [["\u2028"], [1, None]]),
        ("[1]", [[1]]),
    ],
)
def test_each_line_is_a_row(text: str, rows: list[Any]) -> None:
    assert rows_from(text) == rows


@pytest.mark.parametrize("text", ["[", "nonsense", '["a"]["b"]', "[" * 100_000, '["a\x01"]'])
def test_what_is_no_row_is_told(text: str) -> None:
    with pytest.raises(Failed, match="psql said what is no JSON"):
        rows_from(text)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a", "dbname='a'"),
        ("", "dbname=''"),
        ("a b", "dbname='a b'"),
        ("x' host='evil", "dbname='x\\' host=\\'evil'"),
        ("a\\", "dbname='a\\\\'"),
        ("postgresql://evil", "dbname='postgresql://evil'"),
    ],
)
def test_a_name_is_a_name_and_no_connection(name: str, told: str) -> None:
    assert conninfo(name) == told


@pytest.mark.parametrize(
    ("tables", "counts", "rows", "owners"),
    [
        ([], [], {}, {}),
        ([["public", "t", "a", "SELECT"]], [5], {"public.t": 5}, {"public.t": "a"}),
        (
            [["a", "t", "x", ""], ["b", "t", "y", ""]],
            [0, 1 << 40],
            {"a.t": 0, "b.t": 1 << 40},
            {"a.t": "x", "b.t": "y"},
        ),
    ],
)
def test_facts_are_of_the_tables_that_were_counted(
    tables: list[Any], counts: list[int], rows: dict[str, int], owners: dict[str, str]
) -> None:
    found = facts_of(tables, counts, [["postgres"]], [["plpgsql"], ["hstore"]], [[3]])
    assert found == {
        "rows": rows,
        "owners": owners,
        "owner": "postgres",
        "extensions": ["plpgsql", "hstore"],
        "large_objects": 3,
    }
