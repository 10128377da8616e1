"""Kind `command`: what a program says, or leaves in a folder, run as a given user, within limits.

The program is the administrator's, from the inventory, and is trusted as its user is. What it gives is not: a proof lets
the item's `verify` read it in a sandbox.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import stat
import time
from collections.abc import Iterator, Sequence
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

from ..archive.write import Part
from ..system.confine import check as require_success
from ..system.confine import libc
from ..system.digest import digest_file, new_hash, open_plain
from ..system.errors import (
    AltbackupError,
    InvalidInput,
    ProofFailed,
    SourceChanged,
    ToolFailed,
    ToolMissing,
    name_os_errors,
)
from ..system.proc import NAME, PARENT, STATE, open_files, pids, position, stat_of
from ..system.processes import Child, Deadline
from ..system.programs import clean_environment
from ..system.sandbox import explained
from ..system.units import counted, first_of, readable
from ..system.visible import one_line
from .base import Arrangement, Context, Kind, Snapshot, compare, scratch_folder, settle, walk
from .items import Item
from .keys import FOLDER, OUTPUT

if TYPE_CHECKING:
    from .proofs import Proof

PLACE = "{folder}"
"""The word, or part of one, that stands for the folder in an argv"""
_DAY = 86400.0
_MOST_SAID = 64 << 20
"""Bytes on stderr with which a program is ended"""
_LONGEST_NOTE = 300
_TICK = 0.1
_CHUNK = 1 << 20
_LOOK = 1.0
"""Seconds between looks at how much a folder holds"""
_PR_SET_CHILD_SUBREAPER = 36
_SHOWN = 3
_GRACE = 5.0
"""Seconds in which what was started is ended; what cannot be, such as what waits for a dead mount, is told"""


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless there is a program that this user can run."""
    program = item.option("argv")[0]
    if not os.path.isfile(program):
        raise InvalidInput(f"item command {item.name!r}: {program} is not there, or no file")
    if not os.access(program, os.X_OK):
        raise InvalidInput(f"item command {item.name!r}: {program} cannot be run by uid {os.geteuid()}")


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what the program has: all that its user has, and an empty folder."""
    uid = uid_of(item, item.option("user"))
    return Arrangement(uid, [], scratch=[scratch_folder(context, item)], confined=False)


def uid_of(item: Item, user: str) -> int:
    """Return the uid of a user. Raise InvalidInput for one that is not known, or that this process cannot become."""
    try:
        uid = pwd.getpwnam(user).pw_uid
    except KeyError:
        raise InvalidInput(f"item {item.kind} {item.name!r}: user {user!r} does not exist on this node") from None
    if os.geteuid() not in (0, uid):
        raise InvalidInput(
            f"item {item.kind} {item.name!r}: only root can run programs as user {user!r}, but this is uid {os.geteuid()}"
        )
    return uid


def environment_of(item: Item, context: Context) -> dict[str, str]:
    """Return the environment of a program that is run for an item as the user that this process is."""
    entry = pwd.getpwuid(os.geteuid())
    names = {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    return clean_environment(**names, ALTBACKUP_ITEM=item.key, ALTBACKUP_STAMP=context.stamp)


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Run the item's program and yield what it gave."""
    folder = scratch_folder(context, item)
    work = _Work(item, context, folder)
    work.run()
    names = list(walk(folder)[0])
    settle()
    found = walk(folder)[0]
    facts = describe(folder)
    record = {"produces": item.option("produces", OUTPUT), **facts, "measures": {"bytes": facts["content_bytes"]}}
    if work.stderr:
        record["stderr"] = work.stderr
    yield Snapshot(
        [Part(folder, names)],
        record,
        fixed_times=True,
        notes=work.notes,
        confirm=lambda: compare(found, walk(folder)[0]),
    )


def describe(folder: str) -> dict[str, Any]:
    """Return `files`, `content_bytes` and `digest` of what a folder holds, whatever its times and owners are. Raise OSError."""
    total, files, size = new_hash("sha256"), 0, 0
    for name, (mode, *_) in walk(folder)[0].items():
        path = os.path.join(os.fsencode(folder), name)
        line = b"%s\0%o" % (name, stat.S_IFMT(mode))
        if stat.S_ISREG(mode):
            digest, length = digest_file(os.fsdecode(path), "sha256")
            files, size = files + 1, size + length
            line += b"\0%s" % digest.encode()
        elif stat.S_ISLNK(mode):
            line += b"\0%s" % os.readlink(path)
        total.update(line + b"\n")
    return {"files": files, "content_bytes": size, "digest": total.hexdigest()}


class _Work:
    """One run of a program."""

    def __init__(self, item: Item, context: Context, folder: str) -> None:
        self._item = item
        self._context = context
        self._folder = folder
        self._title = f"item command {item.name!r}"
        self._most = item.option("size_limit") or 0
        seconds = context.deadline.at_most(item.option("time_limit") or _DAY)
        self._deadline = Deadline(seconds, f"command of {item.key}")
        self.stderr = ""
        """The end of what it said there"""
        self.notes: list[str] = []

    def run(self) -> None:
        """Run it to its end, and take what it gives. Raise AltbackupError where it fails, gives nothing, or more than it may."""
        item, to_stdout = self._item, self._item.option("produces", OUTPUT) == OUTPUT
        argv = [word.replace(PLACE, self._folder) for word in item.option("argv")]
        with _descendants_kept() as family:
            with Child(
                argv,
                stdout=PIPE if to_stdout else None,
                cwd=self._folder,
                environment=environment_of(item, self._context),
            ) as child:
                if to_stdout:
                    self._take_output(child)
                else:
                    self._watch_folder(child)
                child.check(self._deadline, self._title)
                self.stderr = child.stderr()
            self._see_to_those_left(family)
        if to_stdout and not os.path.getsize(os.path.join(self._folder, OUTPUT)):
            raise AltbackupError(f"{self._title}: {argv[0]} ended with exit code 0, but said nothing: {self._tail()}")
        if not to_stdout and not any(stat.S_ISREG(mode) for mode, *_ in walk(self._folder)[0].values()):
            raise AltbackupError(f"{self._title}: {argv[0]} ended with exit code 0, but left no file: {self._tail()}")
        if self.stderr:
            lines = counted(len(self.stderr.splitlines()), "line")
            self.notes.append(f"it said {lines} on stderr, which its record has: {self._tail()}")

    def _tail(self) -> str:
        return one_line(self.stderr.rpartition("\n")[2])[:_LONGEST_NOTE] or "nothing stands on its stderr, either"

    def _take_output(self, child: Child) -> None:
        """Write what it says to a file, until nobody can say more. Raise AltbackupError where others go on after its end."""
        source, size = child.stdout.fileno(), 0
        os.set_blocking(source, False)
        poll = select.poll()
        poll.register(source, select.POLLIN)
        path = os.path.join(self._folder, OUTPUT)
        with name_os_errors(path), open(path, "xb", buffering=0) as output:
            while True:
                poll.poll(_TICK * 1000)
                ended = child.process.poll() is not None
                try:
                    part = os.read(source, _CHUNK)
                except BlockingIOError:
                    if ended:
                        raise AltbackupError(
                            f"{self._title}: it ended, but what it started goes on writing to its output, which is not whole: let it wait for that"
                        ) from None
                    self._require_within(child, size)
                    continue
                if not part:
                    return
                size += len(part)
                self._require_within(child, size)
                output.write(part)

    def _watch_folder(self, child: Child) -> None:
        """Wait for its end while what it leaves is within the limit. Raise AltbackupError."""
        size, looked = 0, 0.0
        while child.process.poll() is None:
            if time.monotonic() - looked > _LOOK:
                with contextlib.suppress(
                    SourceChanged, InvalidInput
                ):  # what vanishes or is closed meanwhile counts later
                    size = _size_of(self._folder)
                looked = time.monotonic()
            self._require_within(child, size)
            time.sleep(_TICK)
        self._require_within(child, _size_of(self._folder))

    def _require_within(self, child: Child, size: int) -> None:
        self._deadline.remaining()
        if self._most and size > self._most:
            raise AltbackupError(
                f"{self._title}: it gave more than {readable(self._most)} (size_limit), and was ended: nothing is stored"
            )
        if child.stderr_size() > _MOST_SAID:
            raise AltbackupError(f"{self._title}: it said more than {readable(_MOST_SAID)} on stderr, and was ended")

    def _see_to_those_left(self, family: _Family) -> None:
        """End what it started and left. Raise AltbackupError where that has a file open to write in what it gave."""
        left = family.left()
        writing = [name for pid, name in left.items() if _writes_below(pid, self._folder)]
        family.end()
        if stuck := family.left():
            raise AltbackupError(
                f"{self._title}: {first_of(list(stuck.values()), _SHOWN)}, which it started, cannot be ended"
            )
        if writing:
            raise AltbackupError(
                f"{self._title}: it ended, but {first_of(writing, _SHOWN)}, which it started, still had files open that it gave: let it wait for that"
            )
        if left:
            self.notes.append(f"ended what it left at work: {first_of(list(left.values()), _SHOWN)}")


def _size_of(folder: str) -> int:
    return sum(size for mode, _, _, size, *_ in walk(folder)[0].values() if stat.S_ISREG(mode))


def _writes_below(pid: int, folder: str) -> bool:
    with contextlib.suppress(OSError):
        for descriptor, path in open_files(pid):
            with contextlib.suppress(OSError):
                if path.startswith(f"{folder}/") and position(pid, descriptor)[0] != os.O_RDONLY:
                    return True
    return False


class _Family:
    """What was started by this process, also what was left by whoever started it."""

    def __init__(self, before: Sequence[int]) -> None:
        self._before = frozenset(before)

    def left(self) -> dict[int, str]:
        """Return {pid: name} of those that still live."""
        parents: dict[int, tuple[int, str, str]] = {}
        for pid in pids():
            with contextlib.suppress(OSError, ValueError, IndexError):
                known = stat_of(pid)
                parents[pid] = (int(known[PARENT]), known[NAME], known[STATE])
        found: dict[int, str] = {}
        ours, grown = {os.getpid()}, True
        while grown:
            more = {pid for pid, (parent, *_) in parents.items() if parent in ours and pid not in self._before} - ours
            ours |= more
            grown = bool(more)
        for pid in ours - {os.getpid()}:
            if parents[pid][2] != "Z":
                found[pid] = one_line(parents[pid][1])
        return found

    def end(self) -> None:
        """End all of them, and what they start meanwhile, as far as that can be done within a while."""
        end = time.monotonic() + _GRACE
        while (left := self.left()) and time.monotonic() < end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            for pid in left:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.01)


@contextlib.contextmanager
def _descendants_kept() -> Iterator[_Family]:
    """Let what loses its parent in the block be this process's own, and end all that was started in it at the end. Raise OSError."""
    require_success(libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "the care for what a program leaves")
    before = list(_Family(()).left())
    family = _Family(before)
    try:
        yield family
    finally:
        family.end()
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def prove(proof: Proof) -> None:
    """What was dumped, byte by byte, as recorded; and what the item's `verify` says of it."""
    facts = describe(proof.path)
    for name, value in facts.items():
        proof.compare(name, value)
    produces = str(proof.record.get("produces") or (OUTPUT if os.listdir(proof.path) == [OUTPUT] else FOLDER))
    if not facts["content_bytes"]:
        raise proof.fail("it holds nothing")
    if not proof.verify:
        proof.notes.append(
            "its item has no verify: that it is what the program gave was proved, not what that is good for"
        )
        return
    if not os.access(proof.verify[0], os.X_OK):
        raise ToolMissing(
            f"{proof.title}: {proof.verify[0]}, which is to verify it, cannot be run on this node: nothing was proved"
        )
    if produces == OUTPUT:
        _judge(proof, proof.verify, "", proof.plain(OUTPUT))
    else:
        with proof.opened() as folder:
            argv = [word.replace(PLACE, proof.inside(folder)) for word in proof.verify]
            _judge(proof, argv, proof.scratch, os.devnull)
    proof.facts["verify"] = os.path.basename(proof.verify[0])


def _judge(proof: Proof, argv: Sequence[str], room: str, stdin: str) -> None:
    """Let a program, in the sandbox, read what it judges. Raise ProofFailed where it finds a fault, or ToolFailed."""
    command = proof.sandbox.argv(argv, room, proof.deadline)
    with open_plain(stdin) if stdin != os.devnull else open(stdin, "rb") as source:
        with Child(command, stdin=source, name=os.path.basename(argv[0])) as child:
            try:
                child.check(proof.deadline, proof.title)
            except ToolFailed as error:
                if error.rc is not None and 0 < error.rc < 125:
                    raise ProofFailed(str(error)) from error
                raise explained(error) from error


KIND = Kind(
    check,
    copy,
    arrange,
    prove,
    unforeseen="no program is run in check mode, so whether it succeeds is not known",
)
