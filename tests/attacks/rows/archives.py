"""Archives of a node that was taken over: restore, drill and restore.sh refuse members that would lead outside, and say so."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attacks.ground import CATEGORIES, GOOD, Ground
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import NIGHT, SOURCE, TARGET, item
from helpers.hostile import Member, compressed, folder, member, stream

FULL, DIFFERENTIAL = "2026/01/01/000000", "2026/01/02/000000"
LATER = "2026/11/02/010000"
Content = Callable[[str, Path], bytes]


def header(
    path: str, kind: bytes = b"0", size: int = 0, link: str = "", mode: int = 0o644, magic: bytes = b"ustar\x0000"
) -> bytes:
    """Return the block of a header."""
    block = bytearray(512)
    block[0 : len(path)] = path.encode()
    for start, value in ((100, mode), (108, 0), (116, 0)):
        block[start : start + 8] = b"%07o\0" % value
    block[124:136], block[136:148] = b"%011o\0" % size, b"%011o\0" % 0
    block[156:157], block[157 : 157 + len(link)], block[257:265] = kind, link.encode(), magic
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(data: bytes) -> bytes:
    """Return data in whole blocks."""
    return data + b"\0" * (-len(data) % 512)


def record(key: str, value: str) -> bytes:
    """Return a record of an extended header."""
    text = f" {key}={value}\n".encode()
    length = len(text)
    while len(str(length)) + len(text) != length:
        length = len(str(length)) + len(text)
    return str(length).encode() + text


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    """Return an extended header."""
    return header("PaxHeaders/x", kind, len(b"".join(records))) + padded(b"".join(records))


def long_name(path: str, kind: bytes = b"L") -> bytes:
    """Return a header of GNU's for a long name."""
    return header("././@LongLink", kind, len(path) + 1, magic=b"ustar  \0") + padded(path.encode() + b"\0")


def file_(path: str, body: bytes = b"written by a node\n") -> bytes:
    """Return a file."""
    return header(path, b"0", len(body)) + padded(body)


END = b"\0" * 10240
_BODY = b"written by a node\n"


def ambiguous(form: str, name: str, evil: str, innocent: str) -> bytes:
    """Return headers and a file that one reader takes for the innocent path, another for the evil one."""
    good = file_(innocent)
    return {
        "L": long_name(innocent) + pax(record("path", evil)) + good,
        "L-after": pax(record("path", evil)) + long_name(innocent) + good,
        "xx": pax(record("path", innocent)) + pax(record("path", evil)) + good,
        "x-twice": pax(record("path", innocent), record("path", evil)) + good,
        "x-reversed": pax(record("path", evil), record("path", innocent)) + good,
        "sparse": pax(record("GNU.sparse.name", evil), record("path", innocent)) + good,
        "sparse-only": pax(
            record("GNU.sparse.major", "1"),
            record("GNU.sparse.minor", "0"),
            record("GNU.sparse.name", evil),
            record("GNU.sparse.realsize", str(len(_BODY))),
        )
        + good,
        "g": pax(record("path", evil), kind=b"g") + good,
        "gx": pax(record("path", evil), kind=b"g") + pax(record("mtime", "1")) + good,
        "LL": long_name(evil) + long_name(innocent) + good,
        "nul": long_name(f"{innocent}\0{evil}") + good,
        "nul-x": pax(record("path", f"{evil}\0{innocent}")) + good,
        "charset": pax(record("hdrcharset", "BINARY"), record("path", evil)) + pax(record("path", innocent)) + good,
        "size": pax(record("size", "0")) + header(innocent, b"0", 512) + header(evil, b"0", 0),
        "X": header("PaxHeaders/x", b"X", 512) + padded(record("path", evil)) + good,
        "volume": header("x", b"V") + pax(record("path", evil)) + good,
        "continued": header(innocent, b"M", len(_BODY)) + padded(_BODY),
        "prefix": _prefixed(innocent, evil) + padded(_BODY),
    }[form]


def _prefixed(innocent: str, evil: str) -> bytes:
    """A header with a prefix in GNU's block format, which one reader ignores."""
    block = bytearray(header(os.path.basename(evil), b"0", len(_BODY), magic=b"ustar  \0"))
    prefix = os.path.dirname(evil).encode()[:150]
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


FORMS = (
    "L",
    "L-after",
    "xx",
    "x-twice",
    "x-reversed",
    "sparse",
    "sparse-only",
    "g",
    "gx",
    "LL",
    "nul",
    "nul-x",
    "charset",
    "size",
    "X",
    "volume",
    "continued",
    "prefix",
)


def put(ground: Ground, node: str, key: str, stamp: str, filename: str, data: bytes, **more: str) -> dict[str, object]:
    """Lay a tarball with a dna that matches into the tree of a node."""
    base = ground.base(node, SOURCE) if node != SOURCE else ground.base(node)
    path = base / key / stamp / filename
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".zst", ".gz"):
        compressed(path, data)
    else:
        path.write_bytes(data)
    data = path.read_bytes()
    dna = {"dig": hashlib.sha256(data).hexdigest(), "size": len(data), "alg": "sha256", **more}
    Path(f"{path}.dna").write_text(json.dumps(dna) + "\n")
    return dna


def lay_pair(form: str, node: str, ground: Ground, name: str) -> None:
    """Lay a full tarball with a link, and a differential that would write through it."""
    vault = ground.witness.folder(name)
    full = header(f"{name}/", b"5", mode=0o755) + header(f"{name}/link", b"2", link=str(vault)) + END
    dna = put(ground, node, f"folders/{name}", FULL, f"{name}.tar", full)
    evil = ambiguous(form, name, f"{name}/link/pwned", f"{name}/ok")
    more = {"base": f"{FULL}/{name}.tar", "base_dig": str(dna["dig"])}
    put(ground, node, f"folders/{name}", DIFFERENTIAL, f"{name}.diff.tar", header(f"{name}/ok2") + evil + END, **more)
    ordered(ground, name, "folder", node)


def lay_base(form: str, node: str, ground: Ground, name: str) -> None:
    """Lay a differential whose dna names a wrong full tarball."""
    honest = ground.stored("folder", GOOD, node, SOURCE if node == TARGET else "")[0]
    dig = json.loads(Path(f"{honest}.dna").read_text())["dig"]
    data = stream([folder(name, GNU__dumpdir="Yevil\0\0"), member(f"{name}/evil", b"of a false base\n")])
    first = stream([folder(name, GNU__dumpdir="\0")])
    path, filename = f"{FULL}/{name}.diff.tar", f"{name}.diff.tar"
    if form == "path":
        path = f"../{GOOD}/{NIGHT}/{honest.name}"
    elif form == "digest":
        path = f"{NIGHT}/{name}.tar"
    elif form == "absolute":
        path = str(honest)
    elif form == "itself":
        path, dig = f"{DIFFERENTIAL}/{filename}", "0" * 64
    else:
        more = {"base": f"{FULL}/{name}.tar", "base_dig": "1" * 64} if form == "chain" else {}
        named = filename if form == "chain" else f"{name}.tar"
        dig = str(put(ground, node, f"folders/{name}", FULL, named, first, **more)["dig"])
        path = f"{FULL}/{named}"
        if form == "unnamed":
            filename = f"{name}.tar"
    put(ground, node, f"folders/{name}", DIFFERENTIAL, filename, data, base=path, base_dig=dig)
    ordered(ground, name, "folder", node)


def judge_base(ground: Ground, name: str) -> Iterator[str]:
    """Nothing of the wrong base comes back, and it is reported; a file named as a full one does not count, and an older copy comes back."""
    yield from judge(not name.endswith("unnamed"), ground, name)
    for place in ("restored", "script"):
        found = ground.site.live / name / place
        if (found / "evil").exists() or (found / "users.conf").exists():
            yield f"{place}: it was put over what is not its full tarball"


def lay_single(form: str, node: str, ground: Ground, name: str) -> None:
    """Lay a full tarball that has a link and a member that would go through it."""
    vault = ground.witness.folder(name)
    full = header(f"{name}/", b"5", mode=0o755) + header(f"{name}/link", b"2", link=str(vault))
    put(
        ground,
        node,
        f"folders/{name}",
        FULL,
        f"{name}.tar",
        full + ambiguous(form, name, f"{name}/link/pwned", f"{name}/ok") + END,
    )
    ordered(ground, name, "folder", node)


def ordered(ground: Ground, name: str, kind: str, node: str) -> None:
    """Add an item of that name, and order its restore from a node."""
    ground.site.hosts[SOURCE]["altbackup_items"].append(item(kind, name, ground.site.live / name / "thing"))
    ground.home(name, 0)
    entry = {
        "source": SOURCE,
        "kind": kind,
        "name": name,
        "from": node,
        "to": str(ground.site.live / name / "restored"),
    }
    ground.notes["orders"].append(entry)


def lay_archive(content: Callable[[str, Path], bytes], kind: str, extension: str, ground: Ground, name: str) -> None:
    """Lay one tarball."""
    vault = ground.witness.folder(name)
    revision = "-3" if kind == "svn" else ""
    data = content(f"{name}{revision}", vault)
    put(ground, TARGET, f"{CATEGORIES[kind]}/{name}", FULL, f"{name}{revision}{extension}", data)
    ordered(ground, name, kind, TARGET)


def away(vault: Path) -> str:
    """Return a relative path that leads to the canaries from anywhere."""
    return f"../../../../../../../../../../../..{vault}"


def _symlink(path: str, to: object) -> Member:
    return member(path, kind=tarfile.SYMTYPE, link=str(to))


def _hardlink(path: str, to: object) -> Member:
    return member(path, kind=tarfile.LNKTYPE, link=str(to))


def _device(path: str, kind: bytes) -> Member:
    info, content = member(path, kind=kind, mode=0o666)
    info.devmajor, info.devminor = 1, 3
    return info, content


ARCHIVES: dict[str, tuple[str, Content]] = {
    "absolute": ("an absolute name", lambda top, vault: stream([folder(top), member(f"{vault}/new", b"x")])),
    "dots": (
        "a name that leads out by ..",
        lambda top, vault: stream([folder(top), member(f"{top}/{away(vault)}/new", b"x")]),
    ),
    "top-link": ("a link in the place of the top folder", lambda top, vault: stream([_symlink(top, vault)])),
    "below-link": (
        "a file below a link",
        lambda top, vault: stream([folder(top), _symlink(f"{top}/l", vault), member(f"{top}/l/secret", b"x")]),
    ),
    "over-link": (
        "a file in the place of a link",
        lambda top, vault: stream([folder(top), _symlink(f"{top}/l", f"{vault}/secret"), member(f"{top}/l", b"x")]),
    ),
    "folder-over-link": (
        "a folder in the place of a link",
        lambda top, vault: stream([folder(top), _symlink(f"{top}/l", vault), folder(f"{top}/l")]),
    ),
    "hard-out": (
        "a hard link out by ..",
        lambda top, vault: stream([folder(top), _hardlink(f"{top}/h", f"{top}/{away(vault)}/secret")]),
    ),
    "hard-absolute": (
        "an absolute hard link",
        lambda top, vault: stream([folder(top), _hardlink(f"{top}/h", f"{vault}/secret")]),
    ),
    "hard-through": (
        "a hard link through a link",
        lambda top, vault: stream([folder(top), _symlink(f"{top}/l", vault), _hardlink(f"{top}/h", f"{top}/l/secret")]),
    ),
    "hard-of-link": (
        "a file below a hard link of a link",
        lambda top, vault: stream(
            [
                folder(top),
                _symlink(f"{top}/l", vault),
                _hardlink(f"{top}/h", f"{top}/l"),
                member(f"{top}/h/secret", b"x"),
            ]
        ),
    ),
    "character": ("a character device", lambda top, _: stream([folder(top), _device(f"{top}/d", tarfile.CHRTYPE)])),
    "block": ("a block device", lambda top, _: stream([folder(top), _device(f"{top}/d", tarfile.BLKTYPE)])),
    "renames": (
        "a differential that renames out",
        lambda top, vault: stream([folder(top, GNU__dumpdir=f"R{vault}/secret\0T{top}/taken\0\0")]),
    ),
    "bomb": (
        "a bomb of 300 MB in 40 kB",
        lambda top, _: stream([folder(top), member(f"{top}/bomb", bytes(300 << 20))]),
    ),
    "exabyte": (
        "a sparse file of an exabyte",
        lambda top, _: stream(
            [
                folder(top),
                member(
                    f"{top}/s", b"x", GNU__sparse__size=str(1 << 60), GNU__sparse__numblocks="1", GNU__sparse__map="0,1"
                ),
            ]
        ),
    ),
    "second": (
        "a second archive behind the end",
        lambda top, _: stream([folder(top)]) + stream([member("../hidden", b"x")]),
    ),
    "headers": (
        "80 MB of headers",
        lambda top, _: stream([folder(top), member(f"{top}/a", b"x", comment="x" * (80 << 20))]),
    ),
    "other-top": ("the top folder of another item", lambda top, _: stream([folder(GOOD), member(f"{GOOD}/x", b"x")])),
    "negative": (
        "a member of a negative size",
        lambda top, _: stream([folder(top)])[:512] + _sized(f"{top}/n", b"\xff" * 12) + END,
    ),
    "deep": (
        "a path of 3000 folders",
        lambda top, _: stream([folder(top), member(f"{top}/" + "d/" * 3000 + "x", b"x")]),
    ),
}


def _sized(path: str, size: bytes) -> bytes:
    block = bytearray(header(path))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def lay_special(ground: Ground, name: str) -> None:
    """Lay files with setuid, setgid and a capability."""
    capability = bytes.fromhex("0100000200200000000000000000000000000000").decode("latin-1")
    content = [
        folder(name),
        member(f"{name}/setuid", b"#!/bin/sh\n", mode=0o6755),
        member(f"{name}/capable", b"x", mode=0o755, SCHILY__xattr__security__capability=capability),
    ]
    lay_archive(lambda top, vault: stream(content), "folder", ".tar", ground, name)


def judge_special(ground: Ground, name: str) -> Iterator[str]:
    """No restore sets them; the script reports them, or removes them."""
    for path in [ground.site.live / name / "restored" / "setuid", ground.site.live / name / "script" / "setuid"]:
        said = (
            path.parent.name == "script"
            and "setuid" in ground.notes[f"script {name}"].stdout + ground.notes[f"script {name}"].stderr
        )
        if path.exists() and path.stat().st_mode & 0o6000 and not said:
            yield f"{path.parent.name}: a program that runs as root was made of an archive, without a word"
    capable = ground.site.live / name / "restored" / "capable"
    if capable.exists() and "security.capability" in os.listxattr(capable):
        yield "restored: a program with a capability was made of an archive"


def thing_with(kind: str, change: Callable[[Path, Path], None], ground: Ground, name: str) -> None:
    """Lay an archive of a real item with something hostile in it."""
    vault = ground.witness.folder(name)
    origin = ground.folder / "making" / name
    origin.parent.mkdir(exist_ok=True)
    import shutil

    if kind == "sqlite":
        origin.mkdir()
        shutil.copy2(ground.templates / "sqlite.db", origin / "sqlite.db")
    else:
        shutil.copytree(ground.templates / kind, origin, symlinks=True)
    change(origin, vault)
    output = io.BytesIO()
    revision = "-3" if kind == "svn" else ""
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(origin, f"{name}{revision}")
    put(ground, TARGET, f"{CATEGORIES[kind]}/{name}", FULL, f"{name}{revision}.tar.zst", output.getvalue())
    ordered(ground, name, kind, TARGET)


def with_commands(path: Path, vault: Path) -> None:
    """A repository whose settings and hooks name commands."""
    mark = path.parents[1] / "ran"
    text = "".join(
        f"[{section}]\n\t{key} = !touch {mark}\n"
        for section, key in (
            ("core", "fsmonitor"),
            ("core", "pager"),
            ("alias", "fsck"),
            ("uploadpack", "packObjectsHook"),
        )
    )
    with (path / "config").open("a") as stream_:
        stream_.write(text)
    (path / "objects" / "info").mkdir(exist_ok=True)
    (path / "objects" / "info" / "alternates").write_text(f"{vault}\n")


def with_links(*places: str) -> Callable[[Path, Path], None]:
    """Return a function that puts links to root's file at places of an item."""

    def change(path: Path, vault: Path) -> None:
        for place in places:
            (path / place).unlink(missing_ok=True)
            (path / place).parent.mkdir(parents=True, exist_ok=True)
            (path / place).symlink_to(vault / "secret")

    return change


def with_hooks(path: Path, vault: Path) -> None:
    """A repository whose hooks leave a trace."""
    for hook in ("start-commit", "pre-commit", "post-revprop-change"):
        (path / "hooks" / hook).write_text(f"#!/bin/sh\ntouch {path.parents[1] / 'ran'}\n")
        (path / "hooks" / hook).chmod(0o755)


def with_schema(path: Path, vault: Path) -> None:
    """A database whose schema tries to write, load and attach."""
    database = sqlite3.connect(path / "sqlite.db")
    database.execute("CREATE VIEW loaded AS SELECT load_extension('/nowhere')")
    database.execute("CREATE TABLE attacked (a, b GENERATED ALWAYS AS (hex(zeroblob(100000000))) VIRTUAL)")
    database.execute("CREATE TRIGGER t AFTER INSERT ON readings BEGIN DELETE FROM readings; END")
    database.execute("PRAGMA writable_schema = ON")
    database.execute(
        "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING csv(filename=\"/etc/passwd\")')"
    )
    database.commit()
    database.close()


def play(ground: Ground) -> None:
    """Restore from the node, drill there, and run its script for each."""
    ground.site.hosts[TARGET]["altbackup_drill_limit"] = "200M"
    ground.site.hosts[SOURCE]["altbackup_drill_limit"] = "200M"
    ground.home("well", 0)
    good = {
        "source": SOURCE,
        "kind": "folder",
        "name": GOOD,
        "from": TARGET,
        "to": str(ground.site.live / "well" / "docs"),
    }
    ground.run("restore", stamp=LATER, restore=[good, *ground.notes["orders"]])
    ground.run("drill", f"--limit {TARGET},{SOURCE}", stamp=LATER)
    script = ground.folder / TARGET / "copies" / "restore.sh"
    for entry in ground.notes["orders"]:
        name = entry["name"]
        if entry["from"] == TARGET:
            destination = ground.site.live / name / "script"
            key = f"{SOURCE}/{CATEGORIES[entry['kind']]}/{name}"
            ground.notes[f"script {name}"] = ground.call("sh", script, "restore", key, destination)


def prepare(ground: Ground) -> None:
    """One good night."""
    from attacks.rows.common import one_source

    one_source(ground)
    assert ground.run("backup", stamp=NIGHT).rc == 0
    ground.runs.clear()
    ground.notes["orders"] = []


def judge(refused: bool, ground: Ground, name: str) -> Iterator[str]:
    """Nothing escaped; restore, drill and script gave a reason, or made of it what it honestly is."""
    if (ground.folder / "ran").exists():
        yield "a command of an archive ran"
    for stage in ("restore", "drill"):
        done = any(playbook == stage for playbook, _, _ in ground.runs)
        if done and refused and not ground.about(name, stage):
            yield f"{stage}: nobody was told of it"
    if refused and (ground.site.live / name / "restored").exists():
        yield "restore: it was restored"
    done = ground.notes.get(f"script {name}")
    if done is not None and done.returncode and not done.stderr.strip():
        yield "restore.sh: it failed without a word"


def judge_device(ground: Ground, name: str) -> Iterator[str]:
    """The device is left out, and reported; the rest comes back."""
    yield from judge(False, ground, name)
    for place in ("restored", "script"):
        if os.path.lexists(ground.site.live / name / place / "d"):
            yield f"{place}: the device was made"
    if not any("left out the device" in line for line in ground.about(name, "restore")):
        yield "restore: nobody was told that the device was left out"


def rest(ground: Ground) -> Iterator[str]:
    """The good item is restored and proved."""
    if not (ground.site.live / "well" / "docs" / "users.conf").is_file():
        yield "the good restore beside the attacked ones was not done"
    proved = [
        entry["name"] for _, run, _ in ground.runs for _, _, result in run.calls for entry in result.get("proved") or []
    ]
    if GOOD not in proved:
        yield "the good item was not proved by the drill"


SCENES["archives"] = Scene("archives", prepare, play, rest)
for _role, _node in (("target", TARGET), ("source", SOURCE)):
    _stages = "restore drill restore.sh" if _role == "target" else "restore drill"
    _rows = Register("archives", _role, _stages, partial(judge, False))
    for _form in FORMS if _role == "target" else FORMS[:6]:
        _rows.add(
            f"{_role}-pair-{_form.lower()}",
            "folder",
            f"a full tarball with a link, and a differential through it by headers of the form {_form}",
            partial(lay_pair, _form, _node),
        )
    for _form, _what in {
        "path": "another item's full tarball, by a path that leads there",
        "absolute": "the path of another item's full tarball",
        "digest": "the digest of another item's full tarball",
        "chain": "another differential",
        "itself": "itself",
        "unnamed": "its full tarball, though it is named as a full one",
    }.items():
        _rows.add(
            f"{_role}-base-{_form}",
            "folder",
            f"a differential whose dna names {_what}",
            partial(lay_base, _form, _node),
            judge_base,
        )
    for _form in FORMS if _role == "target" else FORMS[:3]:
        _rows.add(
            f"{_role}-single-{_form.lower()}",
            "folder",
            f"a link, and a file through it by headers of the form {_form}, in one tarball",
            partial(lay_single, _form, _node),
        )
_rows = Register("archives", "target", "restore drill restore.sh", partial(judge, True))
for _form, (_what, _content) in ARCHIVES.items():
    _kind = {"absolute": "git", "dots": "svn", "top-link": "trac", "bomb": "sqlite"}.get(_form, "folder")
    _extension = ".tar.zst" if _form in ("bomb", "headers") else ".tar"
    _rows.add(
        f"archive-{_form}",
        _kind,
        f"an archive with {_what}",
        partial(lay_archive, _content, _kind, _extension),
        judge_device
        if _form in ("character", "block")
        else partial(judge, _form not in ("folder-over-link", "bomb", "deep", "exabyte")),
    )
_rows.add("archive-special", "folder", "an archive with setuid, setgid and a capability", lay_special, judge_special)
for _name, _kind, _change, _what in (
    ("thing-git-commands", "git", with_commands, "settings that name commands, and alternates of root's"),
    (
        "thing-git-links",
        "git",
        with_links("HEAD", "hooks/update", "info/exclude", "packed-refs"),
        "links to a file of root's at HEAD, hooks, info and packed-refs",
    ),
    ("thing-svn-hooks", "svn", with_hooks, "hooks"),
    (
        "thing-svn-links",
        "svn",
        with_links("db/current", "db/fsfs.conf", "conf/passwd"),
        "links to a file of root's at db/current, db/fsfs.conf, conf/passwd",
    ),
    (
        "thing-trac-links",
        "trac",
        with_links("db/trac.db", "conf/trac.ini"),
        "links to a file of root's at db/trac.db and conf/trac.ini",
    ),
    ("thing-sqlite-schema", "sqlite", with_schema, "a schema that wants to load, write and attach"),
    ("thing-sqlite-link", "sqlite", with_links("sqlite.db"), "a link in the place of the database"),
):
    _rows.add(
        _name,
        _kind,
        f"an archive of a real thing with {_what}",
        partial(thing_with, _kind, _change),
        partial(judge, False),
    )
