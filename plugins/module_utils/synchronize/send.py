"""Transfers: rsync over ssh moves what a target lacks, sent by the source or fetched by the target.

A file travels under the name of its digest into a private folder of the pair, in place, so that a rerun resumes it. What it
replaces there is compared block by block, so a file that arrived whole, or with some wrong bytes, costs no more than those.
Where nothing of it arrived yet, a copy of an older tarball in `basis/` is what blocks are taken from: not the file itself,
since in place a block cannot be taken from behind the point that is written, and contents mostly move backwards.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from ..system import progress
from ..system.digest import in_parallel, open_plain
from ..system.errors import FULL, AltbackupError, DeadlineExceeded, InvalidInput, ToolFailed, name_os_errors
from ..system.priority import priority_words
from ..system.processes import (
    Child,
    Deadline,
    Pace,
    clean_environment,
    find_tool,
    inherited_environment,
    read_by_children,
)
from ..system.ssh import SETTING, scrub, unseal
from ..system.twins import duplicate, share
from ..tree.failures import explain, failure, unframed
from ..tree.layout import Tree
from ..tree.leftovers import remove_outgoing
from ..tree.publish import make_folders, remove_folder, require_writable
from .offer import Offer, parse_offers

STAGE = "synchronize"
SSH: dict[str, Any] = {"ssh_args": {"type": "str", "default": "", "no_log": True}}
"""What a call of a module is told that has peers"""
BASIS = "basis"
KEY, KNOWN_HOSTS = "key", "known_hosts"
"""What set-up makes for a peer"""
CARRIED = "carried"
"""Where a target has what the controller brings from another one, by the paths that it has there"""
PARTIAL = (23, 24)
"""Exit codes of an rsync that moved all that it could: files could not be read, or vanished"""
_TIMED_OUT = 30
"""Exit code of an rsync that got no answer in time"""
_MODES = re.compile(
    r"rsync: (?:\[\w+\] )?failed to set permissions on .*: (?:Operation not permitted|Operation not supported|Function not implemented) \(\d+\)"
    r"|rsync error: some files/attrs were not transferred .*\(code 23\).*"
)
"""How rsync tells of files that it has moved, on a file system that keeps no modes"""
_NAME_SERVER = re.compile(
    r"^.*Could not resolve hostname .*: (?:Temporary failure in name resolution|Try again)$", re.MULTILINE
)
"""How ssh tells, with glibc's words or musl's, that no name server answered; an unknown name is told otherwise"""
_PAUSES = (0.5, 1.0, 2.0)
"""Seconds before it is asked again"""
_NO_RSYNC = re.compile(
    r"\brsync['\"\u2019]?: (?:(?:command |inaccessible or )?not found|No such file or directory\s*$)|(?:[Cc]ommand not found|Unknown command): rsync",
    re.MULTILINE,
)
"""What a shell, or sudo, says where there is no rsync"""
_PLAIN = re.compile(r"[\w/.,:+@%=-]+", re.ASCII)


@dataclass(frozen=True)
class Peer:
    """The other end of a transfer and a folder there, reached by ssh, or on this machine if `host` is empty."""

    node: str
    """Its inventory name"""
    folder: str
    host: str = ""
    port: int | None = None
    user: str = ""
    ssh_key: str = ""
    ssh_args: tuple[str, ...] = ()
    bwlimit: str = ""
    connect_timeout: float = 15
    io_timeout: float = 60
    min_rate: float = 0
    """Fewest bytes a second, over five times `io_timeout`; 0 for no limit"""
    nice: int = 0
    ionice: str = ""
    trust: str = ""
    """The folder on this node with what set-up made for this peer: `key` and `known_hosts`"""
    sudo: str = ""
    """As whom rsync runs there by sudo, without password, where the user that logs in is another one"""

    def __str__(self) -> str:
        if not self.host:
            return "this machine"
        key = f", key {self.ssh_key}" if self.ssh_key else ""
        more = f", further options ({SETTING})" if self.ssh_args else ""
        return (
            f"{self.user + '@' if self.user else ''}{self.host}{f' port {self.port}' if self.port else ''}{key}{more}"
        )

    def censored(self, said: str) -> str:
        """Given what ssh or rsync said, return it without what may be a secret in the options of ssh."""
        known = (self.node, self.host, self.user, self.folder, self.ssh_key, str(self.port or ""))
        return scrub(said, self.ssh_args, known)


def parse_peer(value: Mapping[str, Any], ssh_args: str = "") -> Peer:
    """Given a peer as modules take it, the fields of Peer, and sealed options of ssh, return it. Raise InvalidInput."""
    words = unseal(ssh_args)
    try:
        if "ssh_args" in value:
            raise TypeError("its ssh_args may hold secrets: they are a parameter of the module, sealed")
        peer = Peer(**{**value, "ssh_args": words})
        return replace(
            peer,
            port=int(peer.port) if peer.port else None,
            ssh_key=os.path.expanduser(peer.ssh_key or ""),
            connect_timeout=float(peer.connect_timeout),
            io_timeout=float(peer.io_timeout),
            min_rate=float(peer.min_rate),
            nice=int(peer.nice),
        )
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"peer {value.get('node', '')!r}: {error}") from error


def ssh_command(peer: Peer) -> list[str]:
    """Given a peer, return the ssh argv without host: no prompt is possible, a silent peer is given up."""
    alive = max(1, int(peer.io_timeout // 3))
    command = [find_tool("ssh"), "-oBatchMode=yes", f"-oConnectTimeout={max(1, round(peer.connect_timeout))}"]
    command += [f"-oServerAliveInterval={alive}", "-oServerAliveCountMax=3", "-oStrictHostKeyChecking=yes"]
    command += ["-oControlMaster=no"]  # a connection that stays open would outlive the transfer
    if peer.port:
        command += ["-p", str(peer.port)]
    key = peer.ssh_key or (os.path.join(peer.trust, KEY) if is_bound(peer) else "")
    if key:
        command += ["-i", key, "-oIdentitiesOnly=yes"]
    known = os.path.join(peer.trust, KNOWN_HOSTS)
    if peer.trust and os.path.isfile(known):
        quoted = known.replace("%", "%%")
        command += [f'-oUserKnownHostsFile="{quoted}"', "-oGlobalKnownHostsFile=none"]
        command += [f"-oHostKeyAlias={alias_of(peer.node)}", "-oUpdateHostKeys=no"]
    return [*command, *peer.ssh_args]


def is_bound(peer: Peer) -> bool:
    """Return whether a peer is reached with a key that set-up made for it, which leads to one folder there whatever is asked for."""
    return bool(peer.trust) and not peer.ssh_key and os.path.isfile(os.path.join(peer.trust, KEY))


def alias_of(node: str) -> str:
    """Given the name of a node, return under which name its host keys are known, whatever its address."""
    return node if re.fullmatch(r"[A-Za-z0-9][\w.-]*", node, re.ASCII) else "peer"


def rsync_command(peer: Peer, here: str, *, fetch: bool = False, transit_name: str = "") -> list[str]:
    """Given a peer and a folder on this node, return the rsync argv that sends, or fetches, the files named on its stdin.

    With a `transit_name` it sends the file `here` under that name, and is told nothing on its stdin.
    Folders are the private ones that transfers have for themselves. A path that a shell would read otherwise is protected by
    a way that keys restricted by rrsync do not let through.
    """
    command = [find_tool("rsync"), "--inplace", "--ignore-times", "--no-whole-file", f"--copy-dest={BASIS}"]
    command += ["--chmod=F600", "--perms", "--stats", "--no-human-readable"]
    command += [] if transit_name else ["--from0", "--files-from=-"]
    if peer.bwlimit:
        command.append(f"--bwlimit={peer.bwlimit}")
    there = f"{peer.folder}/"
    if peer.host:
        there = "./" if is_bound(peer) else there
        command += _remote_options(peer)
        there = _remote_path(peer, there)
    if transit_name:
        return [*command, here, f"{there}{transit_name}"]
    return [*command, there, f"{here}/"] if fetch else [*command, f"{here}/", there]


def _remote_options(peer: Peer) -> list[str]:
    """Given a peer on another machine, return the options with which rsync reaches it."""
    quoted = " ".join("'" + word.replace("'", "''") + "'" for word in ssh_command(peer))
    options = [f"--timeout={max(1, round(peer.io_timeout))}", f"--rsh={quoted}"]
    become = ["sudo", "-n", "-u", peer.sudo] if peer.sudo else []
    if words := [*become, *priority_words(peer.nice, peer.ionice)]:
        options.append(f"--rsync-path={' '.join([*words, 'rsync'])}")
    if not _PLAIN.fullmatch(peer.folder) and not is_bound(peer):
        options.append("--protect-args")
    return options


def _remote_path(peer: Peer, path: str) -> str:
    where = f"[{peer.host}]" if ":" in peer.host else peer.host
    return f"{peer.user + '@' if peer.user else ''}{where}:{path}"


def reach(peer: Peer, deadline: Deadline, *, fetch: bool = False) -> None:
    """Given a peer, see whether rsync over ssh gets to its folder, in the direction of the transfer; nothing is written.

    A folder in which nothing was ever offered need not be there. Raise ToolFailed with their own words.
    """
    if not peer.host:
        return
    limit = Deadline(deadline.at_most(_silence(peer)))
    with tempfile.TemporaryDirectory(prefix="altbackup-") as empty:
        command = rsync_command(peer, empty, fetch=fetch)
        command.insert(1, "--dry-run")
        try:
            rc, said, _ = _run(command, b"", peer, limit)
        except DeadlineExceeded:
            rc, said = (
                _TIMED_OUT,
                f"no answer about {peer.folder} within {limit.seconds:g} s: is the server of its mount up?",
            )
    if rc and not (fetch and _is_missing(said, peer.folder)):
        if _NO_RSYNC.search(said):
            reason = (
                f"{peer.node} was reached from this node as {peer}, but has no rsync: install it there, or put it on the PATH of "
                f"commands over ssh: {said}"
            )
            raise ToolFailed(reason, rc, said)
        raise ToolFailed(
            f"{peer.node} cannot be reached from this node as {peer}: {said or 'it said nothing'}", rc, said
        )


def _is_missing(said: str, folder: str) -> bool:
    return any(
        "change_dir" in line and folder in line and line.endswith("No such file or directory (2)")
        for line in said.splitlines()
    )


def _run(command: Sequence[str], names: bytes, peer: Peer, deadline: Deadline) -> tuple[int, str, int]:
    """Run an rsync; return its exit code, what it said, and the bytes that went over the wire both ways.

    Where no name server answers, which is often over in a moment, it is tried again as long as a connection may take.
    """
    start = time.monotonic()
    for tries in itertools.count(1):
        rc, said, wire = _run_once(command, names, peer, deadline)
        left = peer.connect_timeout - (time.monotonic() - start)
        if rc == 0 or not _NAME_SERVER.search(said):
            break
        if left <= 0 or deadline.is_over():
            said = f"{said} (tried {tries} times in {peer.connect_timeout:g} s)" if tries > 1 else said
            break
        time.sleep(min(left, _PAUSES[min(tries, len(_PAUSES)) - 1]))
    return rc, said, wire


def _run_once(command: Sequence[str], names: bytes, peer: Peer, deadline: Deadline) -> tuple[int, str, int]:
    with tempfile.TemporaryFile() as listed, tempfile.TemporaryFile() as out:
        with name_os_errors(tempfile.gettempdir()):
            listed.write(names)
            listed.seek(0)
        with Child(command, environment=clean_environment(**_session()), stdin=listed, stdout=out) as child:
            rc = child.wait(
                deadline, _silence(peer), Pace(peer.min_rate, 5 * peer.io_timeout) if peer.min_rate else None
            )
            said = peer.censored(unframed(child.stderr()))
        return rc, said, _wire_bytes(out)


def _silence(peer: Peer) -> float:
    """Return after how many seconds without an answer a peer is given up; rsync and ssh, where they notice it, do so before."""
    return peer.connect_timeout + 2 * peer.io_timeout


def _wire_bytes(stream: IO[bytes]) -> int:
    """Given what `rsync --stats` said, return the bytes sent and received."""
    stream.seek(0)
    found = re.findall(rb"^Total bytes (?:sent|received): (\d+)", stream.read(), re.MULTILINE)
    return sum(map(int, found))


def _session() -> dict[str, str]:
    """Return the variables ssh needs: the home of this user, and an agent, where there is one."""
    return inherited_environment("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK")


def _transfer(
    peer: Peer,
    here: str,
    wanted: Sequence[Offer],
    deadline: Deadline,
    *,
    fetch: bool = False,
    apart: Mapping[str, str] = {},
) -> int:
    """Move files between a folder on this node and the peer's; return the bytes on the wire. Raise ToolFailed.

    The files of each stamp are one rsync, in the order given: rsync itself goes by the names. But those of `apart`, {transit name: path},
    are one each, sent from where they lie. Files that cannot be read keep none of the others back; what rsync said of them is raised
    at the end.
    """
    total = 0
    failed: list[ToolFailed] = []
    once = {file.transit_name: file for file in reversed(wanted)}
    first = [file for file in wanted if once[file.transit_name] is file]
    for (_, alone), files in itertools.groupby(
        first, key=lambda file: (file.stamp, file.transit_name if file.transit_name in apart else "")
    ):
        sizes = {file.transit_name: file.dna.size for file in files}
        names = "" if alone else "".join(f"{name}\0" for name in sizes)
        command = rsync_command(peer, apart.get(alone, here), fetch=fetch, transit_name=alone)
        try:
            with _told(here, sizes, sum(sizes.values()), fetch=fetch):
                total += _moved(peer, command, names.encode("ascii"), deadline, fetch=fetch)
        except ToolFailed as error:
            failed.append(error)
            if error.rc not in PARTIAL:
                break
    if failed:
        words = "\n".join(dict.fromkeys(map(str, failed)))
        raise ToolFailed(words, failed[-1].rc, "\n".join(error.stderr for error in failed)) from failed[-1]
    return total


def _moved(peer: Peer, command: Sequence[str], names: bytes, deadline: Deadline, *, fetch: bool) -> int:
    """Run an rsync that moves the files named; return the bytes on the wire. Raise ToolFailed."""
    rc, said, wire = _run(command, names, peer, deadline)
    if rc and not (rc == PARTIAL[0] and said and all(map(_MODES.fullmatch, said.splitlines()))):
        what = "fetching from" if fetch else "sending to"
        raise ToolFailed(
            f"{what} {peer.node} ({peer}) failed: rsync exit code {rc}: {said or 'it said nothing'}", rc, said
        )
    return wire


def _told(here: str, sizes: Mapping[str, int], total: int, *, fetch: bool) -> contextlib.AbstractContextManager[None]:
    """Given a folder, the names in it of what an rsync moves, with their bytes, and all its bytes, tell how many are moved."""
    if fetch:
        return progress.moving("received", lambda: sum(map(_size, (os.path.join(here, name) for name in sizes))), total)
    top, order = os.path.realpath(here), sorted(sizes)
    most = [0]

    def position() -> int:
        for path, read in read_by_children():
            name = os.path.relpath(path, top)
            if name in sizes:
                before = sum(sizes[other] for other in order[: order.index(name)])
                most[0] = max(most[0], before + min(read, sizes[name]))
        return most[0]

    return progress.moving("sent", position, total)


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def fetch(incoming: str, peer: Peer, wanted: Sequence[Offer], deadline: Deadline) -> int:
    """Given this target's folder for what arrives and the source with its folder of what it offers, fetch it.

    Return the bytes on the wire. Raise ToolFailed or DeadlineExceeded.
    """
    with progress.at_work(f"from {peer.node}"):
        return _transfer(peer, incoming, wanted, deadline, fetch=True)


def carry(
    peer: Peer,
    here: str,
    relpaths: Sequence[str],
    deadline: Deadline,
    *,
    fetch: bool = False,
    relative: bool = False,
    size: int = 0,
) -> int:
    """Given a peer, a folder here and paths below the folder that holds the files, bring them to the other one.

    Each gets its last name there, or with `relative` its whole path. `size` are their bytes, as far as known. Return the bytes
    on the wire. Raise ToolFailed or DeadlineExceeded.
    """
    command = rsync_command(peer, here, fetch=fetch)
    if not relative:
        command.insert(1, "--no-relative")
    arriving = relpaths if relative else [path.rpartition("/")[2] for path in relpaths]
    sizes = {name: 0 if fetch else _size(os.path.join(here, name)) for name in (arriving if fetch else relpaths)}
    names = "".join(f"{path}\0" for path in relpaths).encode()
    with progress.at_work(f"{'from' if fetch else 'to'} {peer.node}"), _told(here, sizes, size, fetch=fetch):
        return _moved(peer, command, names, deadline, fetch=fetch)


def send(
    base: str,
    deliveries: Sequence[tuple[Peer, Sequence[Mapping[str, Any]]]],
    deadline: Deadline,
    offers: Sequence[tuple[str, Sequence[Mapping[str, Any]]]] = (),
) -> dict[str, Any]:
    """Given a source's base and what goes to which peer, send to all of them in parallel, each with its own limits.

    `offers` are what targets fetch by themselves: it is put where they find it. Return `sent` ({target: bytes of the
    tarballs}), `wire` ({target: bytes that really went}), `offered` ({target: folder}) and `failures`, whose `delegate` is
    the target. Whether a file is whole is for the target to say, when it accepts it.
    """
    tree = require_writable(base)
    remove_outgoing(tree)
    offered: dict[str, str] = {}
    failures: list[dict[str, Any]] = []
    for target, tarballs in offers:
        wanted, refused = _parsed(tarballs)
        failures += [{**entry, "delegate": target} for entry in refused]
        try:
            offered[target], bad, _ = _lay_out(tree, target, wanted, copying=True)
            failures += [{**entry, "delegate": target} for entry in bad.values()]
        except (AltbackupError, OSError) as error:
            failures.append({**failure(STAGE, error), "delegate": target})
    outcomes = in_parallel(
        lambda delivery: _deliver(tree, delivery[0], delivery[1], deadline),
        deliveries,
        max(1, len(deliveries)),
    )
    for (peer, _), outcome in zip(deliveries, outcomes):
        failures += [{**entry, "delegate": peer.node} for entry in outcome["failures"]]
    return {
        "changed": any(outcome["bytes"] for outcome in outcomes),
        "sent": {peer.node: outcome["bytes"] for (peer, _), outcome in zip(deliveries, outcomes)},
        "wire": {peer.node: outcome["wire"] for (peer, _), outcome in zip(deliveries, outcomes)},
        "offered": offered,
        "failures": failures,
    }


def offer_folder(base: str, target: str) -> str:
    """Given a source's base and a target, return the folder from which that target fetches."""
    return os.path.join(base, ".altbackup", "outgoing", target)


def _lay_out(
    tree: Tree, target: str, wanted: Sequence[Offer], *, copying: bool = False
) -> tuple[str, dict[str, dict[str, Any]], dict[str, str]]:
    """Put links to tarballs, under the names of their digests, where one transfer finds them.

    Return the folder, {transit name: failure} of those that cannot be linked, such as another user's, which keep no other one back, and
    {transit name: path} of those that are to be sent from where they lie, since there are no links; with `copying` they are copied instead.
    """
    folder = offer_folder(tree.base, target)
    remove_folder(folder)
    make_folders(folder, tree.private)
    bad: dict[str, dict[str, Any]] = {}
    apart: dict[str, str] = {}
    for file in wanted:
        link = os.path.join(folder, file.transit_name)
        if os.path.lexists(link) or file.transit_name in apart:
            continue
        try:
            path = tree.path(file.relpath)
            open_plain(path).close()
            if copying:
                duplicate(path, link)
            elif not share(path, link):
                apart[file.transit_name] = path
            bad.pop(file.transit_name, None)
        except (AltbackupError, OSError) as error:
            if isinstance(error, DeadlineExceeded) or (isinstance(error, OSError) and error.errno in FULL):
                raise
            reason = f"{file.relpath} cannot be sent: no link to it can be made: {explain(error)}"
            bad[file.transit_name] = failure(STAGE, reason, relpath=file.relpath)
    return folder, bad, apart


def _parsed(tarballs: Sequence[Mapping[str, Any]]) -> tuple[list[Offer], list[dict[str, Any]]]:
    """Given what one target is to have, return it checked, and a failure for each that is none."""
    wanted, refused = [], []
    for value in tarballs:
        try:
            wanted += parse_offers([value])
        except InvalidInput as error:
            refused.append(failure(STAGE, f"is not sent: {error}"))
    return wanted, refused


def _deliver(tree: Tree, peer: Peer, tarballs: Sequence[Mapping[str, Any]], deadline: Deadline) -> dict[str, Any]:
    """Send tarballs to one peer by one rsync."""
    wanted, refused = _parsed(tarballs)
    outcome: dict[str, Any] = {"bytes": 0, "wire": 0, "failures": refused}
    try:
        outgoing, bad, apart = _lay_out(tree, peer.node, wanted)
        outcome["failures"] += bad.values()
        ready = [file for file in wanted if file.transit_name not in bad]
        with progress.at_work(f"to {peer.node}"):
            outcome["wire"] = _transfer(peer, outgoing, ready, deadline, apart=apart)
        outcome["bytes"] = sum(file.dna.size for file in {file.transit_name: file for file in ready}.values())
    except (AltbackupError, OSError) as error:
        outcome["failures"].append(failure(STAGE, error))
    finally:
        remove_folder(offer_folder(tree.base, peer.node))
    return outcome
