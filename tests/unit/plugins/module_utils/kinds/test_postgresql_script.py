"""Statements of scripts that PostgreSQL's dump programs write: what of them is given to a server, and under which names."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.postgresql_script import (
    identifier,
    literal,
    of_databases,
    roles_to_make,
    statements_of,
    under_name,
)

GLOBALS = r"""--
-- PostgreSQL database cluster dump
--

\restrict abc

SET standard_conforming_strings = on;
CREATE ROLE alice;
ALTER ROLE alice WITH NOSUPERUSER LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b''c';
COMMENT ON ROLE alice IS 'two
lines; of -- text';
CREATE ROLE "odd ""name; \ ";
ALTER ROLE "odd ""name; \ " WITH NOLOGIN;
CREATE ROLE staff;
CREATE TABLESPACE t LOCATION '/x';
GRANT staff TO alice GRANTED BY postgres;
\unrestrict abc
"""


def test_a_script_is_read_as_statements_whatever_is_quoted_in_it() -> None:
    found = statements_of(GLOBALS)
    assert found[2].endswith("PASSWORD 'SCRAM-SHA-256$4096:a;b''c'")
    assert found[3] == "COMMENT ON ROLE alice IS 'two\nlines; of -- text'"
    assert found[4] == r'CREATE ROLE "odd ""name; \ "'
    assert not any("restrict" in statement for statement in found) and len(found) == 9
    assert statements_of(r"SELECT E'a\';\\'; SELECT 'b\'; SELECT 1 - 2;") == [
        r"SELECT E'a\';\\'",
        r"SELECT 'b\'",
        "SELECT 1 - 2",
    ]
    assert statements_of("half a statement") == []


def test_roles_that_are_there_stay_as_they_are() -> None:
    statements, made, tablespaces = roles_to_make(GLOBALS, ["alice", "postgres"])
    assert made == ['odd "name; \\ ', "staff"] and tablespaces == 1
    assert not any("ROLE alice" in statement for statement in statements)
    assert statements[-1] == "GRANT staff TO alice GRANTED BY postgres"


def test_what_is_of_a_database_itself_comes_back_under_another_name() -> None:
    creation, others = under_name(
        [
            "SET statement_timeout = 0",
            "CREATE DATABASE wiki WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C'",
            "ALTER DATABASE wiki OWNER TO alice",
            "ALTER DATABASE wiki SET search_path TO 'wiki', 'public'",
            "ALTER ROLE alice IN DATABASE wiki SET work_mem TO '5MB'",
            "REVOKE CONNECT,TEMPORARY ON DATABASE wiki FROM PUBLIC",
            "GRANT CONNECT ON DATABASE wiki TO staff",
            "COMMENT ON DATABASE wiki IS 'of wiki\n'",
            "ALTER DATABASE wiki RENAME TO other",
            "DROP TABLE wiki",
            "GRANT ALL ON TABLE DATABASE wiki TO x",
        ],
        'n"ew',
    )
    assert creation == (
        "CREATE DATABASE \"n\"\"ew\" TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C'"
    )
    assert others == [
        'ALTER DATABASE "n""ew" OWNER TO alice',
        "ALTER DATABASE \"n\"\"ew\" SET search_path TO 'wiki', 'public'",
        'ALTER ROLE alice IN DATABASE "n""ew" SET work_mem TO \'5MB\'',
        'REVOKE CONNECT,TEMPORARY ON DATABASE "n""ew" FROM PUBLIC',
        'GRANT CONNECT ON DATABASE "n""ew" TO staff',
        'COMMENT ON DATABASE "n""ew" IS \'of wiki\n\'',
    ]


def test_a_database_of_no_statement_is_made_by_its_name_alone() -> None:
    assert under_name([], "x") == ('CREATE DATABASE "x" TEMPLATE = template0', [])
    assert (
        under_name(['CREATE DATABASE "a b" WITH TEMPLATE = template0; DROP ROLE x'], "y")[0]
        == 'CREATE DATABASE "y" TEMPLATE = template0'
    )


def test_lines_of_a_database_itself_are_told_from_those_of_what_is_in_it() -> None:
    lines = [
        "3383; 1262 16388 DATABASE - wiki alice",
        "3384; 0 0 DATABASE PROPERTIES - wiki alice",
        "3385; 0 0 ACL - DATABASE wiki alice",
        "3386; 0 0 COMMENT - DATABASE wiki alice",
    ]
    others = [
        "; Archive created",
        "215; 1259 16389 TABLE public DATABASE alice",
        "3387; 0 0 ACL public TABLE page alice",
    ]
    assert of_databases("\n".join([*lines, *others])) == lines


@pytest.mark.parametrize(("text", "expected"), [("a'b", "'a''b'"), ("a\\b", " E'a\\\\b'"), ("", "''")])
def test_texts_are_quoted(text: str, expected: str) -> None:
    assert literal(text) == expected
    assert identifier('a"b') == '"a""b"'
