"""Nights of whole playbooks with encryption: nothing of the items is readable on a target, and all of it comes back with an identity alone."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from helpers.age_keys import Key, age_key, ssh_key
from helpers.trees import describe_tree
from integration.site import LOCAL, Site, call, commit_svn

MARKS = [f"marker-{number:03}-planted" for number in range(20)]


def stamp(day: int) -> str:
    """Return the stamp of a night."""
    return f"2013/05/{day:02}/104701"


class Encrypted(Site):
    """A site whose source encrypts to two keys."""

    keys: list[Key]


@pytest.fixture
def site(tmp_path: Path) -> Encrypted:
    """A source of a folder, an SQLite database and a Subversion repository, with marks in all of them, a target, and a host for restores."""
    site = Encrypted(tmp_path)
    site.keys = [age_key(tmp_path, "one"), ssh_key(tmp_path)]
    folder = site.live / "folder"
    folder.mkdir(parents=True)
    for mark in MARKS[:10]:
        (folder / f"{mark}.txt").write_text(f"{mark}\n" * 50)
    with sqlite3.connect(site.live / "sqlite.db") as database:
        database.execute(f'CREATE TABLE "{MARKS[10]}" (value)')
        database.executemany(f'INSERT INTO "{MARKS[10]}" VALUES (?)', [(mark,) for mark in MARKS[11:15]])
    database.close()
    call("svnadmin", "create", site.live / "svn")
    for mark in MARKS[15:]:
        commit_svn(site.live / "svn", mark, f"{mark}\n")
    site.add_source(
        "dayabay",
        altbackup_targets=["cms01"],
        altbackup_encrypt_to=[key.recipient for key in site.keys],
    )
    site.hosts["dayabay"]["altbackup_items"] = [
        {"kind": "folder", "name": "notes", "path": str(folder)},
        {"kind": "sqlite", "name": "monitor", "path": str(site.live / "sqlite.db")},
        {"kind": "svn", "name": "repository", "path": str(site.live / "svn")},
    ]
    site.add_target("cms01")
    site.hosts["fresh"] = dict(LOCAL)
    site.groups["others"] = ["fresh"]
    return site


def marks_on(folder: Path) -> set[str]:
    """Return which marks any byte of the files below a folder, or their names, has; what is compressed is looked into."""
    found = set()
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            contents = [os.fsencode(path.relative_to(folder))]
            if path.is_file() and not path.is_symlink():
                contents.append(path.read_bytes())
                done = subprocess.run(["zstd", "-dcq"], input=contents[-1], capture_output=True)
                contents.append(done.stdout)
            found |= {mark for mark in MARKS if any(mark.encode() in content for content in contents)}
    return found


def order(kind: str, name: str, to: Path, **more: str) -> dict[str, str]:
    """Return an entry of altbackup_restore."""
    return {"source": "dayabay", "kind": kind, "name": name, "to_host": "fresh", "to": str(to), **more}


@pytest.mark.full
def test_all_comes_back_from_a_target_that_can_read_nothing(site: Encrypted, tmp_path: Path) -> None:
    copies = tmp_path / "cms01" / "copies"
    for day in (1, 2):
        run = site.run("backup", stamp=stamp(day))
        assert run.rc == 0, run.message
    kept = sorted(path.name for path in (copies / "dayabay").rglob("*.age"))
    assert kept == ["monitor.tar.zst.age"] * 2 + ["notes.tar.zst.age"] * 2 + ["repository-5.tar.zst.age"] * 2
    assert len({os.stat(path).st_ino for path in (copies / "dayabay").rglob("*.age")}) == 3, (
        "what did not change is a link"
    )
    assert marks_on(copies) == set()
    assert len(marks_on(tmp_path / "dayabay" / "backup")) > 0, "the search finds what there is"

    key = (tmp_path / "dayabay/backup/.altbackup/encryption/signing_key.pub").read_text().split()
    site.hosts["dayabay"]["altbackup_signing_key"] = " ".join(key[:2])
    shutil.rmtree(tmp_path / "dayabay")
    shutil.move(site.live, tmp_path / "was")
    to = tmp_path / "back"
    to.mkdir()
    wanted = [
        order("folder", "notes", to / "notes", **{"from": "cms01"}),
        order("sqlite", "monitor", to / "monitor.db", **{"from": "cms01"}),
        order("svn", "repository", to / "repository", **{"from": "cms01"}),
    ]
    run = site.run("restore", stamp=stamp(3), restore=wanted)
    assert run.rc != 0
    assert "is encrypted to" in run.stdout
    assert not any(to.iterdir())
    run = site.run("restore", stamp=stamp(3), restore=wanted, identity_file=str(site.keys[1].path))
    assert run.rc == 0, run.message
    assert describe_tree(to / "notes") == describe_tree(tmp_path / "was/folder")
    assert call("svnlook", "youngest", to / "repository").strip() == "5"
    with sqlite3.connect(to / "monitor.db") as database:
        assert len(database.execute(f'SELECT * FROM "{MARKS[10]}"').fetchall()) == 4
    database.close()
    secret = site.keys[1].text.splitlines()[2]
    assert secret not in run.stdout
    assert secret not in json.dumps(run.calls, default=str)

    site.groups["others"] = []
    run = site.run(
        "restore",
        stamp=stamp(3),
        restore=[{**wanted[0], "to_host": "cms01", "to": str(to / "x")}],
        identity_file=str(site.keys[1].path),
    )
    assert run.rc != 0
    assert "cms01 is a target, on which nothing is decrypted" in run.stdout


@pytest.mark.full
def test_keys_are_drilled_where_plaintext_is_at_home(site: Encrypted, tmp_path: Path) -> None:
    site.hosts["dayabay"]["altbackup_items"] = site.hosts["dayabay"]["altbackup_items"][:1]
    run = site.run("backup", stamp=stamp(1))
    assert run.rc == 0, run.message
    assert "this source signs what it encrypts with ssh-ed25519" in run.stdout
    both = tmp_path / "both"
    both.write_text("".join(key.text for key in site.keys))
    run = site.run("drill", stamp=stamp(2), identity_file=str(both), key_drill=True)
    assert run.rc == 0, run.message
    assert run.stdout.count("opens it") >= 2
    run = site.run("drill", stamp=stamp(2), identity_file=str(site.keys[0].path), key_drill=True)
    assert run.rc != 0
    assert "was not among the keys" in run.message
    run = site.run("drill", stamp=stamp(3), identity_file=str(both))
    assert run.rc == 0, run.message
    assert "the ciphertext alone was proved" in run.stdout
    proofs = sorted(path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.proof"))
    assert proofs == ["dayabay"], "the target proved nothing"


def replaced_keys(site: Encrypted, tmp_path: Path) -> tuple[Key, Key]:
    """Have the source encrypt to another key than the first from now on; return that and the new one."""
    new, old = age_key(tmp_path, "new"), site.keys[0]
    site.hosts["dayabay"]["altbackup_encrypt_to"] = [new.recipient, site.keys[1].recipient]
    return old, new


@pytest.mark.full
def test_after_new_recipients_older_tarballs_are_theirs_on_source_and_targets(site: Encrypted, tmp_path: Path) -> None:
    site.hosts["dayabay"]["altbackup_items"] = site.hosts["dayabay"]["altbackup_items"][:1]
    notes = tmp_path / "dayabay/backup/folders/notes"
    copies = tmp_path / "cms01/copies"
    for day in (1, 2):
        (site.live / "folder" / "night").write_text(f"{day}\n")
        run = site.run("backup", stamp=stamp(day))
        assert run.rc == 0, run.message
    shutil.rmtree(notes / "2013/05/01")  # as a purge does, which the target does later
    old, new = replaced_keys(site, tmp_path)
    arrivals = [path.read_text() for path in (copies / ".altbackup/arrivals").rglob("notes")]
    told = site.run("rekey", "--check", stamp=stamp(3), identity_file=str(old.path))
    assert told.rc == 0, told.message
    assert "dayabay -> cms01: 2 of its tarballs there would be encrypted anew" in told.stdout
    assert all(old.is_for(path) for path in tmp_path.rglob("*.age"))
    run = site.run("rekey", stamp=stamp(3), identity_file=str(old.path))
    assert run.rc == 0, run.message
    assert "dayabay -> cms01: 2 of its tarballs there encrypted anew" in run.stdout
    tarballs = sorted(tmp_path.rglob("*.age"))
    assert len(tarballs) == 3, "the source has one, its target both"
    for path in tarballs:
        assert new.is_for(path) and site.keys[1].is_for(path) and not old.is_for(path), path
    assert [path.read_text() for path in (copies / ".altbackup/arrivals").rglob("notes")] == arrivals
    assert marks_on(copies) == set()
    assert not (tmp_path / "dayabay/backup/.altbackup/rekey").exists()
    again = site.run("rekey", stamp=stamp(3), identity_file=str(old.path))
    assert (again.rc, again.changed) == (0, 0), again.stdout
