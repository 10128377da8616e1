"""Findings on each node, from its facts. Pure."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from ...module_utils.system.units import readable
from ..planning.node_tools import package_of
from .finding import OK, UNKNOWN, WRONG, Commands, Finding, both
from .words import meaning, telling_line

_APART = 60.0
"""Seconds between the clocks of node and controller beyond which one of them is wrong"""
_VARIABLES = {"source": "altbackup_base", "target": "altbackup_target_base"}
_OWNER = re.compile(r"is the base of (?:source|target) (?P<name>\S+), as ")
"""Matches whose base it is, in the words of tree.owner"""
_NOT_INSTALLED = re.compile(r"^(\w+) is not installed")


def reached(node: str, examined: Mapping[str, Any], dialled: Mapping[str, Any], commands: Commands) -> list[Finding]:
    """Return the finding on whether the controller could examine a node; `dialled` is how it reaches the node."""
    message = str(examined.get("said") or "")
    if examined.get("facts") and not message:
        user = examined["facts"].get("user")
        return [Finding(node, "way", why=f"examined as {user}")]
    if not examined:
        return [Finding(node, "way", UNKNOWN, "it has no part in this run (--limit)")]
    what = meaning(message)
    return [
        Finding(
            node, what or "way", WRONG, telling_line(message), _connection_mend(node, what, message, dialled, commands)
        )
    ]


def _connection_mend(node: str, what: str, message: str, dialled: Mapping[str, Any], commands: Commands) -> str:
    """Return what mends the connection from the controller to a node."""
    host, port = str(dialled.get("address") or node), int(dialled.get("port") or 22)
    known, user = str(dialled.get("known_hosts") or "~/.ssh/known_hosts"), str(dialled.get("user") or "")
    scan = f"ssh-keyscan -p {port} {shlex.quote(host)} >> {shlex.quote(known)}"
    there = shlex.quote(f"{user}@{host}" if user else host)
    if what == "name":
        return f"# set ansible_host of {node} to its address in the inventory, or have its name known (DNS, /etc/hosts)"
    if what == "host key":
        return scan
    if what == "host key changed":
        entry = host if port == 22 else f"[{host}]:{port}"
        return f"ssh-keygen -R {shlex.quote(entry)} -f {shlex.quote(known)} && {scan}"
    if what == "key":
        key = f"-i {shlex.quote(str(dialled['ssh_key']))} " if dialled.get("ssh_key") else ""
        return f"ssh-copy-id {key}-p {port} {there}"
    if what == "port":
        return f"# start sshd on {node} (systemctl start ssh), or set ansible_host and ansible_port; a firewall may be in the way: ssh -p {port} {there}"
    if what == "become":
        return _become_mend(node, message, user, port, there, commands)
    if what == "python":
        if dialled.get("interpreter"):
            return commands.setting(node, "ansible_python_interpreter", "auto_silent")
        install = "apt-get install -y python3 || dnf install -y python3"
        return shlex.join([commands.ansible, node, *commands.named, "-m", "ansible.builtin.raw", "-a", install])
    return f"# {node} was reached, but could not be examined; its words: ansible {node} -m ansible.builtin.ping -vvv"


def _become_mend(node: str, message: str, user: str, port: int, there: str, commands: Commands) -> str:
    unknown = re.search(r"unknown user:? ([\w.-]+)", message)
    as_login = ["-e", "ansible_become=false"]
    if unknown:
        return commands.on(node, "user", extra=as_login, name=unknown[1], system="true")
    if re.search(r"sudo\S*: (?:command )?not found|sudo.*No such file", message):
        return commands.install(node, "sudo", extra=as_login)
    if not user:
        return f"# let the user who runs ansible become root on {node} without a password: visudo -f /etc/sudoers.d/altbackup"
    line = f"{user} ALL=(ALL) NOPASSWD: ALL"
    return f"ssh -t -p {port} {there} " + shlex.quote(f"echo '{line}' | sudo tee /etc/sudoers.d/altbackup")


def examined(
    node: str, facts: Mapping[str, Any], after: float | None, commands: Commands, *, allow_root: bool
) -> list[Finding]:
    """Return the findings on a node alone; `after` is the controller's clock when the facts arrived, in seconds since 1970.

    `allow_root` is whether its bases may lie on the root file system.
    """
    found = [
        Finding(node, "python", why=str(facts.get("python"))),
        _clock(node, facts, after, commands),
        *_tools(node, facts, commands),
    ]
    for base in facts.get("bases") or ():
        found += _base(node, base, facts, commands, allow_root=allow_root)
    found += [
        Finding(
            node,
            "space",
            WRONG,
            text,
            f"# free room, enlarge the disk, or keep less (altbackup_keep): {commands.own('run', 'purge')}",
        )
        for text in facts.get("space") or ()
    ]
    found += _items(node, facts, commands)
    return found


def untrue(node: str, names: Sequence[str]) -> list[Finding]:
    """Return one finding on the facts that a node told in another form than node_examine does, none if there are no such facts."""
    if not names:
        return []
    mend = f"# see what runs as Python on {node}: no such answer comes from this collection"
    return [Finding(node, "facts", WRONG, f"what it said is no answer, and was left out: {', '.join(names)}", mend)]


def _clock(node: str, facts: Mapping[str, Any], after: float | None, commands: Commands) -> Finding:
    """Compare a node's clock with the controller's before and after the call, so that the call's duration does not count."""
    behind = float(facts.get("asked") or 0) - float(facts.get("began") or 0) if facts.get("asked") else 0.0
    ahead = float(facts.get("ended") or 0) - after if after else 0.0
    apart = -behind if behind > max(ahead, 0) else max(ahead, 0.0)
    if abs(apart) <= _APART:
        return Finding(node, "clock", why="as the controller's")
    words = [commands.ansible, node, *commands.named, *(["--become"] if facts.get("uid") else [])]
    mend = f'{shlex.join([*words, "-m", "ansible.builtin.command"])} -a "date --utc --set=@$(date +%s)"'
    return Finding(
        node,
        "clock",
        WRONG,
        f"{abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} the controller's: one of them is wrong",
        mend,
    )


def _tools(node: str, facts: Mapping[str, Any], commands: Commands) -> list[Finding]:
    tools = dict(facts.get("tools") or {})
    for text in facts.get("missing_compressor") or ():
        named = _NOT_INSTALLED.match(str(text))
        tools[named[1] if named else "zstd"] = ""
    missing = [name for name, version in tools.items() if not version]
    found = [
        Finding(
            node,
            "tools",
            WRONG,
            f"{name} is not installed",
            commands.install(node, _package(name, facts), bool(facts.get("uid"))),
            set_up=True,
        )
        for name in missing
    ]
    there = ", ".join(f"{name} {_number(version)}" for name, version in tools.items() if version)
    return found or [Finding(node, "tools", why=there)]


def _number(version: str) -> str:
    found = re.search(r"\d+(?:\.\d+)+", version)
    return found[0] if found else version[:20]


def _package(tool: str, facts: Mapping[str, Any]) -> str:
    """Return the package of a program on a node's system."""
    system = facts.get("system") or {}
    is_debian = re.search(r"debian|ubuntu", f"{system.get('id', '')} {system.get('id_like', '')}")
    return package_of(tool, "" if is_debian else "RedHat")


def _base(
    node: str, base: Mapping[str, Any], facts: Mapping[str, Any], commands: Commands, *, allow_root: bool
) -> list[Finding]:
    """Return the findings on a base of a node."""
    path, role, user = str(base["base"]), str(base["role"]), str(facts.get("user"))
    is_root = not facts.get("uid")
    above = base.get("above") or {}
    private = os.path.join(path, ".altbackup")
    marking = {"path": private, "state": "directory", "mode": "0700"}
    title = f"base of the {role}"
    is_refused = bool(base.get("on_root")) and not allow_root
    if not base.get("there"):
        if base.get("problem"):
            return [Finding(node, title, WRONG, str(base["problem"]), f"# have {path} answer again")]
        needs_root = not above.get("writable") and not is_root
        owner = {"owner": user} if needs_root else {}
        mend = commands.on(node, "file", needs_root, **marking, **owner)
        if needs_root:
            mend = both(mend, commands.on(node, "file", True, path=path, owner=user, mode="0700"))
        if is_refused:
            why = f"{path} does not exist, and would lie on the root file system: its disk is not mounted, or it is to lie there"
            return [Finding(node, title, WRONG, why, _on_root(node, path))]
        why = f"{path} does not exist; if it lies on a disk of its own, mount that first"
        return [Finding(node, title, WRONG, why, mend, set_up=True)]
    found = []
    if base.get("taken"):
        known = _OWNER.search(str(base["taken"]))
        mend = _meant(node, known["name"]) if known and known["name"] != node else _elsewhere(node, base, commands)
        return [Finding(node, title, WRONG, str(base["taken"]), mend)]
    if not base.get("marker") and not (role == "source" and base.get("marker_below")):
        become = not (is_root or base.get("writable"))
        mend = commands.on(node, "file", become, **marking, **({"owner": user} if become else {}))
        why = f"{path} has no marker .altbackup/: its disk is not mounted, or it is new"
        why += ", and lies on the root file system" if is_refused else ""
        mend = _on_root(node, path) if is_refused else mend
        found.append(Finding(node, "marker", WRONG, why, mend, set_up=not is_refused))
    elif base.get("problem") and not _is_of_others(base, facts) and not base.get("read_only"):
        chown = commands.on(node, "file", not is_root, path=private, owner=user, recurse="true")
        found.append(Finding(node, title, WRONG, str(base["problem"]), chown))
    if base.get("read_only"):
        mend = commands.run_on(node, ["mount", "-o", "remount,rw", path], not is_root)
        found.append(Finding(node, title, WRONG, f"{path} lies on a file system that is mounted read-only", mend))
    elif _is_of_others(base, facts) or not base.get("writable"):
        mend = commands.on(node, "file", not is_root, path=path, owner=user, mode="0700")
        found.append(
            Finding(node, title, WRONG, f"{path} belongs to {base.get('owner')}, not to {user}, who writes there", mend)
        )
    elif int(str(base.get("mode") or "0"), 8) & 0o022:
        mend = commands.on(node, "file", not is_root, path=path, mode="0700")
        found.append(Finding(node, title, WRONG, f"{path} has mode {base['mode']}: others can write into it", mend))
    if found:
        return found
    where = ", on the root file system, which backups can fill" if base.get("on_root") else ""
    return [Finding(node, title, why=f"{path}, {readable(int(base.get('free') or 0))} free{where}")]


def _on_root(node: str, path: str) -> str:
    """Return the choice that set-up leaves to whoever calls it, too, with a base on the root file system."""
    return (
        f"# mount its disk on {node}; or, if {path} is to lie on the root file system, set altbackup_allow_root_filesystem: true for {node}, and run "
        "the set-up"
    )


def _is_of_others(base: Mapping[str, Any], facts: Mapping[str, Any]) -> bool:
    return base.get("uid") not in (0, facts.get("uid")) or (
        base.get("uid") == 0 != facts.get("uid") and not base.get("writable")
    )


def _meant(node: str, other: str) -> str:
    """Return what to do about a node that turns out to be another one."""
    return f"# take {node} out of the inventory, if it is the machine of {other}; else set ansible_host of {node} to its own machine"


def _elsewhere(node: str, base: Mapping[str, Any], commands: Commands) -> str:
    """Return what gives a node a base of its own."""
    own = f"{str(base['base']).rstrip('/')}-{node}-{base['role']}"
    private = os.path.join(own, ".altbackup")
    return both(
        commands.setting(node, _VARIABLES[str(base["role"])], own),
        commands.on(node, "file", path=private, state="directory", mode="0700"),
    )


def _items(node: str, facts: Mapping[str, Any], commands: Commands) -> list[Finding]:
    found = []
    items, discovered = list(facts.get("items") or ()), list(facts.get("discovered") or ())
    for item in items:
        if item.get("denied") and facts.get("uid"):
            mend = commands.setting(node, "ansible_become", True)
            found.append(Finding(node, "items", WRONG, f"{item['key']}: {item['path']}: {item['problem']}", mend))
        elif item.get("problem"):
            mend = f"# correct its path in altbackup_items of {node}, mount its disk, or take it out"
            found.append(Finding(node, "items", WRONG, f"{item['key']}: {item['path']}: {item['problem']}", mend))
    for entry in discovered:
        found += [
            Finding(node, "items", WRONG, str(text), f"# correct altbackup_discover of {node}, or mount its disk")
            for text in entry.get("problems") or ()
        ]
    count = len(items) + sum(int(entry.get("count") or 0) for entry in discovered)
    return found or ([Finding(node, "items", why=f"{count} are there")] if items or discovered else [])


def _sources_first(entry: tuple[str, Mapping[str, Any], Any]) -> tuple[bool, str]:
    return entry[1]["role"] != "source", entry[0]


def together(known: Mapping[str, Mapping[str, Any]], plan: Mapping[str, Any], commands: Commands) -> Iterator[Finding]:
    """Yield findings that need several nodes: one machine under two names, two bases in one folder; `known` is {node: facts}."""
    bases = [
        (node, base, (facts.get("boot"), base.get("device"), base.get("inode")))
        for node, facts in known.items()
        for base in facts.get("bases") or ()
        if base.get("there") and facts.get("boot")
    ]
    for (node, base, place), (other, second, its_place) in combinations(sorted(bases, key=_sources_first), 2):
        if place == its_place and not (base.get("taken") or second.get("taken")):  # those are told of already
            why = f"{base['base']} of {node} ({base['role']}) and {second['base']} of {other} ({second['role']}) are one folder"
            mend = _elsewhere(other, second, commands) if node == other else _meant(other, node)
            yield Finding(other, "one place", WRONG, f"{why}: two copies would be one", mend)
    for source, entry in plan["sources"].items():
        for target in entry["targets"]:
            one, two = (known.get(name, {}) for name in (source, target))
            if source == target or target in entry["local_targets"] or not one.get("boot"):
                continue
            if one.get("boot") == two.get("boot") and one.get("machine") == two.get("machine"):
                why = f"{source} and {target} are names of one machine: what takes it takes the copies, too"
                mend = f"# set ansible_host of {target}, or of {source}, to the address of the machine that is meant"
                yield Finding(target, "one machine", WRONG, why, mend, f"{source} -> {target}")
            else:
                yield Finding(
                    target,
                    "one machine",
                    OK if two else UNKNOWN,
                    "they are two" if two else "",
                    pair=f"{source} -> {target}",
                )
