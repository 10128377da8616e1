"""Scripts of PostgreSQL's dump programs, as statements: what of them a restore gives to a server, and under which names.

What is let through is told by its form alone, as pg_dumpall and pg_dump write it (src/bin/pg_dump/pg_dumpall.c, dumputils.c).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from .postgresql_survey import TABLESPACES

_PIECE = re.compile(
    r"""(?P<word>(?<!\w)[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?:(?![eE]')[^'"\\;\-\n])+)"""
    r"""|(?P<left>--[^\n]*|^\\[^\n]*)|(?P<end>;)|(?P<other>.)""",
    re.DOTALL | re.MULTILINE,
)
_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)'
_OF_A_ROLE = re.compile(rf"(?:CREATE|ALTER|COMMENT ON|SECURITY LABEL FOR .* ON) ROLE ({_IDENTIFIER})(?: |$)")
_OF_A_DATABASE = re.compile(
    rf"((?:CREATE DATABASE|ALTER DATABASE|COMMENT ON DATABASE|ALTER ROLE {_IDENTIFIER} IN DATABASE|"
    rf"(?:GRANT|REVOKE)(?: GRANT OPTION FOR)? [A-Z, ]+ ON DATABASE) )({_IDENTIFIER})((?: .*)?)\Z",
    re.DOTALL,
)
_OPTION = re.compile(
    r" (?:WITH )?(TEMPLATE|ENCODING|LOCALE|LOCALE_PROVIDER|ICU_LOCALE|ICU_RULES|BUILTIN_LOCALE|LC_COLLATE|LC_CTYPE) = "
    r"('(?:[^']|'')*'|\w+)"
)
_OF_DATABASES = re.compile(r"\d+; \d+ \d+ (?:DATABASE - |DATABASE PROPERTIES - |ACL - DATABASE |COMMENT - DATABASE )")


def statements_of(text: str) -> list[str]:
    """Return the statements of a script, without comments and without commands to psql."""
    found: list[str] = []
    current = ""
    for piece in _PIECE.finditer(text):
        if piece["end"]:
            found.append(current.strip())
            current = ""
        elif not piece["left"]:
            current += piece[0]
    return [statement for statement in found if statement]


def identifier(name: str) -> str:
    """Return a name as an identifier of SQL."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def literal(text: str) -> str:
    """Return a text as a constant of SQL, whatever the server takes a backslash for."""
    escaped = text.replace("'", "''").replace("\\", "\\\\")
    return f" E'{escaped}'" if "\\" in text else f"'{escaped}'"


def plain(quoted: str) -> str:
    """Return the name that an identifier of SQL stands for."""
    return quoted[1:-1].replace('""', '"') if quoted.startswith('"') else quoted


def roles_to_make(text: str, there: Collection[str]) -> tuple[list[str], list[str], int]:
    """Return (statements, roles that they make, number of statements of tablespaces left out) of what pg_dumpall wrote, for a server with the roles `there`.

    What is of a role that is there is left out: it stays as it is, but for memberships.
    """
    kept, made, tablespaces = [], [], 0
    for statement in statements_of(text):
        role = _OF_A_ROLE.match(statement)
        if TABLESPACES.match(statement):
            tablespaces += 1
        elif role is None or plain(role[1]) not in there:
            kept.append(statement)
            if role and statement.startswith("CREATE"):
                made.append(plain(role[1]))
    return kept, made, tablespaces


def of_databases(listing: str) -> list[str]:
    """Return the lines of `pg_restore --list` on the database itself: its creation, settings, grants and comment."""
    return [line for line in listing.split("\n") if _OF_DATABASES.match(line)]


def under_name(statements: Sequence[str], name: str) -> tuple[str, list[str]]:
    """Return (the statement that makes the database, the others), each changed to another name, of statements of a database itself.

    Statements of any other form are left out.
    """
    creation, others = f"CREATE DATABASE {identifier(name)} TEMPLATE = template0", []
    for statement in statements:
        match = _OF_A_DATABASE.match(statement)
        if match is None:
            continue
        if statement.startswith("CREATE"):
            options = [f"{word} = {value}" for word, value in _OPTION.findall(match[3]) if word != "TEMPLATE"]
            creation = " ".join([f"CREATE DATABASE {identifier(name)} TEMPLATE = template0", *options])
        elif not match[3].startswith((" RENAME ", " SET TABLESPACE ")):
            others.append(f"{match[1]}{identifier(name)}{match[3]}")
    return creation, others
