"""Nodes whose modules lie: their results are data with bounds, and other nodes are served all the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

from attacks.ground import ESCAPE, GOOD, Ground, escape_of
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import NIGHT, SOURCE, TARGET, item

_LIAR = '''#!{python}
"""The interpreter of a node that was taken over: runs a module, then tells something else."""
import json, re, subprocess, sys
text = sys.stdin.buffer.read() if len(sys.argv) < 2 or sys.argv[1] == "-" else open(sys.argv[1], "rb").read()
done = subprocess.run(["{python}", *sys.argv[1:]], input=text, stdout=subprocess.PIPE)
out = done.stdout
for name, lie in json.load(open("{lies}")).items():
    if re.search(rb"modules[./]" + name.encode() + rb"\\b", text):
        open("{lies}.told", "a").write(name + "\\n")
        if isinstance(lie, str):
            out = lie.encode()
        else:
            try:
                result = json.loads(out)
            except ValueError:
                continue
            for key, value in lie.items():
                if key.startswith("each "):
                    _, where, what = key.split(" ")
                    for entry in result.get(where) or []:
                        entry[what] = value
                elif key.startswith("more "):
                    result[key[5:]] = [*(result.get(key[5:]) or []), *value]
                else:
                    result[key] = value
            out = json.dumps(result).encode()
sys.stdout.buffer.write(out)
sys.exit(done.returncode)
'''


def liar(ground: Ground, name: str, lies: dict[str, Any]) -> str:
    """Make the interpreter of a lying node; return its path."""
    folder = ground.folder / "liars"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(lies))
    script = folder / f"python-{name}"
    script.write_text(_LIAR.format(python=sys.executable, lies=folder / f"{name}.json"))
    script.chmod(0o755)
    return str(script)


def prepare(ground: Ground) -> None:
    """A good source and a good target."""
    ground.add_source(SOURCE, [item("folder", GOOD, ground.thing(GOOD, "folder", 0))], [TARGET])
    ground.site.add_target(TARGET)


def filled(value: Any, ground: Ground, name: str) -> Any:
    """Return lies with paths filled in: `@` is root's file, `^` steers a terminal, `!` is a template that leaves a trace."""
    text = json.dumps(value)
    if "@" in text:
        text = text.replace("@", str(ground.witness.file(name)))
    mark = f"{{{{ lookup('pipe', 'touch {ground.folder}/ran-{name}') }}}}"
    return json.loads(text.replace("^", json.dumps(escape_of(name))[1:-1]).replace("!", json.dumps(mark)[1:-1]))


def lay(role: str, lies: dict[str, Any], transport: str, ground: Ground, name: str) -> None:
    """Add a lying node: a source that sends to the good target, or a target of the good source."""
    node = name
    interpreter = {"ansible_python_interpreter": liar(ground, name, filled(lies, ground, name))}
    if role == "source":
        things = [item("folder", f"{name}-thing", ground.thing(f"{name}-thing", "folder", 0))]
        discover = {"git": str(ground.thing(f"{name}-found", "git").parent)} if "preflight" in lies else {}
        ground.add_source(node, things, [TARGET], altbackup_discover=discover, **interpreter)
        if "tarball_find" in lies:
            asked = {
                "source": node,
                "kind": "folder",
                "name": f"{name}-thing",
                "to": str(ground.site.live / f"{name}-back"),
            }
            ground.notes.setdefault("restores", []).append(asked)
    else:
        ground.site.add_target(node, **interpreter)
        ground.site.hosts[SOURCE]["altbackup_targets"].append(node)
        if transport != "push":
            settings = ground.site.hosts[SOURCE].setdefault("altbackup_transport", {})
            settings[node] = transport


def play(ground: Ground) -> None:
    """Run a night, then list, check and drill."""
    ground.run("backup", stamp=NIGHT)
    ground.run("list", stamp=NIGHT, list_file=str(ground.folder / "listed.json"))
    ground.run("check", stamp=NIGHT)
    ground.run("drill", stamp=NIGHT)
    entry = {"source": SOURCE, "kind": "folder", "name": GOOD, "to": str(ground.site.live / "restored")}
    ground.run("restore", stamp=NIGHT, restore=[entry, *ground.notes.get("restores", [])])


def judge(said: bool, ground: Ground, name: str) -> Iterator[str]:
    """Nothing ran, nothing steered the terminal, and it was reported."""
    if (ground.folder / f"ran-{name}").exists():
        yield "a template of a result was evaluated on the controller"
    for playbook, run, _ in ground.runs:
        if escape_of(name) in run.stdout:
            yield f"{playbook}.yml: the terminal was sent an escape sequence of the node's"
    if said and not ground.about(name):
        yield "nobody was told of the lie"
    if not (ground.folder / "liars" / f"{name}.json.told").exists():
        yield "the lie was never told: something ended the runs before"
    if not ground.stored("folder", GOOD, TARGET, SOURCE):
        yield "the good source's tarball did not get to the good target beside it"
    trees = ground.folder / TARGET / "copies"
    known = {".altbackup", SOURCE, "restore.sh", "RESTORE.txt", *(host for host in ground.site.hosts)}
    if others := {path.name for path in trees.iterdir()} - known:
        yield f"the good target has {others} where its trees are"


def rest(ground: Ground) -> Iterator[str]:
    """The good source is on the good target, verified, listed, proved and restored."""
    if not ground.stored("folder", GOOD, TARGET, SOURCE):
        yield "the good source's tarball did not get to the good target"
    if not (ground.site.live / "restored" / "users.conf").is_file():
        yield "the good item was not restored"
    listed = ground.folder / "listed.json"
    if not listed.is_file():
        yield "list.yml wrote nothing"
    elif GOOD not in [entry.get("name") for entry in json.loads(listed.read_text())]:
        yield "list.yml does not list the good item"
    proved = [
        (host, entry.get("name"))
        for _, run, _ in ground.runs
        for host, _, result in run.calls
        if isinstance(result.get("proved"), list)
        for entry in result["proved"]
        if isinstance(entry, dict)
    ]
    if not any(name == GOOD for _, name in proved):
        yield "the good item was not proved"
    for playbook, run, _ in ground.runs:
        if playbook == "backup" and run.rc == 0 and len(ground.site.hosts) > 2:
            yield "backup.yml ended with 0"
        if ESCAPE in run.stdout:
            yield f"{playbook}.yml: the terminal was sent an escape sequence"


_STAMPED = f"folders/other/{NIGHT}/other.tar.zst"
_ESCAPES = {
    "tarball_list": {
        "more tarballs": [
            {
                **dict.fromkeys(("category", "stamp", "relpath", "dig", "state"), "^"),
                **dict.fromkeys(("name", "alg"), "!"),
                "path": "x",
                "size": 1,
            }
        ]
    }
}
_COPY = {
    "stamp": NIGHT,
    "size": 1,
    "dig": "0" * 64,
    "alg": "sha256",
    "state": "verified",
    "base": "",
    "base_dig": "",
    "problem": "",
    "record": {},
}
"""A node's report of a good copy, without its place"""


def offered(relpath: str, **more: Any) -> dict[str, Any]:
    """Return the lie of a node that claims to hold one copy in each tree."""
    return {"tarball_find": {"each trees tarballs": [{**_COPY, "relpath": relpath, **more}]}}


TARGET_LIES: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "send-dots": (
        "synchronize",
        "asks to be sent a path that leads out by ..",
        {"tarball_prepare": {"send": ["../../../outside/send-dots/secret"]}},
        True,
    ),
    "send-absolute": ("synchronize", "asks to be sent a file of root's", {"tarball_prepare": {"send": ["@"]}}, True),
    "send-other": (
        "synchronize",
        "asks to be sent what the source has not",
        {"tarball_prepare": {"send": [_STAMPED]}},
        True,
    ),
    "send-many": (
        "synchronize",
        "asks to be sent 100,000 tarballs",
        {"tarball_prepare": {"send": [_STAMPED] * 100000}},
        True,
    ),
    "send-types": (
        "synchronize",
        "asks in other types",
        {"tarball_prepare": {"send": [{"a": 1}, 5, None], "busy": []}},
        True,
    ),
    "results-types": (
        "synchronize",
        "returns other types for lists",
        {"tarball_prepare": {"notes": 5, "failures": "x", "unusable": 7, "send": 3}},
        True,
    ),
    "incoming": (
        "synchronize",
        "fetches, and names a folder of root's as its incoming one",
        {"tarball_prepare": {"incoming": "@"}},
        True,
    ),
    "incoming-option": (
        "synchronize",
        "fetches, and names an option as its incoming folder",
        {"tarball_prepare": {"incoming": "--rsh=touch /x"}},
        True,
    ),
    "accept-wrong": (
        "synchronize",
        "says that bytes were wrong, of paths that lead out",
        {"tarball_accept": {"wrong": [{"relpath": "../../../x", "size": -1, "dig": "/", "alg": "x"}]}},
        True,
    ),
    "accept-types": (
        "synchronize",
        "says that bytes were wrong, in other types",
        {"tarball_accept": {"wrong": "x", "tarballs": 5}},
        True,
    ),
    "peers": (
        "preflight",
        "says that the good target cannot be reached",
        {"preflight": {"unreachable_peers": [TARGET], "unusable": ["/"]}},
        False,
    ),
    "peers-types": (
        "preflight",
        "returns other types",
        {"preflight": {"unreachable_peers": 5, "items": "x", "notes": {"a": 1}, "usable": "maybe"}},
        False,
    ),
    "escapes": (
        "check",
        "says what terminals obey",
        {
            "tarball_check": {
                "failures": [{"reason": "^", "relpath": "^", "category": "^", "name": "^"}],
                "notes": ["^"],
            }
        },
        True,
    ),
    "templates": (
        "check",
        "says what templates obey",
        {"tarball_check": {"failures": [{"reason": "!", "relpath": "!", "name": "!"}], "notes": ["!"]}},
        True,
    ),
    "blames": (
        "check",
        "blames the good target",
        {
            "tarball_check": {
                "failures": [{"reason": "is damaged", "delegate": TARGET, "node": TARGET, "stage": "dump"}]
            }
        },
        True,
    ),
    "counts": (
        "check",
        "counts in other types",
        {"tarball_check": {"counts": "x", "relpaths": 5, "unexpected": {}}},
        True,
    ),
    "failures-many": (
        "check",
        "tells of 20,000 failures",
        {"tarball_check": {"failures": [{"reason": "x" * 50}] * 20000}},
        True,
    ),
    "nested": (
        "check",
        "returns what is nested 200 deep",
        {"tarball_check": {"failures": json.loads("[" * 200 + "]" * 200)}},
        True,
    ),
    "junk": ("preflight", "returns 20 MB of no JSON", {"preflight": "x" * (20 << 20)}, True),
    "facts": (
        "preflight",
        "returns facts, hosts and groups",
        {
            "preflight": {
                "ansible_facts": {"altbackup_keep": 1, "ansible_python_interpreter": "/bin/false"},
                "add_host": {"host_name": "evil", "groups": ["sources"], "host_vars": {}},
                "add_group": "targets",
            }
        },
        False,
    ),
    "purged": (
        "purge",
        "says that it removed what is not its own",
        {"tarball_purge": {"removed": [f"{SOURCE}/x", 5], "failures": 3, "unverified": [{"a": 1}]}},
        True,
    ),
    "found-base": (
        "restore",
        "offers a newer copy from a folder of root's",
        {"tarball_find": {"each trees base": "@"}},
        False,
    ),
    "found-relpath": (
        "restore",
        "offers paths that lead out",
        offered("folders/good/../../../x", stamp="2026/11/01/020000"),
        False,
    ),
    "found-types": (
        "restore",
        "offers other types",
        {"tarball_find": {"trees": [5, {"source": SOURCE, "tarballs": "x", "problem": "", "base": 7}]}},
        False,
    ),
    "found-size": (
        "restore",
        "offers a copy of 2**80 bytes",
        offered(f"folders/good/{NIGHT}/good.tar.zst", size=1 << 80, dig="^"),
        False,
    ),
    "listed": (
        "list",
        "lists what terminals and templates obey",
        _ESCAPES,
        False,
    ),
    "listed-types": (
        "list",
        "lists other types",
        {"tarball_list": {"tarballs": [5, None, {"relpath": 3}], "notes": 7}},
        False,
    ),
    "proved": (
        "drill",
        "proves what terminals obey, in other types",
        {"tarball_drill": {"proved": [{"relpath": "^", "name": "^", "when": "^", "seconds": "^"}, 5], "left": 3}},
        False,
    ),
}
SOURCE_LIES: dict[str, tuple[str, str, dict[str, Any], bool]] = {
    "dump-dots": (
        "dump",
        "made tarballs at paths that lead out",
        {"tarball_dump": {"each tarballs relpath": "../../../x"}},
        True,
    ),
    "dump-types": (
        "dump",
        "made tarballs of other types",
        {"tarball_dump": {"tarballs": [5, {"relpath": 3}], "notes": 7}},
        True,
    ),
    "dump-escapes": (
        "dump",
        "says what terminals and templates obey",
        {"tarball_dump": {"failures": [{"reason": "^ !", "category": "^", "name": "!"}], "notes": ["^", "!"]}},
        True,
    ),
    "dump-junk": ("dump", "returns 20 MB of no JSON", {"tarball_dump": "y" * (20 << 20)}, True),
    "listed-dots": (
        "synchronize",
        "holds tarballs at paths that lead out",
        {"tarball_list": {"each tarballs relpath": "../../../x"}},
        True,
    ),
    "listed-absolute": (
        "synchronize",
        "holds tarballs at absolute paths",
        {"tarball_list": {"each tarballs relpath": "@"}},
        True,
    ),
    "listed-size": (
        "synchronize",
        "holds a tarball of 2**80 bytes",
        {"tarball_list": {"each tarballs size": 1 << 80}},
        True,
    ),
    "listed-negative": (
        "synchronize",
        "holds a tarball of a negative size",
        {"tarball_list": {"each tarballs size": -5}},
        True,
    ),
    "listed-text": (
        "synchronize",
        "holds a tarball whose size is a text",
        {"tarball_list": {"each tarballs size": "many"}},
        True,
    ),
    "listed-digest": (
        "synchronize",
        "holds a tarball whose digest is a path",
        {"tarball_list": {"each tarballs dig": "../../x"}},
        True,
    ),
    "listed-unicode": (
        "synchronize",
        "holds a tarball whose digest is of letters that are no digits",
        {"tarball_list": {"each tarballs dig": "é" * 64}},
        True,
    ),
    "listed-record": (
        "synchronize",
        "hands over a record of 5 MB",
        {"tarball_list": {"each tarballs record": {"relpath": "x" * (5 << 20)}}},
        True,
    ),
    "listed-record-types": (
        "synchronize",
        "hands over a record that is a list",
        {"tarball_list": {"each tarballs record": [1, [2]]}},
        True,
    ),
    "listed-item": (
        "synchronize",
        "holds tarballs of an item that nobody knows",
        {"tarball_list": {"each tarballs relpath": _STAMPED}},
        True,
    ),
    "listed-types": ("synchronize", "lists other types", {"tarball_list": {"tarballs": "x"}}, True),
    "items-dots": (
        "preflight",
        "discovers items whose names lead out",
        {"preflight": {"more items": [{"kind": "folder", "name": "../../x", "path": "/etc"}]}},
        True,
    ),
    "items-escapes": (
        "preflight",
        "discovers items whose names terminals and templates obey",
        {
            "preflight": {
                "more items": [
                    {"kind": "folder", "name": "^", "path": "/x"},
                    {"kind": "folder", "name": "!", "path": "/x"},
                ]
            }
        },
        True,
    ),
    "items-types": ("preflight", "discovers other types", {"preflight": {"items": {"a": 1}, "failures": 5}}, True),
    "items-many": (
        "preflight",
        "discovers 20,000 items",
        {"preflight": {"items": [{"kind": "folder", "name": f"n{number}", "path": "/x"} for number in range(20000)]}},
        True,
    ),
    "check-escapes": (
        "check",
        "says what terminals and templates obey",
        {"tarball_check": {"failures": [{"reason": "^ !", "relpath": "^"}], "notes": ["^", "!"]}},
        True,
    ),
    "check-types": (
        "check",
        "checks in other types",
        {"tarball_check": {"match": 5, "failures": "x", "counts": [], "relpaths": "x"}},
        True,
    ),
    "drill-types": (
        "drill",
        "proves in other types",
        {"tarball_drill": {"proved": [5, {"relpath": "^"}], "notes": ["!"]}},
        True,
    ),
    "list-escapes": (
        "list",
        "lists what terminals and templates obey",
        _ESCAPES,
        False,
    ),
    "found-dots": (
        "restore",
        "offers paths that lead out",
        offered(
            "folders/x/../../../x",
            **dict.fromkeys(("stamp", "alg", "base", "problem"), "^"),
            **dict.fromkeys(("dig", "base_dig"), "!"),
            record=5,
        ),
        False,
    ),
    "purge-types": (
        "purge",
        "purges in other types",
        {"tarball_purge": {"removed": [5], "failures": "x", "unverified": [{"a": 1}]}},
        True,
    ),
    "sent": (
        "synchronize",
        "says that it sent to the good target, in other types",
        {"tarball_send": {"sent": {TARGET: "^"}, "wire": 5, "failures": [{"delegate": TARGET, "reason": "^"}]}},
        True,
    ),
}
SCENES["lies of targets"] = Scene("lies of targets", prepare, play, rest)
SCENES["lies of sources"] = Scene("lies of sources", prepare, play, rest)
for _role, _all in (("target", TARGET_LIES), ("source", SOURCE_LIES)):
    for _name, (_stage, _what, _lies, _said) in _all.items():
        if _role == "target" and "tarball_check" in _lies:  # a night checks a target in the call that purges it
            _lies = {**_lies, "tarball_purge": _lies["tarball_check"]}
        Register(f"lies of {_role}s", _role, _stage, partial(judge, _said)).add(
            f"{_role}-lie-{_name}",
            "svn trac git folder sqlite",
            f"it {_what}",
            partial(lay, _role, _lies, "pull" if "incoming" in _name else "push"),
        )
