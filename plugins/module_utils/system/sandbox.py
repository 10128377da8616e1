"""Sandboxes: programs that read possibly hostile data run as an unprivileged user, without network, within limits."""

from __future__ import annotations

import inspect
import json
import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from . import confine
from .confine import HOME, REFUSED, ROOM
from .errors import InvalidInput, ToolFailed, Unconfined
from .opened import walk_open
from .processes import Deadline, run
from .programs import clean_environment, find_tool

_DAY = 86400
_OPEN_FILES = 1024
_UNPACKING = (0, 1, 3, 4)
"""CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, CAP_FSETID"""
_SPECIAL = (27,)
"""CAP_MKNOD"""
_REFUSAL = (
    "no proof was run, since none runs unconfined: it needs Linux 5.12 or newer and namespaces of users, mounts, processes and the network. "
    "In a container allow them (CAP_SYS_ADMIN, or a runtime that allows unshare and mount); as a user who is not root see that "
    "user.max_user_namespaces is not 0 and that neither kernel.unprivileged_userns_clone=0 nor kernel.apparmor_restrict_unprivileged_userns=1 "
    "forbids them"
)


@dataclass(frozen=True)
class Sandbox:
    """The user that runs proofs, and their limits (bytes; processes of that user)."""

    user: str = "nobody"
    """Used if this process is root's; otherwise its own user stays"""
    memory: int = 4 << 30
    file_size: int = 1 << 42
    processes: int = 512
    capabilities: tuple[int, ...] = ()
    """Capabilities that root keeps, which then stays root; each below 32"""
    umask: int = 0o077

    def identity(self) -> tuple[int, int]:
        """Return (uid, gid) as which programs run. Raise InvalidInput for an unknown user, or root."""
        if os.geteuid() != 0 or self.capabilities:
            return os.geteuid(), os.getegid()
        try:
            entry = pwd.getpwnam(self.user)
        except KeyError:
            raise InvalidInput(f"user {self.user!r}, as whom proofs are to run, does not exist on this node") from None
        if entry.pw_uid == 0:
            raise InvalidInput(
                f"user {self.user!r} is root, as whom no proof runs: name one without rights, like nobody"
            )
        return entry.pw_uid, entry.pw_gid

    def argv(
        self,
        argv: Sequence[str],
        room: str,
        deadline: Deadline,
        *,
        program: ModuleType | None = None,
        masked: Sequence[str] = (),
        merged: bool = False,
    ) -> list[str]:
        """Return the argv that runs `argv` confined, or `program` of this collection with the arguments `argv`.

        `room` is the one folder that it can write to, seen as ROOM; files in it that are `masked` are empty for it. With `merged` stderr
        goes where stdout goes. Raise InvalidInput or DeadlineExceeded.
        """
        uid, gid = self.identity()
        seconds = deadline.remaining() or _DAY
        settings = {
            "uid": uid,
            "gid": gid,
            "room": room,
            "masked": list(masked),
            "merged": merged,
            "capabilities": list(self.capabilities),
            "umask": self.umask,
            "program": inspect.getsource(program) if program else "",
            "limits": {
                "RLIMIT_AS": self.memory,
                "RLIMIT_FSIZE": self.file_size,
                "RLIMIT_NPROC": self.processes,
                "RLIMIT_CPU": int(seconds * len(os.sched_getaffinity(0))) + 1,
                "RLIMIT_NOFILE": _OPEN_FILES,
                "RLIMIT_CORE": 0,
            },
        }
        interpreter = [sys.executable, "-I", "-S", "-B", "-c", inspect.getsource(confine), json.dumps(settings)]
        return [*interpreter, *argv]

    def run(
        self,
        argv: Sequence[str],
        room: str,
        *,
        what: str,
        deadline: Deadline,
        input: bytes = b"",
        program: ModuleType | None = None,
        masked: Sequence[str] = (),
        merged: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> bytes:
        """Run argv, as `argv` takes it, confined to its end and return its stdout. Raise ToolFailed or DeadlineExceeded."""
        command = self.argv(argv, room, deadline, program=program, masked=masked, merged=merged)
        try:
            return run(
                command,
                what=what,
                deadline=deadline,
                input=input,
                environment=clean_environment(**{**(environment or {}), "HOME": HOME}),
                name=program.__name__.rpartition(".")[2] if program else os.path.basename(argv[0]),
            )
        except ToolFailed as error:
            raise explained(error) from error


def for_unpacking(special_modes: bool) -> Sandbox:
    """Return a sandbox in which unpacked files keep owners and modes if this process is root's; with `special_modes` device files, too."""
    capabilities = (*_UNPACKING, *(_SPECIAL if special_modes else ()))
    return Sandbox(capabilities=capabilities if os.geteuid() == 0 else (), umask=0)


def require_allowed(sandbox: Sandbox, deadline: Deadline) -> None:
    """Raise Unconfined unless the kernel lets programs run in a sandbox. Raise ToolFailed or DeadlineExceeded."""
    sandbox.run([find_tool("true")], "", what="trying a sandbox", deadline=deadline)


def is_allowed(sandbox: Sandbox, deadline: Deadline) -> bool:
    """Return whether the kernel lets programs run in a sandbox. Raise ToolFailed or DeadlineExceeded."""
    try:
        require_allowed(sandbox, deadline)
    except Unconfined:
        return False
    return True


def explained(error: ToolFailed) -> ToolFailed:
    """Return the failure of a confined program; if the kernel does not allow to confine it, Unconfined with what to do."""
    if error.rc != REFUSED:
        return error
    reason = error.stderr.strip().rpartition("\n")[2] or "the kernel does not allow to confine programs"
    return Unconfined(f"{reason}; {_REFUSAL}", error.rc, error.stderr)


def inside(room: str, path: str) -> str:
    """Return a path in the room as it is seen from inside. Raise ValueError for a path outside."""
    relative = os.path.relpath(path, room)
    if relative.split("/")[0] == "..":
        raise ValueError(f"{path} is not in {room}")
    return os.path.normpath(os.path.join(ROOM, relative))


def chown_tree(path: str, identity: tuple[int, int]) -> None:
    """Make a user the owner of a folder and all below it, folders with mode 0700; no link is followed. Raise OSError."""
    for _, folders, files, descriptor in walk_open(path):
        os.chmod(descriptor, 0o700)
        _own(".", identity, descriptor)
        for name in [*files, *folders]:
            _own(name, identity, descriptor)


def _own(name: str, identity: tuple[int, int], folder: int) -> None:
    if os.geteuid() == 0:
        os.chown(name, *identity, dir_fd=folder, follow_symlinks=False)
