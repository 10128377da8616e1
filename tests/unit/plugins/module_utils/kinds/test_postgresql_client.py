"""Output and messages of PostgreSQL's programs, without a server."""

from __future__ import annotations

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.postgresql_client import (
    choose,
    data_in,
    pinned,
    restricted,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, ToolMissing


def test_programs_older_than_the_server_name_both_versions() -> None:
    found = {13: ("/13", "13.4"), 15: ("/15", "15.2")}
    assert choose(found, 13, "13.9", "pg_dump") == ("/13", "13.4")
    assert choose(found, 14, "14.1", "pg_dump") == ("/15", "15.2")
    with pytest.raises(
        ToolMissing, match=r"15\.2, older than the server's 16\.1: install the package postgresql-client-16"
    ):
        choose(found, 16, "16.1", "pg_dump")


@pytest.mark.parametrize(
    "head", [b"", b"PGDMP", b"something else of some length", b"PGDMP\1\x0e\0\4\x08\1\0\0\0\0\0short"]
)
def test_what_is_no_dump_is_refused(head: bytes) -> None:
    with pytest.raises(AltbackupError, match=r"no dump|half a dump"):
        pinned(head)


def test_the_moment_of_a_dump_is_a_constant() -> None:
    for version, compression in ((14, b"\0\0\0\0\0"), (15, b"\0")):
        head = b"PGDMP\1%c\0\4\x08\1" % version + compression
        one, other = (pinned(head + b"\0%c\0\0\0" % second + b"\0\1\0\0\0" * 6 + b"rest") for second in (5, 6))
        assert one == other and one.startswith(head) and one.endswith(b"rest")


def test_the_script_of_what_databases_share_has_the_item_s_key() -> None:
    one, other = (restricted(f"--\n\\restrict {key}\nx {key}\n\\unrestrict {key}\n", "MINE") for key in ("abc", "xyz9"))
    assert one == "--\n\\restrict MINE\nx abc\n\\unrestrict MINE\n" and other == one.replace("abc", "xyz9")
    assert restricted("CREATE ROLE a;\n", "MINE") == "CREATE ROLE a;\n"


def test_data_is_counted_in_a_listing() -> None:
    listing = ";\n3345; 0 16390 TABLE DATA public t owner\n3346; 0 0 SEQUENCE SET public TABLE DATA owner\n12; 1259 1 TABLE public t o\n"
    assert data_in(listing) == 1
