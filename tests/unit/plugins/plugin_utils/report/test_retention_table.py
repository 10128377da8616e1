"""The reasons why tarballs stay or go, for people."""

from __future__ import annotations

from ansible_collections.altbackup.core.plugins.plugin_utils.report.retention_table import table

WAITING = "no rule demands it, but a run removes at most one more of an item than it added"


def test_each_item_of_a_tree_has_its_lines() -> None:
    place = {"node": "cms01", "source": "dayabay", "role": "target"}
    seen = {"dig": "0123456789abcdef", "alg": "sha256"}
    below = "svn/dybsvn/2013/05/{}/104701/dybsvn-1.tar"
    entries = [
        {**place, **seen, "relpath": below.format("10"), "size": 12345, "fate": "stays", "reasons": ["newest", "day 1/3"]},
        {**place, **seen, "relpath": below.format("09"), "size": 7, "fate": "waits", "reasons": []},
        {**place, **seen, "relpath": below.format("08"), "size": 7, "fate": "goes", "reasons": []},
        {**place, **seen, "node": "dayabay", "role": "source", "relpath": "git/x\n/y", "size": 0, "dig": "", "fate": "stays",
         "reasons": ["hold: before\nthe move"]},
    ]  # fmt: skip
    assert table(entries) == [
        "dayabay -> cms01: svn/dybsvn: 3 tarballs, 12 KiB, of which 1 would go",
        "  stays  2013/05/10/104701/dybsvn-1.tar  12,345  0123456789ab  newest, day 1/3",
        f"  waits  2013/05/09/104701/dybsvn-1.tar       7  0123456789ab  {WAITING}",
        "  goes   2013/05/08/104701/dybsvn-1.tar       7  0123456789ab  no rule demands it",
        "dayabay: git/x\\n: 1 tarball, 0 bytes",
        "  stays  y  0    hold: before\\nthe move",
    ]
    assert table([]) == []
