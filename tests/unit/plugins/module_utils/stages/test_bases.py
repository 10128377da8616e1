"""Nights of real items with differentials between full tarballs: which is made when, and that each can be restored."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import make_item
from helpers.environments import execute, make_environment
from helpers.original_trees import run_module
from helpers.repositories import git, load_subversion, make_git, make_subversion, references, run
from helpers.trees import NOBODY, Base, describe_tree, forbid_views, item, needs_root, nobodys_folder

from ansible_collections.altbackup.core.plugins.module_utils.archive import differential
from ansible_collections.altbackup.core.plugins.module_utils.archive.states import Unproven
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_item
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump_ahead import ReadAhead
from ansible_collections.altbackup.core.plugins.module_utils.stages.space import newest_sizes, steady_need
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.readings import keep_readings
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import read

KEY = "folders/thing"


def night(number: int) -> str:
    """Return the stamp of a night."""
    return f"2013/05/{number:02}/104701"


class Nights:
    """A folder, and a base to which it is dumped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.live = path / "live"
        (self.live / "sub").mkdir(parents=True)
        for name in ("stays", "goes", "sub/file"):
            (self.live / name).write_bytes(os.urandom(20_000))  # which stays large when it is compressed
        self.base = Base(path / "base")
        self.item = item("folder", self.live)
        self.notes: list[str] = []

    def dump(self, number: int, full_every: int = 7, **options: Any) -> dict[str, Any]:
        """Dump the item in a night, without failures; return its tarball."""
        result = self.base.dump(self.item, stamp=night(number), full_every=full_every, **options)
        assert not result["failures"], result["failures"]
        self.notes = result["notes"]
        (tarball,) = result["tarballs"]
        return dict(tarball)

    def change(self) -> None:
        """Change the folder a little."""
        with (self.live / "changes").open("a") as stream:
            stream.write("more\n")

    def seen(self) -> list[Tarball]:
        """Return the tarballs of the base, oldest first."""
        return sorted(scan(open_tree(str(self.base.path))).tarballs, key=lambda tarball: tarball.stamp)

    def forms(self) -> str:
        """Return a letter for each tarball: full (F), differential (D), or a link to an earlier one (f, d)."""
        inodes: set[tuple[int, int]] = set()
        word = ""
        for tarball in self.seen():
            letter = "D" if ".diff." in tarball.filename else "F"
            word += letter.lower() if tarball.inode in inodes else letter
            inodes.add(tarball.inode)
        return word


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def bring_back(base: Path, key: str, tarball: dict[str, Any], out: Path) -> Path:
    """Unpack a differential over its full tarball with GNU tar; return the top folder."""
    out.mkdir()
    for path in (base / key / tarball["base"], Path(tarball["path"])):
        command = ["tar", "-x", "-p", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "-g", "/dev/null"]
        subprocess.run([*command, "--delay-directory-restore", "-f", path], cwd=out, check=True)
    (top,) = out.iterdir()
    return top


def test_between_two_full_tarballs_stand_differentials(nights: Nights, tmp_path: Path) -> None:
    for number in range(1, 10):
        nights.change()
        tarball = nights.dump(number, full_every=4)
    assert nights.forms() == "FDDDFDDDF"
    nights.change()
    (nights.live / "goes").rename(nights.live / "gone")
    tarball = nights.dump(10, full_every=4)
    assert tarball["relpath"] == f"{KEY}/{night(10)}/thing.diff.tar.zst"
    assert (tarball["base"], tarball["base_dig"]) == (f"{night(9)}/thing.tar.zst", nights.seen()[-2].dna.dig)  # type: ignore[union-attr]
    dna = read(f"{tarball['path']}.dna")
    assert (dna.base, dna.base_dig) == (tarball["base"], tarball["base_dig"])
    assert describe_tree(bring_back(nights.base.path, KEY, tarball, tmp_path / "out")) == describe_tree(nights.live)
    assert os.readlink(nights.base.path / KEY / "last") == night(10)


def test_check_mode_names_what_the_night_will_make(nights: Nights) -> None:
    assert nights.dump(1, check_mode=True)["relpath"] == f"{KEY}/{night(1)}/thing.tar.zst"
    nights.dump(1)
    nights.change()
    assert nights.dump(2, check_mode=True)["relpath"] == f"{KEY}/{night(2)}/thing.diff.tar.zst"
    assert nights.dump(2, full_every=1, check_mode=True)["relpath"] == f"{KEY}/{night(2)}/thing.tar.zst"
    assert nights.dump(2)["relpath"] == f"{KEY}/{night(2)}/thing.diff.tar.zst"


def test_an_unchanged_item_is_a_link_to_what_holds_the_same(nights: Nights) -> None:
    nights.dump(1)
    nights.dump(2)
    nights.change()
    nights.dump(3)
    nights.dump(4)
    assert nights.forms() == "FfDd"
    again = nights.dump(4)
    assert not nights.base.dump(nights.item, stamp="2013/05/04/120000", full_every=7)["changed"]
    assert again["relpath"].endswith(".diff.tar.zst")


def test_what_comes_back_to_the_content_of_the_full_tarball_is_a_link_to_that(nights: Nights) -> None:
    before = nights.live.stat()
    nights.dump(1)
    nights.change()
    nights.dump(2)
    (nights.live / "changes").unlink()
    os.utime(nights.live, ns=(before.st_atime_ns, before.st_mtime_ns))
    tarball = nights.dump(3)
    assert nights.forms() == "FDf"
    assert (
        "base" not in tarball
        and tarball["record"]["content"] == read_record(open_tree(str(nights.base.path)), KEY, night(1))["content"]
    )


def test_files_copied_anew_with_their_times_are_unchanged(nights: Nights) -> None:
    nights.dump(1)
    before = nights.live.stat()
    for path in (nights.live / "stays", nights.live / "goes"):
        shutil.copy2(path, f"{path}.new")
        os.replace(f"{path}.new", path)
    os.utime(nights.live, ns=(before.st_atime_ns, before.st_mtime_ns))
    nights.dump(2)
    assert nights.forms() == "Ff"


def test_the_record_is_that_of_a_full_dump_of_the_same_state(nights: Nights, tmp_path: Path) -> None:
    nights.dump(1)
    nights.change()
    (nights.live / "goes").unlink()
    tarball = nights.dump(2)
    other = Base(tmp_path / "other").dump_one(nights.item, stamp=night(2))
    names = ("entries", "bytes", "manifest", "content", "owners", "measures", "kind", "name", "path", "noted")
    assert {name: tarball["record"].get(name) for name in names} == {name: other["record"].get(name) for name in names}


def test_every_night_is_full_by_default_and_nothing_more_is_kept(nights: Nights) -> None:
    for number in (1, 2):
        nights.change()
        nights.dump(number, full_every=1)
    assert nights.forms() == "FF"
    assert not (nights.base.path / ".altbackup" / "snapshots").exists()
    nights.dump(3, full_every=3)
    assert (nights.base.path / ".altbackup" / "snapshots" / KEY).is_file()
    nights.change()
    nights.dump(4, full_every=1)
    assert nights.forms() == "FFfF"
    assert not (nights.base.path / ".altbackup" / "snapshots").exists()


def test_an_item_may_say_it_itself(nights: Nights) -> None:
    nights.item["full_every"] = 3
    for number in (1, 2):
        nights.change()
        nights.dump(number, full_every=1)
    assert nights.forms() == "FD"
    nights.item["full_every"] = 0
    result = nights.base.dump(nights.item, stamp=night(3))
    assert "full_every" in result["failures"][0]["reason"]


def test_md5_knows_no_differentials(nights: Nights) -> None:
    for number in (1, 2):
        nights.change()
        nights.dump(number, form=ArchiveFormat(algorithm="md5"))
    assert nights.forms() == "FF"


def damage_full(nights: Nights) -> None:
    """Replace the full tarball by another one."""
    path = nights.base.path / KEY / night(1) / "thing.tar.zst"
    shutil.copy(path, f"{path}.x")
    with open(f"{path}.x", "ab") as stream:
        stream.write(b"x")
    os.replace(f"{path}.x", path)
    run_module("dna", path=[str(path)], force=True)


def unverify(nights: Nights) -> None:
    """Remove the full tarball's sidecar, and all records."""
    (nights.base.path / KEY / night(1) / "thing.tar.zst.dna").unlink()
    shutil.rmtree(nights.base.path / ".altbackup" / "records")


def suspect(nights: Nights) -> None:
    """Mark the full tarball as suspect."""
    tree = open_tree(str(nights.base.path))
    write_record(tree, KEY, night(1), {**read_record(tree, KEY, night(1)), "suspect": ["it shrank"]})


def snapshot_of(nights: Nights) -> Path:
    """Return the snapshot of the last full tarball."""
    return nights.base.path / ".altbackup" / "snapshots" / KEY


@pytest.mark.sampled(8)
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(lambda nights: snapshot_of(nights).unlink(), id="the snapshot is lost"),
        pytest.param(lambda nights: snapshot_of(nights).write_bytes(b"x"), id="the snapshot is damaged"),
        pytest.param(lambda nights: os.truncate(snapshot_of(nights), 400), id="the snapshot is cut"),
        pytest.param(damage_full, id="it is another full one"),
        pytest.param(lambda nights: shutil.rmtree(nights.base.path / KEY / night(1)), id="the full one is gone"),
        pytest.param(lambda nights: unverify(nights), id="it is not verified"),
        pytest.param(suspect, id="it is suspect"),
        pytest.param(
            lambda nights: keep_readings(open_tree(str(nights.base.path)), {f"{KEY}/{night(1)}/thing.tar.zst": ""}),
            id="it was found rotten",
        ),
    ],
)
def test_the_night_is_full_where_the_full_tarball_does_not_serve(
    nights: Nights, event: Callable[[Nights], Any]
) -> None:
    nights.dump(1)
    nights.change()
    event(nights)
    result = nights.base.dump(nights.item, stamp=night(2), full_every=7)
    (tarball,) = result["tarballs"]
    assert ".diff" not in tarball["relpath"] and "base" not in tarball
    nights.change()
    following = nights.base.dump(nights.item, stamp=night(3), full_every=7)["tarballs"][0]
    assert following["base"].startswith(night(2))


def test_after_a_large_differential_the_next_tarball_is_full(nights: Nights) -> None:
    nights.live.joinpath("large").write_bytes(os.urandom(100_000))
    nights.dump(1)
    nights.live.joinpath("more").write_bytes(os.urandom(90_000))
    nights.dump(2)
    nights.change()
    nights.dump(3)
    nights.change()
    nights.dump(4)
    assert nights.forms() == "FDFD"


def test_a_differential_that_is_not_proved_is_none(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    nights.dump(1)
    nights.change()

    def unproved(*_: Any) -> Any:
        raise Unproven("tar would make something else of it")

    monkeypatch.setattr(dump_item, "restored_members", unproved)
    nights.dump(2)
    assert nights.forms() == "FF"
    assert nights.notes == [f"{KEY}: no differential was made, but a full tarball: tar would make something else of it"]
    assert not list((nights.base.path / ".altbackup" / "tmp").iterdir())


def test_a_differential_that_a_killed_run_left_is_completed(nights: Nights) -> None:
    nights.dump(1)
    nights.change()
    tarball = nights.dump(2)
    text = Path(f"{tarball['path']}.dna").read_text()
    os.unlink(f"{tarball['path']}.dna")
    nights.change()
    nights.dump(3)
    assert Path(f"{tarball['path']}.dna").read_text() == text
    assert [note for note in nights.notes if note.startswith("completed ")]


def test_two_differentials_of_one_state_are_equal_bytes(nights: Nights, tmp_path: Path) -> None:
    nights.dump(1)
    nights.change()
    first = nights.dump(2)
    shutil.copytree(nights.base.path, tmp_path / "other", symlinks=True)
    shutil.rmtree(tmp_path / "other" / KEY / night(2))
    other = Base.__new__(Base)
    other.path = tmp_path / "other"
    (second,) = other.dump(nights.item, stamp=night(3), full_every=7)["tarballs"]
    assert Path(second["path"]).read_bytes() == Path(first["path"]).read_bytes()


def test_subversion_comes_back_at_its_revision(tmp_path: Path) -> None:
    live = tmp_path / "live"
    make_subversion(live, 12)
    base = Base(tmp_path / "base")
    mine = item("svn", live)
    base.dump_one(mine, stamp=night(1), full_every=30)
    load_subversion(live, 13, 14)
    tarball = base.dump_one(mine, stamp=night(2), full_every=30)
    assert tarball["relpath"] == f"svn/thing/{night(2)}/thing-14.diff.tar.zst"
    assert tarball["size"] < (base.path / "svn/thing" / tarball["base"]).stat().st_size / 2
    top = bring_back(base.path, "svn/thing", tarball, tmp_path / "out")
    assert top.name == "thing-12"
    subprocess.run(["svnadmin", "verify", "-q", top], check=True)
    assert subprocess.run(["svnlook", "youngest", top], capture_output=True, text=True, check=True).stdout == "14\n"
    rebuilt = base.dump_one(mine, stamp=night(20), full_every=30)  # its scratch is built anew, and holds the same
    assert os.path.samefile(rebuilt["path"], tarball["path"])


@pytest.mark.sampled(2)
@needs_root
@pytest.mark.parametrize("viewed", [True, False])
def test_the_repository_of_another_user_is_compared_by_him(
    tmp_path: Path, viewed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not viewed:
        forbid_views(monkeypatch)
    with nobodys_folder() as folder:
        live = folder / "live"
        make_subversion(live, 12)
        base = Base(folder / "base")
        mine = item("svn", live)
        for number, last in ((1, 12), (2, 13)):
            if last > 12:
                load_subversion(live, last, last)
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", live], check=True)
            result = base.dump(mine, stamp=night(number), full_every=30)
            assert not result["failures"], result["failures"]
        assert result["tarballs"][0]["relpath"].endswith("thing-13.diff.tar.zst"), result["notes"]
        top = bring_back(base.path, "svn/thing", result["tarballs"][0], tmp_path / "out")
        subprocess.run(["svnadmin", "verify", "-q", top], check=True)


@pytest.mark.full
def test_a_trac_environment_comes_back(tmp_path: Path) -> None:
    live = make_environment(tmp_path / "live")
    base = Base(tmp_path / "base")
    mine = item("trac", live)
    base.dump_one(mine, stamp=night(1), full_every=30)
    execute(live / "db" / "trac.db", "UPDATE ticket SET summary = 'another'")
    tarball = base.dump_one(mine, stamp=night(2), full_every=30)
    assert tarball["base"].startswith(night(1))
    top = bring_back(base.path, "tracs/thing", tarball, tmp_path / "out")
    assert execute(top / "db" / "trac.db", "SELECT DISTINCT summary FROM ticket") == [("another",)]


def test_a_git_repository_comes_back_with_what_was_added(tmp_path: Path) -> None:
    live = make_git(tmp_path / "live", 4)
    commit = partial(commit_file, tmp_path / "work", live)
    commit("large", os.urandom(200_000))
    base = Base(tmp_path / "base")
    mine = item("git", live)
    base.dump_one(mine, stamp=night(1), full_every=30)
    commit("small", b"more")
    git(live, "gc", "--quiet", "--prune=now")
    tarball = base.dump_one(mine, stamp=night(2), full_every=30)
    assert tarball["relpath"] == f"git/thing/{night(2)}/thing.diff.tar.zst"
    assert tarball["size"] < (base.path / "git/thing" / tarball["base"]).stat().st_size / 2
    top = bring_back(base.path, "git/thing", tarball, tmp_path / "out")
    git(top, "fsck", "--strict")
    assert references(top) == references(live)
    rebuilt = base.dump_one(mine, stamp=night(20), full_every=30)  # its scratch is verified whole, and holds the same
    assert os.path.samefile(rebuilt["path"], tarball["path"])


def commit_file(work: Path, live: Path, name: str, content: bytes) -> None:
    """Commit a file to a repository, through a clone."""
    if not work.exists():
        run("git", "clone", "--quiet", live, work)
    (work / name).write_bytes(content)
    for words in (
        ("add", name),
        ("-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "-m", name),
        ("push", "--quiet", "origin", "HEAD"),
    ):
        run("git", *words, cwd=work)


@pytest.mark.parametrize("kind", ["sqlite"])
def test_kinds_for_which_it_does_not_pay_stay_full(tmp_path: Path, kind: str) -> None:
    base = Base(tmp_path / "base")
    mine = {**make_item(kind, tmp_path), "full_every": 5}
    for number in (1, 2):
        result = base.dump(mine, stamp=night(number), full_every=7)
        assert not result["failures"] and "base" not in result["tarballs"][0]
        assert any(
            note.endswith(
                "thing: full every night, though full_every asks for more: differentials do not pay for what they are"
            )
            for note in result["notes"]
        )
    assert not (base.path / ".altbackup" / "snapshots").exists()


def test_room_is_asked_for_the_next_full_tarball(nights: Nights) -> None:
    full = nights.dump(1)
    nights.change()
    nights.dump(2)
    found = scan(open_tree(str(nights.base.path)))
    assert newest_sizes(found) == {KEY: full["size"]}
    sizes = {one.inode: one.size for one in found.tarballs}
    assert steady_need(found.tarballs, {KEY: 10}) == (sum(sizes.values()), sum(sizes.values()) // 2 * 10)


def test_no_dna_is_made_up_for_a_differential(nights: Nights) -> None:
    nights.dump(1)
    nights.change()
    path = nights.dump(2)["path"]
    text = Path(f"{path}.dna").read_text()
    assert not run_module("dna", path=[path]).get("failed")
    os.unlink(f"{path}.dna")
    for force in (False, True):
        assert "only its dump knows which full tarball it needs" in run_module("dna", path=[path], force=force)["msg"]
    Path(f"{path}.dna").write_text(text)
    assert len(scan(open_tree(str(nights.base.path))).verified()) == 2


@pytest.mark.full
def test_a_drill_proves_the_pair_by_the_record(nights: Nights) -> None:
    nights.dump(1)
    (nights.live / "goes").unlink()
    tarball = nights.dump(2)
    result = run_module("tarball_drill", base=str(nights.base.path), names=[KEY])
    assert not result.get("failed"), result
    (proved,) = result["proved"]
    assert proved["relpath"] == tarball["relpath"]
    assert proved["facts"]["manifest"] == tarball["record"]["manifest"]
    tree = open_tree(str(nights.base.path))
    write_record(tree, KEY, night(2), {**tarball["record"], "manifest": "0" * 64})
    assert (
        "the digest over its paths and contents is"
        in run_module("tarball_drill", base=str(nights.base.path), names=[KEY])["msg"]
    )


def test_a_check_reads_both_of_a_pair(nights: Nights) -> None:
    full = nights.dump(1)
    nights.change()
    nights.dump(2)
    options = {"base": str(nights.base.path), "day": night(2)[:10], "expect": {"thing": 1}, "stamp": night(2)}
    assert not run_module("tarball_check", **options).get("failed")
    content = Path(full["path"]).read_bytes()
    Path(full["path"]).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    result = run_module("tarball_check", **options)
    assert result["mismatch"] == [full["relpath"]] and result["failed"]
    os.unlink(full["path"])
    result = run_module("tarball_check", **options)
    assert "expecting 1 tarball for thing" in result["msg"] and "is a differential, and its full tarball" in json.dumps(
        result
    )


def test_a_pair_is_restored(nights: Nights, tmp_path: Path) -> None:
    full = nights.dump(1)
    (nights.live / "goes").unlink()
    tarball = nights.dump(2)
    archives = [{key: one[key] for key in ("relpath", "size", "dig", "alg")} for one in (full, tarball)]
    order = {
        "destination": str(tmp_path / "back" / "thing"),
        "kind": "folder",
        "tarballs": archives,
        "base": str(nights.base.path),
        "record": tarball["record"],
        "origin": {
            "source": "s",
            "item": KEY,
            "stamp": night(2),
            "dig": "",
            "node": "n",
            "host": "h",
            "when": "w",
            "by": "b",
        },
    }
    (tmp_path / "back").mkdir()
    result = run_module("tarball_restore", step="restore", stamp=night(3), **order)
    assert not result.get("failed"), result
    assert describe_tree(tmp_path / "back" / "thing") == describe_tree(nights.live)


def test_what_was_copied_anew_is_compared_by_its_content_once(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    read = nights.path / "read"
    original = differential._digest

    def digest(path: bytes, *arguments: Any) -> bytes:
        with read.open("ab") as stream:  # in the process that reads the item
            stream.write(path.rpartition(b"/")[2] + b"\n")
        return original(path, *arguments)

    forbid_views(monkeypatch)
    monkeypatch.setattr(differential, "_digest", digest)
    nights.dump(1)
    for name in ("stays", "goes"):  # as a scratch copy that is built anew
        shutil.copy2(nights.live / name, nights.live / "copy")
        (nights.live / "copy").replace(nights.live / name)
    sizes = []
    for number in (2, 3, 4):
        nights.change()
        sizes.append(nights.dump(number)["size"])
    assert nights.forms() == "FDDD" and max(sizes) < 10_000
    assert sorted(read.read_text().split()) == ["goes", "stays"]
    (nights.live / "stays").write_bytes(os.urandom(20_000))
    assert nights.dump(5)["size"] > 20_000, "what changed since is in the next one"


def test_the_full_tarball_is_read_while_a_differential_is_made(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    full = nights.dump(1)
    for number in (2, 3):
        nights.change()
        with ReadAhead(open_tree(str(nights.base.path))) as ahead:
            nights.dump(number, ahead=ahead)
            (begun,) = ahead._begun.values()
            assert begun[1].exception(timeout=60) is None
            assert [*ahead.found()] == [full["relpath"]]
