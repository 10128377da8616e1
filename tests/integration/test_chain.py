"""The whole chain on one machine: what a night leaves, and what it costs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from integration.lab_site import when
from integration.site import KINDS, Run, Site, call, commit_svn, git, item_of, tarballs_of, tree_of, unpack

from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import held, parse_run
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.run_identity import identify_run
from ansible_collections.altbackup.core.plugins.plugin_utils.report.tarball_table import LISTED_KEYS

SERVING = ("tarball_prepare", "tarball_send", "tarball_accept")
DAY1, DAY2, DAY3 = "2013/05/08/104701", "2013/05/09/104701", "2013/05/10/104701"


def trees(site: Site) -> tuple[Path, Path]:
    """Return the tree of the source and its copy on the target."""
    return site.folder / "dayabay" / "backup", site.folder / "cms01" / "copies" / "dayabay"


def test_backup_makes_copies_that_restore_by_plain_tools(site: Site, tmp_path: Path) -> None:
    predicted = checked(site, DAY1)
    run = site.run("backup", stamp=DAY1)
    assert run.rc == 0, run.stdout
    assert dumped(predicted) == dumped(run)
    counts = Counter(module for _, module, _ in run.calls)
    print("module calls of one pair:", dict(counts))
    assert 8 <= sum(counts.values()) <= 12, counts
    source, target = trees(site)
    names = {kind: item["name"] for kind, item in zip(KINDS, site.items(), strict=True)}
    found = {kind: item_of(target, kind, names[kind]) for kind in KINDS}
    assert {kind: len(paths) for kind, paths in found.items()} == dict.fromkeys(KINDS, 1)
    for path in tarballs_of(target):
        dna = json.loads(Path(f"{path}.dna").read_text())
        content = path.read_bytes()
        assert (dna["alg"], dna["dig"], dna["size"]) == ("sha256", hashlib.sha256(content).hexdigest(), len(content))
        assert path.read_bytes() == (source / path.relative_to(target)).read_bytes()
        assert os.readlink(path.parents[4] / "last") == DAY1
        assert [oct(entry.stat().st_mode & 0o777) for entry in (path, path.parent, path.parents[5])] == [
            "0o600",
            "0o700",
            "0o700",
        ]
    top = {kind: unpack(paths[0], tmp_path / "restored" / kind) for kind, paths in found.items()}
    assert {kind: path.name for kind, path in top.items()} == {**names, "svn": "dybsvn-3"}

    call("svnadmin", "verify", "--quiet", top["svn"])
    assert call("svnadmin", "dump", "--quiet", top["svn"]) == call("svnadmin", "dump", "--quiet", site.live / "svn")
    git(top["git"], "fsck", "--strict")
    assert git(top["git"], "for-each-ref") == git(site.live / "git", "for-each-ref")
    assert "refs/hidden/one" in git(top["git"], "for-each-ref")
    for restored, live in (
        (top["trac"] / "db" / "trac.db", site.live / "trac" / "db" / "trac.db"),
        (top["sqlite"] / "sqlite.db", site.live / "sqlite.db"),
    ):
        assert rows(restored) == rows(live)
    assert attributes(top["folder"]) == attributes(site.live / "folder")


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of all tables of a database."""
    database = sqlite3.connect(path)
    try:
        tables = [
            name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        return {table: database.execute(f'SELECT * FROM "{table}"').fetchall() for table in tables}
    finally:
        database.close()


def attributes(folder: Path) -> dict[str, tuple[object, ...]]:
    """Return content, owner, mode, time, links and extended attributes of everything in a folder."""
    inodes: dict[int, str] = {}
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        name, status = str(path.relative_to(folder)), path.lstat()
        content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        twin = inodes.setdefault(status.st_ino, name)
        extended = {
            key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
        }
        found[name] = (
            status.st_mode,
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns // 1000,
            content,
            twin,
            extended,
        )
    return found


@pytest.mark.full
def test_unchanged_night_stores_no_tarball_rerun_changes_nothing_and_a_changed_item_is_sent(site: Site) -> None:
    assert site.run("backup", stamp=DAY1).rc == 0
    second = site.run("backup", stamp=DAY2)
    assert second.rc == 0, second.stdout
    assert not [result for _, module, result in second.calls if module == "tarball_send"]
    for tree in trees(site):
        paths = tarballs_of(tree)
        assert len(paths) == 2 * len(KINDS)
        assert len({path.stat().st_ino for path in paths}) == len(KINDS)
    before = [tree_of(tree) for tree in trees(site)]
    rerun = site.run("backup", stamp=DAY2)
    assert (rerun.rc, rerun.changed) == (0, 0), rerun.stdout
    assert [tree_of(tree) for tree in trees(site)] == before

    commit_svn(site.live / "svn", "more", "more\n")
    run = site.run("backup", stamp=DAY3)
    assert run.rc == 0, run.stdout
    copies = item_of(trees(site)[1], "svn", "dybsvn")
    assert [path.name for path in copies] == ["dybsvn-3.tar.zst", "dybsvn-3.tar.zst", "dybsvn-4.tar.zst"]
    (sent,) = [result["sent"]["cms01"] for _, module, result in run.calls if module == "tarball_send"]
    assert sent == copies[-1].stat().st_size


@pytest.mark.full
def test_check_mode_after_a_night_predicts_and_writes_nothing(site: Site) -> None:
    real = site.run("backup", stamp=DAY1)
    assert len(dumped(real)) == len(KINDS)
    again = checked(site, DAY2)
    assert dumped(again) == {path.replace(DAY1, DAY2) for path in dumped(real)}


def checked(site: Site, stamp: str) -> Run:
    """Run the chain in check mode; it must succeed and change no byte."""
    before = tree_of(site.folder / "dayabay"), tree_of(site.folder / "cms01"), tree_of(site.live)
    run = site.run("backup", "--check", stamp=stamp)
    assert run.rc == 0, run.stdout
    assert (tree_of(site.folder / "dayabay"), tree_of(site.folder / "cms01"), tree_of(site.live)) == before
    return run


def dumped(run: Run) -> set[str]:
    """Return the relpaths of the tarballs that a run made, or would make."""
    return {
        entry["relpath"] for _, module, result in run.calls if module == "tarball_dump" for entry in result["tarballs"]
    }


@pytest.mark.full
def test_one_bad_item_neither_stops_nor_spoils_the_others(site: Site) -> None:
    for stamp in (DAY1, DAY2):
        (site.live / "folder" / "users.conf").write_text(stamp)
        commit_svn(site.live / "svn", stamp.replace("/", ""), stamp)
        assert site.run("backup", stamp=stamp, keep=1).rc == 0
    shutil.rmtree(site.live / "git")
    (site.live / "folder" / "users.conf").write_text(DAY3)
    commit_svn(site.live / "svn", "last", "last")
    run = site.run("backup", stamp=DAY3, keep=1)
    assert run.rc != 0
    assert "toolbox" in run.message
    assert str(site.live / "git") in run.message
    for tree in trees(site):
        stamps = {
            kind: ["/".join(path.parts[-5:-1]) for path in item_of(tree, kind, name)]
            for kind, name in (("svn", "dybsvn"), ("folder", "svnsetup"))
        }
        assert stamps == {"svn": [DAY3], "folder": [DAY3]}
        assert {"/".join(path.parts[-5:-1]) for path in item_of(tree, "git", "toolbox")} == {DAY2}, (
            "its older copies are not purged"
        )


@pytest.mark.full
@pytest.mark.parametrize("place", ["the same host", "the same machine"])
def test_item_that_holds_the_copies_that_its_node_receives_is_refused(site: Site, place: str) -> None:
    holder = site.folder / "cms01"
    if place == "the same host":
        holder = site.folder / "shelf"
        (holder / "copies" / ".altbackup").mkdir(parents=True, mode=0o700)
        site.groups["targets"].append("dayabay")
        site.hosts["dayabay"].update(
            altbackup_target_base=str(holder / "copies"), altbackup_targets=["cms01", "dayabay"]
        )
    whole = {"kind": "folder", "name": "whole", "path": str(holder)}
    site.hosts["dayabay"]["altbackup_items"] = [site.items()[3], whole]
    run = site.run("backup", stamp=DAY1)
    assert run.rc != 0
    assert (
        f"dump of folders/whole: {holder}/copies (altbackup_target_base), where this node keeps the copies"
        in run.message
    )
    source, target = trees(site)
    assert [path.parts[-6] for path in (*tarballs_of(source), *tarballs_of(target))] == ["svnsetup", "svnsetup"]


@pytest.mark.full
def test_md5_sidecars_are_byte_for_byte_those_of_the_original(site: Site) -> None:
    assert site.run("backup", stamp=DAY1, dna_algorithm="md5", ext=".tar.gz").rc == 0
    for tree in trees(site):
        assert len(tarballs_of(tree)) == len(KINDS)
        for path in tarballs_of(tree):
            content = path.read_bytes()
            assert path.name.endswith(".tar.gz")
            assert content[:2] == b"\x1f\x8b"
            expected = "{'dig': '%s', 'size': %d}\n" % (hashlib.md5(content).hexdigest(), len(content))
            assert Path(f"{path}.dna").read_text() == expected


@pytest.mark.full
def test_backlog_of_a_target_that_was_away_converges(site: Site) -> None:
    site.add_target("sdu")
    site.hosts["dayabay"]["altbackup_targets"].append("sdu")
    marker = site.folder / "sdu" / "copies" / ".altbackup"
    assert site.run("backup", stamp=DAY1).rc == 0
    marker.rename(marker.with_name("away"))
    (site.live / "folder" / "users.conf").write_text("second")
    away = site.run("backup", stamp=DAY2)
    assert away.rc != 0
    assert "sdu" in away.message
    assert "mounted" in away.message
    assert len(item_of(site.folder / "cms01" / "copies" / "dayabay", "folder", "svnsetup")) == 2, (
        "the other target is served"
    )
    marker.with_name("away").rename(marker)
    (site.live / "folder" / "users.conf").write_text("third")
    assert site.run("backup", stamp=DAY3).rc == 0
    copies = [tarballs_of(site.folder / name / "copies" / "dayabay") for name in ("cms01", "sdu")]
    first, second = ([path.parts[-7:] for path in paths] for paths in copies)
    assert first == second
    assert len(item_of(site.folder / "sdu" / "copies" / "dayabay", "folder", "svnsetup")) == 3


@pytest.mark.full
def test_unreachable_target_is_a_failure_and_the_other_is_served(site: Site) -> None:
    site.add_target("gone", ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=1)
    site.hosts["dayabay"]["altbackup_targets"].append("gone")
    run = site.run("backup", stamp=DAY1)
    assert run.rc != 0
    assert "gone" in run.message
    assert "refused" in run.message
    assert len(tarballs_of(trees(site)[1])) == len(KINDS)


@pytest.mark.full
def test_what_arrived_in_part_stays_when_the_source_cannot_be_listed(site: Site) -> None:
    source, target = trees(site)
    assert site.run("backup", stamp=DAY1).rc == 0
    part = target.parent / ".altbackup" / "incoming" / "dayabay" / f"sha256-{'0' * 64}"
    part.write_text("6 of 7 GB")
    lock = source / ".altbackup" / "lock"

    def block() -> None:
        """Make the source's lock impossible to open, as soon as preflight is done with it."""
        lock.rename(lock.with_name("lock.away"))
        lock.symlink_to("lock.away")

    taken = target.parent / ".altbackup" / "locks" / "dayabay"
    with when(lambda: b"pid" in taken.read_bytes(), block):
        run = site.run("synchronize", stamp=DAY2)
    assert run.rc != 0
    assert "dayabay: list: " in run.message
    assert [module for _, module, _ in run.calls if module == "tarball_prepare"] == []
    assert part.read_text() == "6 of 7 GB"
    lock.unlink()
    lock.with_name("lock.away").rename(lock)
    assert site.run("synchronize", stamp=DAY3, day=DAY1[:10]).rc == 0
    assert not part.exists(), "no tarball of the source has that digest"


@pytest.mark.full
def test_of_busy_targets_one_is_served_before_the_next_one_is_awaited(site: Site) -> None:
    site.add_target("sdu")
    site.hosts["dayabay"]["altbackup_targets"] = ["cms01", "sdu"]
    bases = [site.folder / name / "copies" for name in ("cms01", "sdu")]
    another = parse_run({**identify_run(0), "host": "another controller", "seconds": 3600})
    for base, name in zip(bases, ("cms01", "sdu"), strict=True):
        site.hosts[name]["altbackup_target_slots"] = 1
        with held(open_tree(str(base / "lingao")), another) as hold:
            assert hold.reserve(1, 0)
    first, second = (base / ".altbackup" / "locks" / "dayabay" for base in bases)

    def awaits_the_first() -> bool:
        """Return whether both were asked, and the first one is asked again."""
        asked = (bases[1] / ".altbackup" / "incoming" / "dayabay").is_dir()
        return asked and first.stat().st_mtime_ns > second.stat().st_mtime_ns

    def free() -> None:
        for base in bases:
            (base / ".altbackup" / "locks" / "lingao").write_text("")

    with when(awaits_the_first, free):
        run = site.run("backup", stamp=DAY1)
    assert run.rc == 0, run.stdout
    served = [module.removeprefix("tarball_") for _, module, _ in run.calls if module in SERVING]
    assert served == ["prepare", "prepare", *["prepare", "send", "accept"] * 2]
    assert all(len(tarballs_of(base / "dayabay")) == len(KINDS) for base in bases)


@pytest.mark.full
def test_stages_run_by_themselves_give_what_the_chain_gives(site: Site) -> None:
    path = site.folder / "list.json"
    for playbook in ("dump", "synchronize", "check", "purge", "list"):
        run = site.run(playbook, stamp=DAY1, list_file=str(path))
        assert run.rc == 0, (playbook, run.stdout)
    assert len(tarballs_of(trees(site)[1])) == len(KINDS)
    entries = json.loads(path.read_text())
    assert len(entries) == 2 * len(KINDS)
    assert set(entries[0]) == {*LISTED_KEYS}
    found = {(entry["node"], entry["source"], entry["state"]) for entry in entries}
    assert found == {("dayabay", "dayabay", "verified"), ("cms01", "dayabay", "verified")}


@pytest.mark.full
def test_discovered_repositories_are_items_and_what_is_none_is_reported(site: Site) -> None:
    shelf = site.live / "shelf"
    (shelf / "group").mkdir(parents=True)
    (shelf / "LOCKED").mkdir()
    (shelf / "notes.txt").write_text("x")
    shutil.copytree(site.live / "svn", shelf / "aux")
    shutil.copytree(site.live / "svn", shelf / "group" / "nested")
    site.hosts["dayabay"].update(altbackup_items=[], altbackup_discover={"svn": str(shelf)})
    run = site.run("backup", stamp=DAY1)
    assert run.rc == 0, run.stdout
    _, target = trees(site)
    assert sorted({path.parts[-6] for path in tarballs_of(target)}) == ["aux", "group%2Fnested"]
    notes = [note for _, module, result in run.calls if module == "preflight" for note in result["notes"]]
    assert notes == [f"{shelf}/{name} is no svn and is not backed up" for name in ("LOCKED", "notes.txt")]
    shutil.rmtree(target / "svn" / "aux")
    checked = site.run("check", "--limit cms01", day="2013/05/10", stamp=DAY1)
    assert checked.rc != 0, "a target that cannot ask its source remembers what is to be there"


@pytest.mark.full
def test_purge_and_drill_by_themselves_know_what_was_discovered_and_which_run_is_dead(site: Site) -> None:
    shutil.copytree(site.live / "svn", site.live / "shelf" / "aux")
    site.hosts["dayabay"].update(altbackup_items=[], altbackup_discover={"svn": str(site.live / "shelf")})
    _, target = trees(site)
    for stamp in (DAY1, DAY2):
        commit_svn(site.live / "shelf" / "aux", stamp.replace("/", "-"), stamp)
        assert site.run("backup", stamp=stamp).rc == 0
    assert len(tarballs_of(target)) == 2
    site.hosts["cms01"]["altbackup_keep"] = 1
    lock = target.parent / ".altbackup" / "locks" / "dayabay"
    dead = parse_run({**identify_run(0), "pid": 1, "ticks": 1, "seconds": 40000})
    for playbook in ("purge", "drill"):
        with held(open_tree(str(target)), dead):
            pass
        run = site.run(playbook, "--limit cms01", stamp=DAY3, purge_confirm=True)
        assert run.rc == 0, run.stdout
        assert "took over the lock" in run.stdout
        assert lock.read_text().strip() == "", "no lease is left"
    (kept,) = tarballs_of(target)
    assert DAY2 in str(kept)
    assert Path(f"{kept}.proof").is_file()


@pytest.mark.full
def test_discovered_repositories_that_are_damaged_or_gone_are_failures_and_stay_expected(site: Site) -> None:
    shelf = site.live / "shelf"
    for name in ("good", "damaged", "group/gone"):
        shutil.copytree(site.live / "svn", shelf / name)
    site.hosts["dayabay"].update(altbackup_items=[], altbackup_discover={"svn": str(shelf)})
    assert site.run("backup", stamp=DAY1).rc == 0
    (shelf / "damaged" / "db" / "current").unlink()
    shutil.rmtree(shelf / "group" / "gone")
    run = site.run("backup", stamp=DAY2)
    assert run.rc != 0
    for told in (
        f"dump of svn/damaged: path {shelf}/damaged is not a Subversion repository: it has no db/current",
        f"{shelf}/group/gone is no svn any more: it was backed up as svn/group%2Fgone until {DAY1}",
        "expecting 1 tarball for damaged of dayabay on 2013/05/09 but got 0",
        "expecting 1 tarball for group%2Fgone of dayabay on 2013/05/09 but got 0",
    ):
        assert told in run.stdout, told
    _, target = trees(site)
    assert [path.parts[-6] for path in tarballs_of(target) if "2013/05/09" in str(path)] == ["good"]
    remembered = target.parent / ".altbackup" / "records" / "dayabay" / "items"
    assert remembered.read_text().split() == ["svn/damaged", "svn/good", "svn/group%2Fgone"]
