"""Preparing a target on one machine: what is sent from a source's tree, what is linked there, and what is left out."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import bound_by_modes, put
from helpers.pair import BULK, DAY1, DAY2, DAY3, NOW, Pair, content, part_of, relpath, run_at
from helpers.pairs import put_pairs, relpath_of
from helpers.trees import small_disk

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import accept, prepare, send, transfer_plan
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import Offer, listing
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.arrivals import arrivals, forget_arrivals
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import Run, held
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import marks_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.pairs import Pair as PairRecord
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.quarantine import set_apart
from ansible_collections.altbackup.core.plugins.module_utils.tree.readings import readings
from ansible_collections.altbackup.core.plugins.module_utils.tree.remembered import remembered_items
from ansible_collections.altbackup.core.plugins.module_utils.tree.rulings import Ruling
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna


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
    real = transfer_plan.judge
    monkeypatch.setattr(
        transfer_plan,
        "judge",
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
    assert reason.startswith(
        f"what folder folders/notes/{DAY2}/104701 holds is not known: it cannot be read by uid 0: Permission denied"
    )
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
    [
        ("unreadable", "cannot be used: {} cannot be read by uid 0: Permission denied"),
        ("rotten", "is damaged: {} is not what"),
    ],
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
    doubted = {relpath(DAY1): ""} if damage == "rotten" else {}
    assert readings(open_tree(str(pair.tree))) == doubted, "the check of this night reads it first"
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

    monkeypatch.setattr(prepare, "link", refuse)
    result = pair.prepare()
    assert len(result["send"]) == sent
    assert os.strerror(number) in result["failures"][0]["reason"]


def test_nothing_else_comes_in_the_place_of_what_rotted_there(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    put(pair.tree, relpath(DAY3), content(1)).write_bytes(content(2))
    tree = open_tree(str(pair.tree))
    (tarball,) = scan(tree).tarballs
    entry = set_apart(tree, tarball, None, "", NOW)
    assert pair.run() == [] and pair.there() == {relpath(DAY3): content(1)}, "the same content comes"
    shutil.rmtree(pair.tree / "folders")
    put(pair.source, relpath(DAY3), content(3))
    result = pair.prepare()
    (failure,) = result["failures"]
    assert result["send"] == [] and failure["relpath"] == relpath(DAY3)
    assert f"lies in {entry.folder}, but the source has another content" in failure["reason"]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("noted", [True, False])
def test_what_rotted_comes_back_as_what_had_come_in_time(pair: Pair, noted: bool) -> None:
    for number, day in enumerate(("2013/05/07", DAY1, DAY2)):
        put(pair.source, relpath(day), content(number))
        assert pair.run(moment=run_at(f"{day}/104701"), day=day) == []
    tree = open_tree(str(pair.tree))
    (tarball,) = [tarball for tarball in scan(tree).tarballs if tarball.relpath == relpath(DAY1)]
    if not noted:  # as of a tarball of 0.1.0
        forget_arrivals(tree, "folders/notes", [relpath("2013/05/07"), relpath(DAY2)])
    set_apart(tree, tarball, None, "", NOW, arrivals(tree, "folders/notes").get(relpath(DAY1), ""))
    put(pair.source, relpath(DAY3), content(9))
    put(pair.source, f"folders/notes/{DAY1}/120000/notes.tar", content(8))  # this one does come late
    assert pair.run(moment=run_at(f"{DAY3}/104701")) == []
    assert sorted(pair.there()) == [relpath(day) for day in ("2013/05/07", DAY1, DAY2, DAY3)]
    came = arrivals(tree, "folders/notes")
    assert came.get(relpath(DAY1)) == (f"{DAY1}/104701" if noted else None)
    assert came[relpath(DAY3)] == f"{DAY3}/104701"


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
        reason
        == f"{disk}/dayabay: 2.9 MiB are needed for 1 tarball, and 16 MiB have to stay free, but only 16 MiB are free: 2.9 MiB are "
        f"lacking: 1 tarball was not sent: {relpath(DAY3)}. Make room on that disk, or keep less there: lower altbackup_keep, _daily, _weekly or "
        "_monthly of this target, and purge.yml removes what they no longer keep"
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
        f"{disk}/dayabay: 14 MiB are needed for 4 tarballs, and 16 MiB have to stay free, but only 21 MiB are free: "
    )
    for said in (reason, again):
        assert f"lacking: 2 tarballs were not sent: {relpath(DAY3, 'git/huge')}, {relpath(DAY2)}. Make room" in said


def test_many_that_have_no_room_are_counted_and_not_all_named(pair: Pair, tmp_path: Path) -> None:
    for number in range(12):
        put(pair.source, relpath(DAY3, f"git/tool{number:02}"), content(number))
    with small_disk(tmp_path / "disk", "size=8m") as disk:
        (disk / ".altbackup").mkdir()
        pair.copies = disk
        (reason,) = pair.run()
    assert "12 tarballs were not sent: git/tool00/" in reason
    assert f"{relpath(DAY3, 'git/tool09')} and 2 more. Make room" in reason


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


@pytest.mark.sampled(2)
def test_wait_for_a_free_slot_ends_with_the_step(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    run, other = (Run("hep1", "scm", "backup.yml", "", host, "boot", "1", 4711, 1, 3600.0) for host in ("hep1", "hep2"))
    tarballs = listing(str(pair.source), moment=NOW, records=True)["tarballs"]
    with held(open_tree(str(pair.copies / "lingao")), other) as hold:
        assert hold.reserve(1, 0)
    started = time.monotonic()
    with held(open_tree(str(pair.tree)), run) as hold:
        request = transfer_plan.Request(
            str(pair.tree), tarballs, DAY3, NOW, Ruling({"": 3}), slots=1, slot_wait=15, deadline=Deadline(2)
        )
        result = prepare.prepare(request, hold)
    assert time.monotonic() - started < 10
    assert result["busy"] is True


# Arrivals


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
    put(pair.tree, relpath("2013/05/01"), content(1))  # from before arrivals were noted
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
        result = prepare.prepare(transfer_plan.Request(str(pair.tree), tarballs, DAY3, NOW, Ruling({"": 3})), hold)
        assert result["send"] == [relpath(DAY3)]
        (failure,) = result["failures"]
        assert failure["reason"].startswith(
            f"source dayabay lists what was not taken: {ahead[0]} is stamped later than"
        )
        assert "(1 more of this item are, too)" in failure["reason"]
        accepted = accept.accept(hold, tarballs, moment=NOW)
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


def test_tarballs_sent_are_links_that_are_gone_afterwards_and_go_with_the_next_call(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(1))
    assert pair.run() == []
    offered = Path(send.offer_folder(str(pair.source), "cms01"))
    assert offered.exists() == pair.pull
    send.send(str(pair.source), [], Deadline(60))
    assert list(offered.iterdir() if pair.pull else ()) == []
    assert (pair.source / relpath(DAY3)).stat().st_nlink == 1


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


def known(**changes: Any) -> PairRecord:
    """Return what a source knows of a target."""
    return PairRecord(**{"id": "", "copies": 0, "purged": 0, "newest": "", "run": f"{DAY2}/104701", **changes})


def test_a_target_that_is_not_what_it_was_gets_what_is_of_the_day_until_it_is_adopted(pair: Pair) -> None:
    for day in (DAY1, DAY2, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
    lost = known(copies=2, newest=f"{DAY2}/104701")
    doubted = pair.prepare(pair=lost, node="cms01")
    assert (doubted["doubted"], doubted["send"]) == (True, [relpath(DAY3)])
    (entry,) = doubted["failures"]
    for word in (
        f"cms01 is not what it was after the run of {DAY2}/104701",
        "holds 0 copies, but held 2",
        '{"altbackup_adopt": ["cms01"]}',
    ):
        assert word in entry["reason"]
    adopted = pair.prepare(pair=lost, node="cms01", adopt=True)
    assert (adopted["doubted"], adopted["failures"]) == (False, [])
    assert adopted["send"] == [relpath(day) for day in (DAY3, DAY2, DAY1)]
    assert any("cms01 is taken as it is" in note for note in adopted["notes"])


def test_a_target_that_is_what_it_was_is_filled_as_ever(pair: Pair) -> None:
    put(pair.source, relpath(DAY1), content(1))
    assert pair.run() == []
    put(pair.source, relpath(DAY2), content(2))
    same = pair.prepare(pair=known(copies=1, newest=f"{DAY1}/104701"))
    assert (same["doubted"], same["failures"], same["send"]) == (False, [], [relpath(DAY2)])


def test_a_target_on_which_a_run_of_a_time_that_has_not_come_left_copies_is_what_it_was(pair: Pair) -> None:
    ahead = "2014/01/01"
    put(pair.source, relpath(DAY3), content(3))
    put(pair.tree, relpath(DAY1), content(1))
    later = put(pair.tree, relpath(ahead), content(2))
    lost = known(copies=2, newest=f"{ahead}/104701", run=f"{ahead}/104701")
    result = pair.prepare(pair=lost)
    (entry,) = result["failures"]
    assert not result["doubted"] and "is stamped later than this run" in entry["reason"]
    later.unlink()
    assert pair.prepare(pair=lost)["doubted"]


def test_copies_of_what_the_source_no_longer_has_count_where_a_target_is_compared(pair: Pair) -> None:
    put(pair.source, relpath(DAY3), content(3))
    put(pair.tree, relpath(DAY1, "git/given-up"), content(1))
    assert not pair.prepare(pair=known(copies=1, newest=f"{DAY1}/104701"))["doubted"]
    assert pair.prepare(pair=known(copies=2, newest=f"{DAY1}/104701"))["doubted"]


def test_a_target_whose_count_is_damaged_is_doubted_and_gets_what_is_of_the_day(pair: Pair) -> None:
    for day in (DAY1, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
    count = pair.copies / ".altbackup" / "state" / "dayabay" / "purged"
    count.parent.mkdir(parents=True)
    count.write_text("?")
    result = pair.prepare(pair=known())
    assert (result["doubted"], result["send"]) == (True, [relpath(DAY3)])
    (entry,) = result["failures"]
    assert str(count) in entry["reason"]


HOLD = f"folders/notes/{DAY1}/104701"


def test_marks_come_with_the_call_and_what_is_held_is_told(pair: Pair) -> None:
    for day in (DAY1, DAY2, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
    result = pair.prepare(marks={"holds": {HOLD: "x"}})
    assert (result["marks_kept"], result["held"]) == (True, [])
    pair.run()
    assert pair.prepare()["held"] == [HOLD], "they were kept"
    path = Path(marks_path(open_tree(str(pair.tree))))
    path.write_text("{")
    result = pair.prepare(marks={"holds": {HOLD: "x"}})
    assert (result["marks_kept"], result["failures"]) == (False, []), "purge tells of it"
    assert path.read_text() == "{"


@pytest.mark.parametrize(("marks", "sent"), [({}, [DAY3]), ({"holds": {HOLD: "x"}}, [DAY3, DAY1])])
def test_what_is_held_is_sent_though_no_rule_demands_it(pair: Pair, marks: dict[str, Any], sent: list[str]) -> None:
    for day in (DAY1, DAY2, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
    assert pair.prepare(keep=1, marks=marks)["send"] == [relpath(day) for day in sent]


@pytest.mark.parametrize(
    ("accepted", "sent"), [({}, [DAY3, DAY2, DAY1]), ({"folders/notes": f"{DAY3}/104701"}, [DAY3])]
)
def test_suspects_are_sent_and_take_no_place_of_good_copies(
    pair: Pair, accepted: dict[str, str], sent: list[str]
) -> None:
    for day in (DAY1, DAY2, DAY3):
        put(pair.source, relpath(day), content(int(day[-2:])))
    for day in (DAY2, DAY3):
        write_record(open_tree(str(pair.source)), "folders/notes", f"{day}/104701", {"suspect": ["entries fell"]})
    assert pair.prepare(keep=1, marks={"accepted": accepted})["send"] == [relpath(day) for day in sent]


def test_suspects_that_are_there_take_no_place_either(pair: Pair) -> None:
    for day in (DAY2, DAY3):
        put(pair.tree, relpath(day), content(int(day[-2:])))
        put(pair.source, relpath(day), content(int(day[-2:])))
        write_record(open_tree(str(pair.tree)), "folders/notes", f"{day}/104701", {"suspect": ["entries fell"]})
    put(pair.source, relpath(DAY1), content(8))
    assert pair.prepare(keep=1)["send"] == [relpath(DAY1)]
    assert pair.prepare(keep=1, marks={"accepted": {"folders/notes": f"{DAY3}/104701"}})["send"] == []


# Differentials


def stamps(paths: Iterable[str]) -> str:
    """Return the days of tarballs, and whether each is full."""
    return " ".join(f"{path.split('/')[4]}{'D' if '.diff.' in path else 'F'}" for path in paths)


def test_full_tarballs_travel_before_the_differentials_that_need_them(pair: Pair) -> None:
    put_pairs(pair.source, "06F 07D 08F 09D 10D")
    assert stamps(pair.prepare(keep=9)["send"]) == "08F 10D 09D 06F 07D"
    assert pair.run(keep=9) == []
    assert scan(open_tree(str(pair.tree))).tarballs and all(
        one.verified for one in scan(open_tree(str(pair.tree))).tarballs
    )
    for path in pair.source.rglob("*.dna"):
        assert (pair.tree / path.relative_to(pair.source)).read_text() == path.read_text()
    assert pair.prepare(keep=9)["send"] == []


def test_a_target_that_lacks_the_full_tarball_gets_it(pair: Pair) -> None:
    put_pairs(pair.source, "08F 09D 10D")
    assert pair.run(keep=9) == []
    (pair.tree / relpath_of("08F")).unlink()
    (pair.tree / f"{relpath_of('08F')}.dna").unlink()
    assert [one.state for one in scan(open_tree(str(pair.tree))).tarballs] == ["alone", "alone"]
    assert pair.run(keep=1) == []
    assert all(one.verified for one in scan(open_tree(str(pair.tree))).tarballs)


def test_the_full_tarball_of_the_nights_differential_comes_where_purge_would_keep_less(pair: Pair) -> None:
    put_pairs(pair.source, "07F 08F 09D07 10D07")
    assert stamps(pair.prepare(keep=1)["send"]) == "07F 10D 08F"


def test_a_doubted_target_gets_the_full_tarball_of_the_day(pair: Pair) -> None:
    put_pairs(pair.source, "07F 08F 09D 10D")
    known = PairRecord("", 5, 0, f"{DAY2}/104701")
    result = pair.prepare(pair=known, keep=9)
    assert result["doubted"] and stamps(result["send"]) == "08F 10D"


def test_a_differential_whose_full_tarball_is_nowhere_is_not_sent(pair: Pair) -> None:
    put_pairs(pair.source, "08F 09D 10D")
    (pair.source / relpath_of("08F")).write_bytes(b"rotten")  # as a check sees it after its listing
    told = [
        entry
        for entry in listing(str(pair.source), moment=NOW, records=True)["tarballs"]
        if ".diff." in entry["relpath"]
    ]
    request = transfer_plan.Request(str(pair.tree), told, DAY3, NOW, Ruling({"": 9}))
    with held(open_tree(str(pair.tree)), None) as hold:
        result = prepare.prepare(request, hold)
    assert result["send"] == []
    assert (
        len(result["failures"]) == 2
        and "is neither here nor offered: it was not sent" in result["failures"][0]["reason"]
    )


def test_a_tarball_is_compared_with_its_like(tmp_path: Path) -> None:
    base = tmp_path / "b"
    (base / ".altbackup").mkdir(parents=True)
    put_pairs(base, "06F 07D 08F 09D 10D")
    here = [replace(one, size=2 << 20) for one in scan(open_tree(str(base))).tarballs]
    held_here = {"folders/notes": transfer_plan.Held(here[:4])}
    dig = here[2].dna.dig if here[2].dna else ""
    full, diff = (
        Offer(relpath_of("11F"), Dna("f", 9), {}),
        Offer(relpath_of("12D"), Dna("d", 9, "sha256", "x", dig), {}),
    )
    other = Offer(relpath_of("13D"), Dna("o", 9, "sha256", "x", "f"), {})
    load = transfer_plan.plan_load([full, diff, other], {}, 1 << 40, held_here)
    assert {name: one.relpath for name, one in load.bases.items()} == {
        full.transit_name: relpath_of("08F"),
        diff.transit_name: relpath_of("09D"),
    }


def test_what_a_cut_run_had_brought_to_its_end_is_stored_for_all_that_have_its_content(pair: Pair) -> None:
    data = content(1)
    for day in (DAY2, DAY3):
        put(pair.source, relpath(day), data)
    pair.prepare()
    (pair.incoming / part_of(data)).write_bytes(data)
    prepared = Pair(pair.source, pair.copies).prepare()
    assert prepared["send"] == [] and prepared["failures"] == []
    assert pair.there() == {relpath(day): data for day in (DAY2, DAY3)}
    assert len({(pair.tree / relpath(day)).stat().st_ino for day in (DAY2, DAY3)}) == 1
    assert not (pair.incoming / part_of(data)).exists()


@pytest.mark.parametrize("where", ["beside the tarball", "incoming"])
@pytest.mark.parametrize("form", ["folder", "pipe", "link", "link to a folder"])
def test_odd_leftover_of_one_item_keeps_no_other_from_being_received(
    pair: Pair, where: str, form: str, tmp_path: Path
) -> None:
    put(pair.source, relpath(DAY2), content(1))
    assert pair.run() == []
    put(pair.source, relpath(DAY3), content(2))
    vault = tmp_path / "vault"
    vault.mkdir()
    (vault / "secret").write_text("of nobody else\n")
    place = pair.tree / relpath(DAY2)
    odd = place.with_name(f".altbackup-tmp-1-{place.name}") if where != "incoming" else pair.incoming / "odd"
    if form == "folder":
        (odd / "inner").mkdir(parents=True)
        (odd / "inner" / "x").write_text("x")
    elif form == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to(vault if "folder" in form else vault / "secret")
    assert pair.run() == []
    assert set(pair.there()) == {relpath(DAY2), relpath(DAY3)}
    assert not os.path.lexists(odd)
    assert (vault / "secret").read_text() == "of nobody else\n"
