"""Facts about a node, from which the controller judges whether a set-up is right. Nothing is changed."""

from __future__ import annotations

import contextlib
import os
import platform
import pwd
import shutil
import stat
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..kinds.items import Item, parse_item
from ..kinds.registry import kind_of
from ..kinds.sets import SET
from ..synchronize.peers import Peer
from ..synchronize.trial import try_peer
from ..synchronize.trust import host_keys
from ..system import mounts
from ..system.digest import in_parallel, open_plain
from ..system.errors import AltbackupError, name_os_errors
from ..system.machine import machine_id
from ..system.opened import owner_name, user_name
from ..system.proc import boot_id
from ..system.processes import Deadline
from ..system.programs import clean_environment, find_installed
from ..system.schedules import schedules
from ..tree.encryption import known_public_key
from ..tree.failures import explain
from ..tree.layout import MARKER, open_tree
from ..tree.owner import Taken, identify, parse_owner
from ..tree.publish import require_writable
from ..tree.watching import find_sendmail
from .discovery import discover_items
from .key_files import keys_in
from .preflight import missing_tools
from .space import estimate, missing_space

_SECONDS = 10.0
_MOST_KEYS = 200
_MOST_BYTES = 1 << 18
_VERSION_OF = {"svnadmin": ["--version", "--quiet"]}


@dataclass(frozen=True)
class Questions:
    """The facts that are asked of a node."""

    owners: Sequence[Mapping[str, Any]] = ()
    """Its bases with their owners, as tree.owner has them"""
    tools: Sequence[str] = ()
    kinds: Sequence[str] = ()
    """Kinds whose tools are needed, too"""
    ext: str = ""
    """Extension of the archive format that is written there, if any"""
    items: Sequence[Mapping[str, Any]] = ()
    key_files: Sequence[str] = ()
    """Paths at which there may be a key that opens backups"""
    discover: Mapping[str, str] = field(default_factory=dict)
    trees: Sequence[Mapping[str, Any]] = ()
    keeps: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)
    peers: Sequence[Peer] = ()
    fetched: Sequence[Peer] = ()
    logins: Sequence[str] = ()
    """Users as which peers log in here"""
    port: int = 0
    """Port at which peers find this node's sshd; 0 for that at which the controller does"""
    now: float | None = None
    """The controller's clock, in seconds since 1970"""
    word: str = "altbackup"
    """Word by which lines of schedules are recognized"""
    deadline: Deadline = field(default_factory=Deadline)


def examine(asked: Questions) -> dict[str, Any]:
    """Return the facts as plain values."""
    began = time.time()
    bases = [os.path.normpath(str(one["base"])) for one in asked.owners]
    items = _parsed(asked.items)
    seconds = mounts.answer_timeout(asked.deadline)
    hung = mounts.find_hung_within(
        {path: path for path in [*filter(_is_path, bases), *(item.path for item in items if item.path)]}, seconds
    )
    return {
        "user": user_name(),
        "uid": os.geteuid(),
        "python": platform.python_version(),
        "system": _system(),
        "asked": asked.now,
        "began": began,
        "machine": machine_id(),
        "boot": boot_id(),
        "host_keys": host_keys(asked.port),
        "tools": {name: _version(name) for name in _needed(asked)},
        "missing_compressor": [str(error) for error in missing_tools((), asked.ext)],
        "bases": [_base(one, hung, seconds) for one in asked.owners],
        "space": _space(asked, items, hung, bases),
        "items": [_item(item, hung, seconds, asked.key_files, made=_is_prepared(item, items)) for item in items],
        "discovered": _discovered(asked),
        "peers": _tried(asked.peers, asked.deadline, fetch=False) + _tried(asked.fetched, asked.deadline, fetch=True),
        "authorized": {user: _authorized(user) for user in asked.logins},
        "schedules": schedules(asked.word),
        "sendmail": find_sendmail(),
        "ended": time.time(),
    }


def _parsed(values: Sequence[Mapping[str, Any]]) -> list[Item]:
    found = []
    for value in values:
        with contextlib.suppress(AltbackupError):  # the plan reports the others
            found.append(parse_item(value))
    return found


def _is_path(base: str) -> bool:
    """Return whether a base is an absolute path that can exist."""
    return os.path.isabs(base) and "\0" not in base


def _system() -> dict[str, str]:
    """Return id, id_like and pretty_name of the system, see os-release(5)."""
    with contextlib.suppress(OSError), open("/etc/os-release", encoding="utf-8", errors="replace") as stream:
        return _named(stream.read(_MOST_BYTES))
    return _named("")


def _named(release: str) -> dict[str, str]:
    """Parse the text of a file of os-release(5)."""
    found = {"id": "", "id_like": "", "pretty_name": ""}
    for line in release.splitlines():
        name, _, value = line.partition("=")
        if name.lower() in found:
            found[name.lower()] = value.strip().strip("\"'")[:200]
    return found


def _needed(asked: Questions) -> list[str]:
    """Return the names of the needed programs."""
    kinds = map(kind_of, asked.kinds)
    return list(dict.fromkeys([*asked.tools, *(tool for kind in kinds for tool in (*kind.tools, *kind.clients))]))


def _version(tool: str) -> str:
    """Return the first line of a program's version, `there` if it prints none, empty if it is missing."""
    try:
        path = find_installed(tool)
        output = subprocess.run(
            [path, *_VERSION_OF.get(tool, ["--version"])],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        ).stdout.decode("utf-8", "replace")
    except AltbackupError:
        return ""
    except (OSError, subprocess.SubprocessError):
        return "there"
    return (output.strip().splitlines() or ["there"])[0][:200]


def _base(one: Mapping[str, Any], hung: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """Return the facts about a base."""
    base = os.path.normpath(str(one["base"]))
    found: dict[str, Any] = {"base": base, "role": str(one["role"]), "there": False, "marker": False, "problem": ""}
    if not _is_path(base):
        return {**found, "problem": f"base {base!r} is not an absolute path"}
    if base in hung:
        return {**found, "problem": mounts.hung_message(hung[base], seconds)}
    above = base
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    found["free"] = shutil.disk_usage(above).free
    found["on_root"] = os.stat(above).st_dev == os.stat("/").st_dev
    found["above"] = {"path": above, "writable": os.access(above, os.W_OK | os.X_OK)}
    try:
        status = os.stat(base)
    except OSError as error:
        return {**found, "problem": "" if isinstance(error, FileNotFoundError) else explain(error)}
    found.update(
        there=stat.S_ISDIR(status.st_mode),
        uid=status.st_uid,
        owner=owner_name(status.st_uid),
        mode=f"{stat.S_IMODE(status.st_mode):04o}",
        device=status.st_dev,
        inode=status.st_ino,
        marker=os.path.isdir(os.path.join(base, MARKER)),
        marker_below=os.path.isdir(os.path.join(os.path.dirname(base), MARKER)),
        taken="",
        writable=os.access(base, os.W_OK | os.X_OK),
        read_only=bool(os.statvfs(base).f_flag & os.ST_RDONLY),
    )
    try:
        identify(open_tree(base), parse_owner(one), claim=False)
        require_writable(base)
        if one["role"] == "source":
            found["signing_key"] = known_public_key(open_tree(base))
    except Taken as error:
        found["taken"] = str(error)
    except (AltbackupError, OSError) as error:
        found["problem"] = explain(error)
    return found


def _space(asked: Questions, items: Sequence[Item], hung: Mapping[str, str], bases: Sequence[str]) -> list[str]:
    """Return a sentence on each disk with too little space for a night, as far as its bases can be used."""
    own = [os.path.normpath(str(one["base"])) for one in asked.owners if one["role"] == "source"]
    usable = [base for base in bases if base not in hung and os.path.isdir(os.path.join(base, MARKER))]
    trees = [tree for tree in asked.trees if os.path.dirname(str(tree["base"])) in usable]
    answering = [item for item in items if item.path not in hung] if own and own[0] in usable else []
    try:
        estimates, _, _ = estimate(
            own[0] if own else "", answering, trees, {"keeps": asked.keeps, "rules": asked.rules}
        )
        return missing_space(estimates)[0]
    except (AltbackupError, OSError) as error:
        return [explain(error)]


def _is_prepared(item: Item, items: Sequence[Item]) -> bool:
    """Return whether a `before` hook of its own, or of its set, runs before an item is read, and may make its path."""
    owners = [one for one in items if one.kind == SET and item.key in one.option("members")]
    return any(one.hooks.before for one in (item, *owners))


def _item(
    item: Item, hung: Mapping[str, str], seconds: float, key_files: Sequence[str], *, made: bool
) -> dict[str, Any]:
    """Return whether an item that has a path, which a hook may have `made`, is there for this user, and which private keys lie in it."""
    found = {"key": item.key, "path": item.path, "kind": item.kind, "problem": "", "denied": False}
    if not item.path:
        return {**found, "keys": []}
    if item.path in hung:
        return {**found, "problem": mounts.hung_message(hung[item.path], seconds)}
    try:
        status = os.stat(item.path)
    except OSError as error:
        if made and isinstance(error, FileNotFoundError):
            return {**found, "keys": []}
        return {**found, "problem": error.strerror or str(error), "denied": isinstance(error, PermissionError)}
    needed = os.R_OK | (os.X_OK if stat.S_ISDIR(status.st_mode) else 0)
    if not os.access(item.path, needed):
        return {**found, "problem": f"cannot be read by {user_name()}", "denied": True}
    return {**found, "keys": keys_in(item, key_files) if kind_of(item.kind).is_tree else []}


def _discovered(asked: Questions) -> list[dict[str, Any]]:
    """Return the number of items found below each folder, and the failures there."""
    own = next((str(one["base"]) for one in asked.owners if one["role"] == "source"), "")
    found = []
    for kind, folder in asked.discover.items():
        seen = discover_items(kind, folder, own, asked.deadline)
        problems = [str(entry["reason"]) for entry in seen.failures]
        found.append({"kind": kind, "folder": folder, "count": len(seen.items), "problems": problems[:20]})
    return found


def _tried(peers: Sequence[Peer], deadline: Deadline, *, fetch: bool) -> list[dict[str, Any]]:
    return in_parallel(lambda peer: try_peer(peer, deadline, fetch=fetch), peers, max(1, len(peers)))


def _authorized(user: str) -> dict[str, Any]:
    """Return path, lines and too permissive folders of a user's authorized_keys, see sshd(8)."""
    try:
        entry = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
        home = os.path.expanduser("~") if entry.pw_uid == os.geteuid() else entry.pw_dir
    except KeyError:
        return {"path": "", "problem": f"there is no user {user}", "lines": [], "loose": []}
    path = os.path.join(home, ".ssh", "authorized_keys")
    loose = []
    for place in (home, os.path.dirname(path), path):
        with contextlib.suppress(OSError):
            status = os.stat(place)
            if status.st_uid not in (0, entry.pw_uid) or status.st_mode & 0o022:
                loose.append({"path": place, "mode": f"{stat.S_IMODE(status.st_mode):04o}", "uid": status.st_uid})
    try:
        with name_os_errors(path), open_plain(path) as stream:
            lines = [line.strip() for line in stream.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()]
    except OSError as error:
        problem = "" if isinstance(error, FileNotFoundError) else explain(error)
        return {"path": path, "problem": problem, "lines": [], "loose": loose, "user": entry.pw_name}
    kept = [line for line in lines if line and not line.startswith("#")][:_MOST_KEYS]
    return {"path": path, "problem": "", "lines": kept, "loose": loose, "user": entry.pw_name}
