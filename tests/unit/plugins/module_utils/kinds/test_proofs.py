"""Proofs: a sound copy is proved, a changed one is not, and a hostile one has no effect."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faults.corruptions import CONSISTENT, corruptions, find
from helpers.archives import write_archive
from helpers.drills import KINDS, SECONDS, Copies, alter, recompute, unpacked
from helpers.original_trees import reasons, run_module
from helpers.repositories import git, make_git, run
from helpers.trees import Base, describe_tree, item, make_siblings

from ansible_collections.altbackup.core.plugins.module_utils.archive.manifest import Manifest
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat, Part
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import walk
from ansible_collections.altbackup.core.plugins.module_utils.kinds.proofs import prove
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    InvalidInput,
    ProofFailed,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox, chown_tree


@pytest.fixture
def copies(every_kind: Copies, tmp_path: Path) -> Copies:
    """Return a target's tree with one tarball of each kind."""
    return every_kind.copy(tmp_path / "copies")


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Return a scratch folder."""
    path = tmp_path / "scratch"
    path.mkdir()
    yield path
    assert not (path / "fresh.git").exists() and not (path / "copy").exists()


def proved(
    kind: str, path: Path, scratch: Path, record: dict[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """Prove an unpacked item."""
    return prove(kind, str(path), record or {}, str(scratch), Deadline(SECONDS), Sandbox(**options))


def record_of(copies: Copies, kind: str) -> dict[str, Any]:
    """Return the record of a kind's dump."""
    return dict(json.loads(copies.record(kind).read_text()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["in the scratch folder", "elsewhere"])
def test_unpacked_item_is_proved_and_not_changed(
    copies: Copies, scratch: Path, tmp_path: Path, kind: str, place: str
) -> None:
    top = unpacked(copies.tarball(kind), (scratch if place == "in the scratch folder" else tmp_path) / "item")
    if place == "in the scratch folder":
        chown_tree(str(scratch), Sandbox().identity())
    before = describe_tree(top)
    proof = proved(kind, top, scratch, record_of(copies, kind))
    assert proof["notes"] == [] and proof["facts"]
    assert describe_tree(top) == before


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_record_that_is_said(copies: Copies, scratch: Path, tmp_path: Path, kind: str) -> None:
    top = unpacked(copies.tarball(kind), tmp_path / "item")
    assert proved(kind, top, scratch)["notes"] == ["its dump left no record: what it holds was compared with nothing"]
    assert any(
        "recorded no" in note for note in proved(kind, top, scratch, {"kind": kind, "path": "/x/live sqlite"})["notes"]
    )


@pytest.mark.parametrize("order", [list, sorted])
def test_folder_is_proved_by_a_record_in_the_order_of_today_or_of_old(
    scratch: Path, tmp_path: Path, order: Callable[[Any], list[bytes]]
) -> None:
    live = tmp_path / "thing"
    live.mkdir()
    make_siblings(live)
    os.link(live / "sealed" / "inside", live / "sealed-old" / "twin")
    parts, manifest = [Part(str(live), order(walk(str(live))[0]))], Manifest()
    form, deadline = ArchiveFormat(".tar"), Deadline(SECONDS)
    write_archive(str(tmp_path / "x.tar"), parts, top="thing", form=form, deadline=deadline, manifest=manifest)
    record = {"entries": manifest.entries, "bytes": manifest.bytes, "manifest": manifest.digest}
    assert proved("folder", live, scratch, record)["facts"] == record
    (live / "sealed" / "inside").write_text("CONTENT")
    with pytest.raises(ProofFailed, match="the digest over its paths and contents is"):
        proved("folder", live, scratch, record)


def test_unknown_kind_is_refused(scratch: Path) -> None:
    with pytest.raises(InvalidInput, match="kind 'odd': there is no proof of it"):
        proved("odd", scratch, scratch)


@pytest.mark.parametrize(
    ("kind", "key", "value", "said"),
    [
        ("svn", "uuid", "other", "its UUID is .*, but its dump recorded other"),
        ("svn", "revision", 11, "its youngest revision is 12, but its dump recorded 11"),
        ("git", "references", "0" * 64, "the digest of its references is .*, but its dump recorded 000"),
        ("git", "count", 6, "it has 5 references, but its dump recorded 6"),
        ("trac", "attachments", 5, "its number of attachments is 4, but its dump recorded 5"),
        (
            "sqlite",
            "rows",
            {"person": 299, "log": 300},
            r"its tables differ .*: person \(300 rows, expected 299 rows\)",
        ),
        ("sqlite", "rows", {"person": 300}, r"log \(300 rows, expected no such table\)"),
        ("folder", "entries", 13, "its number of entries is 12, but its dump recorded 13"),
        ("folder", "bytes", 1, "its size in bytes is 3023, but its dump recorded 1"),
        ("folder", "manifest", "x", "the digest over its paths and contents is .*, but its dump recorded x"),
    ],
)
def test_what_differs_from_the_record_is_named(
    copies: Copies, scratch: Path, tmp_path: Path, kind: str, key: str, value: object, said: str
) -> None:
    top = unpacked(copies.tarball(kind), tmp_path / "item")
    with pytest.raises(ProofFailed, match=said):
        proved(kind, top, scratch, {**record_of(copies, kind), key: value})


def test_revision_is_compared_with_the_name_where_nothing_is_recorded(
    copies: Copies, scratch: Path, tmp_path: Path
) -> None:
    top = unpacked(copies.tarball("svn"), tmp_path / "item").rename(tmp_path / "thing-13")
    with pytest.raises(ProofFailed, match="its youngest revision is 12, but its name says 13"):
        proved("svn", top, scratch)


CONSISTENT_ONES = [(kind, name) for kind in KINDS for name in CONSISTENT[kind]]


@pytest.mark.sampled(16)
@pytest.mark.parametrize(("kind", "name"), CONSISTENT_ONES, ids=[": ".join(pair) for pair in CONSISTENT_ONES])
def test_damage_with_digests_that_agree_is_found_by_what_the_tarball_holds(
    copies: Copies, tmp_path: Path, kind: str, name: str
) -> None:
    CONSISTENT[kind][name](copies, kind, random.Random(7), tmp_path / "unpacked")
    check, drill = find(copies, kind)
    assert check == [] and len(drill) == 1, (check, drill)


def test_every_kind_is_corrupted_in_every_way() -> None:
    assert len(corruptions()) == 50


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["top", "inside"])
def test_an_item_behind_a_symbolic_link_proves_nothing(
    every_kind: Copies, scratch: Path, tmp_path: Path, kind: str, place: str
) -> None:
    """A link leads to a sound item outside, which must not be taken for the archived one."""
    top = unpacked(every_kind.tarball(kind), tmp_path / "outside")
    inside = {"svn": "db/revs", "trac": "db/trac.db", "git": "objects", "sqlite": "live sqlite", "folder": "sub"}[kind]
    item = tmp_path / "item" / top.name
    if place == "top":
        item.parent.mkdir()
        item.symlink_to(top)
    else:
        shutil.copytree(top, item, symlinks=True)
        target = item / inside
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        target.symlink_to(top / inside)
    outside = describe_tree(tmp_path / "outside")
    with pytest.raises(ProofFailed):
        proved(kind, item, scratch, record_of(every_kind, kind))
    assert describe_tree(tmp_path / "outside") == outside


def canary(path: Path) -> str:
    """Return a shell command that leaves a trace in a file, and in the folder where it runs."""
    return f"touch {path} /tmp/room/ran ran; true"


def drilled_quietly(copies: Copies, kind: str, tmp_path: Path) -> dict[str, Any]:
    """Drill an altered tarball; nothing in it may have run."""
    recompute(copies.tarball(kind), copies.record(kind))
    result = run_module(
        "tarball_drill",
        base=str(copies.base),
        names=[copies.tarball(kind).relative_to(copies.base).parts[0] + "/thing"],
        fail=False,
    )
    assert not (tmp_path / "ran").exists()
    return result


def hostile_git(top: Path, ran: Path, elsewhere: Path) -> None:
    """Write files that git would run or read into an archived repository."""
    command = canary(ran)
    settings = {
        "core.fsmonitor": command,
        "core.hooksPath": str(top / "hooks"),
        "core.sshCommand": command,
        "core.alternateRefsCommand": command,
        "core.editor": command,
        "core.pager": command,
        "core.bare": "false",
        "core.worktree": str(elsewhere),
        "alias.fsck": f"!{command}",
        "alias.for-each-ref": f"!{command}",
        "filter.x.smudge": command,
        "gpg.program": command,
        "uploadpack.packObjectsHook": command,
        "remote.origin.url": f"ext::sh -c '{command}'",
        "remote.origin.promisor": "true",
        "protocol.ext.allow": "always",
        "extensions.partialClone": "origin",
        "core.repositoryformatversion": "1",
        "include.path": str(top / "more"),
    }
    for name, value in settings.items():
        run("git", "config", f"--file={top}/config", name, value)
    shutil.copy(top / "config", top / "more")
    (top / "hooks").mkdir(exist_ok=True)
    for name in ("reference-transaction", "post-index-change", "pre-auto-gc", "post-checkout", "fsmonitor-watchman"):
        (top / "hooks" / name).write_text(f"#!/bin/sh\n{command}\n")
        (top / "hooks" / name).chmod(0o755)
    (top / "objects" / "info").mkdir(exist_ok=True)
    (top / "objects" / "info" / "alternates").write_text(f"{elsewhere}/objects\n")
    (top / "info").mkdir(exist_ok=True)
    (top / "info" / "grafts").write_text(f"{'1' * 40}\n")
    (top / "info" / "attributes").write_text("* filter=x\n")


def test_nothing_of_a_hostile_git_repository_takes_effect(copies: Copies, tmp_path: Path) -> None:
    elsewhere = make_git(tmp_path / "elsewhere")
    ran = tmp_path / "ran"
    alter(copies.tarball("git"), tmp_path / "unpacked", lambda top: hostile_git(top, ran, elsewhere))
    result = drilled_quietly(copies, "git", tmp_path)
    assert reasons(result) == [] and result["proved"][0]["facts"]["count"] == 5


def test_the_hostile_configuration_of_git_would_run(tmp_path: Path) -> None:
    """Without this the test above would prove little: git itself runs the configured commands."""
    work = tmp_path / "work"
    folder = make_git(work, bare=False)
    run("git", "-C", work, "reset", "--quiet", "--hard")
    git(folder, "config", "core.fsmonitor", f"touch {tmp_path}/ran; false")
    git(folder, "fsck", check=False)
    assert (tmp_path / "ran").exists()


def test_objects_of_another_repository_are_not_taken_for_archived_ones(copies: Copies, tmp_path: Path) -> None:
    def borrow(top: Path) -> None:
        shutil.copytree(top, tmp_path / "lender.git")
        shutil.rmtree(top / "objects" / "pack")
        (top / "objects" / "info").mkdir(exist_ok=True)
        (top / "objects" / "info" / "alternates").write_text(f"{tmp_path}/lender.git/objects\n")

    alter(copies.tarball("git"), tmp_path / "unpacked", borrow)
    (reason,) = reasons(drilled_quietly(copies, "git", tmp_path))
    assert "git failed" in reason


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "line", ["{id} refs/../../escaped", "{id} /etc/passwd", "no object", "{id} HEAD", "{id} refs//x"]
)
def test_odd_references_of_an_archive_are_refused(copies: Copies, tmp_path: Path, line: str) -> None:
    def change(top: Path) -> None:
        with (top / "packed-refs").open("a") as stream:
            stream.write(line.format(id="1" * 40) + "\n")

    alter(copies.tarball("git"), tmp_path / "unpacked", change)
    (reason,) = reasons(drilled_quietly(copies, "git", tmp_path))
    assert "is no reference" in reason


def test_old_objects_of_odd_form_are_noted(scratch: Path, tmp_path: Path) -> None:
    """Many histories have such objects; they are no damage."""
    folder = make_git(tmp_path / "odd.git")
    tree = git(folder, "rev-parse", "main^{tree}")
    text = f"tree {tree}\nauthor A <a@b> 1 +0000\ncommitter no address 1 +0000\n\nodd\n"
    commit = git(folder, "hash-object", "-t", "commit", "-w", "--stdin", "--literally", input=text.encode())
    git(folder, "update-ref", "refs/heads/odd", commit)
    git(folder, "repack", "-adq")
    git(folder, "prune-packed")
    (note, _) = sorted(proved("git", folder, scratch)["notes"], key=len, reverse=True)
    assert "its objects are whole, but git finds fault with the form of some" in note


@pytest.mark.full
def test_shallow_sha256_and_lfs_repositories_are_proved(scratch: Path, tmp_path: Path) -> None:
    wide = make_git(tmp_path / "wide.git", object_format="sha256")
    assert proved("git", wide, scratch)["facts"]["count"] == 5
    whole = make_git(tmp_path / "whole.git")
    run("git", "clone", "--quiet", "--mirror", "--depth=1", f"file://{whole}", tmp_path / "shallow.git")
    assert (tmp_path / "shallow.git" / "shallow").exists()
    assert proved("git", tmp_path / "shallow.git", scratch)["facts"]["count"]
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"  # of x
    large = whole / "lfs" / "objects" / "2d" / "71" / digest
    large.parent.mkdir(parents=True)
    large.write_text("x")
    assert proved("git", whole, scratch)["facts"]["large"] == 1
    large.write_text("y")
    with pytest.raises(ProofFailed, match=r"LFS object 2d71.* holds other bytes"):
        proved("git", whole, scratch)


@pytest.fixture
def family(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """Return an unpacked working tree with a submodule and a linked worktree, and its dump's record."""
    run("git", "clone", "--quiet", make_git(tmp_path / "origin.git"), tmp_path / "live")
    allowed = ("-c", "protocol.file.allow=always")
    run("git", *allowed, "submodule", "--quiet", "add", tmp_path / "origin.git", "sub", cwd=tmp_path / "live")
    run("git", "worktree", "add", "--quiet", "--detach", tmp_path / "linked", cwd=tmp_path / "live")
    run("git", "commit", "--quiet", "--allow-empty", "--message=only here", cwd=tmp_path / "linked")
    dumped = Base(tmp_path / "base").dump_one(item("git", tmp_path / "live"))
    return unpacked(Path(dumped["path"]), tmp_path / "unpacked"), dumped["record"]


def test_all_repositories_of_a_git_item_are_proved(
    scratch: Path, family: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    top, record = family
    proof = proved("git", top, scratch, record)
    assert proof["notes"] == [] and proof["facts"]["modules"] == 1
    modules = {"modules": {"modules/sub": {**record["modules"]["modules/sub"], "references": "0" * 64}}}
    for other, said in (
        ({"modules": {}}, "it holds the repository modules/sub of a submodule, of which its dump recorded nothing"),
        ({"modules": {**record["modules"], "modules/x": {}}}, "repositories of submodules are missing: modules/x"),
        (modules, "modules/sub: its references are not those that its dump recorded"),
        ({"missing": 1}, "it lacks 0 objects, but its dump recorded 1"),
    ):
        with pytest.raises(ProofFailed, match=said):
            proved("git", top, scratch, {**record, **other})


@pytest.mark.parametrize("place", [".git/modules/sub", ".git"])
def test_damage_of_one_repository_of_a_git_item_is_found(
    scratch: Path, family: tuple[Path, dict[str, Any]], place: str
) -> None:
    top, record = family
    for pack in (top / place / "objects" / "pack").glob("*"):
        pack.unlink()
    with pytest.raises(ProofFailed, match="git failed"):
        proved("git", top, scratch, record)


def test_what_is_missing_of_the_head_of_a_worktree_is_found(scratch: Path, family: tuple[Path, dict[str, Any]]) -> None:
    top, record = family
    (top / ".git" / "worktrees" / "linked" / "HEAD").write_text("1234567890" * 4)
    with pytest.raises(ProofFailed, match="git failed"):
        proved("git", top, scratch, record)


def test_repository_that_is_what_is_left_of_one_is_not_proved(
    scratch: Path, family: tuple[Path, dict[str, Any]]
) -> None:
    top, record = family
    (top / ".git" / "modules" / "sub" / "HEAD").unlink()
    with pytest.raises(ProofFailed, match="modules/sub was the repository of a submodule, but is none"):
        proved("git", top, scratch, record)


def test_promise_of_an_archived_pack_hides_no_missing_object(scratch: Path, tmp_path: Path) -> None:
    whole = make_git(tmp_path / "whole.git")
    git(whole, "repack", "-adq")
    base = Base(tmp_path / "base")
    record = base.dump_one(item("git", whole))["record"]
    name = git(whole, "rev-parse", "main:f1")
    kept = [line.split()[0] for line in git(whole, "rev-list", "--objects", "--all").splitlines()]
    (pack,) = (whole / "objects" / "pack").glob("*.pack")
    text = "".join(f"{other}\n" for other in kept if other != name).encode()
    git(whole, "pack-objects", "-q", str(tmp_path / "pack"), input=text)
    for old in (whole / "objects" / "pack").iterdir():
        old.unlink()
    for new in tmp_path.glob("pack-*"):
        shutil.copy(new, whole / "objects" / "pack")
        (whole / "objects" / "pack" / new.name).with_suffix(".promisor").touch()
    assert not pack.exists()
    with pytest.raises(ProofFailed, match="it lacks 1 object, but its dump recorded 0"):
        proved("git", whole, scratch, record)


def test_an_empty_git_repository_is_proved(scratch: Path, tmp_path: Path) -> None:
    assert proved("git", make_git(tmp_path / "empty.git", 0), scratch)["facts"]["count"] == 0


def test_nothing_of_a_hostile_subversion_repository_takes_effect(copies: Copies, tmp_path: Path) -> None:
    def change(top: Path) -> None:
        for name in ("start-commit", "pre-commit", "post-commit", "pre-revprop-change", "post-lock", "pre-lock"):
            (top / "hooks" / name).write_text(f"#!/bin/sh\n{canary(tmp_path / 'ran')}\n")
            (top / "hooks" / name).chmod(0o4755)
        (top / "conf" / "hooks-env").write_text(f"[default]\nLD_PRELOAD = {tmp_path}/ran.so\n")
        (top / "db" / "fsfs.conf").write_text("[memcached-servers]\na = 127.0.0.1:1\n[caches]\nfail-stop = true\n")

    alter(copies.tarball("svn"), tmp_path / "unpacked", change)
    result = drilled_quietly(copies, "svn", tmp_path)
    assert reasons(result) == [] and result["proved"][0]["facts"]["revision"] == 12


def add_triggers(database: sqlite3.Connection) -> None:
    database.executescript(
        "CREATE TRIGGER deleting BEFORE DELETE ON person BEGIN SELECT load_extension('/nonexistent'); END;"
        "CREATE VIEW evil AS SELECT load_extension('/nonexistent'), * FROM person;"
        "CREATE VIEW \"count\" AS SELECT load_extension('x');"
    )


def add_view_in_place_of_table(database: sqlite3.Connection) -> None:
    database.executescript("DROP TABLE log; CREATE VIEW log AS SELECT load_extension('/nonexistent') AS what;")


def add_odd_schema(database: sqlite3.Connection) -> None:
    database.execute('CREATE TABLE "x""; DROP TABLE person; --" (a)')
    database.execute("PRAGMA writable_schema = ON")
    text = "CREATE TABLE log (what TEXT DEFAULT (load_extension('/nonexistent')), CHECK (load_extension('x') IS NULL))"
    database.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'log'", (text,))


def add_virtual_table(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA writable_schema = ON")
    database.execute(
        "INSERT INTO sqlite_master VALUES ('table', 'evil', 'evil', 0, 'CREATE VIRTUAL TABLE evil USING fts3tokenize(\"/nonexistent\")')"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (add_triggers, None),
        (add_view_in_place_of_table, r"log \(no such table"),
        (add_odd_schema, "unsafe use of|not authorized|damaged|differ"),
        (add_virtual_table, None),
    ],
)
def test_nothing_of_a_hostile_database_takes_effect(
    copies: Copies, tmp_path: Path, change: Callable[[sqlite3.Connection], None], said: str | None
) -> None:
    def corrupt(top: Path) -> None:
        with sqlite3.connect(top / "live sqlite") as database:
            change(database)
        database.close()

    alter(copies.tarball("sqlite"), tmp_path / "unpacked", corrupt)
    result = drilled_quietly(copies, "sqlite", tmp_path)
    if said is None:
        assert reasons(result) == []
    else:
        (reason,) = reasons(result)
        assert any(word in reason for word in said.replace("\\", "").split("|"))


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_journal_beside_a_database_is_told(copies: Copies, scratch: Path, tmp_path: Path, suffix: str) -> None:
    top = unpacked(copies.tarball("trac"), tmp_path / "item")
    (top / "db" / f"trac.db{suffix}").write_bytes(b"x" * 100)
    with pytest.raises(ProofFailed, match=f"trac.db{suffix} stands beside its database"):
        proved("trac", top, scratch, record_of(copies, "trac"))
    assert any("stands beside" in note for note in proved("trac", top, scratch)["notes"])
