"""Differentials of real trees, unpacked over their full archives by the real GNU tar."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import ODD_NAMES, describe_tree

from ansible_collections.altbackup.core.plugins.module_utils.archive import dumpdirs
from ansible_collections.altbackup.core.plugins.module_utils.archive.differential import (
    fill_manifest,
    restored_members,
    select_changed,
)
from ansible_collections.altbackup.core.plugins.module_utils.archive.digests import Digests
from ansible_collections.altbackup.core.plugins.module_utils.archive.dumpdirs import DumpdirInserter, list_folders
from ansible_collections.altbackup.core.plugins.module_utils.archive.manifest import Manifest
from ansible_collections.altbackup.core.plugins.module_utils.archive.rules import WriteChecker
from ansible_collections.altbackup.core.plugins.module_utils.archive.snapshot import (
    Members,
    read_known,
    read_snapshot,
    write_known,
    write_snapshot,
)
from ansible_collections.altbackup.core.plugins.module_utils.archive.states import Unproven, read_states
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import (
    ArchiveFormat,
    Part,
    store_archive,
    tar_process,
)
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import walk
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import Hostile
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline

TAR = ArchiveFormat(".tar")


@dataclass
class Pair:
    """A folder, its archives in another folder, and what is known of the full one."""

    live: Path
    folder: Path
    count: int = 0
    links: set[str] = field(default_factory=set)

    def make(self, full: bool = False, without: str = "", **options: Any) -> tuple[Path, Manifest]:
        """Archive the folder, `without` a path; return the archive and the manifest of the state that it, or the pair, restores."""
        self.count += 1
        path, states = self.folder / f"{self.count}.tar", self.folder / "states"
        way = {"owner": False, "fixed_times": False, **options}
        parts = [
            Part(str(self.live), [name for name in walk(str(self.live))[0] if name != os.fsencode(f"./{without}")])
        ]
        with states.open("wb") as output:
            known = None if full else read_known(str(self.folder / "known"))
            chosen = select_changed(parts, known, output, Deadline(60), **way)
        with Members() as members, Digests() as digests, tar_process(chosen, top="thing", sparse=True) as tar:
            lists = {} if full else list_folders(read_states(str(states)))
            stream: Any = tar.stdout if full else DumpdirInserter(tar.stdout, lists, "thing")
            manifest = Manifest(files=digests, members=members)
            checker = WriteChecker(
                "thing", "thing", Deadline(60), () if full else [f"thing/{link}" for link in self.links]
            )
            store_archive(
                str(path),
                stream,
                tar,
                str(self.live),
                top="thing",
                form=TAR,
                deadline=Deadline(60),
                manifest=manifest,
                checker=checker,
            )
            snapshot = self.folder / "snapshot"
            if full:
                snapshot.unlink(missing_ok=True)
                write_snapshot(str(snapshot), {"top": "thing"}, members, read_states(str(states)))
                kept = read_snapshot(str(snapshot))
                assert kept is not None
                with (self.folder / "known").open("wb") as output:
                    self.links = write_known(kept, output)
                return path, manifest
            kept = read_snapshot(str(snapshot))
            assert kept is not None
            whole = Manifest()
            with Digests() as all_digests:
                fill_manifest(
                    whole, restored_members(kept.entries(), members, read_states(str(states)), lists, {}), all_digests
                )
            return path, whole

    def restore(self, *archives: Path) -> Path:
        """Unpack archives over each other, as a restore does; return the top folder."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        kept = ["--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner", "--delay-directory-restore"]
        for archive in archives:
            command = ["tar", "-x", "-p", *kept, "-g", "/dev/null", "-f", archive]
            done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")
        return out / "thing"


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    live, folder = tmp_path / "live", tmp_path / "archives"
    folder.mkdir()
    (live / "sub" / "deep").mkdir(parents=True)
    for name in ("stays", "goes", "changes", "moves", "sub/file", "sub/deep/file"):
        (live / name).write_text(name * 100)
    (live / "link").symlink_to("stays")
    return Pair(live, folder)


def archived(archive: Path) -> list[str]:
    """Return the members of an archive that are no folders, without the top folder."""
    listed = subprocess.run(["tar", "-tf", archive], capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name.partition("/")[2] for name in listed if not name.endswith("/"))


def replace_alike(path: Path) -> None:
    """Replace a file by a copy with the same times."""
    shutil.copy2(path, f"{path}.new")
    os.replace(f"{path}.new", path)


def rewrite_in_its_times(path: Path) -> None:
    """Overwrite a file with as many other bytes, and restore its times."""
    status = path.stat()
    path.write_bytes(bytes(len(path.read_bytes())))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap(one: Path, other: Path) -> None:
    """Swap the names of two paths."""
    one.rename(f"{one}.swap")
    other.rename(one)
    Path(f"{one}.swap").rename(other)


CHANGES: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "nothing": (lambda live: None, []),
    "a file is gone": (lambda live: (live / "goes").unlink(), []),
    "a file changes": (lambda live: (live / "changes").write_text("other"), ["changes"]),
    "a file of the same size and times": (lambda live: rewrite_in_its_times(live / "changes"), ["changes"]),
    "a file is renamed": (lambda live: (live / "moves").rename(live / "moved"), ["moved"]),
    "a folder is renamed": (lambda live: (live / "sub").rename(live / "bus"), ["bus/deep/file", "bus/file"]),
    "a folder is gone": (lambda live: shutil.rmtree(live / "sub"), []),
    "two files swap": (lambda live: swap(live / "stays", live / "goes"), ["goes", "stays"]),
    "a mode alone": (lambda live: (live / "stays").chmod(0o600), ["stays"]),
    "a time alone": (lambda live: os.utime(live / "stays", ns=(1, 1)), ["stays"]),
    "an attribute alone": (lambda live: os.setxattr(live / "stays", "user.x", b"y"), ["stays"]),
    "the mode of a folder": (lambda live: (live / "sub").chmod(0o700), []),
    "a copy of the same content and times": (lambda live: replace_alike(live / "stays"), []),
    "a new hard link": (lambda live: os.link(live / "stays", live / "twin"), ["stays", "twin"]),
    "a file becomes a folder": (
        lambda live: [(live / "goes").unlink(), (live / "goes").mkdir(), (live / "goes" / "x").write_text("x")],
        ["goes/x"],
    ),
    "a folder becomes a file": (lambda live: [shutil.rmtree(live / "sub"), (live / "sub").write_text("x")], ["sub"]),
    "a folder becomes a link": (lambda live: [shutil.rmtree(live / "sub"), (live / "sub").symlink_to("/etc")], ["sub"]),
    "a link becomes a folder": (
        lambda live: [(live / "link").unlink(), (live / "link").mkdir(), (live / "link" / "x").write_text("x")],
        ["link/x"],
    ),
    "a link becomes a file": (lambda live: [(live / "link").unlink(), (live / "link").write_text("x")], ["link"]),
    "a link leads elsewhere": (lambda live: [(live / "link").unlink(), (live / "link").symlink_to("goes")], ["link"]),
    "a sparse file": (lambda live: os.truncate(live / "changes", 1 << 20), ["changes"]),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_pair_brings_back_what_was_there(pair: Pair, what: str) -> None:
    change, expected = CHANGES[what]
    full, _ = pair.make(full=True)
    change(pair.live)
    diff, state = pair.make()
    assert archived(diff) == expected
    assert describe_tree(pair.restore(full, diff)) == describe_tree(pair.live)
    _, tonight = pair.make(full=True)
    assert (state.digest, state.content, state.entries, state.bytes) == (
        tonight.digest,
        tonight.content,
        tonight.entries,
        tonight.bytes,
    )


def test_folders_that_change_their_names_with_each_other_come_back(pair: Pair) -> None:
    (pair.live / "a" / "b").mkdir(parents=True)
    for name in ("a/1", "a/b/2"):
        (pair.live / name).write_text(name)
    full, _ = pair.make(full=True)
    swap(pair.live / "a", pair.live / "sub")
    swap(pair.live / "a" / "deep", pair.live / "sub" / "b")
    diff, _ = pair.make()
    assert describe_tree(pair.restore(full, diff)) == describe_tree(pair.live)


def test_hard_links_come_back_together(pair: Pair) -> None:
    os.link(pair.live / "stays", pair.live / "sub" / "twin")
    full, _ = pair.make(full=True)
    (pair.live / "stays").write_text("written through both")
    diff, _ = pair.make()
    assert archived(diff) == ["stays", "sub/twin"]
    assert describe_tree(pair.restore(full, diff)) == describe_tree(pair.live)
    (pair.live / "sub" / "twin").unlink()
    diff, _ = pair.make()
    assert describe_tree(pair.restore(full, diff)) == describe_tree(pair.live)


def test_a_hard_link_that_was_left_out_before_comes_with_its_twin(pair: Pair) -> None:
    os.link(pair.live / "stays", pair.live / "sub" / "twin")
    full, _ = pair.make(full=True, without="sub/twin")
    diff, _ = pair.make()
    assert archived(diff) == ["stays", "sub/twin"]
    assert describe_tree(pair.restore(full, diff)) == describe_tree(pair.live)
    assert archived(pair.make(without="sub/twin")[0]) == []


def test_names_of_any_bytes_come_back(pair: Pair) -> None:
    base = os.fsencode(pair.live)
    for number, name in enumerate(ODD_NAMES):
        os.mkdir(os.path.join(base, b"d" + name[:200]))
        for path in (os.path.join(base, name), os.path.join(base, b"d" + name[:200], name)):
            Path(os.fsdecode(path)).write_text(str(number))
    full, _ = pair.make(full=True)
    for name in ODD_NAMES[::2]:
        os.unlink(os.path.join(base, name))
        os.rename(os.path.join(base, b"d" + name[:200], name), os.path.join(base, name))
    diff, _ = pair.make()
    assert describe_tree(pair.restore(full, diff)) == describe_tree(pair.live)


def _paths(live: Path, wanted: Callable[[int], bool]) -> list[Path]:
    found = [Path(parent) / name for parent, folders, files in os.walk(live) for name in [*folders, *files]]
    return sorted(path for path in found if wanted(path.lstat().st_mode))


def mutate(live: Path, chance: random.Random) -> None:
    """Change something of a tree at random."""
    folders = [live, *_paths(live, stat.S_ISDIR)]
    files, everything = _paths(live, stat.S_ISREG), _paths(live, lambda mode: True)
    new = chance.choice(folders) / f"n{chance.randrange(12)}"
    old = chance.choice(everything) if everything else live / "nothing"
    action = chance.randrange(9)
    with contextlib.suppress(FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError, OSError):
        if action == 0:
            new.write_bytes(chance.randbytes(chance.randrange(3000)))
        elif action == 1:
            new.mkdir()
        elif action == 2:
            new.symlink_to(chance.choice(["/etc", "..", "n1", "n2/n3"]))
        elif action == 3:
            shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
        elif action in (4, 5):
            old.rename(new)
        elif action == 6:
            os.link(chance.choice(files), new)
        elif action == 7:
            chance.choice(files).write_bytes(chance.randbytes(chance.randrange(3000)))
        else:
            chance.choice([*folders[1:], *files]).chmod(chance.choice([0o700, 0o644, 0o755]))


@pytest.mark.sampled(6)
@pytest.mark.parametrize("seed", range(6))
def test_whatever_changes_the_pair_is_proved_and_brings_it_back(pair: Pair, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(40):
        mutate(pair.live, chance)
    full, _ = pair.make(full=True)
    for night in range(4):
        for _ in range(1 + 4 * night):
            mutate(pair.live, chance)
        try:
            diff, state = pair.make()
        except Hostile:  # then a dump is full
            assert pair.links
            continue
        assert describe_tree(pair.restore(full, diff)) == describe_tree(pair.live)
        assert pair.make()[0].read_bytes() == diff.read_bytes()
        assert state.entries == len(walk(str(pair.live))[0])


# The proof


def test_what_tar_would_make_something_else_of_is_not_proved(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.make(full=True)
    (pair.live / "goes").unlink()
    pair.make()

    monkeypatch.setitem(
        globals(), "list_folders", lambda states: {**dumpdirs.list_folders(states), b"": b"Ychanges\0\0"}
    )
    with pytest.raises(Unproven, match=r"would not come back|would come back"):
        pair.make()
    monkeypatch.setitem(globals(), "list_folders", lambda states: _with(dumpdirs.list_folders(states), b"Ygoes\0"))
    with pytest.raises(Unproven, match="'goes' would come back"):
        pair.make()
    monkeypatch.undo()
    (pair.live / "zzz").write_text("the last one")
    pair.make(full=True)
    (pair.live / "zzz").unlink()
    monkeypatch.setitem(globals(), "list_folders", lambda states: _with(dumpdirs.list_folders(states), b"Yzzz\0"))
    with pytest.raises(Unproven, match="'zzz' would come back, which is gone"):
        pair.make()


def _with(lists: dict[bytes, bytes], entry: bytes) -> dict[bytes, bytes]:
    return {**lists, b"": b"\0".join(sorted([*lists[b""].rstrip(b"\0").split(b"\0"), entry[:-1]])) + b"\0\0"}


def test_a_file_that_vanished_while_it_was_archived_is_not_proved(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair.make(full=True)
    (pair.live / "changes").write_text("other")
    real = select_changed

    def late(*args: Any, **options: Any) -> Any:
        parts = real(*args, **options)
        (pair.live / "changes").unlink()
        return parts

    monkeypatch.setitem(globals(), "select_changed", late)
    with pytest.raises(Exception, match=r"changes"):
        pair.make()


def test_a_folder_with_too_many_entries_has_no_differential(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumpdirs, "_LARGEST_LIST", 40)
    pair.make(full=True)
    with pytest.raises(Unproven, match="too many entries"):
        pair.make()


@pytest.mark.parametrize("damage", ["cut", "bit", "empty"])
def test_a_snapshot_that_is_damaged_is_none(pair: Pair, damage: str) -> None:
    pair.make(full=True)
    path = pair.folder / "snapshot"
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[:-20]
    elif damage == "bit":
        content[len(content) // 2] ^= 1
    else:
        content.clear()
    path.write_bytes(content)
    snapshot = read_snapshot(str(path))
    if snapshot is not None:
        with pytest.raises(Unproven, match="is damaged"):
            list(snapshot.entries())
