"""Synchronizing: what a target lacks, how it is sent, and how it is accepted there.

A file travels under the name of its digest into a private folder of the pair, so a rerun resumes it. Only the target
itself gives it its final name: moved out of reach of any receiver first, then read again, then renamed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .digest import in_parallel
from .errors import AltbackupError, DigestMismatch, InvalidInput, ToolFailed
from .failures import failure
from .layout import Tarball, Tree, describe, open_tree, read_state, scan, split_relpath
from .processes import Child, Deadline, clean_environment, find_tool
from .publish import (
    link,
    make_folders,
    make_tree,
    point_last,
    publish,
    read_record,
    remove_folder,
    remove_if_there,
    require_writable,
    temporary_beside,
    write_record,
    write_text,
)
from .retention import retained
from .sidecar import Dna
from .stamps import day_of

_STAGE = "synchronize"
_MARGIN = 16 << 20  # bytes left free for sidecars, records and folders


@dataclass(frozen=True)
class Wanted:
    """A verified tarball of the source, as the controller hands it to a target."""

    relpath: str
    dna: Dna
    record: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The item, `<category>/<name>`."""
        return "/".join(self.relpath.split("/")[:2])

    @property
    def stamp(self) -> str:
        """The stamp."""
        return "/".join(self.relpath.split("/")[2:6])

    @property
    def part(self) -> str:
        """The file's name while it travels."""
        return f"{self.dna.alg}-{self.dna.dig}"


def parse_wanted(values: Sequence[Mapping[str, Any]]) -> list[Wanted]:
    """Given tarballs as results show them, return them checked. Raise InvalidInput."""
    wanted = []
    for value in values:
        relpath = str(value.get("relpath", ""))
        split_relpath(relpath)
        dig, alg = str(value.get("dig", "")), str(value.get("alg", ""))
        if not (dig + alg).isalnum():
            raise InvalidInput(f"{relpath}: dna {dig!r} {alg!r} is not a digest")
        wanted.append(Wanted(relpath, Dna(dig, int(value.get("size", 0)), alg), value.get("record") or {}))
    return wanted


def listing(base: str, day: str = "", *, records: bool = False) -> dict[str, Any]:
    """Given a base and a day (empty for all), return `tarballs`, verified or not, with their state, newest last."""
    tree = open_tree(base)
    tarballs = []
    for tarball in sorted(scan(tree, day).tarballs, key=lambda tarball: (tarball.stamp, tarball.relpath)):
        entry = {
            "category": tarball.category,
            "name": tarball.name,
            "stamp": tarball.stamp,
            "relpath": tarball.relpath,
            "path": tree.path(tarball.relpath),
            "size": tarball.size,
            "dig": tarball.dna.dig if tarball.dna else "",
            "alg": tarball.dna.alg if tarball.dna else "",
            "state": tarball.state,
        }
        if records:
            entry["record"] = read_record(tree, tarball.key, tarball.stamp)
        tarballs.append(entry)
    return {"changed": False, "tarballs": tarballs, "failures": []}


def prepare(
    base: str,
    tarballs: Sequence[Mapping[str, Any]],
    *,
    day: str,
    keeps: Mapping[str, int],
    keep: int,
    items: Sequence[str] = (),
    predicted: Sequence[str] = (),
    check_mode: bool = False,
) -> dict[str, Any]:
    """Given a target's tree and what the source holds, decide what is sent; link what the target has under another stamp.

    Tarballs of the day come first, then older ones that this target's own retention would keep, newest first.
    Return `have`, `linked`, `send` (relpaths), `unwanted`, `incoming` (folder), `free` (bytes) and `failures`.
    """
    tree = open_tree(base) if check_mode else require_writable(base)
    incoming = tree.private_path("incoming")
    result: dict[str, Any] = {
        "changed": False,
        "have": [],
        "linked": [],
        "send": [],
        "unwanted": [],
        "notes": [],
        "failures": [],
    }
    wanted = parse_wanted(tarballs)
    if not check_mode:
        make_tree(tree)
        make_folders(incoming, tree.private)
        if items:
            _remember_items(tree, items)
    present: dict[str, list[Tarball]] = {}
    for tarball in scan(tree, keys={entry.key for entry in wanted}).tarballs:
        present.setdefault(tarball.key, []).append(tarball)
    order = sorted(wanted, key=lambda entry: entry.stamp, reverse=True)
    for entry in sorted(order, key=lambda entry: day_of(entry.stamp) != day):
        own = [tarball for tarball in present.get(entry.key, []) if tarball.verified]
        same = next((tarball for tarball in own if tarball.relpath == entry.relpath), None)
        if same and same.dna and same.dna.same_content(entry.dna):
            result["have"].append(entry.relpath)
        elif same and same.dna:
            result["failures"].append(
                failure(
                    _STAGE,
                    f"{entry.relpath} is verified here with {same.dna.alg} {same.dna.dig}, but the source has {entry.dna.dig}: neither was touched",
                    relpath=entry.relpath,
                )
            )
        elif day_of(entry.stamp) != day and entry not in _retained(
            wanted, own, entry.key, int(keeps.get(entry.key, keep))
        ):
            result["unwanted"].append(entry.relpath)
        elif not (not check_mode and _link(tree, entry, own, result)):
            result["send"].append(entry.relpath)
    sent = {entry.part: entry.dna.size for entry in wanted if entry.relpath in result["send"]}
    result["send"] += list(predicted)
    result["incoming"] = incoming
    if not check_mode:
        result["notes"] += _remove_unwanted(incoming, set(sent))
    arrived = sum(
        os.lstat(os.path.join(incoming, part)).st_size for part in sent if os.path.exists(os.path.join(incoming, part))
    )
    result["free"] = shutil.disk_usage(tree.private).free
    needed = sum(sent.values()) - arrived + (_MARGIN if sent else 0)
    if needed > result["free"]:
        result["failures"].append(
            failure(
                _STAGE,
                f"{tree.base}: {needed} bytes are needed for {len(sent)} tarballs, but only {result['free']} are free: nothing was sent",
            )
        )
        result["send"] = []
    result["changed"] = bool(result["linked"])
    return result


def _retained(wanted: Sequence[Wanted], own: Sequence[Tarball], key: str, keep: int) -> list[Wanted]:
    """Return those wanted tarballs of an item that the target's purge would keep."""
    known = {tarball.relpath for tarball in own}
    mine = {entry.relpath: entry for entry in wanted if entry.key == key and entry.relpath not in known}
    imagined = [_as_tarball(entry) for entry in mine.values()]
    kept = {tarball.relpath for tarball in retained([*own, *imagined], keep)}
    return [entry for relpath, entry in mine.items() if relpath in kept]


def _as_tarball(entry: Wanted) -> Tarball:
    category, name, stamp, filename = split_relpath(entry.relpath)
    return Tarball(category, name, stamp, filename, entry.dna.size, (0, 0), 1, entry.dna, "", "verified")


def _link(tree: Tree, entry: Wanted, own: Sequence[Tarball], result: dict[str, Any]) -> bool:
    """Store a tarball whose content the target has under another stamp; return whether that was possible."""
    for old in sorted(own, key=lambda tarball: tarball.stamp, reverse=True):
        if old.dna and old.dna.same_content(entry.dna):
            try:
                write_record(tree, entry.key, entry.stamp, entry.record)
                link(tree, old, entry.relpath, entry.dna)
                point_last(tree, entry.key, entry.stamp)
            except DigestMismatch as error:
                result["failures"].append(
                    failure(
                        _STAGE, f"an older copy is damaged: {error}; the new one is sent whole", relpath=old.relpath
                    )
                )
                return False
            except (AltbackupError, OSError) as error:
                result["failures"].append(failure(_STAGE, error, relpath=entry.relpath))
                return True
            result["linked"].append(entry.relpath)
            return True
    return False


def _remove_unwanted(incoming: str, wanted: set[str]) -> list[str]:
    notes = []
    for name in sorted(os.listdir(incoming)):
        if name not in wanted:
            remove_if_there(os.path.join(incoming, name))
            notes.append(f"removed {name} from {incoming}: left by an earlier run and not wanted by this one")
    return notes


def _remember_items(tree: Tree, items: Sequence[str]) -> None:
    """Keep the list of a source's items on the target, for checks that cannot ask the source what it discovers."""
    folder = tree.private_path("records")
    make_folders(folder, tree.private)
    if remembered_items(tree) != sorted(items):
        write_text(os.path.join(folder, "items"), "".join(f"{key}\n" for key in sorted(items)))


def remembered_items(tree: Tree) -> list[str]:
    """Return the items that the last synchronize handed to this tree."""
    try:
        with open(os.path.join(tree.private_path("records"), "items"), encoding="utf-8") as stream:
            return stream.read().splitlines()
    except FileNotFoundError:
        return []


def with_remembered(
    base: str, expect: Mapping[str, Any], items: Sequence[str] | None
) -> tuple[dict[str, Any], list[str] | None]:
    """Given a target's tree and what is expected, return expectation and items with those that its source last discovered."""
    known = list(items or ())
    more = [key for key in remembered_items(open_tree(base)) if key not in known]
    expected = dict(expect)
    for key in more:
        name = key.partition("/")[2]
        if str(expected.get(name, 0)).isdecimal():  # what is no number is for count to refuse
            expected[name] = int(expected.get(name, 0)) + 1
    return expected, None if items is None else [*known, *more]


@dataclass(frozen=True)
class Peer:
    """Where and how to send: a target's incoming folder, reached by ssh, or on this machine if `host` is empty."""

    target: str
    incoming: str
    host: str = ""
    port: int | None = None
    user: str = ""
    ssh_key: str = ""
    ssh_args: tuple[str, ...] = ()
    bwlimit: str = ""
    connect_timeout: float = 15
    io_timeout: float = 60


def ssh_command(peer: Peer) -> list[str]:
    """Given a peer, return the ssh argv without host: no prompt is possible, a silent peer is given up."""
    alive = max(1, int(peer.io_timeout // 3))
    command = [find_tool("ssh"), "-oBatchMode=yes", f"-oConnectTimeout={max(1, round(peer.connect_timeout))}"]
    command += [f"-oServerAliveInterval={alive}", "-oServerAliveCountMax=3", "-oStrictHostKeyChecking=yes"]
    if peer.port:
        command += ["-p", str(peer.port)]
    if peer.ssh_key:
        command += ["-i", peer.ssh_key, "-oIdentitiesOnly=yes"]
    return [*command, *peer.ssh_args]


def rsync_command(peer: Peer, files: str, outgoing: str) -> list[str]:
    """Given a peer, a file that lists names and the folder they are in, return the rsync argv."""
    command = [find_tool("rsync"), "--inplace", "--size-only", "--protect-args", "--chmod=F600", "--perms"]
    command += ["--from0", f"--files-from={files}"]
    if peer.bwlimit:
        command.append(f"--bwlimit={peer.bwlimit}")
    if not peer.host:
        return [*command, f"{outgoing}/", f"{peer.incoming}/"]
    return [*command, *remote_options(peer), f"{outgoing}/", remote_path(peer, f"{peer.incoming}/")]


def remote_options(peer: Peer) -> list[str]:
    """Given a peer on another machine, return the options with which rsync reaches it."""
    quoted = " ".join("'" + word.replace("'", "''") + "'" for word in ssh_command(peer))
    return [f"--timeout={max(1, round(peer.io_timeout))}", f"--rsh={quoted}"]


def remote_path(peer: Peer, path: str) -> str:
    """Given a peer on another machine and a path there, return both as rsync takes them."""
    where = f"[{peer.host}]" if ":" in peer.host else peer.host
    return f"{peer.user + '@' if peer.user else ''}{where}:{path}"


def reach(peer: Peer, path: str, deadline: Deadline) -> None:
    """Given a peer and a folder on it, see whether rsync over ssh gets there. Raise ToolFailed with their own words."""
    if not peer.host:
        return
    command = [
        find_tool("rsync"),
        "--list-only",
        "--dirs",
        "--protect-args",
        *remote_options(peer),
        remote_path(peer, f"{path}/"),
    ]
    with Child(command, environment=clean_environment(**_session())) as child:
        rc = child.wait(deadline)
        said = child.stderr()
    if rc:
        shown = " ".join(ssh_command(peer))
        raise ToolFailed(
            f"{peer.target} cannot be reached from this source as {_where(peer)}: {said or 'it said nothing'} (rsync over: {shown})",
            rc,
            said,
        )


def send(
    base: str, deliveries: Sequence[tuple[Peer, Sequence[Mapping[str, Any]]]], deadline: Deadline
) -> dict[str, Any]:
    """Given a source's base and what goes to which peer, send to all of them in parallel, each with its own limits.

    Return `sent` ({target: bytes}), `notes` and `failures`, whose `delegate` is the target. Whether a file is whole is for the
    target to say, when it accepts it.
    """
    tree = require_writable(base)
    notes = _remove_outgoing(tree)
    outcomes = in_parallel(
        lambda delivery: _deliver(tree, delivery[0], parse_wanted(delivery[1]), deadline),
        deliveries,
        max(1, len(deliveries)),
    )
    return {
        "changed": any(outcome["bytes"] for outcome in outcomes),
        "sent": {peer.target: outcome["bytes"] for (peer, _), outcome in zip(deliveries, outcomes)},
        "notes": notes,
        "failures": [entry for outcome in outcomes for entry in outcome["failures"]],
    }


def _remove_outgoing(tree: Tree) -> list[str]:
    """Remove the folders of links that killed runs left, which would keep purged tarballs on disk; return a note on each."""
    folder, notes = os.path.join(tree.private, "outgoing"), []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not os.path.exists(f"/proc/{name.rpartition('-')[2]}/fd"):
            remove_folder(os.path.join(folder, name))
            notes.append(f"removed {name}, which a killed run left in {folder}")
    return notes


def _deliver(tree: Tree, peer: Peer, wanted: Sequence[Wanted], deadline: Deadline) -> dict[str, Any]:
    """Send tarballs to one peer by one rsync, under the names of their digests."""
    outgoing = os.path.join(tree.private, "outgoing", f"{peer.target}-{os.getpid()}")
    entry: dict[str, Any] = {"bytes": 0, "failures": []}
    try:
        remove_folder(outgoing)
        make_folders(outgoing, tree.private)
        for file in {file.part: file for file in wanted}.values():
            os.link(tree.path(file.relpath), os.path.join(outgoing, file.part))
        names = os.path.join(outgoing, ".names")
        with open(names, "w", encoding="ascii") as stream:
            stream.write("".join(f"{part}\0" for part in dict.fromkeys(file.part for file in wanted)))
        with Child(
            rsync_command(peer, names, outgoing), environment=clean_environment(**_session()), stdout=None
        ) as child:
            rc = child.wait(deadline)
            said = child.stderr()
        if rc:
            raise ToolFailed(
                f"sending to {peer.target} ({_where(peer)}) failed: rsync exit code {rc}: {said or 'it said nothing'}",
                rc,
                said,
            )
        entry["bytes"] = sum(file.dna.size for file in {file.part: file for file in wanted}.values())
    except (AltbackupError, OSError) as error:
        entry["failures"].append({**failure(_STAGE, error), "delegate": peer.target})
    finally:
        remove_folder(outgoing)
    return entry


def _session() -> dict[str, str]:
    """Return the variables ssh needs: the home of this user, and an agent, where there is one."""
    names = ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK")
    return {name: os.environ[name] for name in names if name in os.environ}


def _where(peer: Peer) -> str:
    if not peer.host:
        return "this machine"
    key = f", key {peer.ssh_key}" if peer.ssh_key else ""
    return f"{peer.user + '@' if peer.user else ''}{peer.host}{f' port {peer.port}' if peer.port else ''}{key}"


def accept(base: str, tarballs: Sequence[Mapping[str, Any]], *, check_mode: bool = False) -> dict[str, Any]:
    """Given a target's tree and the tarballs that were sent, verify each and give it its final name.

    Return `tarballs` (those that now stand verified) and `failures`. What arrived in part stays for the next run; what arrived
    whole with other bytes is removed.
    """
    tree = open_tree(base) if check_mode else require_writable(base)
    result: dict[str, Any] = {"changed": False, "tarballs": [], "failures": []}
    for entry in parse_wanted(tarballs):
        if check_mode:
            result["changed"] = True
            continue
        try:
            result["tarballs"].append(describe(tree, _accept(tree, entry), 0.0))
            result["changed"] = True
            point_last(tree, entry.key, entry.stamp)
        except (AltbackupError, OSError) as error:
            result["failures"].append(failure(_STAGE, error, relpath=entry.relpath))
    return result


def _accept(tree: Tree, entry: Wanted) -> Tarball:
    """Take one file out of incoming, verify it and publish it. Raise AltbackupError or OSError."""
    final = tree.path(entry.relpath)
    arrived = os.path.join(tree.private_path("incoming"), entry.part)
    if not os.path.lexists(arrived):
        twin = _twin(tree, entry)
        if twin is None:
            raise AltbackupError(f"{entry.relpath} did not arrive on this target")
        write_record(tree, entry.key, entry.stamp, entry.record)
        link(tree, twin, entry.relpath, entry.dna)
        return _stored(tree, entry)
    size = os.lstat(arrived).st_size
    if size < entry.dna.size:
        raise AltbackupError(
            f"{entry.relpath} arrived in part: {size} of {entry.dna.size} bytes; the next run goes on from there"
        )
    make_folders(os.path.dirname(final), tree.base)
    temporary = temporary_beside(final)
    os.replace(arrived, temporary)
    try:
        write_record(tree, entry.key, entry.stamp, entry.record)
        publish(tree, temporary, entry.relpath, entry.dna)
    except DigestMismatch as error:
        raise DigestMismatch(f"{entry.relpath} arrived with other bytes and was thrown away: {error}") from error
    finally:
        remove_if_there(temporary)
    return _stored(tree, entry)


def _twin(tree: Tree, entry: Wanted) -> Tarball | None:
    """Return a verified tarball of the same item and content: one file was sent for both."""
    found = scan(tree, keys={entry.key}).verified()
    return next((tarball for tarball in found if tarball.dna and tarball.dna.same_content(entry.dna)), None)


def _stored(tree: Tree, entry: Wanted) -> Tarball:
    category, name, stamp, filename = split_relpath(entry.relpath)
    status = os.lstat(tree.path(entry.relpath))
    dna, problem, state = read_state(tree.path(entry.relpath), status.st_size)
    return Tarball(
        category,
        name,
        stamp,
        filename,
        status.st_size,
        (status.st_dev, status.st_ino),
        status.st_nlink,
        dna,
        problem,
        state,
    )
