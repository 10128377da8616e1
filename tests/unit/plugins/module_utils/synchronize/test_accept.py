"""Accepting on a target: what arrives, what is removed, and what is stored at the end."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import put
from helpers.pair import DAY1, DAY2, DAY3, NOW, Pair, content, part_of, relpath, run_at
from helpers.trees import needs_root, small_disk, written

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import accept
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable
from ansible_collections.altbackup.core.plugins.module_utils.tree.arrivals import arrivals, forget_arrivals
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.quarantine import note_healed, set_apart
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment


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


def dna_of(data: bytes) -> dict[str, Any]:
    """Return the dna of a tarball's bytes as in a record."""
    return {"dig": hashlib.sha256(data).hexdigest(), "size": len(data), "alg": "sha256"}


def recorded(base: Path, day: str) -> dict[str, Any]:
    return read_record(open_tree(str(base)), "folders/notes", f"{day}/104701")


def test_a_second_tarball_under_a_stamp_does_not_make_the_first_one_doubtful(pair: Pair) -> None:
    honest, other = content(1), content(2)
    put(pair.source, relpath(DAY2), honest)
    write_record(
        open_tree(str(pair.source)), "folders/notes", f"{DAY2}/104701", {**dna_of(honest), "content": "a" * 64}
    )
    assert pair.run() == []
    before = recorded(pair.tree, DAY2)
    assert before["content"] == "a" * 64
    second = relpath(DAY2).replace("notes.tar", "notes-7.tar")
    put(pair.source, second, other)
    lie = {**dna_of(other), "relpath": second, "suspect": ["of the source's"], "incomplete": ["too"]}
    write_record(open_tree(str(pair.source)), "folders/notes", f"{DAY2}/104701", lie)
    assert pair.run() == []
    assert set(pair.there()) == {relpath(DAY2), second}
    assert recorded(pair.tree, DAY2) == before


@pytest.mark.parametrize("other", [False, True], ids=["itself", "a second one"])
def test_what_is_known_of_what_rotted_is_not_what_its_source_says_since(pair: Pair, other: bool) -> None:
    data = content(1)
    put(pair.source, relpath(DAY2), data)
    write_record(open_tree(str(pair.source)), "folders/notes", f"{DAY2}/104701", dna_of(data))
    assert pair.run() == []
    tree = open_tree(str(pair.tree))
    (tarball,) = scan(tree).verified()
    set_apart(tree, tarball, None, "it rotted", NOW)
    lie = {**dna_of(data), "suspect": ["of the source's"]}
    if other:
        second = relpath(DAY2).replace("notes.tar", "notes-7.tar")
        put(pair.source, second, content(2))
        lie = {**dna_of(content(2)), "suspect": ["of the source's"]}
    write_record(open_tree(str(pair.source)), "folders/notes", f"{DAY2}/104701", lie)
    assert pair.run() == []
    assert pair.there()[relpath(DAY2)] == data
    assert recorded(pair.tree, DAY2) == dna_of(data)


def test_what_a_killed_run_noted_of_other_bytes_gives_way(pair: Pair) -> None:
    data = content(1)
    put(pair.source, relpath(DAY2), data)
    write_record(open_tree(str(pair.source)), "folders/notes", f"{DAY2}/104701", dna_of(data))
    pair.tree.mkdir()
    write_record(open_tree(str(pair.tree)), "folders/notes", f"{DAY2}/104701", {**dna_of(content(2)), "suspect": ["x"]})
    assert pair.run() == []
    assert recorded(pair.tree, DAY2) == dna_of(data)


def test_wrong_bytes_are_thrown_away_and_come_right_the_second_time(pair: Pair) -> None:
    data = content(1)
    for day in (DAY2, DAY3):  # one file for both
        put(pair.source, relpath(day), data)
    prepared = pair.prepare()
    assert pair.carry(prepared["tarballs"]) == []
    pair.incoming.joinpath(part_of(data)).write_bytes(data[:-1] + b"x")
    pushed = Pair(pair.source, pair.copies)  # accept does not depend on the transport
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


def test_file_that_a_killed_accept_had_moved_is_taken_back(pair: Pair) -> None:
    data = content(1)
    put(pair.source, relpath(DAY3), data)
    stray = pair.tree / "folders/notes" / DAY3 / "104701" / ".altbackup-tmp-7-notes.tar"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(data)
    assert pair.run() == []
    assert pair.wire < 5_000
    assert pair.there() == {relpath(DAY3): data}


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
    noted = pair.copies / ".altbackup/arrivals/dayabay/folders/notes"
    before = written(noted)
    assert pair.run(moment=run_at("2013/05/11/104701"), day="2013/05/11") == []
    assert written(noted) == before
    assert oct(noted.stat().st_mode) == "0o100600"


@pytest.mark.parametrize("back", [True, False])
def test_what_rotted_and_comes_back_came_when_it_came_first(pair: Pair, back: bool) -> None:
    put(pair.source, relpath(DAY1), content(1))
    assert pair.run(moment=run_at(f"{DAY1}/104701"), day=DAY1) == []
    tree = open_tree(str(pair.tree))
    (tarball,) = scan(tree).tarballs
    entry = set_apart(tree, tarball, None, "", NOW, f"{DAY1}/104701")
    if not back:  # it had come back before, and was removed
        note_healed(entry, NOW)
    forget_arrivals(tree, "folders/notes", [])
    assert pair.run() == []
    assert arrivals(tree, "folders/notes") == {relpath(DAY1): f"{DAY1}/104701" if back else NOW.stamp}


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
    monkeypatch.setattr(accept.fcntl, "fcntl", refuse)
    monkeypatch.setattr(accept, "file_system", lambda path: kind)
    failures = [*pair.carry(prepared["tarballs"]), *pair.accept(prepared["tarballs"])["failures"]]
    assert [entry["reason"] for entry in failures] == []
    assert pair.there() == {relpath(DAY3): content(1)}


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
    moved = accept.point_last

    def damage(tree: Any, key: str, stamp: str, moment: Moment) -> bool:
        path = Path(tree.base) / key / stamp / f"{key.split('/')[1]}.tar"
        path.write_bytes(content(2))
        return moved(tree, key, stamp, moment)

    monkeypatch.setattr(accept, "point_last", damage)
    (reason,) = pair.run()
    assert "arrived with other bytes" in reason


def test_what_the_controller_carried_lies_by_its_paths_and_stands_at_the_end(pair: Pair) -> None:
    for seed, day in enumerate((DAY1, DAY2, DAY3)):
        put(pair.source, relpath(day), content(seed))
    prepared = pair.prepare(carried=True)
    folder = pair.incoming / "carried"
    assert folder.is_dir() and len(prepared["send"]) == 3
    for seed, day in ((0, DAY1), (7, DAY2)):
        (folder / relpath(day)).parent.mkdir(parents=True)
        (folder / relpath(day)).write_bytes(content(seed))
    with held(open_tree(str(pair.tree)), None) as hold:
        result = accept.accept(hold, prepared["tarballs"], moment=NOW, carried=True)
    assert pair.there() == {relpath(DAY1): content(0)}
    reasons = sorted(entry["reason"] for entry in result["failures"])
    assert len(reasons) == 2
    assert any(relpath(DAY3) in reason and "did not arrive" in reason for reason in reasons)
    assert any(relpath(DAY2) in reason and "with other bytes" in reason for reason in reasons)
    assert list(pair.incoming.iterdir()) == []


@pytest.mark.parametrize("above", [False, True], ids=["itself", "the folder above"])
@pytest.mark.parametrize("step", ["prepare", "accept"])
def test_nothing_is_removed_or_taken_behind_a_link_in_the_place_of_incoming(
    pair: Pair, step: str, above: bool, tmp_path: Path
) -> None:
    data = content(1)
    put(pair.source, relpath(DAY3), data)
    prepared = pair.prepare()
    place = pair.incoming.parent if above else pair.incoming
    vault = tmp_path / "vault"
    place.rename(vault)
    place.symlink_to(vault)
    inside = vault / pair.incoming.name if above else vault
    for name in ("secret", part_of(data)):
        (inside / name).write_bytes(data)
    there = sorted(os.walk(vault))
    calls = {"prepare": pair.prepare, "accept": lambda: pair.accept(prepared["tarballs"])}
    with pytest.raises(BaseUnusable, match="link"):
        calls[step]()
    assert sorted(os.walk(vault)) == there
    assert pair.there() == {}
