"""What a target makes of encrypted tarballs: exchanged, replayed, cut, with one more recipient, forged; nothing that the source did not sign comes back."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attacks.ground import GOOD, Ground
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import SOURCE, TARGET, add_item, one_source, write
from helpers.age_keys import age_key

FIRST, SECOND, LATER = "2026/11/01/010000", "2026/11/02/010000", "2026/11/03/010000"


def prepare(ground: Ground) -> None:
    """A source that encrypts."""
    one_source(ground)
    folder = ground.folder / "keys"
    folder.mkdir(mode=0o700)
    ground.notes["keys"] = [age_key(folder, "one"), age_key(folder, "two")]
    ground.site.hosts[SOURCE]["altbackup_encrypt_to"] = [key.recipient for key in ground.notes["keys"]]
    ground.notes["changes"] = []


def lay(change: Callable[[Ground, str], None], ground: Ground, name: str) -> None:
    """Add an item, of which the target changes its copies once there are some."""
    ground.thing(name, "folder")
    write(ground.home(name) / "folder" / "night", "first\n")
    add_item(ground, "folder", name, ground.home(name) / "folder")
    ground.notes["changes"].append((change, name))


def tarball(ground: Ground, name: str, stamp: str) -> Path:
    """Return the copy of a night on the target."""
    return ground.base(TARGET, SOURCE) / "folders" / name / stamp / f"{name}.tar.zst.age"


def record(ground: Ground, name: str, stamp: str) -> Path:
    """Return what the target was told of it."""
    return ground.folder / TARGET / "copies/.altbackup/records" / SOURCE / "folders" / name / f"{stamp}.json"


def put(ground: Ground, name: str, stamp: str, content: bytes) -> None:
    """Put other bytes in the place of a copy, with a dna and a record that fit."""
    path = tarball(ground, name, stamp)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    dna = {"dig": hashlib.sha256(content).hexdigest(), "size": len(content), "alg": "sha256"}
    Path(f"{path}.dna").write_text(json.dumps(dna) + "\n")
    known = record(ground, name, stamp)
    known.write_text(json.dumps({**json.loads(known.read_text()), **dna}) + "\n")


def swapped(ground: Ground, name: str) -> None:
    """two nights exchanged, each with a dna and a record that fit"""
    contents = [tarball(ground, name, stamp).read_bytes() for stamp in (SECOND, FIRST)]
    for stamp, content in zip((FIRST, SECOND), contents, strict=True):
        put(ground, name, stamp, content)


def replayed(ground: Ground, name: str) -> None:
    """the night before under the newest stamp, with its own record and signature"""
    old = json.loads(record(ground, name, FIRST).read_text())
    put(ground, name, SECOND, tarball(ground, name, FIRST).read_bytes())
    relpath = str(tarball(ground, name, SECOND).relative_to(ground.base(TARGET, SOURCE)))
    record(ground, name, SECOND).write_text(json.dumps({**old, "relpath": relpath}) + "\n")


def cut(ground: Ground, name: str) -> None:
    """the newest one without its end"""
    put(ground, name, SECOND, tarball(ground, name, SECOND).read_bytes()[:-60])


def appended(ground: Ground, name: str) -> None:
    """a header with one more recipient, the target's own"""
    mine = age_key(ground.folder / "keys", f"mine-{name}")
    made = subprocess.run(["age", "-r", mine.recipient], input=b"x", capture_output=True, check=True).stdout
    head, _, rest = tarball(ground, name, SECOND).read_bytes().partition(b"\n--- ")
    put(ground, name, SECOND, b"\n".join([head, *made.split(b"\n")[1:3]]) + b"\n--- " + rest)


def forged(ground: Ground, name: str) -> None:
    """a file that opens, made by who knows the recipients"""
    folder = ground.folder / "keys" / f"forged-{name}"
    write(folder / name / "file", "forged\n")
    plain = subprocess.run(["tar", "-C", folder, "-c", name], capture_output=True, check=True).stdout
    packed = subprocess.run(["zstd", "-q"], input=plain, capture_output=True, check=True).stdout
    words = [word for key in ground.notes["keys"] for word in ("-r", key.recipient)]
    put(ground, name, SECOND, subprocess.run(["age", *words], input=packed, capture_output=True, check=True).stdout)


def unsigned(ground: Ground, name: str) -> None:
    """the record without its signature"""
    known = record(ground, name, SECOND)
    values = json.loads(known.read_text())
    known.write_text(json.dumps({key: value for key, value in values.items() if key not in ("signed", "signature")}))


def play(ground: Ground) -> None:
    """Two nights, the attacks, and a restore of all from the target, of which the source is gone; then by hand."""
    assert ground.run("backup", stamp=FIRST).rc == 0
    for _, name in ground.notes["changes"]:
        write(ground.home(name) / "folder" / "night", "second\n")
    assert ground.run("backup", stamp=SECOND).rc == 0
    ground.runs.clear()
    for change, name in ground.notes["changes"]:
        change(ground, name)
    public = (ground.base(SOURCE) / ".altbackup/encryption/signing_key.pub").read_text().split()[:2]
    ground.site.hosts[SOURCE]["altbackup_signing_key"] = " ".join(public)
    to = ground.folder / "restored"
    to.mkdir()
    names = [GOOD, *(name for _, name in ground.notes["changes"])]
    orders = [
        {"source": SOURCE, "kind": "folder", "name": name, "from": TARGET, "to": str(to / name)} for name in names
    ]
    key = ground.notes["keys"][0].path
    ground.run("restore", stamp=LATER, restore=orders, identity_file=str(key))
    sheet = ground.folder / "sheet"
    sheet.write_text(f"{SOURCE} {' '.join(public)}\n")
    (ground.folder / "by-hand").mkdir()
    script = ground.folder / TARGET / "copies/restore.sh"
    for name in names:
        words = ["--identity", key, "--signed-by", sheet, f"{SOURCE}/folders/{name}", ground.folder / "by-hand" / name]
        done = ground.call("sh", script, "restore", *words)
        ground.notes.setdefault("scripts", {})[name] = done.stdout + done.stderr
    shutil.rmtree(ground.folder / "keys")


def judge(ground: Ground, name: str) -> Iterator[str]:
    """Yield what came back that the source did not sign, and what nobody was told of."""
    for where in ("restored", "by-hand"):
        if (ground.folder / where / name).exists():
            yield f"what the source did not sign came back ({where})"
    if not any("sign" in text for text in ground.about(name, "restore")):
        yield "nobody was told that it is not what the source signed"
    if "sign" not in ground.notes["scripts"][name]:
        yield "restore.sh did not tell that it is not what the source signed"


def rest(ground: Ground) -> Iterator[str]:
    """Yield what is wrong with the good item."""
    for where in ("restored", "by-hand"):
        if not (ground.folder / where / GOOD / "users.conf").exists():
            yield f"the good item did not come back ({where})"


SCENES["encrypted"] = Scene("encrypted", prepare, play, rest)
_rows = Register("encrypted", "target", "restore restore.sh", judge)
for _change in (swapped, replayed, cut, appended, forged, unsigned):
    _rows.add(
        f"encrypted-{_change.__name__}", "folder", f"of encrypted copies {_change.__doc__}", partial(lay, _change)
    )
