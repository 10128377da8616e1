"""Trees of taken-over nodes: garbage, links, pipes and bombs in the private state and beside the tarballs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attacks.ground import GOOD, Ground
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import NIGHT, SOURCE, TARGET, item

LATER = "2026/11/02/010000"
HARMED = "cms02"
"""The target whose tree holds the harmful copies of single items"""


def prepare(ground: Ground) -> None:
    """A source, a good target, and one that was taken over."""
    ground.add_source(SOURCE, [item("folder", GOOD, ground.thing(GOOD, "folder", 0))], [TARGET, HARMED])
    ground.site.add_target(TARGET)
    ground.site.add_target(HARMED)
    ground.notes.update(mischief=[], incoming=[])


def lay_item(mischief: Callable[[Ground, str], None], ground: Ground, name: str) -> None:
    """Add an item, and what is done to its copy on the harmed target after the first night."""
    ground.site.hosts[SOURCE]["altbackup_items"].append(item("folder", name, ground.thing(name, "folder", 0)))
    ground.notes["mischief"].append((mischief, name))


def lay_target(mischief: Callable[[Ground, str], None], ground: Ground, name: str) -> None:
    """Add a target, and what is done to its private state after the first night."""
    ground.site.add_target(name)
    ground.site.hosts[SOURCE]["altbackup_targets"].append(name)
    ground.notes["mischief"].append((mischief, name))


def lay_incoming(mischief: Callable[[Ground, str, Path], None], ground: Ground, name: str) -> None:
    """Add a target, and what the source lays where its next tarball will arrive."""
    ground.site.add_target(name)
    ground.site.hosts[SOURCE]["altbackup_targets"].append(name)
    ground.notes["incoming"].append((mischief, name))


def folder_of(ground: Ground, name: str) -> Path:
    """Return the folder of an item on the harmed target."""
    return ground.base(HARMED, SOURCE) / "folders" / name


def private(ground: Ground, target: str) -> Path:
    """Return the private folder of a target."""
    return ground.folder / target / "copies" / ".altbackup"


def swap(path: Path, form: str, ground: Ground, name: str) -> None:
    """Replace a file or a folder by something else."""
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(f"{path.name}-gone"))
        shutil.rmtree(path.with_name(f"{path.name}-gone"))
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    if form == "pipe":
        ground.lures.lay(name, path)
    elif form == "file-link":
        path.symlink_to(ground.notes[f"secret {name}"] / "secret")
    elif form == "folder-link":
        path.symlink_to(ground.notes[f"secret {name}"])
    elif form == "folder":
        path.mkdir()
        (path / "x").write_text("x")
    elif form == "deep":
        path.write_text("[" * (4096 if "lock" in name else 60000))
    elif form == "large":
        with path.open("wb") as stream:
            stream.truncate(40 << 30)
    else:
        path.write_text(form)


def with_secret(lay: Callable[[Ground, str], None]) -> Callable[[Ground, str], None]:
    """Return a function that lays an attempt, with root's folder for its links."""

    def whole(ground: Ground, name: str) -> None:
        ground.notes[f"secret {name}"] = ground.witness.folder(name)
        lay(ground, name)

    return whole


def at_item(where: str, form: str) -> Callable[[Ground, str], None]:
    """Return a function that replaces a part of an item's copy."""

    def mischief(ground: Ground, name: str) -> None:
        tarball = folder_of(ground, name) / NIGHT / f"{name}.tar.zst"
        record = private(ground, HARMED) / "records" / SOURCE / "folders" / name
        places = {
            "tarball": tarball,
            "dna": tarball.with_name(f"{tarball.name}.dna"),
            "proof": tarball.with_name(f"{tarball.name}.proof"),
            "last": folder_of(ground, name) / "last",
            "stamp": tarball.parent,
            "next": folder_of(ground, name) / LATER,
            "year": folder_of(ground, name) / "2026",
            "item": folder_of(ground, name),
            "record": record / f"{NIGHT}.json",
            "records": record,
            "partial": tarball.with_name(f".altbackup-tmp-1-{tarball.name}"),
        }
        text = form
        if form.startswith("future"):
            dna = json.loads(places["dna"].read_text())
            text = json.dumps(
                {**dna, "stamp": NIGHT, "kind": "folder", "when": "2999-01-01T00:00:00Z", "seconds": 1, "facts": {}}
            )
        swap(places[where], text, ground, name)

    return mischief


def at_target(where: str, form: str) -> Callable[[Ground, str], None]:
    """Return a function that replaces a part of a target's private state."""

    def mischief(ground: Ground, name: str) -> None:
        text = form
        if form in ("ever", "nan"):
            lock = private(ground, name) / "locks" / SOURCE
            run = dict.fromkeys(("controller", "user", "command", "started", "host", "boot", "namespace"), "x")
            expires = 1e300 if form == "ever" else float("nan")
            text = json.dumps({"run": {**run, "pid": 1, "ticks": 1, "seconds": 1e9}, "expires": expires, "transfer": 0})
            text = text.ljust(4095) + "\n"
            assert lock.parent.is_dir()
        if form == "held":
            hold(ground, private(ground, name) / "locks" / SOURCE)
        else:
            swap(private(ground, name) / where.replace("SOURCE", SOURCE), text, ground, name)

    return mischief


def hold(ground: Ground, lock: Path) -> None:
    """Hold a lock as long as the scene lasts."""
    code = "import fcntl,sys,time; f=open(0); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); time.sleep(900)"
    with lock.open("rb") as stream:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=stream, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    ground.notes.setdefault("holders", []).append(process)


def part_of(ground: Ground) -> str:
    """Return the transit name of the good item's next tarball."""
    dna = json.loads(Path(f"{ground.stored('folder', GOOD)[-1]}.dna").read_text())
    return f"{dna['alg']}-{dna['dig']}"


def arriving(form: str) -> Callable[[Ground, str, Path], None]:
    """Return what the source lays into its incoming folder."""

    def mischief(ground: Ground, name: str, incoming: Path) -> None:
        vault = ground.notes[f"secret {name}"]
        part = incoming / part_of(ground)
        incoming.mkdir(parents=True, exist_ok=True)
        if form == "part-link":
            part.symlink_to(vault / "secret")
        elif form == "part-hard":
            tarball = ground.stored("folder", GOOD, name, SOURCE)[0]
            os.link(tarball, part)
            ground.notes[f"bytes {name}"] = tarball.read_bytes()
        elif form == "part-pipe":
            ground.lures.lay(name, part)
        elif form == "part-folder":
            (part / "x").mkdir(parents=True)
        elif form == "basis-link":
            (incoming / "basis").symlink_to(vault)
        elif form == "incoming-link":
            shutil.rmtree(incoming)
            incoming.symlink_to(vault)
        elif form == "odd":
            (incoming / "a\x1b]0;x\x07\n").write_text("x")
            (incoming / os.fsdecode(b"\xff")).write_text("x")

    return mischief


def another_night(ground: Ground) -> None:
    """Change all items."""
    for entry in ground.site.hosts[SOURCE]["altbackup_items"]:
        (Path(entry["path"]) / "users.conf").write_text("[users]\nthe second night\n")
    ground.site.hosts[SOURCE]["altbackup_step_timeout"] = "120s"


def play(ground: Ground) -> None:
    """A good night, the mischief, and another night; a drill, a list, a check and restores."""
    assert ground.run("backup", stamp=NIGHT).rc == 0, ground.runs[-1][1].message
    ground.runs.clear()
    for mischief, name in ground.notes["mischief"]:
        mischief(ground, name)
    another_night(ground)
    ground.run("backup", stamp=LATER)
    ground.run("drill", f"--limit {HARMED}", stamp=LATER)
    ground.run("list", stamp=LATER)
    ground.run("check", f"--limit {HARMED}", stamp=LATER, proof_age="8d")
    orders = [
        {
            "source": SOURCE,
            "kind": "folder",
            "name": name,
            "from": HARMED,
            "at": NIGHT,
            "to": str(ground.site.live / name / "restored"),
        }
        for _, name in ground.notes["mischief"]
    ]
    if orders:
        ground.run("restore", stamp=LATER, restore=orders)


def play_state(ground: Ground) -> None:
    """A good night, the mischief, and another night."""
    assert ground.run("backup", stamp=NIGHT).rc == 0, ground.runs[-1][1].message
    ground.runs.clear()
    try:
        for mischief, name in ground.notes["mischief"]:
            mischief(ground, name)
        another_night(ground)
        if ground.notes["incoming"]:
            ground.run("dump", stamp=LATER)
        for mischief, name in ground.notes["incoming"]:
            mischief(ground, name, private(ground, name) / "incoming" / SOURCE)
        ground.run("backup", stamp=LATER)
    finally:
        for process in ground.notes.get("holders", []):
            process.kill()
            process.communicate()


def judge_item(ground: Ground, name: str) -> Iterator[str]:
    """Tonight's copy got to the good target; on the harmed one it is there, too, or reported."""
    if len(ground.stored("folder", name, TARGET, SOURCE)) < 2:
        yield "tonight's copy did not get to the good target"
    there = any(LATER in str(path) for path in ground.stored("folder", name, HARMED, SOURCE))
    if not there and not ground.about(name):
        yield "tonight's copy did not get to the harmed target, and nobody was told"


def judge_proof(ground: Ground, name: str) -> Iterator[str]:
    """A false proof proves nothing."""
    yield from judge_item(ground, name)
    if (
        "future" in name
        and not ground.about(name, "check")
        and not any(
            entry["name"] == name and NIGHT not in entry["relpath"]
            for _, run, _ in ground.runs
            for _, _, result in run.calls
            for entry in result.get("proved") or []
        )
    ):
        yield "a proof of 2999 was taken for one"


def judge_target(ground: Ground, name: str) -> Iterator[str]:
    """The target has tonight's copy, or the reason was reported."""
    there = any(LATER in str(path) for path in ground.stored("folder", GOOD, name, SOURCE))
    if not there and not ground.about(name):
        yield "tonight's copy did not get there, and nobody was told"
    before = ground.notes.get(f"bytes {name}")
    if before is not None and ground.stored("folder", GOOD, name, SOURCE)[0].read_bytes() != before:
        yield "an older copy was written into"


def rest(ground: Ground) -> Iterator[str]:
    """The good target has both nights of the good item, in good time."""
    if len(ground.stored("folder", GOOD, TARGET, SOURCE)) < 2:
        yield "the good target lacks a night of the good item"
    if len(ground.stored("folder", GOOD, HARMED, SOURCE)) < 2:
        yield "the harmed target lacks a night of the item that nobody harmed"
    for playbook, _, seconds in ground.runs:
        if seconds > 400:
            yield f"{playbook}.yml lasted {seconds:.0f} s"


SCENES["trees"] = Scene("trees", prepare, play, rest)
SCENES["state"] = Scene("state", prepare, play_state, rest)
for _where, _forms in {
    "tarball": ("pipe", "file-link", "folder"),
    "dna": ("pipe", "file-link", "deep", "large", "folder"),
    "proof": ("pipe", "file-link", "deep", "large", "folder", "future"),
    "last": ("file-link", "folder-link", "folder", "pipe"),
    "stamp": ("folder-link", "pipe"),
    "next": ("folder-link", "file-link", "pipe"),
    "year": ("folder-link",),
    "item": ("folder-link", "pipe"),
    "record": ("pipe", "file-link", "deep", "large", "folder"),
    "records": ("folder-link", "pipe"),
    "partial": ("pipe", "folder-link", "folder"),
}.items():
    _stage = {"proof": "drill", "record": "restore", "last": "synchronize", "dna": "check", "tarball": "check"}.get(
        _where, "synchronize"
    )
    for _form in _forms:
        Register("trees", "target", _stage, judge_proof if _where == "proof" else judge_item).add(
            f"tree-{_where}-{_form}",
            "folder",
            f"{_where} of an item's copy: {_form}",
            with_secret(partial(lay_item, at_item(_where, _form))),
        )
for _where, _forms in {
    "locks/SOURCE": ("deep", "pipe", "file-link", "folder", "ever", "nan", "held"),
    "records/SOURCE/items": ("pipe", "file-link", "large", "folder", "\x00\n../../x\n"),
    "locks/.slots": ("pipe", "folder"),
    "quarantine": ("folder-link",),
}.items():
    for _form in _forms:
        _short = _where.replace("SOURCE", "").strip("/").replace("/", "-").replace(".", "")
        _word = _form if _form.isprintable() else "garbage"
        Register("state", "target", "preflight" if "lock" in _where else "check", judge_target).add(
            f"state-{_short.strip('-')}-{_word}",
            "svn trac git folder sqlite",
            f"{_where} of the private state: {_word}",
            with_secret(partial(lay_target, at_target(_where, _form))),
        )
for _form in ("part-link", "part-hard", "part-pipe", "part-folder", "basis-link", "incoming-link", "odd"):
    Register("state", "source", "synchronize", judge_target).add(
        f"incoming-{_form}",
        "svn trac git folder sqlite",
        f"in the folder in which its tarballs arrive: {_form}",
        with_secret(partial(lay_incoming, arriving(_form))),
    )
