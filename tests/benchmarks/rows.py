"""The rows of the table, as in DESIGN.md section 11, and the curves to which some of them belong."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from helpers import servers
from helpers.age_keys import age_key
from integration.lab_site import LabSite
from integration.site import tarballs_of

from . import data
from .contenders import Ours, encrypted_nights, fetch, lab_site, shared_nights, ssh_of, stamp, unchanged
from .contest import Bench, Contender, Contest, Row, Size, on
from .data import MB
from .figures import Limit
from .fixed_cost import make_site
from .meter import Step, StepFailed, call

SIZES = {
    "full": Size(
        megabytes=1000,
        revisions=2500,
        commits=20_000,
        repositories=100,
        files=200_000,
        pairs=5,
        nights=6,
        trees=(0.4, 4.0),
        gigabytes=(0.1, 1.0),
        items=(1, 10, 100),
        hosts=(1, 10),
        shares=(0.0, 0.01, 0.1, 1.0),
    ),
    "small": Size(
        megabytes=10,
        revisions=25,
        commits=200,
        repositories=4,
        files=1000,
        pairs=1,
        nights=1,
        trees=(0.01, 0.04),
        gigabytes=(0.01,),
        items=(4,),
        hosts=(2,),
        shares=(1.0,),
        firsts=False,  # a run takes seconds whatever there is to do, and all rows are to end soon
    ),
}
FAST = ("borg", "restic")
SLOWEST_NIGHT = {1.0: 1.0, 8.0: 0.3}
"""{gigabytes: most that a night may take, over the faster of borg and restic}"""
SLOWEST_UNCHANGED = {1: 6.0, 10: 11.0}
"""{sources: most that an unchanged night may take, over a ping}; half of version 0.1.0"""
SECONDS_UNCHANGED = {50: 150.0}
"""The same in seconds, on the machine on which version 0.1.0 took 300 s"""
ENCRYPTED = 1.3
"""Most that an encrypted night may take, over the same one without"""
_ROW_BYTES = 1000
CALLS_UNCHANGED, CALLS_CHANGED = 7, 9
_DIGEST_FILES, _PIECES = 8, 16


@dataclass(frozen=True)
class Curve:
    """What the rows of a curve differ in, and the limits on its fixed cost and slope."""

    unit: str
    slope: float | None = None
    """Largest slope of ours, over the lowest of the yardsticks'"""
    of: tuple[str, ...] = FAST
    fixed_per_call: float | None = None
    """Most seconds of our fixed cost for each module call"""


CURVES = {
    "digests, one core": Curve("GB", slope=1.1, of=("openssl",)),
    "digests, two cores": Curve("GB", slope=1 / 1.8, of=("openssl",)),
    "first copy": Curve("GB of repository", slope=1.1, of=("rsync",)),
    "night of svn": Curve("GB of repository", slope=0.25, fixed_per_call=0.4),
    "night of git": Curve("GB of repository", slope=0.25, fixed_per_call=0.4),
    "share changed": Curve("share of a folder changed"),
    "items": Curve("small repositories, unchanged"),
    "hosts": Curve("sources on local connections, unchanged"),
}


def rows(size: Size) -> list[Row]:
    """Return all rows for data of a size."""
    return [
        *(_digests(gigabytes, cores) for cores in (1, 2) for gigabytes in size.trees),
        Row(
            "dump-svn",
            "dump of a svn repository, without its svnadmin verify",
            dump_svn,
            (Limit("seconds", 1.25, ("hotcopy, zstd",)), Limit("seconds", 0.3, ("hotcopy, gzip",))),
        ),
        Row("dump-folder", "dump of a folder of many small files", dump_folder),
        Row("dump-git", "git, one new commit", dump_git, (Limit("seconds", 1.5, ("fetch, tar",)),)),
        *(Row(f"dump-{kind}", f"dump of a database, {kind}", partial(dump_database, kind)) for kind in DATABASES),
        *(_first_copy(gigabytes, size) for gigabytes in size.gigabytes),
        Row(
            "next-night",
            "next night, 1 % changed, full tarballs",
            next_night,
            (Limit("wire", 0.3, ("rsync",)), Limit("calls", CALLS_CHANGED)),
        ),
        *(_night("svn", gigabytes, size.revisions, size) for gigabytes in size.gigabytes),
        *(_night("git", gigabytes, size.commits, size) for gigabytes in size.gigabytes),
        Row(
            "night-encrypted",
            "a verified night over ssh, svn, 1 % changed, encrypted",
            encrypted,
            (Limit("seconds", ENCRYPTED, ("plain",)), Limit("calls", CALLS_CHANGED)),
        ),
        *(_share(share, size) for share in size.shares),
        *(_items(count) for count in size.items),
        *(_hosts(count) for count in size.hosts),
    ]


def _digests(gigabytes: float, cores: int) -> Row:
    """Return the row of a tree's digests; the curve separates the cost of starting."""
    work, most = {1: ("one core", 1.1), 2: ("two cores", 1 / 1.8)}[cores]
    return Row(
        f"digests-{cores}-{gigabytes:g}",
        f"verify digests of a tree of {gigabytes:g} GB, {work}",
        partial(digests, cores, int(gigabytes * 1000 * MB)),
        (Limit("seconds", most, ("openssl",)),),
        f"digests, {work}",
        gigabytes,
    )


def _first_copy(gigabytes: float, size: Size) -> Row:
    return Row(
        f"first-copy-{gigabytes:g}",
        f"first copy to a target, svn of {gigabytes:g} GB",
        partial(first_copy, int(gigabytes * 1000 * MB), _share_of(size.revisions, gigabytes, size)),
        (Limit("seconds", 1.1, ("rsync",)),),
        "first copy",
        gigabytes,
    )


def _share_of(count: int, gigabytes: float, size: Size) -> int:
    """Return the number of revisions of a repository of a size, in proportion to that of the other rows."""
    return max(10, round(count * gigabytes * 1000 / size.megabytes))


def _night(kind: str, gigabytes: float, revisions: int, size: Size) -> Row:
    """Return the row of a verified night at a size."""
    count = _share_of(revisions, gigabytes, size)

    def contest(bench: Bench) -> Contest:
        return shared_nights(bench, kind, int(gigabytes * 1000 * MB), count).contest(0.01, turns=size.nights)

    limits = [Limit("wire", 0.05, FAST), Limit("stored", 1.3, FAST, last=True), Limit("calls", CALLS_CHANGED)]
    if gigabytes in SLOWEST_NIGHT:
        limits.insert(0, Limit("seconds", SLOWEST_NIGHT[gigabytes], FAST))
    work = f"a verified night over ssh, {kind} of {gigabytes:g} GB, 1 % changed"
    return Row(f"night-{kind}-{gigabytes:g}", work, contest, tuple(limits), f"night of {kind}", gigabytes)


def _share(share: float, size: Size) -> Row:
    def contest(bench: Bench) -> Contest:
        return shared_nights(bench, "folder", size.megabytes * MB, 0).contest(share)

    work = f"a verified night over ssh, folder, {share:.0%} changed"
    return Row(f"share-{share:g}", work, contest, (), "share changed", share)


def _items(count: int) -> Row:
    def make(bench: Bench) -> LabSite:
        kept = data.keep(
            bench.store,
            f"small-{bench.size.repositories}",
            partial(data.make_small_repositories, count=bench.size.repositories),
        )
        live = data.clone(kept, bench.source.data / "live" / "small")
        paths = sorted(live.iterdir(), key=lambda path: path.name[3:])[:count]
        return lab_site(
            bench, "site", [{"kind": path.name[:3], "name": path.name, "path": str(path)} for path in paths]
        )

    limits = (Limit("calls", CALLS_UNCHANGED), Limit("added", 0))
    return Row(f"items-{count}", f"unchanged night over ssh, {count} items", unchanged(make), limits, "items", count)


def _hosts(count: int) -> Row:
    over_a_ping = [Limit("seconds", SLOWEST_UNCHANGED[count], ("ping",))] if count in SLOWEST_UNCHANGED else []
    limits = (*over_a_ping, *([Limit("seconds", SECONDS_UNCHANGED[count])] if count in SECONDS_UNCHANGED else []))
    work = f"unchanged night, {count} sources on local connections"
    return Row(
        f"hosts-{count}", work, unchanged(lambda bench: make_site(bench.folder / "site", count)), limits, "hosts", count
    )


def svn(bench: Bench, size: int = 0, revisions: int = 0) -> Path:
    """Return the kept Subversion repository, of the size of most rows or another."""
    size, revisions = size or bench.size.megabytes * MB, revisions or bench.size.revisions
    return data.keep(bench.store, f"svn-{size}-{revisions}", partial(data.make_svn, size=size, revisions=revisions))


def module(bench: Bench, name: str, options: Mapping[str, Any], *, path: str = "", cores: str = "") -> Step:
    """Return the step that calls a module on the source, with a folder before its PATH, or on some cores only."""
    given = bench.folder / f"{name}.json"
    given.write_text(json.dumps(options), encoding="utf-8")
    host = bench.source
    argv = [sys.executable, Path(__file__).with_name("call_module.py"), name, given]
    step = on(host, name, *(["taskset", "--cpu-list", cores] if cores else []), *argv)
    return Step(step.title, step.argv, {**step.env, "PATH": f"{path}{os.pathsep if path else ''}{step.env['PATH']}"})


def base(bench: Bench) -> Path:
    """Return a new, empty base on the source, in place of the previous one."""
    path = bench.source.data / "backup"
    shutil.rmtree(path, ignore_errors=True)
    (path / ".altbackup").mkdir(parents=True, mode=0o700)
    return path


def removed(*paths: Path) -> None:
    """Remove files and folders that may exist."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def digests(cores: int, size: int, bench: Bench) -> Contest:
    """Verify tarballs with known digests, beside openssl on one core."""
    bench.clear()
    tree = base(bench)
    files = []
    for number in range(_DIGEST_FILES):
        folder = tree / "folders" / f"item{number}" / stamp(0)
        folder.mkdir(parents=True)
        files.append(folder / f"item{number}.tar")
        with open(files[-1], "wb") as stream:
            for _ in range(_PIECES):
                stream.write(os.urandom(size // _DIGEST_FILES // _PIECES))
    dna = module(bench, "dna", {"path": [str(path) for path in files], "algorithm": "sha256"})
    ours = module(bench, "dna_verify", {"base": str(tree), "day": "all"}, cores=",".join(map(str, range(cores))))
    by_hand = on(bench.source, "openssl", "taskset", "--cpu-list", "0", "openssl", "dgst", "-sha256", *files)
    call(dna)
    return Contest([Contender("altbackup", lambda: [ours]), Contender("openssl", lambda: [by_hand])])


def dump_svn(bench: Bench) -> Contest:
    """Dump a repository for the first time, with an `svnadmin verify` that does nothing, beside the same work by hand."""
    bench.clear()
    live = data.clone(svn(bench), bench.source.data / "live" / "data")
    shadow = bench.source.data / "shadow" / "bin"  # where programs are looked for in a view of an item
    shadow.mkdir(parents=True)

    def verify_ends_with(code: int) -> None:
        program = f'#!/bin/sh\n[ "$1" != verify ] || exit {code}\nexec {shutil.which("svnadmin")} "$@"\n'
        (shadow / "svnadmin").write_text(program, encoding="ascii")
        (shadow / "svnadmin").chmod(0o755)

    copy, archive = bench.source.data / "copy", bench.source.data / "archive"
    hotcopy = on(bench.source, "hotcopy", "svnadmin", "hotcopy", "-q", live, copy)
    options = {"items": [{"kind": "svn", "name": "data", "path": str(live)}], "stamp": stamp(0)}

    def ours() -> list[Step]:
        return [module(bench, "tarball_dump", {**options, "base": str(base(bench))}, path=str(shadow))]

    verify_ends_with(1)
    try:
        call(ours()[0])
        raise RuntimeError("the dump did not call the svnadmin of this row")
    except StepFailed:
        verify_ends_with(0)

    def by_hand(name: str, *compress: str) -> Contender:
        tar = on(bench.source, "tar", "tar", *compress, "-cf", archive, "-C", copy.parent, copy.name)
        return Contender(name, lambda: [hotcopy, tar], before=lambda: removed(copy, archive))

    return Contest(
        [
            Contender("altbackup", ours),
            by_hand("hotcopy, zstd", "-I", "zstd -T0 -1"),
            by_hand("hotcopy, gzip", "-z"),
        ]
    )


def dump_folder(bench: Bench) -> Contest:
    """Dump a folder of many small files for the first time, beside tar and zstd."""
    bench.clear()
    files = bench.size.files
    live = data.keep(bench.store, f"files-{files}", partial(data.make_folder, files=files, size=2000))
    archive = bench.source.data / "archive"
    options = {"items": [{"kind": "folder", "name": "data", "path": str(live)}], "stamp": stamp(0)}
    tar = on(bench.source, "tar", "tar", "-I", "zstd -T0 -1", "-cf", archive, "-C", live.parent, live.name)
    return Contest(
        [
            Contender("altbackup", lambda: [module(bench, "tarball_dump", {**options, "base": str(base(bench))})]),
            Contender("tar, zstd", lambda: [tar], before=lambda: removed(archive)),
        ]
    )


def dump_git(bench: Bench) -> Contest:
    """Dump a repository with one commit more than the night before, beside a fetch into a mirror and an incremental archive."""
    bench.clear()
    size, commits = bench.size.megabytes * MB, bench.size.commits
    kept = data.keep(bench.store, f"git-{size}-{commits}", partial(data.make_git, size=size, commits=commits))
    live = data.clone(kept, bench.source.data / "live" / "data")
    tree, mirror = base(bench), bench.source.data / "mirror"
    listing, archive = bench.source.data / "listing", bench.source.data / "archive"
    nights = [0]

    def change() -> None:
        nights.append(nights[-1] + 1)
        data.grow_git(live, size // commits, 1, nights[-1])

    def ours() -> Sequence[Step]:
        items = [{"kind": "git", "name": "data", "path": str(live)}]
        options = {"base": str(tree), "items": items, "stamp": stamp(nights[-1]), "full_every": bench.full_every}
        return [module(bench, "tarball_dump", options)]

    def by_hand() -> Sequence[Step]:
        words = ["-g", listing, "-I", "zstd -T0 -1", "-cf", archive, "-C", mirror.parent, mirror.name]
        return [fetch(bench.source, live, mirror), on(bench.source, "tar", "tar", *words)]

    return Contest(
        [Contender("altbackup", ours), Contender("fetch, tar", by_hand, before=lambda: removed(archive))],
        change,
        first=True,
    )


def _sqlite(bench: Bench, rows: int) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    path = bench.source.data / "live" / "data.db"
    path.parent.mkdir(parents=True)
    database = sqlite3.connect(path)
    with database:
        database.execute("CREATE TABLE page (n INTEGER PRIMARY KEY, body TEXT)")
        texts = ((hashlib.sha512(b"%d" % number).hexdigest() * 4 + "x" * 488,) for number in range(rows))
        database.executemany("INSERT INTO page (body) VALUES (?)", texts)
    database.close()
    copy = [
        sys.executable,
        "-c",
        "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))",
    ]
    return {"kind": "sqlite", "name": "data", "path": str(path)}, [*copy, str(path)], {}


def _postgresql(bench: Bench, rows: int) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    cluster = bench.servers.enter_context(servers.postgresql())
    cluster.sql("CREATE DATABASE wiki")
    text = "repeat(md5(n::text), 16) || repeat('x', 488)"
    cluster.sql(f"CREATE TABLE page AS SELECT n, {text} AS body FROM generate_series(1, {rows}) n", database="wiki")
    env = {"PGHOST": str(cluster.sockets), "PGUSER": "postgres"}
    return cluster.item(), [f"{cluster.programs}/pg_dump", "-Fc", "-Z0", "wiki", "-f"], env


def _mysql(bench: Bench, rows: int) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    server = bench.servers.enter_context(servers.mariadb())
    server.sql("CREATE DATABASE wiki", "CREATE TABLE wiki.page (n int PRIMARY KEY, body text)")
    text = "CONCAT(REPEAT(MD5(seq), 16), REPEAT('x', 488))"
    server.sql(f"INSERT INTO wiki.page SELECT seq, {text} FROM seq_1_to_{rows}", database="wiki")
    dump = [
        "mariadb-dump",
        "--no-defaults",
        f"--socket={server.socket}",
        "--user=root",
        "--single-transaction",
        "wiki",
        "-r",
    ]
    return server.item(), dump, {}


DATABASES = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}
"""{kind: what makes one of so many rows, and returns its item, and the words and environment of its own tool that end before the file to write}"""


def dump_database(kind: str, bench: Bench) -> Contest:
    """Dump a database of a tenth of the other rows' size for the first time, beside its own tool and zstd."""
    bench.clear()
    item, dump, env = DATABASES[kind](bench, bench.size.megabytes * MB // 10 // _ROW_BYTES)
    folder = bench.servers.enter_context(servers.place()).parent  # which the server's user can reach
    number = itertools.count()

    def ours() -> list[Step]:
        tree = folder / f"base{next(number)}"
        (tree / ".altbackup").mkdir(parents=True, mode=0o700)
        return [module(bench, "tarball_dump", {"base": str(tree), "items": [item], "stamp": stamp(0)})]

    copy = bench.source.data / "copy"
    steps = [
        on(bench.source, "dump", *dump, copy, env=env),
        on(bench.source, "zstd", "zstd", "-q", "-f", "-T0", "-1", copy),
    ]
    return Contest(
        [
            Contender("altbackup", ours),
            Contender("its own tool, zstd", lambda: steps, before=lambda: removed(copy)),
        ]
    )


def encrypted(bench: Bench) -> Contest:
    """Back up a repository of which 1 % is new, encrypted to two recipients and not."""
    keys = Path(bench.servers.enter_context(tempfile.TemporaryDirectory()))
    recipients = [age_key(keys, name).recipient for name in ("one", "two")]
    return encrypted_nights(bench, bench.size.megabytes * MB, bench.size.revisions, recipients, 0.01)


def rsync(bench: Bench, tarball: Path) -> Step:
    """Return the step that copies a file to an empty folder of the target with plain rsync."""
    folder = bench.target.data / "by hand"
    removed(folder)
    folder.mkdir()
    remote = f"{bench.target.user}@{bench.target.address}:{folder}/"
    return on(bench.source, "rsync", "rsync", "-a", "-s", "-e", ssh_of(bench.source, bench.target), tarball, remote)


def first_copy(size: int, revisions: int, bench: Bench) -> Contest:
    """Synchronize one tarball to a target that has none, a new site each turn, beside rsync of it."""
    bench.clear()
    kept = svn(bench, size, revisions)
    runs: list[Ours] = []

    def another_site() -> None:
        for name in ("site", "by hand"):
            removed(bench.folder / name, *(host.data / name for host in bench.lab.hosts.values()))
        live = data.clone(kept, bench.source.data / "site" / "live" / "data")
        runs.append(Ours(lab_site(bench, "site", [{"kind": "svn", "name": "data", "path": str(live)}])))
        call(runs[-1].playbook("dump"))

    def tarball() -> Path:
        return tarballs_of(bench.source.data / "site" / "backup")[-1]

    return Contest(
        [
            Contender("altbackup", lambda: [runs[-1].playbook("synchronize")], profile=lambda: runs[-1].profile()),
            Contender("rsync", lambda: [rsync(bench, tarball())]),
        ],
        another_site,
    )


def next_night(bench: Bench) -> Contest:
    """Back up a repository of which 1 % is new, full tarballs, beside rsync of its tarball to an empty folder."""
    bench.clear()
    size, revisions = bench.size.megabytes * MB, bench.size.revisions
    live = data.clone(svn(bench), bench.source.data / "live" / "data")
    item = {"kind": "svn", "name": "data", "path": str(live)}
    ours = Ours(lab_site(bench, "site", [item], altbackup_full_every=1))

    def change() -> None:
        ours.night += 1
        data.grow_svn(live, size // 100, max(1, revisions // 100), 1000 + ours.night)

    def tarball() -> Path:
        return tarballs_of(bench.source.data / "site" / "backup")[-1]

    return Contest(
        [
            Contender("altbackup", lambda: [ours.playbook("backup")], after=ours.calls, profile=ours.profile),
            Contender("rsync", lambda: [rsync(bench, tarball())]),
        ],
        change,
        first=bench.size.firsts,
    )
