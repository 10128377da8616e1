"""From a source's tree to a target's on one machine: what is sent, what arrives, what is thrown away, and what stands at the end."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import bound_by_modes, put
from helpers.trees import needs_root, small_disk

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import receive, send
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import listing
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.send import Peer
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.arrivals import arrivals
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import Run, held
from ansible_collections.altbackup.core.plugins.module_utils.tree.remembered import remembered_items
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/10/235959", "2013/05/10/235959")

DAY1, DAY2, DAY3 = (f"2013/05/{day:02}" for day in (8, 9, 10))
BULK = 3_000_000


def relpath(day: str, item: str = "folders/notes") -> str:
    return f"{item}/{day}/104701/{item.split('/')[1]}.tar"


def content(seed: int, size: int = 20_000) -> bytes:
    return random.Random(seed).randbytes(size)


def part_of(data: bytes) -> str:
    return f"sha256-{hashlib.sha256(data).hexdigest()}"


@dataclass
class Pair:
    """A source and a target, and what a run would do between them."""

    source: Path
    copies: Path
    pull: bool = False
    wire: int = 0
    notes: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def tree(self) -> Path:
        return self.copies / "dayabay"

    @property
    def incoming(self) -> Path:
        return self.copies / ".altbackup" / "incoming" / "dayabay"

    def prepare(self, **options: Any) -> dict[str, Any]:
        tarballs = [
            entry
            for entry in listing(str(self.source), moment=NOW, records=True)["tarballs"]
            if entry["state"] == "verified"
        ]
        values: dict[str, Any] = {
            "day": DAY3,
            "moment": NOW,
            "keep": 3,
            "keeps": {},
            "basis": True,
            **self.options,
            **options,
        }
        with held(open_tree(str(self.tree)), None) as hold:
            result = receive.prepare(str(self.tree), tarballs, hold=hold, **values)
        self.notes += result["notes"]
        known = {entry["relpath"]: entry for entry in tarballs}
        result["tarballs"] = [known[path] for path in result["send"]]
        return result

    def carry(self, tarballs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send tarballs, or lay them out for the target to fetch; return the failures."""
        peer = Peer("cms01", str(self.incoming))
        deliveries, offers = ([], [("cms01", tarballs)]) if self.pull else ([(peer, tarballs)], [])
        result = send.send(str(self.source), deliveries, Deadline(60), offers)
        self.wire += sum(result["wire"].values())
        return list(result["failures"])

    def accept(self, tarballs: list[dict[str, Any]], *, retry: bool = False, moment: Moment = NOW) -> dict[str, Any]:
        peer = Peer("dayabay", send.offer_folder(str(self.source), "cms01"))
        fetch = (lambda folder, wanted: send.fetch(folder, peer, wanted, Deadline(60))) if self.pull else None
        with held(open_tree(str(self.tree)), None) as hold:
            result = receive.accept(hold, tarballs, moment=moment, fetch=fetch, retry=retry)
        self.wire += result["wire"]
        self.notes += result["notes"]
        return result

    def run(self, **options: Any) -> list[str]:
        """Do all that a run does; return the reasons of failures."""
        prepared = self.prepare(**options)
        failures = list(prepared["failures"])
        if prepared["tarballs"]:
            failures += self.carry(prepared["tarballs"])
            failures += self.accept(prepared["tarballs"], moment=options.get("moment", NOW))["failures"]
        return [entry["reason"] for entry in failures]

    def there(self) -> dict[str, bytes]:
        """Return {relpath: bytes} of what is verified on the target, as a look at the files shows it."""
        found = {}
        for path in sorted(self.tree.rglob("*.dna")):
            tarball = path.with_suffix("")
            data = tarball.read_bytes()
            assert hashlib.sha256(data).hexdigest() in path.read_text()
            found[str(tarball.relative_to(self.tree))] = data
        return found


@pytest.fixture(params=[False, True], ids=["push", "pull"])
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Pair:
    source, copies = tmp_path / "source", tmp_path / "copies"
    for base in (source, copies):
        (base / ".altbackup").mkdir(parents=True)
    return Pair(source, copies, request.param)


def test_what_a_source_has_stands_on_the_target_and_a_second_run_moves_nothing(pair: Pair) -> None:
    for seed, day in enumerate((DAY1, DAY2, DAY3)):
        put(pair.source, relpath(day), content(seed))
    assert pair.run() == []
    assert pair.there() == {relpath(day): content(seed) for seed, day in enumerate((DAY1, DAY2, DAY3))}
    assert os.readlink(pair.tree / "folders" / "notes" / "last") == f"{DAY3}/104701"
    assert {path.stat().st_mode & 0o777 for path in pair.tree.rglob("*.tar*")} == {0o600}
    sent, pair.wire = pair.wire, 0
    assert sent < 1.1 * 60_000
    again = pair.prepare()
    assert (again["changed"], again["tarballs"], len(again["have"])) == (False, [], 3)
    assert list(pair.incoming.iterdir()) == []


def test_the_days_tarballs_come_first_then_older_ones_newest_first(pair: Pair) -> None:
    for day in (DAY1, DAY2, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
        put(pair.source, relpath(day, "git/toolbox"), content(int(day[-2:]) + 50))
    stamps = [entry["stamp"][:10] for entry in pair.prepare(day=DAY2)["tarballs"]]
    assert stamps == [DAY2, DAY2, DAY3, DAY3, DAY1, DAY1]


def test_what_the_targets_purge_would_remove_is_not_sent(pair: Pair) -> None:
    for day in (DAY1, DAY2, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
    result = pair.prepare(keep=3, keeps={"folders/notes": 2})
    assert (result["send"], result["unwanted"]) == ([relpath(DAY3), relpath(DAY2)], [relpath(DAY1)])


def test_what_purge_would_keep_is_found_out_once_for_each_item(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(6):
        for day in (DAY1, DAY2, DAY3):
            put(pair.source, relpath(day, f"folders/item{number}"), f"{number} {day}".encode())
    asked: list[int] = []
    real = receive.retained
    monkeypatch.setattr(
        receive,
        "retained",
        lambda tarballs, *args, **options: asked.append(len(tarballs)) or real(tarballs, *args, **options),
    )
    assert len(pair.prepare(keep=1)["send"]) == 6
    assert asked == [3] * 6


def test_of_several_contents_of_the_day_those_that_purge_would_remove_are_not_sent_again(pair: Pair) -> None:
    morning, evening = (f"folders/notes/{DAY3}/{clock}/notes.tar" for clock in ("080000", "200000"))
    put(pair.source, morning, content(1))
    put(pair.source, evening, content(2))
    result = pair.prepare(keep=1)
    assert (result["send"], result["unwanted"]) == ([evening], [morning])
    assert pair.run(keep=1) == []
    again = pair.prepare(keep=1)
    assert (again["changed"], again["send"], again["have"]) == (False, [], [evening])
    assert pair.prepare(keep=2)["send"] == [morning]
    assert pair.prepare(keep=1, day=DAY2)["unwanted"] == [morning]


def test_what_is_not_named_as_a_tarball_of_the_item_does_not_count_as_a_copy(pair: Pair) -> None:
    put(pair.source, relpath(DAY1), content(1))
    put(pair.source, relpath(DAY3), content(3))
    put(pair.tree, f"folders/notes/{DAY2}/104701/local.tar", content(2))
    assert pair.prepare(keep=2)["send"] == [relpath(DAY3), relpath(DAY1)]


def test_folder_that_cannot_be_read_keeps_nothing_else_from_being_sent(pair: Pair) -> None:
    for day in (DAY2, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
        put(pair.source, relpath(day, "git/toolbox"), content(int(day[-2:]) + 50))
    put(pair.tree, relpath(DAY2), content(1))
    folder = (pair.tree / relpath(DAY2)).parent
    folder.chmod(0)
    with bound_by_modes():
        (reason,) = pair.run()
        again = pair.prepare()
    folder.chmod(0o700)
    assert reason.startswith(f"folder folders/notes/{DAY2}/104701 cannot be read: Permission denied")
    assert (again["changed"], again["send"], len(again["have"])) == (False, [], 3)
    assert set(pair.there()) == {
        relpath(day, item) for day in (DAY2, DAY3) for item in ("folders/notes", "git/toolbox")
    }
    assert pair.there()[relpath(DAY2)] == content(1), "what is not known is not touched"


def test_equal_content_travels_once_and_is_linked(pair: Pair) -> None:
    for day in (DAY2, DAY3):
        put(pair.source, relpath(day), content(1))
    assert pair.run() == []
    assert pair.wire < 1.1 * 20_000
    assert len({(pair.tree / relpath(day)).stat().st_ino for day in (DAY2, DAY3)}) == 1
    put(pair.source, relpath(DAY1), content(1))
    before, pair.wire = pair.wire, 0
    assert before
    assert (pair.run(), pair.wire) == ([], 0)
    assert len(pair.there()) == 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [("unreadable", "cannot be used: {}: Permission denied"), ("rotten", "is damaged: {} is not what")],
)
@pytest.mark.parametrize("another", [False, True])
def test_old_copy_that_is_no_good_keeps_nothing_from_being_stored(
    pair: Pair, damage: str, said: str, another: bool
) -> None:
    for day in (DAY2, DAY3):
        put(pair.source, relpath(day), content(1))
    old = put(pair.tree, relpath(DAY1), content(1))
    if another:
        put(pair.tree, "folders/notes/2013/05/01/104701/notes.tar", content(1))
    if damage == "rotten":
        old.write_bytes(content(2))
    else:
        old.chmod(0)
    with bound_by_modes():
        reasons = pair.run(keep=4)
    old.chmod(0o600)
    old.write_bytes(content(1))
    assert len(set(reasons)) == 1
    assert reasons[0].startswith(f"an older copy {said.format(old)}")
    assert reasons[0].endswith("; the new one is stored without it")
    assert {relpath(DAY2), relpath(DAY3)} < set(pair.there())
    assert (pair.wire == 0) == another
    assert os.readlink(pair.tree / "folders" / "notes" / "last") == f"{DAY3}/104701"


@pytest.mark.parametrize(("number", "sent"), [(errno.ENOSPC, 0), (errno.EDQUOT, 0), (errno.EMLINK, 1)])
def test_what_cannot_be_linked_is_sent_unless_the_disk_is_full(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, number: int, sent: int
) -> None:
    put(pair.source, relpath(DAY3), content(1))
    put(pair.tree, relpath(DAY2), content(1))

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(receive, "link", refuse)
    result = pair.prepare()
    assert len(result["send"]) == sent
    assert os.strerror(number) in result["failures"][0]["reason"]


@pytest.mark.parametrize("kept", [0, 1, 10_000, 19_999, 20_000])
def test_transfer_goes_on_where_it_was_cut(pair: Pair, kept: int) -> None:
    data = content(1, 20_000)
    put(pair.source, relpath(DAY3), data)
    prepared = pair.prepare()
    (pair.incoming / part_of(data)).write_bytes(data[:kept])
    (reason,) = [
        entry["reason"] for entry in Pair(pair.source, pair.copies).accept(prepared["tarballs"])["failures"]
    ] or [""]
    if kept < 20_000:
        part, whole = {
            0: ("0 bytes", "20 KiB"),
            1: ("1 byte", "20 KiB"),
            10_000: ("9.8 KiB", "20 KiB"),
            19_999: ("19.530 KiB", "19.531 KiB"),
        }[kept]
        assert reason == f"{relpath(DAY3)} arrived in part: {part} of {whole}; the next run goes on from there"
        assert pair.there() == {}
        assert pair.run() == []
        assert pair.wire < 20_000 - kept + 3_000
    assert pair.there() == {relpath(DAY3): data}


def test_wrong_bytes_are_thrown_away_and_come_right_the_second_time(pair: Pair) -> None:
    data = content(1)
    for day in (DAY2, DAY3):  # one file for both
        put(pair.source, relpath(day), data)
    prepared = pair.prepare()
    assert pair.carry(prepared["tarballs"]) == []
    pair.incoming.joinpath(part_of(data)).write_bytes(data[:-1] + b"x")
    pushed = Pair(pair.source, pair.copies)  # what it does is the same, whoever brought the bytes
    first = pushed.accept(prepared["tarballs"], retry=True)
    assert (first["failures"], first["tarballs"], len(first["wrong"])) == ([], [], 2)
    assert pair.there() == {}
    assert pair.carry(first["wrong"]) == []
    assert pair.accept(first["wrong"])["failures"] == []
    assert pair.there() == {relpath(day): data for day in (DAY2, DAY3)}


def test_wrong_twice_is_a_failure_with_both_digests(pair: Pair) -> None:
    data = content(1)
    put(pair.source, relpath(DAY3), data)
    prepared = pair.prepare()
    pushed = Pair(pair.source, pair.copies)
    arrived = pair.incoming / part_of(data)
    wrong = [data[:-1] + byte for byte in (b"x", b"y")]
    arrived.write_bytes(wrong[0])
    again = pushed.accept(prepared["tarballs"], retry=True)["wrong"]
    arrived.write_bytes(wrong[1])
    (failure,) = pushed.accept(again)["failures"]
    assert failure["relpath"] == relpath(DAY3)
    for word in ("arrived twice", *(hashlib.sha256(text).hexdigest() for text in (*wrong, data))):
        assert word in failure["reason"]
    assert (pair.there(), list(pair.incoming.iterdir())) == ({}, [])
    assert pair.run() == []


@pytest.mark.parametrize("damage", ["gone", "shorter", "longer"])
def test_sidecar_alone_proves_nothing(pair: Pair, damage: str) -> None:
    put(pair.source, relpath(DAY3), content(1))
    pair.run()
    path = pair.tree / relpath(DAY3)
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content(1)[:-1] if damage == "shorter" else content(1) + b"x")
    assert pair.run() == []
    assert pair.there() == {relpath(DAY3): content(1)}


def test_other_content_that_is_verified_there_is_not_touched(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    put(pair.tree, relpath(DAY3), content(2))
    (reason,) = pair.run()
    assert "neither was touched" in reason
    assert pair.there() == {relpath(DAY3): content(2)}


def test_what_changed_is_sent_as_a_delta_against_a_copy_and_the_old_one_stays(pair: Pair) -> None:
    old = content(1, BULK)
    new = old[: BULK // 3] + content(2, 20_000) + old[BULK // 3 + 5_000 :]
    put(pair.source, relpath(DAY2), old)
    pair.run(day=DAY2)
    inode = (pair.tree / relpath(DAY2)).stat().st_ino
    put(pair.source, relpath(DAY3), new)
    pair.wire = 0
    assert pair.run() == []
    assert pair.wire < 0.1 * BULK
    assert pair.there() == {relpath(DAY2): old, relpath(DAY3): new}
    assert (pair.tree / relpath(DAY2)).stat().st_ino == inode
    assert list(pair.incoming.iterdir()) == [], "the copy is gone"


def test_no_room_is_told_with_numbers_and_nothing_is_sent(pair: Pair, tmp_path: Path) -> None:
    put(pair.source, relpath(DAY3), content(1, BULK))
    with small_disk(tmp_path / "disk", "size=16m") as disk:
        (disk / ".altbackup").mkdir()
        pair.copies = disk
        (reason,) = pair.run()
        assert not pair.there()
    assert (
        reason == f"{disk}/dayabay: 2.9 MiB are needed for 1 tarballs, but 16 MiB are free, of which 16 MiB stay free: "
        f"1 was not sent: {relpath(DAY3)}"
    )


def test_what_has_no_room_is_left_out_and_the_rest_is_sent(pair: Pair, tmp_path: Path) -> None:
    sizes = {relpath(DAY3, "git/huge"): 3 * BULK, relpath(DAY3): BULK, relpath(DAY2): BULK, relpath(DAY1): 20_000}
    for seed, (path, size) in enumerate(sizes.items()):
        put(pair.source, path, content(seed, size))
    with small_disk(tmp_path / "disk", "size=21m") as disk:
        (disk / ".altbackup").mkdir()
        pair.copies = disk
        (reason,) = pair.run()
        assert list(pair.there()) == [relpath(DAY1), relpath(DAY3)]
        (again,) = pair.run()
    assert reason.startswith(
        f"{disk}/dayabay: 14 MiB are needed for 4 tarballs, but 21 MiB are free, of which 16 MiB stay free: 2 "
    )
    for said in (reason, again):
        assert said.endswith(f"stay free: 2 were not sent: {relpath(DAY3, 'git/huge')}, {relpath(DAY2)}")


def test_many_that_have_no_room_are_counted_and_not_all_named(pair: Pair, tmp_path: Path) -> None:
    for number in range(12):
        put(pair.source, relpath(DAY3, f"git/tool{number:02}"), content(number))
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        (disk / ".altbackup").mkdir()
        pair.copies = disk
        (reason,) = pair.run()
    assert "12 were not sent: git/tool00/" in reason
    assert reason.endswith(f"{relpath(DAY3, 'git/tool09')} and 2 more")


def test_leftovers_that_this_run_does_not_want_go_and_are_reported(pair: Pair) -> None:
    data = content(1)
    put(pair.source, relpath(DAY3), data)
    pair.prepare()
    (pair.incoming / part_of(b"other")).write_bytes(b"half")
    (pair.incoming / part_of(data)).write_bytes(data[:5000])
    (pair.incoming / "basis" / "old").write_bytes(b"old")
    stray = pair.tree / "folders/notes" / DAY1 / "104701" / ".altbackup-tmp-7-notes.tar"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"stray")
    pair.prepare()
    assert sorted(path.name for path in pair.incoming.iterdir()) == ["basis", part_of(data)]
    assert (list((pair.incoming / "basis").iterdir()), stray.parent.exists()) == ([], False)
    assert len([note for note in pair.notes if note.startswith("removed")]) == 2


def test_file_that_a_killed_accept_had_moved_is_taken_back(pair: Pair) -> None:
    data = content(1)
    put(pair.source, relpath(DAY3), data)
    stray = pair.tree / "folders/notes" / DAY3 / "104701" / ".altbackup-tmp-7-notes.tar"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(data)
    assert pair.run() == []
    assert pair.wire < 5_000
    assert pair.there() == {relpath(DAY3): data}


def test_tarball_without_its_sidecar_is_completed(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    put(pair.tree, relpath(DAY3), content(1), None)
    result = pair.prepare()
    assert (result["changed"], result["send"], result["have"]) == (True, [], [relpath(DAY3)])
    assert pair.there() == {relpath(DAY3): content(1)}


def test_tarball_of_other_bytes_without_sidecar_is_replaced(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    put(pair.tree, relpath(DAY3), content(2), None)
    assert pair.run() == []
    assert pair.there() == {relpath(DAY3): content(1)}


def test_list_of_items_shrinks_only_if_discovery_saw_all_of_them(pair: Pair) -> None:
    def remembered() -> list[str]:
        return remembered_items(open_tree(str(pair.tree)))

    pair.prepare(items=["svn/one", "svn/two"])
    assert remembered() == ["svn/one", "svn/two"]
    pair.prepare(items=["svn/one", "svn/three"], discovered=False)
    assert remembered() == ["svn/one", "svn/three", "svn/two"]
    pair.prepare(items=["svn/one", "svn/three"])
    assert remembered() == ["svn/one", "svn/three"]


def test_wait_for_a_free_slot_ends_with_the_step(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    run, other = (Run("hep1", "scm", "backup.yml", "", host, "boot", "1", 4711, 1, 3600.0) for host in ("hep1", "hep2"))
    tarballs = listing(str(pair.source), moment=NOW, records=True)["tarballs"]
    with held(open_tree(str(pair.copies / "lingao")), other) as hold:
        assert hold.reserve(1, 0)
    started = time.monotonic()
    with held(open_tree(str(pair.tree)), run) as hold:
        result = receive.prepare(
            str(pair.tree),
            tarballs,
            day=DAY3,
            moment=NOW,
            keep=3,
            keeps={},
            slots=1,
            slot_wait=15,
            deadline=Deadline(2),
            hold=hold,
        )
    assert time.monotonic() - started < 10
    assert result["busy"] is True


# What came when


def run_at(stamp: str) -> Moment:
    return Moment(stamp, stamp)


def test_each_arrival_is_noted_with_the_stamp_of_its_run_links_too(pair: Pair) -> None:
    put(pair.source, relpath(DAY1), content(1))
    assert pair.run(moment=run_at(f"{DAY1}/104701"), day=DAY1) == []
    put(pair.source, relpath(DAY2), content(1))
    put(pair.source, relpath(DAY3), content(3))
    put(pair.source, "folders/other/2013/05/10/104701/other.tar", content(4))
    assert pair.run(moment=run_at(f"{DAY3}/104701")) == []
    tree = open_tree(str(pair.tree))
    assert arrivals(tree, "folders/notes") == {
        relpath(DAY1): f"{DAY1}/104701",
        relpath(DAY2): f"{DAY3}/104701",
        relpath(DAY3): f"{DAY3}/104701",
    }
    assert arrivals(tree, "folders/other") == {"folders/other/2013/05/10/104701/other.tar": f"{DAY3}/104701"}
    before = (pair.copies / ".altbackup/arrivals/dayabay/folders/notes").stat()
    assert pair.run(moment=run_at("2013/05/11/104701"), day="2013/05/11") == []
    assert (pair.copies / ".altbackup/arrivals/dayabay/folders/notes").stat() == before
    assert oct(before.st_mode) == "0o100600"


def test_back_dated_copies_are_not_taken_where_those_in_time_fill_the_places(pair: Pair) -> None:
    for number, day in enumerate((DAY1, DAY2)):
        put(pair.source, relpath(day), content(number))
        assert pair.run(moment=run_at(f"{day}/104701"), day=day, keep=3) == []
    for day in (DAY1, DAY2):
        for clock in ("110000", "120000", "130000"):
            put(pair.source, f"folders/notes/{day}/{clock}/notes.tar", content(9))
    put(pair.source, relpath(DAY3), content(3))
    result = pair.prepare(moment=run_at("2013/05/11/120000"), keep=2, day=DAY3)
    assert result["send"] == [relpath(DAY3)]
    assert len(result["unwanted"]) == 6


def test_a_backlog_fills_what_is_free_and_no_more(pair: Pair) -> None:
    for day in range(1, 11):
        put(pair.source, relpath(f"2013/05/{day:02}"), content(day))
    put(pair.tree, relpath("2013/05/01"), content(1))  # of a time when none was noted
    assert pair.run(keep=4) == []
    assert set(pair.there()) == {relpath(f"2013/05/{day:02}") for day in (1, 8, 9, 10)}


def test_what_a_source_lists_of_a_time_that_has_not_come_is_not_taken_and_the_source_is_named(pair: Pair) -> None:
    ahead = [relpath("2013/05/12"), relpath("2099/01/01")]
    for path in (relpath(DAY3), *ahead):
        put(pair.source, path, path.encode())
    tarballs = [
        {**entry, "state": "verified"} for entry in listing(str(pair.source), moment=NOW, records=True)["tarballs"]
    ]
    with held(open_tree(str(pair.tree)), None) as hold:
        result = receive.prepare(str(pair.tree), tarballs, day=DAY3, moment=NOW, keep=3, keeps={}, hold=hold)
        assert result["send"] == [relpath(DAY3)]
        (failure,) = result["failures"]
        assert failure["reason"].startswith(
            f"source dayabay lists what was not taken: {ahead[0]} is stamped later than"
        )
        assert "(1 more of this item are, too)" in failure["reason"]
        accepted = receive.accept(hold, tarballs, moment=NOW)
    assert [entry["reason"].partition(" is stamped later")[0] for entry in accepted["failures"][1:]] == ahead
    assert not list(pair.tree.rglob("*.dna"))


def test_what_stands_on_the_target_of_a_time_that_has_not_come_takes_no_place_and_last_comes_back(pair: Pair) -> None:
    for day in (DAY2, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
    assert pair.run() == []
    put(pair.tree, relpath("2099/01/01"), content(9))
    last = pair.tree / "folders" / "notes" / "last"
    last.unlink()
    last.symlink_to("2099/01/01/104701")
    result = pair.prepare(keep=2)
    assert (result["send"], len(result["have"])) == ([], 2)
    (failure,) = result["failures"]
    assert failure["reason"].startswith(f"{pair.tree}/{relpath('2099/01/01')} is stamped later than this run")
    assert os.readlink(last) == f"{DAY3}/104701"


def test_arrivals_that_cannot_be_understood_are_told_and_the_days_copy_comes_all_the_same(pair: Pair) -> None:
    for day in (DAY1, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
    log = pair.copies / ".altbackup/arrivals/dayabay/folders/notes"
    log.parent.mkdir(parents=True)
    log.write_text("junk\n")
    result = pair.prepare()
    assert result["send"] == [relpath(DAY3)]
    assert "is damaged in line 1" in result["failures"][0]["reason"]


def test_arrival_that_cannot_be_noted_is_none(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    prepared = pair.prepare()
    assert pair.carry(prepared["tarballs"]) == []
    log = pair.copies / ".altbackup/arrivals/dayabay/folders/notes"
    log.mkdir(parents=True)
    (failure,) = (
        Pair(pair.source, pair.copies).accept(prepared["tarballs"])["failures"]
        if not pair.pull
        else pair.accept(prepared["tarballs"])["failures"]
    )
    assert f"{log}: Is a directory" in failure["reason"]
    assert pair.there() == {}
    log.rmdir()
    assert pair.accept(prepared["tarballs"])["failures"] == []
    assert arrivals(open_tree(str(pair.tree)), "folders/notes") == {relpath(DAY3): NOW.stamp}


# Whoever still writes


@contextmanager
def writer(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Have a file open for writing in another process."""
    program = "import sys, time; f = open(sys.argv[1], 'r+b'); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def test_receiver_that_still_writes_is_ended_before_its_file_is_accepted(pair: Pair) -> None:
    data = content(1)
    put(pair.source, relpath(DAY3), data)
    prepared = pair.prepare()
    pair.carry(prepared["tarballs"])
    arrived = pair.incoming / part_of(data)
    arrived.write_bytes(data)
    with writer(arrived) as process:
        assert Pair(pair.source, pair.copies).accept(prepared["tarballs"])["failures"] == []
        assert process.wait(10) == -9
    assert pair.there() == {relpath(DAY3): data}


def test_file_that_somebody_who_cannot_be_ended_has_open_for_writing_is_not_vouched_for(pair: Pair) -> None:
    data = content(1)
    put(pair.source, relpath(DAY3), data)
    prepared = pair.prepare()
    arrived = pair.incoming / part_of(data)
    arrived.write_bytes(data)
    with arrived.open("r+b"):  # this process itself is none that accept ends
        (failure,) = Pair(pair.source, pair.copies).accept(prepared["tarballs"])["failures"]
        assert "is open for writing in another process" in failure["reason"]
        assert pair.there() == {}
    assert pair.run() == []
    assert pair.wire < 5_000, "what arrived was not sent again"


@pytest.mark.parametrize("kind", ["nfs4", "cifs"])
def test_server_that_gives_no_lease_keeps_nothing_from_being_accepted(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def refuse(descriptor: int, command: int, argument: int) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))  # as nfs4_add_lease and cifs_setlease do

    put(pair.source, relpath(DAY3), content(1))
    prepared = pair.prepare()
    monkeypatch.setattr(receive.fcntl, "fcntl", refuse)
    monkeypatch.setattr(receive, "file_system", lambda path: kind)
    failures = [*pair.carry(prepared["tarballs"]), *pair.accept(prepared["tarballs"])["failures"]]
    assert [entry["reason"] for entry in failures] == []
    assert pair.there() == {relpath(DAY3): content(1)}


def test_who_only_reads_is_left_alone(pair: Pair) -> None:
    pair.prepare()
    pair.incoming.mkdir(parents=True, exist_ok=True)
    (pair.incoming / "x").write_bytes(b"x")
    with (
        open(pair.incoming / "x", "rb"),
        subprocess.Popen(["tail", "-f", pair.incoming / "x"], stdout=subprocess.DEVNULL) as reader,
    ):
        try:
            assert receive.end_receivers(str(pair.incoming)) == []
            assert reader.poll() is None
        finally:
            reader.kill()


def test_tarballs_sent_are_links_that_are_gone_afterwards_and_go_with_the_next_call(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    assert pair.run() == []
    offered = Path(send.offer_folder(str(pair.source), "cms01"))
    assert offered.exists() == pair.pull
    send.send(str(pair.source), [], Deadline(60))
    assert list(offered.iterdir() if pair.pull else ()) == []
    assert (pair.source / relpath(DAY3)).stat().st_nlink == 1


@needs_root
def test_tree_that_is_a_mount_of_its_own_is_said_to_be_that(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    pair.tree.mkdir()
    with small_disk(pair.tree / "folders", "size=1m"):
        (reason,) = pair.run()
    assert reason.startswith(
        f"{relpath(DAY3)} cannot be accepted: {pair.tree}/folders/notes/2013/05/10/104701 is not on the file"
    )
    assert pair.run() == []


def test_equal_content_of_two_items_travels_once_and_each_gets_it(pair: Pair) -> None:
    items = ("folders/notes", "folders/other", "git/third")
    for item in items:
        put(pair.source, relpath(DAY3, item), content(1))
    assert pair.run() == []
    assert pair.wire < 1.1 * 20_000
    assert sorted(pair.there()) == sorted(relpath(DAY3, item) for item in items)
    assert pair.prepare()["send"] == []


def test_twin_of_another_item_that_is_damaged_before_it_is_linked_is_not_taken(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for item in ("folders/notes", "folders/other"):
        put(pair.source, relpath(DAY3, item), content(1))
    moved = receive.point_last

    def damage(tree: Any, key: str, stamp: str, moment: Moment) -> bool:
        path = Path(tree.base) / key / stamp / f"{key.split('/')[1]}.tar"
        path.write_bytes(content(2))
        return moved(tree, key, stamp, moment)

    monkeypatch.setattr(receive, "point_last", damage)
    (reason,) = pair.run()
    assert "arrived with other bytes" in reason


@pytest.mark.parametrize(
    "lie",
    [
        {"relpath": "../../x"},
        {"relpath": "/etc/shadow"},
        {"size": "many"},
        {"size": -5},
        {"dig": "é" * 64},
        {"dig": "../x"},
        {"record": [1]},
    ],
)
def test_what_is_no_tarball_is_named_for_its_target_and_the_others_are_sent(
    pair: Pair, tmp_path: Path, lie: dict[str, Any]
) -> None:
    put(pair.source, relpath(DAY3), content(1))
    good = pair.prepare()["tarballs"]
    other = tmp_path / "incoming"
    other.mkdir()
    several = [("liar", [{**good[0], **lie}, *good]), ("other", good)]
    deliveries = [(Peer(node, str(other)), tarballs) for node, tarballs in several]
    result = send.send(str(pair.source), *(([], Deadline(60), several) if pair.pull else (deliveries, Deadline(60))))
    (told,) = result["failures"]
    assert (told["delegate"], told["reason"].startswith("is not sent: ")) == ("liar", True)
    if pair.pull:
        assert all(os.listdir(folder) for folder in result["offered"].values())
        assert list(result["offered"]) == ["liar", "other"]
    else:
        assert result["sent"] == {"liar": 20_000, "other": 20_000}
