"""How an archive becomes the tarball under a stamp, and what killed runs left of one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.dumps import dump_of
from helpers.original_trees import link, put
from helpers.trees import FIRST, SECOND, THIRD

from ansible_collections.altbackup.core.plugins.module_utils.archive.states import Unproven
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_state import ItemDump
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_store import (
    complete_leftovers,
    move_last,
    store,
    stored_under,
    tarballs_before,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna

KEY = "folders/x"
CONTENT = b"a tarball"
DNA = Dna(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
EARLIER = "2013/05/09/104701"
TODAY = "2013/05/11/010000"


def relpath(stamp: str, filename: str = "x.tar") -> str:
    return f"{KEY}/{stamp}/{filename}"


@pytest.fixture
def dump(tmp_path: Path) -> ItemDump:
    return dump_of(tmp_path / "base")


def there(dump: ItemDump) -> list[str]:
    return sorted(one.relpath for one in scan(dump.context.tree).verified())


def archive(dump: ItemDump, content: bytes = CONTENT) -> str:
    """Write a temporary file, as a dump does, and return its path."""
    path = Path(dump.context.tree.private) / "temporary"
    path.write_bytes(content)
    return str(path)


def verified(dump: ItemDump) -> list[Tarball]:
    return scan(dump.context.tree, keys={dump.item.key}).verified()


def stored(dump: ItemDump, temporary: str, equal: list[Tarball] | None = None) -> Tarball:
    given = {"relpath": relpath(SECOND)}
    equal = tarballs_before(dump.context, dump.item, verified(dump)) if equal is None else equal
    return store(dump.item, dump.context, temporary, relpath(SECOND), DNA, given, equal, dump.outcome)


def test_what_is_new_is_published_with_its_record(dump: ItemDump) -> None:
    found = stored(dump, archive(dump), [])
    assert (found.relpath, dump.outcome.changed, dump.outcome.failures) == (relpath(SECOND), True, [])
    assert read_record(dump.context.tree, KEY, SECOND) == {"relpath": relpath(SECOND)}
    assert not os.path.exists(os.path.join(dump.context.tree.private, "temporary"))


@pytest.mark.parametrize(
    ("stamps", "changed", "stands", "is_link"),
    [
        pytest.param([EARLIER], True, relpath(SECOND), True, id="of an earlier day it is a link"),
        pytest.param([TODAY], False, relpath(TODAY), False, id="of this day nothing is stored"),
        pytest.param([EARLIER, TODAY], False, relpath(TODAY), False, id="of both as well"),
    ],
)
def test_what_is_there_already_is_not_stored_again(
    dump: ItemDump, stamps: list[str], changed: bool, stands: str, is_link: bool
) -> None:
    for stamp in stamps:
        put(Path(dump.context.tree.base), relpath(stamp), CONTENT)
    found = stored(dump, archive(dump))
    assert (found.relpath, dump.outcome.changed, found.links > 1) == (stands, changed, is_link)


def test_a_damaged_older_copy_is_told_and_another_one_taken(dump: ItemDump) -> None:
    base = Path(dump.context.tree.base)
    for stamp in (EARLIER, FIRST, TODAY):
        put(base, relpath(stamp), CONTENT)
    for stamp in (FIRST, TODAY):
        (base / relpath(stamp)).write_bytes(CONTENT[::-1])
    found = stored(dump, archive(dump))
    assert (found.relpath, found.inode[1]) == (relpath(SECOND), os.stat(base / relpath(EARLIER)).st_ino)
    assert [entry["relpath"] for entry in dump.outcome.failures] == [relpath(TODAY), relpath(FIRST)]


def test_what_has_no_bytes_of_its_own_cannot_be_stored_without_an_older_copy(dump: ItemDump) -> None:
    put(Path(dump.context.tree.base), relpath(FIRST), CONTENT)
    (Path(dump.context.tree.base) / relpath(FIRST)).write_bytes(CONTENT[::-1])
    with pytest.raises(Unproven, match="can have no second name, or is damaged"):
        stored(dump, "")
    assert read_record(dump.context.tree, KEY, SECOND) == {}


def test_what_a_killed_run_left_under_the_stamp_is_replaced_and_what_is_of_others_stays(dump: ItemDump) -> None:
    base = Path(dump.context.tree.base)
    put(base, relpath(SECOND, "x-4.tar.zst"), b"old", None)
    (base / relpath(SECOND, "x-4.tar.zst.proof")).touch()
    put(base, relpath(SECOND, "other.tar"), b"mine", None)
    stored(dump, archive(dump), [])
    assert sorted(os.listdir(base / KEY / SECOND)) == ["other.tar", "x.tar", "x.tar.dna"]
    assert dump.outcome.notes[0].startswith(f"replaced {relpath(SECOND, 'x-4.tar.zst')}, which ")


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], None),
        ([relpath(FIRST)], None),
        ([relpath(SECOND)], relpath(SECOND)),
        ([relpath(SECOND, "other.tar")], None),
        ([relpath(SECOND, "x-7.tar.gz")], relpath(SECOND, "x-7.tar.gz")),
    ],
)
def test_the_tarball_of_this_stamp_is_found(dump: ItemDump, names: list[str], found: str | None) -> None:
    for name in names:
        put(Path(dump.context.tree.base), name)
    tarball = stored_under(dump.context, dump.item, verified(dump))
    assert (tarball.relpath if tarball else None) == found


def test_tarballs_before_are_the_item_s_own_oldest_first_and_none_of_the_future(tmp_path: Path) -> None:
    dump = dump_of(tmp_path / "base", clock=SECOND)
    base = Path(dump.context.tree.base)
    for stamp in (SECOND, EARLIER, THIRD, FIRST):
        put(base, relpath(stamp), stamp.encode())
    put(base, relpath(FIRST, "other.tar"))
    put(base, relpath(TODAY), b"x", None)
    assert [one.stamp for one in tarballs_before(dump.context, dump.item, verified(dump))] == [EARLIER, FIRST, SECOND]


RECORD: dict[str, Any] = {"relpath": relpath(FIRST), "dig": DNA.dig, "size": DNA.size, "alg": DNA.alg}


@pytest.mark.parametrize(
    ("record", "is_completed"),
    [
        pytest.param(RECORD, True, id="as it was recorded"),
        pytest.param({}, False, id="not recorded"),
        pytest.param({**RECORD, "relpath": relpath(SECOND)}, False, id="another one was"),
        pytest.param({**RECORD, "dig": "0" * 64}, False, id="other bytes"),
        pytest.param({**RECORD, "size": 5}, False, id="another size"),
        pytest.param({**RECORD, "size": "x"}, False, id="a size that is none"),
        pytest.param({**RECORD, "size": float("inf")}, False, id="a size above all"),
        pytest.param({**RECORD, "size": None}, False, id="no size"),
        pytest.param({**RECORD, "alg": "crc"}, False, id="an unknown digest"),
        pytest.param({**RECORD, "base": "x"}, False, id="half of a full one"),
    ],
)
def test_what_a_killed_run_had_recorded_is_completed_if_it_is_that(
    dump: ItemDump, record: dict[str, Any], is_completed: bool
) -> None:
    put(Path(dump.context.tree.base), relpath(FIRST), CONTENT, None)
    write_record(dump.context.tree, KEY, FIRST, record)
    found = complete_leftovers(dump.context.tree, dump.item, dump.outcome)
    assert ([one.relpath for one in found], dump.outcome.changed) == (
        ([relpath(FIRST)], True) if is_completed else ([], False)
    )
    assert there(dump) == [one.relpath for one in found]
    (note,) = dump.outcome.notes
    assert note.startswith(f"completed {relpath(FIRST)}" if is_completed else f"{relpath(FIRST)} is not verified: ")


def test_temporary_files_of_killed_runs_are_removed_and_told(dump: ItemDump) -> None:
    base = Path(dump.context.tree.base)
    path = base / KEY / FIRST / ".altbackup-tmp-1-x.tar"
    path.parent.mkdir(parents=True)
    path.touch()
    assert complete_leftovers(dump.context.tree, dump.item, dump.outcome) == []
    assert dump.outcome.notes == [f"removed {KEY}/{FIRST}/.altbackup-tmp-1-x.tar, which a killed run left"]
    assert not (base / KEY).exists()


def test_last_moves_forward_and_a_folder_in_its_place_is_a_failure(dump: ItemDump) -> None:
    base = Path(dump.context.tree.base)
    put(base, relpath(SECOND), CONTENT)
    link(base, relpath(SECOND), relpath(FIRST))
    for stamp, changed in ((FIRST, True), (SECOND, True), (SECOND, False)):
        dump.outcome.changed = False
        move_last(dump.context, dump.item, stamp, dump.outcome)
        assert dump.outcome.changed is changed
    assert os.readlink(base / KEY / "last") == SECOND
    (base / KEY / "last").unlink()
    (base / KEY / "last").mkdir()
    move_last(dump.context, dump.item, SECOND, dump.outcome)
    assert len(dump.outcome.failures) == 1 and (base / KEY / "last").is_dir()
