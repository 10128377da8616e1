"""What a target does while older tarballs are encrypted anew: the source signs and encrypts nothing that it did not dump, and what is not done is said."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from attacks.ground import GOOD, Ground
from attacks.registry import KINDS, SCENES, Register, Scene
from attacks.rows import encrypted
from attacks.rows.common import SOURCE, TARGET, write
from attacks.rows.encrypted import FIRST, LATER, SECOND, put, record, tarball
from helpers.age_keys import Key, age_key

_ACTOR = '''#!{python}
"""The interpreter of a target that was taken over: answers a module by itself, or acts when one has told what is there."""
import json, os, re, subprocess, sys
text = sys.stdin.buffer.read() if len(sys.argv) < 2 or sys.argv[1] == "-" else open(sys.argv[1], "rb").read()
told = json.load(open("{deeds}")) if os.path.exists("{deeds}") else {{}}
for name, answer in told.get("answers", {{}}).items():
    if re.search(rb"modules[./]" + name.encode() + rb"\\b", text):
        print(json.dumps(answer))
        sys.exit(0)
done = subprocess.run(["{python}", *sys.argv[1:]], input=text)
if re.search(rb"modules[./]tarball_list\\b", text):
    for path, to in told.get("links", {{}}).items():
        os.unlink(path)
        os.symlink(to, path)
sys.exit(done.returncode)
'''
_GOOD = [f"folders/{GOOD}/{stamp}/{GOOD}.tar.zst.age" for stamp in (FIRST, SECOND)]
_NOTHING = {"changed": False, "notes": [], "failures": []}
ANSWERS = {
    "rekey-keeps": (
        "keeps the old file, and says that it took the new one",
        {"tarball_accept": {**_NOTHING, "changed": True, "tarballs": [{"relpath": path} for path in _GOOD]}},
    ),
    "rekey-asks-nothing": (
        "asks for nothing of what was made for it",
        {"tarball_prepare": {**_NOTHING, "send": [], "have": [], "linked": [], "unwanted": []}},
    ),
    "rekey-takes-nothing": (
        "takes nothing of what it asked for",
        {"tarball_accept": {**_NOTHING, "tarballs": []}},
    ),
}


def actor(ground: Ground, node: str) -> str:
    """Make the interpreter of a target; return its path."""
    folder = ground.folder / "actors"
    folder.mkdir(exist_ok=True)
    script = folder / f"python-{node}"
    script.write_text(_ACTOR.format(python=sys.executable, deeds=folder / f"{node}.json"))
    script.chmod(0o755)
    return str(script)


def prepare(ground: Ground) -> None:
    """A source that encrypts, and a target that acts."""
    encrypted.prepare(ground)
    ground.site.hosts[TARGET]["ansible_python_interpreter"] = actor(ground, TARGET)
    ground.notes.update(answers={}, kept=[], links={}, secrets={})


def lay_answers(ground: Ground, name: str) -> None:
    """Add a target that answers a module by itself."""
    ground.site.add_target(name, ansible_python_interpreter=actor(ground, name))
    ground.site.hosts[SOURCE]["altbackup_targets"].append(name)
    ground.notes["answers"][name] = ANSWERS[name][1]


def lay_link(is_kept: bool, ground: Ground, name: str) -> None:
    """Add an item in whose place the target puts a link to a file of root's; the source has it, too, or no more."""
    encrypted.lay(linked, ground, name)
    ground.notes["secrets"][name] = str(ground.witness.file(name))
    ground.notes["kept"] += [name] if is_kept else []


def foreign(ground: Ground, name: str) -> None:
    """another item's file, with the record and the signature of that"""
    put(ground, name, SECOND, tarball(ground, GOOD, SECOND).read_bytes())
    relpath = str(tarball(ground, name, SECOND).relative_to(ground.base(TARGET, SOURCE)))
    known = json.loads(record(ground, GOOD, SECOND).read_text())
    record(ground, name, SECOND).write_text(json.dumps({**known, "relpath": relpath}) + "\n")


def linked(ground: Ground, name: str) -> None:
    """a link to a file of root's, as soon as it has told what is there"""
    ground.notes["links"][str(tarball(ground, name, SECOND))] = ground.notes["secrets"][name]


def play(ground: Ground) -> None:
    """Two nights; the source loses what it had of the attacked items; new recipients; the attacks while all is encrypted anew; another night."""
    for stamp, text in ((FIRST, "first\n"), (SECOND, "second\n")):
        for _, name in ground.notes["changes"]:
            write(ground.home(name) / "folder" / "night", text)
        assert ground.run("backup", stamp=stamp).rc == 0
    ground.runs.clear()
    for change, name in ground.notes["changes"]:
        if name not in ground.notes["kept"]:
            shutil.rmtree(ground.base(SOURCE) / "folders" / name)
            shutil.rmtree(ground.base(SOURCE) / ".altbackup/records/folders" / name)
        change(ground, name)
    old: Key = ground.notes["keys"][0]
    new = age_key(ground.folder / "keys", "new")
    ground.site.hosts[SOURCE]["altbackup_encrypt_to"] = [new.recipient, ground.notes["keys"][1].recipient]
    deeds = {TARGET: {"links": ground.notes["links"]}}
    deeds |= {name: {"answers": answers} for name, answers in ground.notes["answers"].items()}
    for node, deed in deeds.items():
        (ground.folder / "actors" / f"{node}.json").write_text(json.dumps(deed))
    ground.run("rekey", stamp=LATER, identity_file=str(old.path))
    for node in deeds:
        (ground.folder / "actors" / f"{node}.json").unlink()
    ground.notes["is_new"] = {
        name: is_new(tarball(ground, name, SECOND), new, old)
        for name in (GOOD, *(name for _, name in ground.notes["changes"]))
    }
    own = ground.base(SOURCE) / "folders" / GOOD / SECOND / f"{GOOD}.tar.zst.age"
    ground.notes["is_new"][SOURCE] = is_new(own, new, old)
    ground.run("backup", stamp=LATER)
    shutil.rmtree(ground.folder / "keys")


def is_new(path: Path, new: Key, old: Key) -> bool:
    """Return whether a file is encrypted to the recipients of today alone."""
    return not path.is_symlink() and new.is_for(path) and not old.is_for(path)


def judge(ground: Ground, name: str) -> Iterator[str]:
    """Yield what was encrypted anew that the source did not sign, and what nobody was told of."""
    if ground.notes["is_new"][name]:
        yield "the source has encrypted anew what it never dumped as that"
    if not ground.said(name, "is encrypted as it was", "rekey"):
        yield "nobody was told that it is encrypted as it was"


def judge_kept(ground: Ground, name: str) -> Iterator[str]:
    """Yield what is wrong with a copy in whose place stood a link."""
    if not ground.notes["is_new"][name] and not ground.about(name, "rekey"):
        yield "its copy did not take the place of the link, and nobody was told"


def judge_answer(ground: Ground, name: str) -> Iterator[str]:
    """Yield what nobody was told of a target that did not do what it was asked for."""
    words = "encrypted it anew since" if name == "rekey-keeps" else "not encrypted anew"
    if not ground.said(name, words):
        yield f"nobody was told that its copies are as they were: {words!r}"


def rest(ground: Ground) -> Iterator[str]:
    """Yield what is wrong with the good item."""
    for name in (GOOD, SOURCE):
        if not ground.notes["is_new"][name]:
            yield f"the good item is not for the recipients of today ({name})"
    if (ground.base(SOURCE) / ".altbackup" / "rekey").exists():
        yield "what came from the targets was not removed"


SCENES["rekeyed"] = Scene("rekeyed", prepare, play, rest)
_rows = Register("rekeyed", "target", "rekey", judge)
for _change in (foreign, encrypted.replayed, encrypted.cut, encrypted.forged, encrypted.unsigned):
    _rows.add(
        f"rekey-{_change.__name__}",
        " ".join(KINDS),
        f"answers with {_change.__doc__}",
        partial(encrypted.lay, _change),
    )
_rows.add("rekey-link", " ".join(KINDS), f"answers with {linked.__doc__}", partial(lay_link, False))
_tried = "puts a link to a file of root's where the new copy is to be"
_rows.add("rekey-link-back", " ".join(KINDS), _tried, partial(lay_link, True), judge_kept)
for _name, (_tried, _) in ANSWERS.items():
    _rows.add(_name, " ".join(KINDS), _tried, lay_answers, judge_answer)
