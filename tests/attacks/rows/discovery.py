"""Names and links that a user puts where repositories are discovered, and secrets that must not be shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial

from attacks.ground import ESCAPE, GOOD, Ground, escape_of, give
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import NIGHT, SOURCE, TARGET, item, link

_FOLDER = "discovered"


def prepare(ground: Ground) -> None:
    """A source that discovers repositories, with a good one, and a good folder."""
    found = ground.site.live / _FOLDER
    found.mkdir(mode=0o755)
    for kind in ("git", "svn", "trac"):
        (found / kind).mkdir()
        shutil.copytree(ground.templates / kind, found / kind / f"well-{kind}", symlinks=True)
    give(found)
    discover = {kind: str(found / kind) for kind in ("git", "svn", "trac")}
    ground.add_source(
        SOURCE, [item("folder", GOOD, ground.thing(GOOD, "folder", 0))], [TARGET], altbackup_discover=discover
    )
    ground.site.add_target(TARGET)


def lay_name(kind: str, form: str, ground: Ground, name: str) -> None:
    """Name a repository so that its name would do something where it is shown."""
    mark = f"touch {ground.folder}/ran-{name}"
    text = {
        "escape": f"{name}{escape_of(name)}",
        "newline": f"{name}\nx",
        "template": f"{name}{{{{ lookup('pipe', '{mark.replace('/', chr(92) + 'x2f')}') }}}}",
        "block": f"{name}{{% if 1 %}}",
        "shell": f"{name}$(id)`id`;id;'\"|&<>*",
        "dash": f"-rf --{name}",
        "percent": f"{name}%2F..%2F..%2Fx",
        "dots": f"..{name}",
        "bytes": f"{name}\udcff\udcfe",
        "long": f"{name} {'n' * 230}"[:250],
        "bidi": f"{name}\u202e\u2066x",
        "tab": f"{name}\t\r\x07x",
        "control": f"{name}\x9b2J\x85x",
        "restored": f"{name}.altbackup-restored",
        "diff": f"{name}-1.diff.tar.zst",
    }[form]
    path = ground.site.live / _FOLDER / kind / text
    shutil.copytree(ground.templates / kind, path, symlinks=True)
    give(path)


def lay_link(kind: str, form: str, ground: Ground, name: str) -> None:
    """Put a link among the repositories: to one of root's, to itself, or to the folder above."""
    path = ground.site.live / _FOLDER / kind / name
    if form == "root":
        whole = ground.witness.folder_of(name) / "whole"
        shutil.copytree(ground.templates / kind, whole, symlinks=True)
        link(ground, path, whole)
    else:
        link(ground, path, {"itself": name, "above": "..", "device": "/dev/zero"}[form])


def lay_pipe(ground: Ground, name: str) -> None:
    """Put a named pipe among the repositories, and one in the place of a repository's HEAD."""
    ground.lures.lay(name, ground.site.live / _FOLDER / "git" / name)


def lay_deep(ground: Ground, name: str) -> None:
    """Put 3,000 folders among the repositories, and some as deep as a path may be."""
    top = ground.site.live / _FOLDER / "git" / name
    for number in range(3000):
        (top / f"n{number}").mkdir(parents=True)
    give(top)


def lay_size(ground: Ground, name: str) -> None:
    """Confront the estimate of space with a link to root's folder, and a sparse file of 8 EB."""
    path = ground.thing(name, "folder")
    link(ground, path / "link", ground.witness.folder(name))
    with (path / "sparse").open("wb") as stream:
        stream.truncate(1 << 43)
    give(path)
    ground.site.hosts[SOURCE]["altbackup_items"].append(item("folder", name, path, exclude=["sparse"]))


def lay_arguments(form: str, ground: Ground, name: str) -> None:
    """Put a secret into an option of ssh, and let the target be missing; or use a setting that is refused."""
    token = ground.witness.file(name).read_text().split()[0]
    words = f"-oProxyCommand='sshpass -p {token} nothing %h %p' -oSetEnv=PASSWORD={token}"
    ground.notes["settings"].append(words if form == "text" else [words])


def prepare_secrets(ground: Ground) -> None:
    """A source, a good target, and a target that is missing."""
    ground.add_source(SOURCE, [item("folder", GOOD, ground.thing(GOOD, "folder", 0))], [TARGET, "away"])
    ground.site.add_target(TARGET)
    ground.site.add_target("away", altbackup_rsync_host="127.0.0.1", altbackup_rsync_port=9)
    ground.notes["settings"] = []


def play_secrets(ground: Ground) -> None:
    """A night with each setting."""
    for value in ground.notes["settings"]:
        ground.site.hosts[SOURCE]["altbackup_ssh_args"] = value
        ground.run("backup", stamp=NIGHT)


def rest_secrets(ground: Ground) -> Iterator[str]:
    """The good target was served if the setting is accepted."""
    if not ground.stored("folder", GOOD, TARGET, SOURCE):
        yield "the good folder did not get to the good target"


def play(ground: Ground) -> None:
    """Run a night, a list and the script."""
    ground.run("backup", stamp=NIGHT)
    ground.run("list", stamp=NIGHT, list_file=str(ground.folder / "listed.json"))
    for words in (["list"], ["verify"]):
        ground.call("sh", ground.folder / TARGET / "copies" / "restore.sh", *words)


def judge(ground: Ground, name: str) -> Iterator[str]:
    """Nothing ran, nothing steered a terminal; the item is stored, or reported."""
    if (ground.folder / f"ran-{name}").exists():
        yield "a name was evaluated"
    sequences = (escape_of(name), "\x9b2J", "\x07x", "\u202e")
    outputs = {f"{playbook}.yml": run.stdout for playbook, run, _ in ground.runs}
    outputs |= {f"restore.sh, {number}": text for number, text in enumerate(ground.texts)}
    for what, text in outputs.items():
        for line in text.splitlines():
            if name in line and any(sequence in line for sequence in sequences):
                yield f"{what}: the terminal was sent what it obeys"
                break
    stored = [path for node in ("dayabay",) for path in ground.base(node).rglob("*.dna") if name in str(path)]
    if not stored and not ground.about(name):
        yield "it was neither stored nor told of"


def judge_secret(ground: Ground, name: str) -> Iterator[str]:
    """It was reported without the secret, for which the witness looks."""
    if not any(run.rc for _, run, _ in ground.runs) or not all(run.message for _, run, _ in ground.runs):
        yield "nobody was told of it"


def rest(ground: Ground) -> Iterator[str]:
    """The good ones are on the target and listed."""
    for kind in ("git", "svn", "trac"):
        if not ground.stored(kind, f"well-{kind}", TARGET, SOURCE):
            yield f"the good {kind} did not get to the target"
    if not ground.stored("folder", GOOD, TARGET, SOURCE):
        yield "the good folder did not get to the target"
    listed = ground.folder / "listed.json"
    if not listed.is_file() or GOOD not in [entry["name"] for entry in json.loads(listed.read_text())]:
        yield "list.yml does not list the good folder"
    for number, text in enumerate(ground.texts):
        if ESCAPE in text:
            yield f"restore.sh ({number}): the terminal was sent an escape sequence"


SCENES["discovery"] = Scene("discovery", prepare, play, rest)
_lays: dict[str, tuple[str, str, Callable[[Ground, str], None]]] = {}
for _form in (
    "escape",
    "newline",
    "template",
    "block",
    "shell",
    "dash",
    "percent",
    "dots",
    "bytes",
    "long",
    "bidi",
    "tab",
    "control",
    "restored",
    "diff",
):
    _lays[f"name-{_form}"] = ("git", f"a discovered name with {_form}", partial(lay_name, "git", _form))
for _kind in ("svn", "trac"):
    for _form in ("escape", "template", "bytes"):
        _lays[f"name-{_kind}-{_form}"] = (_kind, f"a discovered name with {_form}", partial(lay_name, _kind, _form))
for _kind in ("git", "svn", "trac"):
    _lays[f"found-{_kind}-root"] = (_kind, "a link to a repository of root's", partial(lay_link, _kind, "root"))
for _form in ("itself", "above", "device"):
    _lays[f"found-{_form}"] = ("git", f"a link to {_form}", partial(lay_link, "git", _form))
_lays["found-pipe"] = ("git", "a named pipe among the repositories", lay_pipe)
_lays["found-many"] = ("git", "3,000 folders among the repositories", lay_deep)
_lays["found-size"] = (
    "folder",
    "a link to a folder of root's and a sparse file of 8 TB, for the estimate of space",
    lay_size,
)
_rows = Register("discovery", "user", "preflight", judge, quick=())
for _name, (_kind, _what, _lay) in _lays.items():
    _rows.add(
        _name,
        _kind,
        _what,
        _lay,
        stage="list"
        if _name in ("name-escape", "name-svn-escape", "name-trac-escape", "name-bidi", "name-control", "name-tab")
        else "",
    )
SCENES["secrets"] = Scene("secrets", prepare_secrets, play_secrets, rest_secrets)
_rows = Register("secrets", "user", "synchronize", judge_secret)
for _name, _form, _what in (
    ("secret-in-arguments", "text", "of a target that is not there"),
    ("secret-in-refused", "list", "that is a list, and so refused"),
):
    _rows.add(
        _name,
        "svn trac git folder sqlite",
        f"ps, terminal, mail and log: a password in an altbackup_ssh_args {_what}",
        partial(lay_arguments, _form),
    )
