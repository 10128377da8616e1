"""The trash: removals killed at any step are completed, what is kept counts as room, and can be restored completely."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.killing import killed_at
from helpers.original_trees import link, marked, put, tree_hash

from ansible_collections.altbackup.core.plugins.module_utils.stages.care import Safeguards
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge import PurgeRequest, purge
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, BaseUnusable
from ansible_collections.altbackup.core.plugins.module_utils.tree import trash
from ansible_collections.altbackup.core.plugins.module_utils.tree.arrivals import arrivals, note_arrival
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.leftovers import remove_leftovers
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

SIZE = 1000


def stamp_of(day: int) -> str:
    return f"2013/05/{day:02}/104701"


def relpath(day: int, name: str = "x") -> str:
    return f"svn/{name}/{stamp_of(day)}/{name}-{day}.tar"


def fill(base: Path, days: Any, name: str = "x") -> None:
    """Write tarballs of May 2013, each of its own content, with records and proofs."""
    tree = open_tree(str(base))
    for day in days:
        put(base, relpath(day, name), f"{name}{day:03}".encode().ljust(SIZE, b"."))
        (base / f"{relpath(day, name)}.proof").write_text("proof")
        write_record(tree, f"svn/{name}", stamp_of(day), {"day": day})


def purged(base: Path, today: int, keep: int = 1, days: int = 2, **safeguards: Any) -> dict[str, Any]:
    """Purge in a run of a day; the removed tarballs are kept in the trash."""
    moment = Moment(stamp_of(20), f"2013/05/{today:02}/120000")
    return purge(PurgeRequest(str(base), keep, moment=moment, safeguards=Safeguards(days, True, **safeguards)))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return an empty base."""
    return marked(tmp_path / "dayabay")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a source's tree on a target."""
    marked(tmp_path / "copies")
    (tmp_path / "copies" / "dayabay").mkdir()
    return tmp_path / "copies" / "dayabay"


def contents(base: Path) -> dict[str, bytes]:
    """Return {path: content} of all files below the items' folders."""
    return {str(path): path.read_bytes() for path in (base / "svn").rglob("*") if path.is_file()}


def kept(base: Path) -> list[tuple[str, str]]:
    return [(one.day, one.stamp) for one in trash.kept_ones(open_tree(str(base)))]


@pytest.mark.parametrize("where", ["base", "target"])
def test_what_is_removed_is_kept_for_its_days_and_then_deleted(where: str, request: pytest.FixtureRequest) -> None:
    base: Path = request.getfixturevalue(where)
    fill(base, range(1, 4))
    first = purged(base, 20)
    assert (first["removed"], first["bytes_freed"], first["bytes_in_trash"]) == ([relpath(1)], 0, SIZE)
    folder = base / ".altbackup/trash" if where == "base" else base.parent / ".altbackup/trash/dayabay"
    assert sorted(path.name for path in (folder / "kept/2013-05-20" / os.path.dirname(relpath(1))).iterdir()) == [
        "x-1.tar",
        "x-1.tar.dna",
        "x-1.tar.proof",
    ]
    assert not (base / "svn/x/2013/05/01").exists()
    assert purged(base, 21)["removed"] == [relpath(2)]
    again = purged(base, 22)
    assert (again["removed"], again["bytes_freed"], again["changed"]) == ([], 0, False)
    assert kept(base) == [("2013/05/20", stamp_of(1)), ("2013/05/21", stamp_of(2))]
    late = purged(base, 23)
    assert (late["bytes_freed"], late["bytes_in_trash"], late["changed"]) == (SIZE, 0, True)
    assert kept(base) == [("2013/05/21", stamp_of(2))]
    assert purged(base, 23, days=0)["bytes_freed"] == SIZE
    assert os.listdir(folder) == []


def test_check_mode_tells_the_bytes_and_deletes_nothing(base: Path) -> None:
    fill(base, range(1, 4))
    purged(base, 20)
    before = tree_hash(base)
    for days, freed in ((2, SIZE), (0, 2 * SIZE)):
        moment = Moment(stamp_of(20), "2013/05/25/120000")
        told = purge(PurgeRequest(str(base), 1, moment=moment, safeguards=Safeguards(days, True), check_mode=True))
        assert (told["bytes_freed"], told["bytes_in_trash"]) == (freed, SIZE if days else 0)
    assert tree_hash(base) == before


def test_a_link_is_freed_with_its_last_name_wherever_that_is(base: Path) -> None:
    fill(base, [1, 9])
    link(base, relpath(1), relpath(2))
    assert purged(base, 20)["bytes_in_trash"] == 0
    assert purged(base, 21)["removed"] == [relpath(2)]
    assert purged(base, 23)["bytes_freed"] == 0
    assert purged(base, 24)["bytes_freed"] == SIZE


def scene(base: Path) -> None:
    """Three tarballs, of which one lies beside a user's file and one beside another tarball of its stamp."""
    fill(base, [1, 2, 3])
    (base / relpath(1)).with_name("notes.txt").write_text("somebody's")
    put(base, relpath(2).replace("x-2", "x-7"), b"another of that stamp")


@pytest.mark.sampled(4)
@pytest.mark.parametrize("days", [0, 2])
@pytest.mark.parametrize("clean", [purged, None], ids=["by a purge", "by any run"])
def test_a_purge_killed_at_any_step_is_completed_whatever_lies_beside(
    tmp_path: Path, days: int, clean: Callable[..., Any] | None
) -> None:
    for point in range(200):
        base = marked(tmp_path / f"base{point}")
        scene(base)
        was_killed = killed_at(point, lambda base=base: [purged(base, 20, days=days) for _ in range(3)])  # type: ignore[misc]
        if clean is None:
            remove_leftovers(open_tree(str(base)))
            alone = [path for path in base.glob("svn/x/*/*/*/*/*.tar") if not Path(f"{path}.dna").exists()]
            assert alone == []
        for _ in range(3):
            result = purged(base, 20, days=days)
            assert result["failures"] == []
        assert sorted(path.name for path in base.glob("svn/x/*/*/*/*/*")) == [
            "notes.txt",
            "x-3.tar",
            "x-3.tar.dna",
            "x-3.tar.proof",
        ]
        left = {path.name for path in (base / ".altbackup/trash").iterdir()}
        assert left <= {"kept"}
        assert (base / relpath(3)).exists()
        if not was_killed:
            break
    assert point > 10
    assert not was_killed


def test_a_removal_that_had_not_begun_is_forgotten_and_the_pair_stays(base: Path) -> None:
    fill(base, [1, 2])
    gone = base / ".altbackup/trash/tmpx"
    gone.mkdir(parents=True)
    inode = (base / relpath(1)).stat().st_ino
    (gone / ".going").write_text(json.dumps({"relpath": relpath(1), "inode": inode, "size": SIZE}))
    assert remove_leftovers(open_tree(str(base))) == [f"removed {gone}, which an earlier purge had left"]
    assert (base / relpath(1)).exists() and (base / f"{relpath(1)}.dna").exists()


def test_a_new_tarball_in_the_place_of_one_that_was_being_removed_stays(base: Path) -> None:
    fill(base, [1, 2])
    gone = base / ".altbackup/trash/tmpx"
    gone.mkdir(parents=True)
    (gone / ".going").write_text(json.dumps({"relpath": relpath(1), "inode": 1, "size": SIZE}))
    (base / f"{relpath(1)}.dna").unlink()
    remove_leftovers(open_tree(str(base)))
    assert (base / relpath(1)).exists()
    assert not gone.exists()


@pytest.mark.parametrize(
    "text", ["", "junk", "[]", '{"relpath": "../../etc/passwd", "inode": 1, "size": 2}', '{"relpath": 5}']
)
def test_a_damaged_note_of_a_removal_is_a_failure_that_names_it(base: Path, text: str) -> None:
    fill(base, [1])
    gone = base / ".altbackup/trash/tmpx"
    gone.mkdir(parents=True)
    (gone / ".going").write_text(text)
    (failure,) = purged(base, 20)["failures"]
    assert f"{gone}/.going does not say what was to be removed" in failure["reason"]
    assert gone.exists()


def test_of_one_that_cannot_be_taken_out_beside_others_all_stays(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene(base)
    real = os.rename

    def refused(old: Any, new: Any, **options: Any) -> None:
        if str(old).endswith("x-1.tar"):
            raise PermissionError(1, "Operation not permitted", old)
        real(old, new, **options)

    monkeypatch.setattr(os, "rename", refused)
    result = purged(base, 20)
    assert result["removed"] == [relpath(2)]
    assert "x-1.tar could not be removed: " in result["failures"][0]["reason"]
    assert {path.name for path in (base / relpath(1)).parent.iterdir()} == {
        "notes.txt",
        "x-1.tar",
        "x-1.tar.dna",
        "x-1.tar.proof",
    }
    assert {path.name for path in (base / ".altbackup/trash").iterdir()} == {"kept"}


def back(base: Path, **options: Any) -> list[str]:
    tree = open_tree(str(base))
    return [path for one in trash.kept_ones(tree) for path in trash.bring_back(tree, one, **options)]


@pytest.mark.parametrize("place", [".altbackup/locks", "svn/..x", "svn/.x", "..x/x"])
def test_nothing_is_put_back_but_below_an_item(base: Path, place: str) -> None:
    path = base / ".altbackup" / "trash" / "kept" / "2013-05-20" / place / stamp_of(1) / f"{place.split('/')[1]}.tar"
    put(path.parent, path.name, b"planted")
    before = tree_hash(base)
    assert back(base) == []
    assert tree_hash(base) == before


def test_what_is_no_tarball_of_its_item_is_not_put_back(base: Path) -> None:
    path = base / ".altbackup" / "trash" / "kept" / "2013-05-20" / "svn" / "x" / stamp_of(1)
    put(path, "other.tar", b"planted")
    before = tree_hash(base)
    with pytest.raises(AltbackupError, match=r"other\.tar is no name of a tarball of svn/x"):
        back(base)
    assert tree_hash(base) == before


@pytest.mark.parametrize("where", ["base", "target"])
def test_what_is_put_back_is_as_it_was(where: str, request: pytest.FixtureRequest) -> None:
    base: Path = request.getfixturevalue(where)
    tree = open_tree(str(base))
    scene(base)
    if where == "target":
        note_arrival(tree, relpath(1), stamp_of(2))
    before = contents(base)
    while purged(base, 20)["removed"]:
        pass
    assert len(kept(base)) == 2
    assert back(base, check_mode=True) == (done := back(base))
    assert done == [relpath(1), relpath(2), relpath(2).replace("x-2", "x-7")]
    assert contents(base) == before
    assert read_record(tree, "svn/x", stamp_of(2)) == {"day": 2}
    assert kept(base) == []
    if where == "target":
        assert arrivals(tree, "svn/x") == {relpath(1): stamp_of(2)}


@pytest.mark.full
def test_an_undo_killed_at_any_step_is_completed_by_the_next(tmp_path: Path) -> None:
    for point in range(100):
        base = marked(tmp_path / f"base{point}")
        scene(base)
        before = contents(base)
        while purged(base, 20)["removed"]:
            pass
        was_killed = killed_at(point, lambda base=base: back(base))  # type: ignore[misc]
        for path in base.glob("svn/x/*/*/*/*/*.dna"):
            assert path.with_suffix("").exists()
        back(base)
        assert contents(base) == before
        assert kept(base) == []
        if not was_killed:
            break
    assert point > 3
    assert not was_killed


def test_nothing_is_put_over_what_stands_and_nothing_that_rotted_is_put_back(base: Path) -> None:
    fill(base, [1, 2, 3])
    while purged(base, 20)["removed"]:
        pass
    tree = open_tree(str(base))
    one, two = trash.kept_ones(tree)
    put(base, relpath(1), b"another")
    before = tree_hash(base / "svn")
    with pytest.raises(AltbackupError, match=r"x-1\.tar stands there: nothing was put over it"):
        trash.bring_back(tree, one)
    rotten = base / ".altbackup/trash/kept" / two.place / "x-2.tar"
    rotten.write_bytes(b"?" * SIZE)
    with pytest.raises(AltbackupError, match="is not what was written"):
        trash.bring_back(tree, two)
    assert tree_hash(base / "svn") == before
    assert len(kept(base)) == 2


def test_damaged_knowledge_of_a_kept_one_is_named(base: Path) -> None:
    fill(base, [1, 2])
    purged(base, 20)
    about = next((base / ".altbackup/trash/kept").rglob("*.json"))
    about.write_text('{"record": 5, "came": ""}')
    with pytest.raises(AltbackupError, match=f"{about}, which tells what was known"):
        back(base)


def test_a_link_in_the_place_of_what_is_kept_is_not_followed(base: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "2013-05-01" / os.path.dirname(relpath(1))).mkdir(parents=True)
    (base / ".altbackup/trash").mkdir()
    (base / ".altbackup/trash/kept").symlink_to(victim)
    fill(base, [1, 2])
    with pytest.raises(BaseUnusable, match="kept is, or lies behind, a link"):
        purged(base, 20)
    assert (victim / "2013-05-01" / os.path.dirname(relpath(1))).exists()


class TestRoom:
    """The trash counts as room, and is emptied when room is needed."""

    @pytest.fixture
    def free(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
        """Return a function that sets the number of free bytes, given the present trash."""
        usage = trash.shutil.disk_usage("/")

        def set_free(number: int, *trees: Tree) -> None:
            before = sum(map(held_in, trees))

            def disk_usage(_path: str) -> Any:
                return usage._replace(free=number + before - sum(map(held_in, trees)))

            monkeypatch.setattr(trash.shutil, "disk_usage", disk_usage)

        def held_in(tree: Tree) -> int:
            return trash.last_links(links for one in trash.kept_ones(tree) for links in one.tarballs)

        return set_free

    def test_as_much_is_deleted_as_is_needed_the_oldest_first(self, base: Path, free: Callable[..., None]) -> None:
        fill(base, range(1, 6))
        for day in (20, 21, 21, 21):
            purged(base, day)
        tree = open_tree(str(base))
        free(100, tree)
        assert trash.spare_room(tree) == 4 * SIZE
        assert trash.make_room(tree, 100) == (0, [])
        freed, (note,) = trash.make_room(tree, 100 + SIZE + 1)
        assert freed == 2 * SIZE
        assert f"deleted 2 tarballs of the trash of {base} before their time, as room was needed" in note
        assert kept(base) == [("2013/05/21", stamp_of(3)), ("2013/05/21", stamp_of(4))]

    def test_a_purge_leaves_room_for_the_next_night(self, base: Path, free: Callable[..., None]) -> None:
        fill(base, range(1, 4))
        purged(base, 20)
        free(trash.shutil.disk_usage("/").free * 0, open_tree(str(base)))
        result = purged(base, 20)
        assert (result["removed"], kept(base)) == ([relpath(2)], [])
        assert result["bytes_freed"] == 2 * SIZE
        assert any("as room was needed" in note for note in result["notes"])

    def test_what_other_trees_keep_is_room_too_but_where_somebody_is_at_work(
        self, target: Path, free: Callable[..., None]
    ) -> None:
        others = [target.parent / name for name in ("ihep", "juno")]
        for tree_base in (target, *others):
            tree_base.mkdir(exist_ok=True)
            fill(tree_base, [1, 2])
            purged(tree_base, 20)
        own, ihep, juno = (open_tree(str(path)) for path in (target, *others))
        free(0, own, ihep, juno)
        assert trash.spare_room(own) == 3 * SIZE
        with held(own, None), held(ihep, None):
            freed, notes = trash.make_room(own, 3 * SIZE)
        assert (freed, len(notes)) == (2 * SIZE, 2)
        assert [kept(path) for path in (target, *others)] == [[], [("2013/05/20", stamp_of(1))], []]
