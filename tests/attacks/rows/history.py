"""Attempts to lose history: what taken-over nodes say of what they hold, and what they write into the private state that describes it.

Records, marks, the quarantine, the trash, the list of items ever held, the owner, and the base of a differential.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from attacks.cells import ALL
from attacks.ground import ESCAPE, GOOD, Ground, acting_as, give
from attacks.registry import SCENES, Register, Scene
from attacks.rows.archives import put
from attacks.rows.common import SOURCE, TARGET, drill_agrees, item
from attacks.rows.stamps import (
    BACK_DATED,
    FIFTH,
    FOURTH,
    NIGHTS,
    judge_flood,
    prepare_flood,
    rest_flood,
)
from attacks.rows.trees import HARMED, judge_target, lay_target, private, swap, with_secret
from helpers.hostile import folder, member, stream

DAY, NIGHT, LATER = "2026-11-01", "2026/11/01/010000", "2026/11/02/010000"
OLD = "2026/10/01/010000"

# What the records of a source say, night after night


def record_path(base: Path, key: str, stamp: str) -> Path:
    """Return the path of a dump's record on the source."""
    return base / ".altbackup" / "records" / key / f"{stamp}.json"


def change_record(ground: Ground, name: str, stamp: str, **more: Any) -> dict[str, Any]:
    """Change the source's record of a dump of its own; return it."""
    path = record_path(ground.base(SOURCE), f"folders/{name}", stamp)
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**known, **more}))
    return dict(known)


def there(ground: Ground, name: str) -> list[str]:
    """Return the stamps of the source's tarballs of an item."""
    return ["/".join(path.parts[-5:-1]) for path in ground.stored("folder", name)]


def evil(name: str, text: str) -> bytes:
    """Return an archive with content that the source never had."""
    return stream([folder(name), member(f"{name}/evil", f"{text}\n".encode())])


def one_content(ground: Ground, name: str, stamp: str) -> None:
    """All records of the source, tonight's included, have the content digest of the last honest night."""
    content = json.loads(record_path(ground.base(SOURCE), f"folders/{name}", NIGHTS[2]).read_text())["content"]
    for each in there(ground, name):
        change_record(ground, name, each, content=content)


def formerly(ground: Ground, name: str, stamp: str) -> None:
    """Tonight's record claims the content of the last honest night's tarball."""
    last = json.loads(record_path(ground.base(SOURCE), f"folders/{name}", NIGHTS[2]).read_text())
    change_record(ground, name, stamp, formerly={key: last[key] for key in ("dig", "size", "alg")})


def second(words: dict[str, Any], ground: Ground, name: str, stamp: str) -> None:
    """Under each honest stamp lies a second tarball, whose record is to be taken for the first one's."""
    for night in NIGHTS:
        filename = f"{name}-9.tar.zst"
        dna = put(ground, SOURCE, f"folders/{name}", night, filename, evil(name, night))
        relpath = f"folders/{name}/{night}/{filename}"
        change_record(ground, name, night, **dna, relpath=relpath, content="0" * 64, **words)


def many_suspects(ground: Ground, name: str, stamp: str) -> None:
    """Back-dated tarballs, each marked as suspect."""
    for past in BACK_DATED:
        put(ground, SOURCE, f"folders/{name}", past, f"{name}.tar.zst", evil(name, past))
        change_record(ground, name, past, suspect=["of the source's"])


def nothing_measured(ground: Ground, name: str, stamp: str) -> None:
    """The files are gone, and the records have neither earlier measures nor a suspicion."""
    nothing = dict.fromkeys(("measures", "nights", "suspect", "identity", "noted", "doubts"))
    for each in there(ground, name):
        change_record(ground, name, each, **nothing)


def odd(ground: Ground, name: str, stamp: str) -> None:
    """Records with other values of JSON, and texts that terminals interpret."""
    junk = {
        "suspect": [f"{ESCAPE}{name}\x07"] * 3000,
        "measures": {f"{ESCAPE}{name}\x07": -1, "rows": 1e308, "x" * 5000: 1 << 70, "entries": float("inf")},
        "identity": {"mount": {"a": [1]}, "x\n": "y\n" * 9000},
        "nights": [{"stamp": "../x", "measures": 5}, 7, [[]]] * 500,
        "noted": {"files": "../../../../x", "x": 5},
        "doubts": {"a": 1},
        "content": "../x",
        "formerly": {"dig": 5, "alg": [], "size": "x"},
        "incomplete": {"x": 1},
    }
    change_record(ground, name, stamp, **junk)


def false_base(base: Callable[[Ground, str], tuple[str, str]], ground: Ground, name: str, stamp: str) -> None:
    """Lay a differential whose dna names a wrong full tarball into the source's own tree."""
    path, dig = base(ground, name)
    past = BACK_DATED[0]
    data = stream([folder(name, GNU__dumpdir="Yevil\0\0"), member(f"{name}/evil", b"of a false base\n")])
    put(ground, SOURCE, f"folders/{name}", past, f"{name}.diff.tar.zst", data, base=path, base_dig=dig)


def dig_of(path: Path) -> str:
    """Return the digest in a tarball's sidecar."""
    return str(json.loads(Path(f"{path}.dna").read_text())["dig"])


def of_another_item(ground: Ground, name: str) -> tuple[str, str]:
    """The full tarball of another item, by a relative path."""
    return f"../{GOOD}/{NIGHTS[2]}/{GOOD}.tar.zst", dig_of(ground.stored("folder", GOOD)[-1])


def digest_of_another_item(ground: Ground, name: str) -> tuple[str, str]:
    """The digest of another item's full tarball."""
    return f"{NIGHTS[2]}/{name}.tar.zst", dig_of(ground.stored("folder", GOOD)[-1])


def chain(ground: Ground, name: str) -> tuple[str, str]:
    """Another differential."""
    full = ground.stored("folder", name)[0]
    data = stream([folder(name, GNU__dumpdir="\0")])
    path = f"{BACK_DATED[1]}/{name}.diff.tar.zst"
    more = {"base": f"{NIGHTS[0]}/{name}.tar.zst", "base_dig": dig_of(full)}
    dna = put(ground, SOURCE, f"folders/{name}", BACK_DATED[1], f"{name}.diff.tar.zst", data, **more)
    return path, str(dna["dig"])


def itself(ground: Ground, name: str) -> tuple[str, str]:
    """Itself, by path, with an invented digest."""
    return f"{BACK_DATED[0]}/{name}.diff.tar.zst", "0" * 64


def judge_base(ground: Ground, name: str) -> Iterator[str]:
    """The differential does not count on the target, and the honest nights are there."""
    yield from judge_flood(False, ground, name)
    if any(f"/{BACK_DATED[0]}/" in str(path) for path in ground.stored("folder", name, TARGET, SOURCE)):
        yield "a differential without its full tarball was taken by the target"


def snapshot_of(ground: Ground, name: str) -> Path:
    """Return the source's snapshot of an item's last full tarball."""
    return ground.base(SOURCE) / ".altbackup" / "snapshots" / "folders" / name


def snapshot(form: str, ground: Ground, name: str, stamp: str) -> None:
    """Change the source's snapshot of the full tarball before the next dump."""
    path = snapshot_of(ground, name)
    text = gzip.decompress(path.read_bytes())
    head, _, rest = text.partition(b"\n")
    about = json.loads(head)
    if form == "cut":
        path.write_bytes(path.read_bytes()[:-30])
    elif form == "bomb":
        path.write_bytes(gzip.compress(head + b"\n" + bytes(400 << 20), 9))
    elif form == "top":
        path.write_bytes(gzip.compress(json.dumps({**about, "top": "../../../x"}).encode() + b"\n" + rest))
    elif form == "other":
        dig = dig_of(ground.stored("folder", GOOD)[-1])
        path.write_bytes(gzip.compress(json.dumps({**about, "dig": dig}).encode() + b"\n" + rest))
    elif form == "types":
        wrong = {key: [{"a": None}] for key in about}
        path.write_bytes(gzip.compress(json.dumps({**wrong, "form": about["form"]}).encode() + b"\n" + rest))
    else:
        path.write_bytes(gzip.compress(head + b"\n" + rest.replace(b"users.conf", b"../sers.con")))


def judge_snapshot(ground: Ground, name: str) -> Iterator[str]:
    """Each night is there, and tar restores each as it was."""
    for node, source in ((SOURCE, ""), (TARGET, SOURCE)):
        paths = [path for path in ground.stored("folder", name, node, source) if FIFTH in str(path)]
        if not paths:
            yield f"the last night is not on {node}"
        for path in paths:
            if ".diff." not in path.name:
                continue
            dna = json.loads(Path(f"{path}.dna").read_text())
            if not (path.parents[4] / dna["base"]).is_file():
                yield f"a differential on {node} has no full tarball"


def lay_night(mischief: Callable[[Ground, str, str], None], more: dict[str, Any], ground: Ground, name: str) -> None:
    """Add an item, and what root of the source does each night between dump and delivery."""
    ground.site.hosts[SOURCE]["altbackup_items"].append(item("folder", name, ground.thing(name, "folder", 0), **more))
    ground.notes["mischief"].append((mischief, name))


def play_nights(ground: Ground) -> None:
    """Three good nights; then two, each dumped, falsified, and delivered."""
    for stamp in (*NIGHTS, FOURTH, FIFTH):
        for entry in ground.site.hosts[SOURCE]["altbackup_items"]:
            (Path(entry["path"]) / "users.conf").write_text(f"[users]\n{stamp} {entry['name']}\n")
        if stamp in NIGHTS:
            assert ground.run("backup", stamp=stamp).rc == 0, ground.runs[-1][1].message
            ground.runs.clear()
            continue
        ground.run("dump", stamp=stamp)
        for mischief, name in ground.notes["mischief"]:
            mischief(ground, name, stamp)
        ground.run("backup", stamp=stamp)
        for entry in ground.site.hosts[SOURCE]["altbackup_items"]:
            paths = ground.stored("folder", entry["name"], TARGET, SOURCE)
            kept = {path.parent.relative_to(path.parents[4]).as_posix() for path in paths}
            ground.notes[f"{entry['name']} {(FOURTH, FIFTH).index(stamp)}"] = kept


_SUSPECT, _PART = ({word: ["of the source's"]} for word in ("suspect", "incomplete"))
SCENES["records"] = Scene("records", prepare_flood, play_nights, rest_flood)
_rows = Register("records", "source", "purge", partial(judge_flood, True))
for _name, _what, _mischief, _judge in (
    ("record-content", one_content.__doc__, one_content, partial(judge_flood, True)),
    ("record-formerly", formerly.__doc__, formerly, partial(judge_flood, True)),
    ("record-second-suspect", "a second tarball under each honest stamp, whose record says suspect", partial(second, _SUSPECT), partial(judge_flood, True)),
    ("record-second-part", "a second tarball under each honest stamp, whose record calls it partial", partial(second, _PART), partial(judge_flood, True)),
    ("record-suspects", many_suspects.__doc__, many_suspects, partial(judge_flood, False)),
    ("record-measures", nothing_measured.__doc__, nothing_measured, partial(judge_flood, True)),
    ("record-odd", odd.__doc__, odd, partial(judge_flood, False)),
):  # fmt: skip
    _rows.add(_name, "folder", _what or "", partial(lay_night, _mischief, {}), _judge)
_rows = Register("records", "source", "synchronize", judge_base)
for _base in (of_another_item, digest_of_another_item, chain, itself):
    _rows.add(
        f"base-{_base.__name__.replace('_', '-')}",
        "folder",
        f"a differential whose dna names as its full tarball: {_base.__doc__}",
        partial(lay_night, partial(false_base, _base), {}),
    )
_rows = Register("records", "source", "dump", judge_snapshot)
for _form, _what in {
    "cut": "is cut",
    "bomb": "unpacks to 400 MB of zeros",
    "top": "names a folder out of its archive",
    "other": "is bound to the full tarball of another item",
    "types": "tells in other types",
    "paths": "names paths out of its archive",
}.items():
    _rows.add(
        f"snapshot-{_form}",
        "folder",
        f"what is known of the full tarball {_what}",
        partial(lay_night, partial(snapshot, _form), {"full_every": 90}),
    )


# What a user changes between a full tarball and its differential


def to_link(home: Path, path: Path, vault: Path) -> None:
    """A folder becomes a link to root's."""
    shutil.rmtree(path / "d")
    (path / "d").symlink_to(vault)


def from_link(home: Path, path: Path, vault: Path) -> None:
    """A link to root's folder becomes a folder with a file whose name exists there."""
    (path / "l").unlink()
    (path / "l").mkdir()
    (path / "l" / "secret").write_text("of the user's\n")


def empty_link(home: Path, path: Path, vault: Path) -> None:
    """A link to root's folder becomes an empty folder: a restore removes what its list does not have."""
    (path / "l").unlink()
    (path / "l").mkdir()


def swapped(home: Path, path: Path, vault: Path) -> None:
    """Two folders swap their names, and a link replaces a third one."""
    (path / "d").rename(path / "x")
    (path / "e").rename(path / "d")
    (path / "x").rename(path / "e")
    (path / "d" / "f").unlink()
    (path / "d" / "f").symlink_to(vault / "secret")


def odd_names(home: Path, path: Path, vault: Path) -> None:
    """Names at which a list of names could be split."""
    for name in ("Dd", "Y", "N\nTd", "R..", "T..", "x\x1b]0;x\x07", "-x", " "):
        (path / name).mkdir()
        (path / name / "Yf").write_text(name)


def hard(home: Path, path: Path, vault: Path) -> None:
    """A file of the full tarball has a second name that is a link now, and a third one."""
    (path / "d" / "f").unlink()
    (path / "d" / "f").symlink_to(vault / "secret")
    (path / "d" / "g").hardlink_to(path / "users.conf")


def lay_pair(change: Callable[[Path, Path, Path], None], ground: Ground, name: str) -> None:
    """Add a user's folder with a link to root's, and the changes that the user makes after its full tarball."""
    vault = ground.witness.folder(name)
    path = ground.thing(name, "folder")
    for folder_ in ("d", "e"):
        (path / folder_).mkdir()
        (path / folder_ / "f").write_text(f"{folder_}\n")
    (path / "l").symlink_to(vault)
    give(path)
    ground.site.hosts[SOURCE]["altbackup_items"].append(item("folder", name, path, full_every=9))
    ground.notes["changes"].append((change, name, path, vault))


def prepare_pairs(ground: Ground) -> None:
    """A source whose good item has differentials, too."""
    path = ground.thing(GOOD, "folder", 0)
    (path / "bulk").write_bytes(bytes(range(256)) * 400)
    ground.add_source(SOURCE, [item("folder", GOOD, path, full_every=9)], [TARGET])
    ground.site.add_target(TARGET)
    ground.notes["changes"] = []


def play_pairs(ground: Ground) -> None:
    """A full tarball of each, the users' changes, a differential of each; a drill, and restores of the pairs."""
    assert ground.run("dump", stamp=NIGHT).rc == 0, ground.runs[-1][1].message
    ground.runs.clear()
    (Path(ground.site.hosts[SOURCE]["altbackup_items"][0]["path"]) / "users.conf").write_text(
        "[users]\nthe second night\n"
    )
    for change, name, path, vault in ground.notes["changes"]:
        with acting_as():
            change(ground.site.live / name, path, vault)
    ground.run("dump", stamp=LATER)
    ground.run("drill", f"--limit {SOURCE}", stamp=LATER)
    names = [GOOD, *(name for _, name, _, _ in ground.notes["changes"])]
    orders = [
        {"source": SOURCE, "kind": "folder", "name": name, "to": str(ground.site.live / name / "restored")}
        for name in names
    ]
    ground.run("restore", stamp=LATER, restore=orders)


def seen(path: Path) -> dict[str, str]:
    """Return {path below: description} of a folder."""
    found = {}
    for below in sorted(path.rglob("*")):
        where = below.relative_to(path).as_posix()
        found[where] = (
            f"-> {below.readlink()}" if below.is_symlink() else "/" if below.is_dir() else below.read_text("latin-1")
        )
    return found


def judge_pair(ground: Ground, name: str) -> Iterator[str]:
    """The restored pair equals what was there, and a drill agrees."""
    path = next(path for _, other, path, _ in ground.notes["changes"] if other == name)
    if len(ground.stored("folder", name)) < 2 and not ground.about(name, "dump"):
        yield "the second night is not stored, and nobody was told"
    restored = ground.site.live / name / "restored"
    if restored.exists() and seen(restored) != seen(path):
        yield f"what came back is {seen(restored)}, and was {seen(path)}"
    if not restored.exists() and not ground.about(name):
        yield "it was not restored, and nobody was told"
    yield from drill_agrees(ground, name, "folder")


def rest_pairs(ground: Ground) -> Iterator[str]:
    """The good item's second night is a differential, and comes back."""
    paths = ground.stored("folder", GOOD)
    if len(paths) != 2 or ".diff." not in paths[1].name:
        yield f"the good item has {[path.name for path in paths]}"
    if "the second night" not in (ground.site.live / GOOD / "restored" / "users.conf").read_text():
        yield "the good pair did not come back"


SCENES["pairs"] = Scene("pairs", prepare_pairs, play_pairs, rest_pairs)
_rows = Register("pairs", "user", "dump drill restore", judge_pair)
for _change in (to_link, from_link, empty_link, swapped, odd_names, hard):
    _rows.add(
        f"pair-{_change.__name__.replace('_', '-')}",
        "folder",
        f"between a full tarball and its differential: {_change.__doc__}",
        partial(lay_pair, _change),
    )


# What lies in the private state


def prepare(ground: Ground) -> None:
    """A source with two targets, one of which was taken over."""
    ground.add_source(SOURCE, [item("folder", GOOD, ground.thing(GOOD, "folder", 0))], [TARGET, HARMED])
    ground.site.add_target(TARGET)
    ground.site.add_target(HARMED)
    ground.notes.update(mischief=[])


def state_of(ground: Ground, node: str) -> tuple[Path, Path]:
    """Return the private folder of a node, and its subfolder of one tree: a node is a target of SOURCE, or a source of its own."""
    if (ground.folder / node / "copies").is_dir():
        return private(ground, node), Path(SOURCE)
    return ground.base(node) / ".altbackup", Path()


def lay_source(mischief: Callable[[Ground, str], None], ground: Ground, name: str) -> None:
    """Add a source, and what is done to its private state after the first night."""
    ground.add_source(name, [item("folder", f"{name}-thing", ground.thing(f"{name}-thing", "folder", 0))], [TARGET])
    ground.notes["mischief"].append((mischief, name))


def lay_rot(mischief: Callable[[Ground, str], None], ground: Ground, name: str) -> None:
    """Add an item that rots on the source and on the good target, and the other target's version of it."""
    ground.site.hosts[SOURCE]["altbackup_items"].append(item("folder", name, ground.thing(name, "folder", 0)))

    def rot(ground: Ground, name: str) -> None:
        for node, source in ((SOURCE, ""), (TARGET, SOURCE)):
            path = ground.stored("folder", name, node, source)[0]
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        mischief(ground, name)

    ground.notes["mischief"].append((rot, name))


def item_on(ground: Ground, node: str) -> str:
    """Return the item of which a node has copies."""
    return GOOD if state_of(ground, node)[1].name else f"{node}-thing"


def planted(ground: Ground, node: str, *parts: str) -> Path:
    """Make a stamp's folder in the trash of a node, with a tarball and its dna; return the tarball's path."""
    top, tree = state_of(ground, node)
    name = item_on(ground, node)
    where = top / "trash" / tree / "kept" / Path(*(parts or (DAY, "folders", name, *OLD.split("/"))))
    where.mkdir(parents=True)
    data = evil(name, "of the trash")
    path = where / f"{name}.tar"
    path.write_bytes(data)
    Path(f"{path}.dna").write_text(
        json.dumps({"dig": hashlib.sha256(data).hexdigest(), "size": len(data), "alg": "sha256"})
    )
    return path


def trash(form: str, ground: Ground, name: str) -> None:
    """Lay something into the trash of a node."""
    top, tree = state_of(ground, name)
    kept = top / "trash" / tree / "kept"
    if form in ("kept-link", "day-link"):
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(kept, ignore_errors=True)
        if form == "day-link":
            kept.mkdir()
        swap(kept if form == "kept-link" else kept / DAY, "folder-link", ground, name)
        return
    if form == "private":
        planted(ground, name, DAY, ".altbackup", "locks", *OLD.split("/"))
        planted(ground, name, DAY, "folders", "..x", *OLD.split("/"))
        for day in ("2999-01-01", "0000-00-00", "2026-11-01-", "x" * 200):
            planted(ground, name, day, "folders", item_on(ground, name), *OLD.split("/"))
        return
    if form == "going":
        honest = ground.stored("folder", item_on(ground, name), name, str(tree) if tree.name else "")[0]
        for number, relpath in enumerate(("../../../outside/x", f"folders/{honest.parts[-6]}/{NIGHT}/{honest.name}")):
            gone = top / "trash" / tree / f"tmp{number}"
            gone.mkdir(parents=True)
            going = {"relpath": relpath, "inode": honest.stat().st_ino, "size": honest.stat().st_size}
            (gone / ".going").write_text(json.dumps(going))
        return
    path = planted(ground, name)
    places = {"tarball": path, "dna": Path(f"{path}.dna"), "about": path.parent.with_name(f"{path.parent.name}.json")}
    if form == "owner":
        give(path.parent)
        path.parent.chmod(0o777)
    elif form == "over":
        shutil.move(path.parent, kept / DAY / "folders" / item_on(ground, name) / NIGHT)
    else:
        where, _, what = form.partition("-")
        swap(places[where], what, ground, name)


def judge_trash(ground: Ground, name: str) -> Iterator[str]:
    """Honest copies are unchanged, tonight's included; nothing from the trash stands where no tarball may."""
    top, tree = state_of(ground, name)
    source = str(tree) if tree.name else ""
    paths = ground.stored("folder", item_on(ground, name), name, source)
    nights = {"/".join(path.parts[-5:-1]) for path in paths}
    if missing := {NIGHT, LATER} - nights:
        yield f"{', '.join(sorted(missing))} is not there"
    base = ground.base(name, source)
    found = [path for path in (base / ".altbackup" / "locks", top / "locks") if (path / OLD[:4]).exists()]
    yield from (f"{path} was filled from the trash" for path in found)
    if any(path.is_symlink() for path in base.rglob("*.tar*")):
        yield "a link stands where a tarball may"
    before = ground.notes.get(f"bytes {name}")
    honest = [path for path in paths if NIGHT in str(path) and path.suffix != ".tar"]
    if before is not None and [path.read_bytes() for path in honest] != [before]:
        yield "an honest copy is not what it was"


def quarantine(form: str, ground: Ground, name: str) -> None:
    """Lay something into the quarantine of a node."""
    top, tree = state_of(ground, name)
    own = item_on(ground, name)
    key, stamp = (".altbackup/locks", OLD) if form == "private" else (f"folders/{own}", OLD)
    where = top / "quarantine" / tree / key / stamp
    where.mkdir(parents=True)
    filename = f"{own}.tar.zst"
    (where / filename).write_bytes(b"rotten")
    wanted = ground.stored("folder", f"{name}-other", f"{name}-other")
    stolen = (
        json.loads(Path(f"{wanted[0]}.dna").read_text()) if wanted else {"dig": "0" * 64, "size": 6, "alg": "sha256"}
    )
    (where / f"{filename}.dna").write_text(json.dumps(stolen))
    why = where / "why.json"
    why.write_text(
        json.dumps(
            {
                "since": NIGHT,
                "healed": "",
                "came": "",
                "reason": f"{ESCAPE}x\x07",
                "dna": stolen,
                "read": {**stolen, "dig": "1" * 64},
            }
        )
    )
    if form in ("file-link", "pipe", "large", "deep"):
        swap(why, form, ground, name)
    elif form == "record-link":
        swap(where / "record.json", "file-link", ground, name)
    elif form == "times":
        why.write_text(json.dumps({"since": "9999/99/99/999999", "healed": "x", "came": [], "reason": 5}))


def lay_stolen(lay: Callable[..., None], ground: Ground, name: str) -> None:
    """Add a second source, whose content could be obtained by claiming that it rotted."""
    lay(partial(quarantine, "other"), ground, name)
    other = f"{name}-other"
    ground.add_source(other, [item("folder", other, ground.thing(other, "folder", 0))], [TARGET])


def judge_stolen(ground: Ground, name: str) -> Iterator[str]:
    """Nothing of the other source came to that node."""
    wanted = ground.stored("folder", f"{name}-other", f"{name}-other")[0].read_bytes()
    for path in (ground.folder / name).rglob("*"):
        if (
            path.is_file()
            and not path.is_symlink()
            and path.stat().st_size == len(wanted)
            and path.read_bytes() == wanted
        ):
            yield f"{path} is another source's"
    if not ground.about(name):
        yield "nobody was told of it"


FORGED = {
    "accepted": {f"folders/{GOOD}": "2099/01/01/000000"},
    "holds": {f"folders/{GOOD}/{NIGHT}": "of a node's"},
    "retired": {f"folders/{GOOD}": "2026/10/01"},
}


def marks(form: str, ground: Ground, name: str) -> None:
    """Forge people's marks on a node."""
    top, tree = state_of(ground, name)
    text = json.dumps(FORGED).replace(GOOD, item_on(ground, name))
    path = top / "state" / tree / "marks.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    swap(path, text if form == "forged" else form, ground, name)


def judge_marks(ground: Ground, name: str) -> Iterator[str]:
    """No other node, nor the controller, has such a mark."""
    own = item_on(ground, name)
    places = [*ground.folder.glob("*/*/.altbackup/state/**/marks.json"), *_journals(ground)]
    for path in places:
        if f"{ground.folder}/" in str(path) and "-marks-" in path.relative_to(ground.folder).parts[0]:
            continue
        if not path.is_file() or path.is_symlink():
            continue
        if own in path.read_text() and ("of a node's" in path.read_text() or "2099/01/01" in path.read_text()):
            yield f"{path} has the forged marks"
    yield from judge_target(ground, name) if state_of(ground, name)[1].name else ()


def _journals(ground: Ground) -> list[Path]:
    state = Path("/var/lib/altbackup/marks")
    return [path for path in state.glob("*.json") if str(ground.folder) in path.read_text()]


def held(form: str, ground: Ground, name: str) -> None:
    """Forge a tree's list of items ever held, or its pairs."""
    top, tree = state_of(ground, name)
    state = top / "state" / tree
    if form == "known":
        (state / "known").write_text("folders/never\nsvn/../../x\nfolders/\x1b]0;x\x07\n")
    elif form == "pairs":
        (state / "pairs").mkdir(parents=True, exist_ok=True)
        pair = {"id": "0" * 32, "copies": 1 << 52, "purged": 0, "newest": "2099/01/01/000000", "run": NIGHT}
        for target in (TARGET, HARMED, "..x", "x\n"):
            (state / "pairs" / target).write_text(json.dumps(pair))


def owner(ground: Ground, name: str) -> None:
    """Claim to be the good source: its id, and its machine's."""
    good = ground.base(SOURCE) / ".altbackup" / "owner"
    path = ground.base(name) / ".altbackup" / "owner"
    known = json.loads(good.read_text())
    path.write_text(json.dumps({**known, "name": name}))


def judge_owner(ground: Ground, name: str) -> Iterator[str]:
    """It is reported, and the tree of the good source is unchanged."""
    if not ground.about(name):
        yield "nobody was told of it"
    for path in ground.base(TARGET, SOURCE).rglob("*"):
        if f"{name}-thing" in path.name:
            yield f"{path} is of the source that lies"


def judge_told(ground: Ground, name: str) -> Iterator[str]:
    """It is reported; the copies on other nodes are there."""
    if not ground.about(name):
        yield "nobody was told of it"


def healer(form: str, ground: Ground, name: str) -> None:
    """What a target has in place of the last good copy."""
    path = ground.stored("folder", name, HARMED, SOURCE)[0]
    record = private(ground, HARMED) / "records" / SOURCE / "folders" / name / f"{NIGHT}.json"
    ground.notes[f"honest {name}"] = path.read_bytes()
    if form == "bytes":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif form == "record":
        record.write_text(
            json.dumps({**json.loads(record.read_text()), "suspect": ["of the target's"], "content": "0" * 64})
        )
    else:
        swap(path, form, ground, name)


def judge_heal(healed: bool, ground: Ground, name: str) -> Iterator[str]:
    """The honest tarball, or nothing, stands on the source and on the good target; it is reported."""
    for node, source in ((SOURCE, ""), (TARGET, SOURCE)):
        found = [path for path in ground.stored("folder", name, node, source) if NIGHT in str(path)]
        if [path.read_bytes() for path in found] != [ground.notes[f"honest {name}"]][: len(found)]:
            yield f"{node} has another content under {NIGHT}"
        if healed and not found:
            yield f"{node} was not healed"
        top, tree = state_of(ground, node)
        records = top / "records" / tree if node == TARGET else top / "records"
        record = records / "folders" / name / f"{NIGHT}.json"
        if record.is_file() and "of the target's" in record.read_text():
            yield f"{node} took over what the target says of it"
    if not ground.about(name, "backup"):
        yield "nobody was told of it"


def play(ground: Ground) -> None:
    """A good night, mischief, a night that reads everything, an undo of the first day's purge; another purge."""
    assert ground.run("backup", stamp=NIGHT).rc == 0, ground.runs[-1][1].message
    ground.runs.clear()
    for mischief, name in ground.notes["mischief"]:
        top, tree = state_of(ground, name) if (ground.folder / name).is_dir() else (Path(), Path())
        if top.name:
            honest = ground.stored("folder", item_on(ground, name), name, str(tree) if tree.name else "")[0]
            ground.notes[f"bytes {name}"] = honest.read_bytes()
        mischief(ground, name)
    for settings in ground.site.hosts.values():
        for entry in settings.get("altbackup_items", ()):
            (Path(entry["path"]) / "users.conf").write_text("[users]\nthe second night\n")
    ground.run("backup", stamp=LATER, check_scope="all")
    ground.run("undo", undo=["2026/11/01"], stamp=LATER)
    ground.run("purge", stamp=LATER)


def rest(ground: Ground) -> Iterator[str]:
    """The good target has both nights of the good item."""
    if len(ground.stored("folder", GOOD, TARGET, SOURCE)) < 2:
        yield "the good target lacks a night of the good item"
    marks_ = private(ground, TARGET) / "state" / SOURCE / "marks.json"
    if marks_.exists():
        yield "the good target has marks that nobody gave"


SCENES["history"] = Scene("history", prepare, play, rest)
for _role, _lay in (("target", lay_target), ("source", lay_source)):
    _rows = Register("history", _role, "undo purge", judge_trash)
    for _form in (
        ("kept-link", "day-link", "private", "going", "over", "owner", "tarball-file-link", "about-pipe")
        if _role == "target"
        else ("private", "going", "over")
    ):
        _rows.add(
            f"{_role}-trash-{_form}",
            ALL,
            f"in the trash: {_form.replace('-', ', a ')}",
            with_secret(partial(_lay, partial(trash, _form))),
        )
    _rows = Register("history", _role, "heal check", judge_told)
    for _form in ("file-link", "large", "record-link", "times", "private") if _role == "target" else ():
        _rows.add(
            f"{_role}-quarantine-{_form}",
            ALL,
            f"in the quarantine: {_form}",
            with_secret(partial(_lay, partial(quarantine, _form))),
        )
    _rows.add(
        f"{_role}-quarantine-stolen",
        ALL,
        "it says that what another source has rotted with it",
        partial(lay_stolen, _lay),
        judge_stolen,
    )
    _rows = Register("history", _role, "mark", judge_marks)
    for _form in ("forged", "deep") if _role == "target" else ("forged",):
        _rows.add(
            f"{_role}-marks-{_form}",
            ALL,
            f"what is accepted, held and retired there: {_form}",
            with_secret(partial(_lay, partial(marks, _form))),
        )
    _rows = Register("history", _role, "purge", judge_told)
    for _form in ("known",) if _role == "target" else ("pairs",):
        _rows.add(
            f"{_role}-held-{_form}",
            ALL,
            f"what it ever held is forged: {_form}",
            partial(_lay, partial(held, _form)),
            judge_told,
        )
Register("history", "source", "preflight", judge_owner).add(
    "source-owner", ALL, owner.__doc__ or "", partial(lay_source, owner)
)
_rows = Register("history", "target", "heal", partial(judge_heal, False))
for _form in ("bytes", "file-link", "pipe"):
    _rows.add(
        f"heal-{_form}",
        "folder",
        f"the last good copy is to come from it, and is there: {_form}",
        with_secret(partial(lay_rot, partial(healer, _form))),
    )
_rows.add(
    "heal-record",
    "folder",
    "the last good copy comes from it, with a record that calls it suspect",
    partial(lay_rot, partial(healer, "record")),
    partial(judge_heal, True),
)
