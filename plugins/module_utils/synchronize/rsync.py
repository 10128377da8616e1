"""Transfers: rsync over ssh moves what a target lacks, sent by the source or fetched by the target.

A file travels under the name of its digest into a private folder of the pair, written in place, so that a rerun resumes it. rsync compares
it block by block with what lies there, so a file that arrived whole, or with some wrong bytes, costs no more than those. If nothing of it
arrived yet, blocks are taken from a copy of an older tarball in `basis/`: not from the file itself, since in place a block cannot be taken
from behind the point that is written, and contents mostly move backwards.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import IO

from ..system import progress
from ..system.errors import DeadlineExceeded, ToolFailed
from ..system.priority import priority_words
from ..system.processes import Child, Deadline, Pace, read_by_children
from ..system.programs import clean_environment, find_tool, inherited_environment
from ..system.temporary import temporary_stream
from ..tree.failures import unframed
from .offer import BASIS, Offer
from .peers import Peer, is_bound, ssh_command

PARTIAL = (23, 24)
"""Exit codes of an rsync that moved all that it could: files could not be read, or vanished"""
_TIMED_OUT = 30
"""Exit code of an rsync that got no answer in time"""
_MODES = re.compile(
    r"rsync: (?:\[\w+\] )?failed to set permissions on .*: (?:Operation not permitted|Operation not supported|Function not implemented) \(\d+\)"
    r"|rsync error: some files/attrs were not transferred .*\(code 23\).*"
)
"""Messages of rsync for files that it has moved to a file system without modes"""
_NAME_SERVER = re.compile(
    r"^.*Could not resolve hostname .*: (?:Temporary failure in name resolution|Try again)$", re.MULTILINE
)
"""Message of ssh, in the words of glibc or musl, when no name server answered; an unknown name has another one"""
_PAUSES = (0.5, 1.0, 2.0)
"""Seconds between tries"""
_NO_RSYNC = re.compile(
    r"\brsync['\"\u2019]?: (?:(?:command |inaccessible or )?not found|No such file or directory\s*$)|(?:[Cc]ommand not found|Unknown command): rsync",
    re.MULTILINE,
)
"""Messages of a shell, or sudo, where rsync is not installed"""
_REFUSED = re.compile(
    r"Permission denied \(|Too many authentication failures|UNPROTECTED PRIVATE KEY|Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED"
)
"""Messages of ssh where keys, or the known keys of hosts, are not in place"""
_NO_WAY = re.compile(rf"{_REFUSED.pattern}|Could not resolve hostname|^ssh: connect to ", re.MULTILINE)
"""Messages of ssh that say all of why there was no connection"""
_AFTERWARDS = re.compile(
    r"\n*^rsync: (?:\[\w+\] )?connection unexpectedly closed .*$|\n*^rsync error: .*\(code (?:12|255)\) at .*$",
    re.MULTILINE,
)
"""What rsync adds to that"""
_HINT = "altbackup doctor tells what of this way is not in place, and setup.yml sets up keys and known hosts"
_PLAIN = re.compile(r"[\w/.,:+@%=-]+", re.ASCII)


def rsync_command(peer: Peer, here: str, *, fetch: bool = False, transit_name: str = "") -> list[str]:
    """Return the argv of an rsync that sends the files named on its stdin from a folder here to the peer, or fetches them.

    With a `transit_name` it sends the one file `here` under that name and reads no stdin. Folders must be the private ones of transfers. A
    path that a shell would interpret needs --protect-args, which keys restricted by rrsync do not let through.
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
    """Return the options with which rsync reaches a peer on another machine."""
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
    """Check that rsync over ssh gets to the peer's folder, in the direction of the transfer; nothing is written.

    With `fetch` the folder may be missing: nothing was offered yet. Raise ToolFailed with the output of ssh or rsync.
    """
    if not peer.host:
        return
    limit = Deadline(deadline.at_most(_silence(peer)))
    with tempfile.TemporaryDirectory(prefix="altbackup-") as empty:
        command = rsync_command(peer, empty, fetch=fetch)
        command.insert(1, "--dry-run")
        try:
            rc, stderr_text, _ = _run(command, b"", peer, limit)
        except DeadlineExceeded:
            rc, stderr_text = (
                _TIMED_OUT,
                f"no answer about {peer.folder} within {limit.seconds:g} s: is the server of its mount up?",
            )
    if rc and not (fetch and _is_missing(stderr_text, peer.folder)):
        if _NO_RSYNC.search(stderr_text):
            reason = (
                f"{peer.node} was reached from this node as {peer}, but has no rsync: install it there, or put it on the PATH of "
                f"commands over ssh: {stderr_text}"
            )
            raise ToolFailed(reason, rc, stderr_text)
        raise ToolFailed(
            f"{peer.node} cannot be reached from this node as {peer}: {_hinted(stderr_text)}",
            rc,
            stderr_text,
        )


def _is_missing(stderr_text: str, folder: str) -> bool:
    return any(
        "change_dir" in line and folder in line and line.endswith("No such file or directory (2)")
        for line in stderr_text.splitlines()
    )


def _run(command: Sequence[str], names: bytes, peer: Peer, deadline: Deadline) -> tuple[int, str, int]:
    """Run an rsync; return (exit code, stderr, bytes on the wire both ways).

    If no name server answers, which is often over in a moment, try again for as long as a connection may take.
    """
    start = time.monotonic()
    for tries in itertools.count(1):
        rc, stderr_text, wire = _run_once(command, names, peer, deadline)
        left = peer.connect_timeout - (time.monotonic() - start)
        if rc == 0 or not _NAME_SERVER.search(stderr_text):
            break
        if left <= 0 or deadline.is_over():
            stderr_text = (
                f"{stderr_text} (tried {tries} times in {peer.connect_timeout:g} s)" if tries > 1 else stderr_text
            )
            break
        time.sleep(min(left, _PAUSES[min(tries, len(_PAUSES)) - 1]))
    return rc, stderr_text, wire


def _run_once(command: Sequence[str], names: bytes, peer: Peer, deadline: Deadline) -> tuple[int, str, int]:
    with temporary_stream(names) as listed, tempfile.TemporaryFile() as out:
        with Child(command, environment=clean_environment(**_session()), stdin=listed, stdout=out) as child:
            rc = child.wait(
                deadline, _silence(peer), Pace(peer.min_rate, 5 * peer.io_timeout) if peer.min_rate else None
            )
            stderr_text = _without_noise(peer.censored(unframed(child.stderr())))
        return rc, stderr_text, _wire_bytes(out)


def _without_noise(stderr_text: str) -> str:
    """Return the messages of an rsync without its own on the end of a connection where ssh has said why there was none."""
    return _AFTERWARDS.sub("", stderr_text).strip() if _NO_WAY.search(stderr_text) else stderr_text


def _hinted(stderr_text: str) -> str:
    """Return the messages of an rsync, with what mends it where a login was refused."""
    told = stderr_text or "it said nothing"
    return f"{told}. {_HINT}" if _REFUSED.search(told) else told


def _silence(peer: Peer) -> float:
    """Return the seconds of silence after which a peer is given up; rsync and ssh give up earlier where they notice it."""
    return peer.connect_timeout + 2 * peer.io_timeout


def _wire_bytes(stream: IO[bytes]) -> int:
    """Return the bytes sent and received, from the output of `rsync --stats`."""
    stream.seek(0)
    found = re.findall(rb"^Total bytes (?:sent|received): (\d+)", stream.read(), re.MULTILINE)
    return sum(map(int, found))


def _session() -> dict[str, str]:
    """Return the environment that ssh needs: this user's home and names, and the agent's socket if there is one."""
    return inherited_environment("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK")


def transfer(
    peer: Peer,
    here: str,
    wanted: Sequence[Offer],
    deadline: Deadline,
    *,
    fetch: bool = False,
    apart: Mapping[str, str] = {},
) -> int:
    """Move files between a folder on this node and the peer's; return the bytes on the wire. Raise ToolFailed.

    Each stamp is one rsync, in the order given, because rsync itself goes by the names. A file of `apart`, {transit name: path}, is an
    rsync of its own, sent from that path. Files that cannot be read do not stop the others; rsync's messages about them are raised at the
    end.
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
            with _reporting(here, sizes, sum(sizes.values()), fetch=fetch):
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
    """Run an rsync that moves the files in `names`, each ended by NUL; return the bytes on the wire. Raise ToolFailed."""
    rc, stderr_text, wire = _run(command, names, peer, deadline)
    if rc and not (rc == PARTIAL[0] and stderr_text and all(map(_MODES.fullmatch, stderr_text.splitlines()))):
        what = "fetching from" if fetch else "sending to"
        raise ToolFailed(
            f"{what} {peer.node} ({peer}) failed: rsync exit code {rc}: {_hinted(stderr_text)}",
            rc,
            stderr_text,
        )
    return wire


def _reporting(
    here: str, sizes: Mapping[str, int], total: int, *, fetch: bool
) -> contextlib.AbstractContextManager[None]:
    """Return a context that reports the progress of an rsync over `total` bytes; `sizes` are {name in `here`: bytes}."""
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
    """Fetch what a source offers in the peer's folder into this target's incoming folder.

    Return the bytes on the wire. Raise ToolFailed or DeadlineExceeded.
    """
    with progress.at_work(f"from {peer.node}"):
        return transfer(peer, incoming, wanted, deadline, fetch=True)


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
    """Bring files between a folder here and the peer's; `relpaths` are relative to the folder that holds them.

    Each arrives under its file name, or with `relative` under its whole path. `size` is the sum of their bytes, as far as known. Return the
    bytes on the wire. Raise ToolFailed or DeadlineExceeded.
    """
    command = rsync_command(peer, here, fetch=fetch)
    if not relative:
        command.insert(1, "--no-relative")
    arriving = relpaths if relative else [path.rpartition("/")[2] for path in relpaths]
    sizes = {name: 0 if fetch else _size(os.path.join(here, name)) for name in (arriving if fetch else relpaths)}
    names = "".join(f"{path}\0" for path in relpaths).encode()
    with progress.at_work(f"{'from' if fetch else 'to'} {peer.node}"), _reporting(here, sizes, size, fetch=fetch):
        return _moved(peer, command, names, deadline, fetch=fetch)
