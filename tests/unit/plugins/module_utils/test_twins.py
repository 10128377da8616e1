"""Bases on file systems without links and without modes: what has another name elsewhere is a copy here, and nothing fails for it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.bare_disk import bare_disk
from helpers.original_trees import put
from helpers.trees import FIRST, SECOND, THIRD, Base

from ansible_collections.altbackup.core.plugins.module_utils import receive, transfer
from ansible_collections.altbackup.core.plugins.module_utils.inspection import inspect
from ansible_collections.altbackup.core.plugins.module_utils.layout import open_tree, scan
from ansible_collections.altbackup.core.plugins.module_utils.locks import held
from ansible_collections.altbackup.core.plugins.module_utils.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.stamps import Moment, day_of
from ansible_collections.altbackup.core.plugins.module_utils.transfer import Peer
from ansible_collections.altbackup.core.plugins.module_utils.wanted import listing

NOW = Moment(THIRD, THIRD)


@pytest.fixture(params=[False, True], ids=["modes ignored", "modes refused"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk without links of either kind, and without modes."""
    with bare_disk(tmp_path, refuse_modes=request.param) as top:
        yield top


@pytest.fixture
def folder(tmp_path: Path) -> dict[str, Any]:
    """An item."""
    path = tmp_path / "notes"
    path.mkdir()
    (path / "one").write_text("one")
    return {"kind": "folder", "name": "notes", "path": str(path)}


def test_unchanged_item_on_a_disk_without_links_is_a_copy_of_its_own(bare: Path, folder: dict[str, Any]) -> None:
    base = Base(bare / "base")
    first = base.dump(folder, stamp=FIRST)
    again = base.dump(folder, stamp=SECOND)
    assert [result["failures"] for result in (first, again)] == [[], []]
    old, new = (Path(result["tarballs"][0]["path"]) for result in (first, again))
    assert old.read_bytes() == new.read_bytes()
    assert old.stat().st_ino != new.stat().st_ino
    assert not (old.parents[4] / "last").exists()
    third = base.dump(folder, stamp=SECOND)
    assert (third["changed"], third["failures"]) == (False, [])


def test_damaged_older_copy_is_told_where_there_are_no_links(bare: Path, folder: dict[str, Any]) -> None:
    base = Base(bare / "base")
    for stamp in (FIRST, SECOND):
        base.dump_one(folder, stamp=stamp)
    old = bare / "base/folders/notes" / SECOND / "notes.tar.zst"
    old.write_bytes(bytes(old.stat().st_size))
    result = base.dump(folder, stamp=THIRD)
    assert ["is damaged" in entry["reason"] for entry in result["failures"]] == [True]
    assert [entry["stamp"] for entry in result["tarballs"]] == [THIRD]


def night(source: Path, copies: Path, stamp: str, *, pull: bool) -> tuple[list[str], dict[str, Any]]:
    """Bring a source's tarballs to a target as a run does; return the reasons of failures, and what preparing said."""
    tree = copies / "dayabay"
    incoming = copies / ".altbackup/incoming/dayabay"
    tarballs = listing(str(source), moment=NOW, records=True)["tarballs"]
    options: dict[str, Any] = {"day": day_of(stamp), "moment": NOW, "keep": 9, "keeps": {}, "basis": True}
    with held(open_tree(str(tree)), None) as hold:
        prepared = receive.prepare(str(tree), tarballs, hold=hold, **options)
    sent = [entry for entry in tarballs if entry["relpath"] in prepared["send"]]
    deliveries, offers = ([], [("cms01", sent)]) if pull else ([(Peer("cms01", str(incoming)), sent)], [])
    carried = transfer.send(str(source), deliveries, Deadline(60), offers)
    peer = Peer("dayabay", transfer.offer_folder(str(source), "cms01"))
    fetch = (lambda folder, wanted: transfer.fetch(folder, peer, wanted, Deadline(60))) if pull else None
    with held(open_tree(str(tree)), None) as hold:
        accepted = receive.accept(hold, sent, moment=NOW, fetch=fetch)
    entries = [*prepared["failures"], *carried["failures"], *accepted["failures"]]
    return [entry["reason"] for entry in entries], prepared


def marked(path: Path) -> Path:
    (path / ".altbackup").mkdir(parents=True)
    return path


@pytest.mark.parametrize("pull", [False, True], ids=["push", "pull"])
@pytest.mark.parametrize("where", ["source", "target", "both"])
def test_nights_between_disks_without_links_go_well(bare: Path, tmp_path: Path, where: str, pull: bool) -> None:
    source = marked((tmp_path if where == "target" else bare) / "a source: base")
    copies = marked((tmp_path if where == "source" else bare) / "copies")
    content = random.Random(0).randbytes(2_000_000)
    changed = content[:1_000_000] + b"other" + content[1_000_000:]
    for stamp, data in ((FIRST, content), (SECOND, content), (THIRD, changed)):
        put(source, f"folders/notes/{stamp}/notes.tar", data)
        put(source, f"folders/other/{stamp}/other.tar", data[::-1])
        failures, prepared = night(source, copies, stamp, pull=pull)
        assert failures == []
        assert len(prepared["linked"]) == (2 if stamp == SECOND else 0)
    found = scan(open_tree(str(copies / "dayabay"))).verified()
    assert sorted({tarball.stamp for tarball in found}) == [FIRST, SECOND, THIRD]
    assert len(found) == 6
    assert (copies / f"dayabay/folders/notes/{THIRD}/notes.tar").read_bytes() == changed
    failures, prepared = night(source, copies, THIRD, pull=pull)
    assert (failures, prepared["changed"], prepared["send"]) == ([], False, [])


def test_preflight_tells_once_what_a_base_has_not(bare: Path) -> None:
    base = marked(bare / "base")
    result = inspect([str(base)], claim=True)
    assert result["failures"] == []
    (note,) = result["notes"]
    assert result["lacking"] == [note]
    for words in (str(base), "fuse.bare", "no hard links", "no symbolic links", "0755"):
        assert words in note
    assert list((base / ".altbackup").iterdir()) == []


def test_preflight_that_may_not_write_says_what_is_known(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = marked(bare / "base")
    (note,) = inspect([str(base)], claim=False)["notes"]
    assert "is found out by a run that may write" in note
    monkeypatch.setattr(
        "ansible_collections.altbackup.core.plugins.module_utils.abilities.file_system", lambda path: "exfat"
    )
    (note,) = inspect([str(base)], claim=False)["notes"]
    assert "no hard links" in note
    assert list((base / ".altbackup").iterdir()) == []


def test_base_that_has_all_is_not_noted(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    for claim in (False, True):
        assert inspect([str(base)], claim=claim)["notes"] == []
    assert list((base / ".altbackup").iterdir()) == []
