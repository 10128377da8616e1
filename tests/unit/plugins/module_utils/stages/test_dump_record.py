"""What a dump records of an item, and what earlier records it is compared with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from helpers.dumps import dump_of
from helpers.original_trees import put
from helpers.trees import FIRST, SECOND, THIRD, marked

from ansible_collections.altbackup.core.plugins.module_utils.archive.digests import Digests
from ansible_collections.altbackup.core.plugins.module_utils.archive.manifest import Manifest
from ansible_collections.altbackup.core.plugins.module_utils.archive.owners import Owners
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_record import (
    forget_unrecorded,
    judged,
    note_files,
    past_of,
    record_for,
)
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_state import ItemDump, Past
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import Marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.noted import keep_noted, noted_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import record_path, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna

KEY = "folders/x"
EARLIER = "2013/05/09/104701"


def relpath(stamp: str) -> str:
    return f"{KEY}/{stamp}/x.tar"


def remembering(base: Path, records: dict[str, dict[str, Any]], **more: Any) -> ItemDump:
    """Return the dump of an item of which earlier ones left tarballs, and some of them records."""
    marked(base)
    dump = dump_of(base, **more)
    for stamp, record in records.items():
        put(base, relpath(stamp), stamp.encode())
        if record is not None:
            write_record(dump.context.tree, KEY, stamp, {"relpath": relpath(stamp), **record})
    return dump


def past(dump: ItemDump) -> Past:
    return past_of(dump, scan(dump.context.tree).verified())


SUSPECT = {"suspect": ["it shrank"]}


@pytest.mark.parametrize(
    ("records", "marks", "good", "doubtful"),
    [
        pytest.param({}, Marks(), [], None, id="none"),
        pytest.param({EARLIER: {}, FIRST: {}}, Marks(), [EARLIER, FIRST], None, id="two good ones"),
        pytest.param({EARLIER: {}, FIRST: SUSPECT}, Marks(), [EARLIER], FIRST, id="the last one is suspect"),
        pytest.param({EARLIER: SUSPECT, FIRST: {}}, Marks(), [FIRST], None, id="an older one is"),
        pytest.param({EARLIER: {}, FIRST: SUSPECT}, Marks({KEY: FIRST}), [FIRST], None, id="it is accepted"),
        pytest.param({FIRST: SUSPECT}, Marks(), [], FIRST, id="the only one is suspect"),
        pytest.param({FIRST: {}, SECOND: {}, THIRD: {}}, Marks(), [FIRST], None, id="of now and later"),
        pytest.param({FIRST: {"relpath": relpath(THIRD)}}, Marks(), [], None, id="a record of another stamp"),
    ],
)
def test_a_dump_is_compared_with_good_ones_before_it(
    tmp_path: Path, records: dict[str, Any], marks: Marks, good: list[str], doubtful: str | None
) -> None:
    dump = remembering(tmp_path / "base", records, marks=marks)
    found = past(dump)
    assert [record["relpath"] for record in found.good] == [relpath(stamp) for stamp in good]
    assert found.doubtful == (None if doubtful is None else {"relpath": relpath(doubtful), **SUSPECT})
    assert found.whole and not dump.outcome.failures
    assert found.last == (found.good[-1] if good else {})


def test_a_damaged_record_is_a_failure_and_counts_for_nothing(tmp_path: Path) -> None:
    dump = remembering(tmp_path / "base", {EARLIER: {}, FIRST: {}})
    Path(record_path(dump.context.tree, KEY, FIRST)).write_text("damaged")
    found = past(dump)
    assert ([record["relpath"] for record in found.good], found.whole) == ([relpath(EARLIER)], False)
    assert "is damaged" in dump.outcome.failures[0]["reason"]


def test_where_earlier_dumps_left_no_record_it_is_said(tmp_path: Path) -> None:
    dump = remembering(tmp_path / "base", {FIRST: {}})
    Path(record_path(dump.context.tree, KEY, FIRST)).unlink()
    assert past(dump).good == []
    assert dump.outcome.notes == [f"{KEY}: no earlier dump left a record, so this one was compared with nothing"]


@pytest.mark.parametrize(
    ("record", "good", "found"),
    [
        pytest.param({"doubts": [], "noted": {}}, [], {}, id="nothing to tell"),
        pytest.param({"doubts": [], "noted": {"files": "0"}}, [], {"noted": {"files": "0"}}, id="what was noted"),
        pytest.param(
            {"doubts": ["it was rewritten"], "noted": {}},
            [{"relpath": relpath(FIRST)}],
            {"doubts": ["it was rewritten"], "suspect": ["it was rewritten"]},
            id="a doubt",
        ),
        pytest.param(
            {"doubts": ["it was rewritten"], "noted": {}},
            [],
            {"doubts": ["it was rewritten"]},
            id="a doubt of the first",
        ),
    ],
)
def test_a_record_tells_why_it_is_suspect(
    tmp_path: Path, record: dict[str, Any], good: list[dict[str, Any]], found: dict[str, Any]
) -> None:
    dump = dump_of(tmp_path / "base", past=Past(good))
    told = judged(dump, {"kind": "folder", "relpath": relpath(SECOND), **record}, None)
    told.pop("nights", None)
    assert told == {"kind": "folder", "relpath": relpath(SECOND), **found}


def files(**contents: bytes) -> Digests:
    digests = Digests()
    for path, content in contents.items():
        digests.add(path, len(content), hashlib.sha256(content).digest(), content)
    return digests


def test_what_became_of_files_is_told_from_what_the_last_good_dump_noted(tmp_path: Path) -> None:
    dump = dump_of(tmp_path / "base")
    with files(a=b"1", b=b"2") as before, files(a=b"1", c=b"3") as after:
        noted, churn = note_files(dump, before)
        assert (list(noted), churn) == (["files"], None)
        dump.past = Past([{"relpath": relpath(FIRST), "noted": noted}])
        assert note_files(dump, before) == (noted, None)  # the same: nothing changed
        again, churn = note_files(dump, after)
        assert churn is not None and (churn.files, churn.gone, churn.came) == (2, 1, 1)
        path = Path(noted_path(dump.context.tree, KEY, noted["files"]))
        path.write_bytes(b"other")
        assert note_files(dump, after) == (again, None)
        assert "is damaged" in dump.outcome.failures[0]["reason"] and not dump.outcome.notes
        path.unlink()
        assert note_files(dump, after) == (again, None)
        assert dump.outcome.notes[0].startswith(f"{KEY}: how many files changed is not known: ")


@pytest.mark.parametrize(("whole", "is_there"), [(True, False), (False, True)])
def test_what_no_record_names_is_forgotten_where_all_records_can_be_read(
    tmp_path: Path, whole: bool, is_there: bool
) -> None:
    dump = dump_of(tmp_path / "base")
    kept, old, lost = (keep_noted(dump.context.tree, KEY, lambda text=text: [text]) for text in (b"1", b"2", b"3"))
    dump.past = Past(noted=frozenset([old]), whole=whole)
    forget_unrecorded(dump, [kept])
    found = [Path(noted_path(dump.context.tree, KEY, name)).exists() for name in (kept, old, lost)]
    assert (found, dump.outcome.failures) == ([True, True, is_there], [])


@pytest.mark.parametrize(
    ("kind", "manifest", "keys"),
    [
        ("folder", None, set()),
        ("folder", Manifest(3, 5, "m", "c"), {"entries", "bytes", "manifest", "content", "measures"}),
        ("git", Manifest(3, 5, "m", "c"), {"entries", "bytes", "manifest", "content"}),
    ],
)
def test_a_record_has_what_is_known_of_a_dump(
    tmp_path: Path, kind: str, manifest: Manifest | None, keys: set[str]
) -> None:
    item = dump_of(tmp_path / "base", kind=kind).item
    known = {"count": 5, "size": "what a reader says of it", "path": "what it says of that"}
    record = record_for(item, known, manifest, Owners(), Dna("d", 9, "md5"), relpath(SECOND))
    own = {"kind": kind, "name": "x", "path": "/srv/x", "relpath": relpath(SECOND), "dig": "d", "size": 9, "alg": "md5"}
    assert {key: record[key] for key in own} == own and record["count"] == 5
    assert set(record) - set(own) - {"count", "owners"} == keys


def test_the_record_of_a_differential_has_its_full_tarball(tmp_path: Path) -> None:
    dna = Dna("d", 9, "md5", f"{FIRST}/x.tar", "e")
    record = record_for(dump_of(tmp_path / "base").item, {}, None, Owners(), dna, relpath(SECOND))
    assert (record["base"], record["base_dig"]) == (f"{FIRST}/x.tar", "e")
