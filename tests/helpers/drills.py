"""One small real item of each kind, dumped to a base; and a drill of its tarball, step by step."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from helpers import environments
from helpers.original_trees import modern_text, put
from helpers.repositories import make_git, make_subversion, run
from helpers.servers import MORE, Missing, live, place
from helpers.trac_servers import SERVED, live_trac
from helpers.trees import FIRST, SECOND, Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.rules import Limits
from ansible_collections.altbackup.core.plugins.module_utils.archive.unpack import unpack
from ansible_collections.altbackup.core.plugins.module_utils.kinds.proofs import prove
from ansible_collections.altbackup.core.plugins.module_utils.kinds.registry import CATEGORIES, kind_in
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import parse_filename
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import parse

KINDS = ("svn", "trac", "git", "folder", "sqlite")
LIMITS = Limits(1 << 30)
SECONDS = 120
SVN = f"svn/thing/{FIRST}/thing-12.tar.zst"
FOLDER = f"folders/thing/{FIRST}/thing.tar.zst"


def make_database(path: Path) -> Path:
    """Make a small database with two tables, a trigger and a view."""
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (length(name) < 100));"
            "CREATE TABLE log (what TEXT);"
            "CREATE INDEX by_name ON person (name);"
            "CREATE TRIGGER logged AFTER INSERT ON person BEGIN INSERT INTO log VALUES (new.name); END;"
            "CREATE VIEW names AS SELECT name FROM person;"
        )
        database.executemany("INSERT INTO person (name) VALUES (?)", [(f"person {number}",) for number in range(300)])
    database.close()
    return path


def make_folder(path: Path) -> Path:
    """Make a folder with files, links and a hard link."""
    (path / "sub" / "deep").mkdir(parents=True)
    for number in range(6):
        (path / "sub" / f"file {number}").write_text(f"content {number}\n" * 50)
    (path / "sub" / "deep" / "users.conf").write_text("[users]\nalice = secret\n")
    (path / "link").symlink_to("sub/file 1")
    (path / "hard").hardlink_to(path / "sub" / "file 2")
    return path


def make_item(kind: str, folder: Path, environment: Path | None = None) -> dict[str, Any]:
    """Make a live item of a kind, named `thing`, below a folder; a Trac environment is copied from a given one."""
    path = folder / f"live {kind}"
    if kind == "svn":
        make_subversion(path, 12)
        (path / "hooks" / "pre-commit").write_text("#!/bin/sh\nexit 0\n")
    elif kind == "git":
        make_git(path)
    elif kind == "folder":
        make_folder(path)
    elif kind == "sqlite":
        make_database(path)
    else:
        assert environment is not None
        environments.copy_environment(environment, path)
    return item(kind, path)


def drill_one(
    base: Base,
    tarball: Mapping[str, Any],
    scratch: Path,
    *,
    sandbox: Sandbox = Sandbox(),  # noqa: B008 (frozen)
    record: Any = None,
    verify: Sequence[str] = (),
) -> dict[str, Any]:
    """Unpack a tarball as a drill does and prove it; return the proof. The scratch folder is made and removed."""
    record = tarball["record"] if record is None else record
    name, filename = tarball["name"], Path(tarball["path"]).name
    parsed = parse_filename(filename, name)
    assert parsed is not None
    top = name if parsed[0] is None else f"{name}-{parsed[0]}"
    room = scratch / "item"
    room.mkdir(parents=True)
    deadline = Deadline(SECONDS, "drill")
    try:
        path = unpack(
            [tarball["path"]], str(room), top=top, limits=LIMITS, deadline=deadline, owners=False, sandbox=sandbox
        )
        kind = kind_in(tarball["category"], record.get("kind"), os.listdir(path))
        return prove(kind, path, record, str(scratch), deadline, sandbox, verify=verify)
    finally:
        shutil.rmtree(scratch)


def dump_item(
    folder: Path, kind: str, environment: Path | None = None, stamp: str = FIRST
) -> tuple[Base, dict[str, Any]]:
    """Make an item of a kind, dump it to a new base below a folder, and return both."""
    base = Base(folder / "base")
    return base, base.dump_one(make_item(kind, folder, environment), stamp=stamp)


def unpacked(tarball: Path, folder: Path) -> Path:
    """Unpack a tarball with plain tar into a new folder and return its top folder."""
    folder.mkdir()
    run("tar", "-x", "-f", tarball, "-C", folder)
    (top,) = folder.iterdir()
    return top


def repack(top: Path, tarball: Path) -> None:
    """Write a tarball again from a folder."""
    run("tar", "-c", "--zstd", "--format=posix", "--sort=name", "-f", tarball, "-C", top.parent, top.name)


def alter(tarball: Path, folder: Path, change: Callable[[Path], Any]) -> None:
    """Change the content of a tarball."""
    top = unpacked(tarball, folder)
    change(top)
    repack(top, tarball)
    shutil.rmtree(folder)


def recompute(tarball: Path, record: Path | None = None) -> None:
    """Update a tarball's sidecar, and the digest that its dump recorded, to its bytes."""
    content = tarball.read_bytes()
    Path(f"{tarball}.dna").write_text(modern_text(content))
    if record is not None:
        dna = {"dig": hashlib.sha256(content).hexdigest(), "size": len(content), "alg": "sha256"}
        record.write_text(json.dumps({**json.loads(record.read_text()), **dna}))


PAIR = {"differential": "pair.diff", "full of it": "pair"}
"""Names here of the two tarballs of a pair, and the names of their files"""


def key_of(kind: str) -> str:
    """Return the key (category/name) of the item of a kind, of Trac in a server, or of the pair."""
    if kind in PAIR:
        return "folders/pair"
    if kind in SERVED:
        return f"tracs/{kind}"
    return f"{CATEGORIES[kind]}/{kind if kind in MORE else 'thing'}"


class Copies:
    """A source's tree on a target: one verified tarball of each kind, with their dumps' records."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.private = base.parent / ".altbackup"

    def tarball(self, kind: str) -> Path:
        """Return the tarball of a kind; of a pair, if there is one, the differential or the full one."""
        if kind in PAIR:
            (path,) = self.base.glob(f"folders/pair/*/*/*/*/{PAIR[kind]}.tar.zst")
            return path
        (path,) = self.base.glob(f"{key_of(kind)}/*/*/*/*/*.tar.zst")
        return path

    def record(self, kind: str) -> Path:
        """Return the record of a kind's dump."""
        relative = self.tarball(kind).parent.relative_to(self.base)
        return self.private / "records" / self.base.name / f"{relative}.json"

    def copy(self, folder: Path) -> Copies:
        """Copy everything into a new folder."""
        shutil.copytree(self.base.parent, folder, symlinks=True)
        return Copies(folder / self.base.name)


def make_copies(folder: Path) -> Copies:
    """Dump one item of each kind and place the tarballs as on a target, below a new folder."""
    source = folder / "source"
    source.mkdir(parents=True)
    environment = environments.make_environment(source / "environment")
    base = Base(source / "base")
    for kind in KINDS:
        base.dump_one(make_item(kind, source, environment))
    copies = Copies(folder / "target" / "dayabay")
    (copies.private / "records").mkdir(parents=True)
    shutil.copytree(base.path, copies.base, symlinks=True, ignore=shutil.ignore_patterns(".altbackup"))
    shutil.copytree(base.path / ".altbackup" / "records", copies.private / "records" / "dayabay")
    return copies


def add_pair(copies: Copies, folder: Path) -> None:
    """Dump a folder in two nights, and add the full tarball and the differential to the copies."""
    live = make_folder(folder / "live pair")
    base = Base(folder / "base of a pair")
    (live / "large").write_bytes(os.urandom(20_000))
    for stamp in (FIRST, SECOND):
        base.dump_one(item("folder", live, "pair"), stamp=stamp, full_every=7)
        (live / "large").write_bytes(os.urandom(5_000))
    for source, target in (
        (base.path, copies.base),
        (base.path / ".altbackup/records", copies.private / "records" / copies.base.name),
    ):
        shutil.copytree(source / "folders/pair", target / "folders/pair", symlinks=True)


def add_more(copies: Copies, kinds: Sequence[str] = (*MORE, *SERVED)) -> dict[str, str]:
    """Dump an item of each further kind and add its tarball to the copies; return {kind: why not} of those whose programs are missing."""
    missing = {}
    for kind in kinds:
        try:
            with place() as folder, (live_trac if kind in SERVED else live)(kind) as made:
                base = Base(folder.parent / "base")
                base.dump_one(made)
                for source, target in (
                    (base.path, copies.base),
                    (base.path / ".altbackup/records", copies.private / "records" / copies.base.name),
                ):
                    shutil.copytree(source / key_of(kind), target / key_of(kind), symlinks=True)
        except Missing as error:
            missing[kind] = str(error)
    return missing


def add_differential(base: Path, tmp_path: Path) -> tuple[str, str]:
    """Put a full tarball of a folder, made by GNU tar, and a differential of a later night into a base; return both."""
    live = tmp_path / "live" / "pair"
    live.mkdir(parents=True)
    full, diff = f"folders/pair/{FIRST}/pair.tar.gz", f"folders/pair/{SECOND}/pair.diff.tar.gz"
    for relpath, name in ((full, "old"), (diff, "new")):
        for other in live.iterdir():
            other.unlink()
        (live / name).write_text(name)
        path = put(base, relpath)
        snapshot = f"--listed-incremental={tmp_path}/snapshot"
        tar = (
            "tar",
            "-czf",
            path,
            "--format=posix",
            "--no-check-device",
            snapshot,
            f"--directory={live.parent}",
            "pair",
        )
        run(*tar)
        dna = json.loads(modern_text(path.read_bytes()))
        if relpath == diff:
            dna |= {"base": full.split("/", 2)[2], "base_dig": parse((base / f"{full}.dna").read_text()).dig}
        Path(f"{path}.dna").write_text(json.dumps(dna))
    return full, diff
