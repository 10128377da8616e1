"""Readers: processes that read what other users own, so that this process, which is root's and holds the lock, never does.

One process, forked before any thread is started, so that it holds no thread's lock, forks the others: a call costs some milliseconds, not
the start of an interpreter. A reader enters a view of the file system (view.py) that holds the thing to read, works there, and reports in
lines of JSON, which are treated as data. Programs that interpret the thing run as its owner. However a reader hangs, it is ended from
outside, with all that it started.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import select
import signal
import socket
import struct
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from . import process_groups, view
from .conversation import HEADER, Conversation, answer
from .errors import InvalidInput
from .paths import is_within
from .pipes import wide_pipe
from .programs import find_tool
from .twins import set_mode
from .view import Place

TEMPORARY_FOLDER = "/altbackup"
"""Folder of a reader's own temporary files, as seen inside its view"""
_GRACE = 2.0
_UNASKED = "it was not asked for"
_FORBIDDEN = (errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.ENODEV)
"""Error numbers with which a kernel, or a container's runtime, denies namespaces or mounts"""


@dataclass(frozen=True)
class Identity:
    """The user as whom a reader lets programs interpret what it reads."""

    uid: int
    viewed: bool
    """Whether it sees nothing but the thing; then programs may read other users' files in it, too"""
    reads_any: bool = False
    """Whether functions may, too"""

    @property
    def reads_as(self) -> int:
        """The uid of functions that are called here."""
        return self.uid if self._changes else os.geteuid()

    @property
    def _changes(self) -> bool:
        return os.geteuid() == 0 and (self.viewed or self.uid != 0)

    def argv(self, argv: Sequence[str | bytes], *capabilities: str) -> list[str | bytes]:
        """Return the argv that runs `argv` as this user, with no capabilities but those named."""
        if not self._changes:
            return list(argv)
        groups, group = view.groups_of(self.uid)
        kept = ",".join(["-all", *(f"+{name}" for name in capabilities or ("dac_read_search",) if self.viewed)])
        return [
            find_tool("setpriv"),
            f"--reuid={self.uid}",
            f"--regid={group}",
            f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups",
            f"--inh-caps={kept}",
            f"--ambient-caps={kept}",
            f"--bounding-set={kept}",
            "--no-new-privs",
            "--",
            *argv,
        ]

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function as this user, without root's rights, in a forked process; return its value, as JSON has it.

        Raise what it raises, if that is an OSError or an error of this collection.
        """
        if not self._changes:
            return function(*arguments)
        mine, other = socket.socketpair()
        child = os.fork()
        if child == 0:
            with _ending():
                _close_all_but(other.fileno())
                view.become(self.uid, reads_any=self.reads_any and self.viewed)
                answer(Conversation(other), lambda: function(*arguments))
        other.close()
        try:
            return Conversation(mine).result()
        finally:
            mine.close()
            os.waitpid(child, 0)

    def own(self, path: str) -> None:
        """Make this user the owner of a file or folder of this reader. Raise OSError."""
        if self._changes:
            os.chown(path, self.uid, view.groups_of(self.uid)[1], follow_symlinks=False)

    def own_open(self, descriptor: int) -> None:
        """Let an open file belong to this user, who can then open it again by its descriptor. Raise OSError."""
        if self._changes:
            os.fchown(descriptor, self.uid, view.groups_of(self.uid)[1])


UNCHANGED = Identity(0, viewed=False)
"""The user of this process, without any change"""


class Reader:
    """A reader at work; as a context manager it leaves no process behind."""

    def __init__(self, conversation: Conversation, stream: IO[bytes]) -> None:
        self.conversation = conversation
        self.stream = stream
        """What the reader writes to its `stream`"""

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.stream.close()
        with contextlib.suppress(OSError):  # until the reader and all that it started have ended
            self.conversation.connection.settimeout(_GRACE * 3)
            while self.conversation.connection.recv(1 << 16):
                pass
        self.conversation.connection.close()

    def end(self) -> None:
        """End it, if it still works."""
        with contextlib.suppress(OSError):
            self.conversation.connection.shutdown(socket.SHUT_WR)


class Readers:
    """Starts readers; a context manager, to be entered before any thread is started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended = False

    def __enter__(self) -> Readers:
        self._control, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads that only wait hold no lock
            self.pid = os.fork()
        if self.pid == 0:
            self._control.close()
            with _ending():
                os.setsid()
                process_groups.die_with_parent()
                process_groups.forget_all()
                _serve(other)
        other.close()
        process_groups.register(self.pid, self)
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()
        if not self._ended:
            os.waitpid(self.pid, 0)
        process_groups.unregister(self.pid)

    def poll(self) -> int | None:
        """Return None as long as it can start readers."""
        with contextlib.suppress(ChildProcessError):
            self._ended = self._ended or os.waitpid(self.pid, os.WNOHANG)[0] != 0
        return 0 if self._ended else None

    def begin(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        places: Sequence[Place],
        owner: int,
        confined: bool = True,
        as_root: bool = False,
    ) -> Reader:
        """Let a reader call a module's function as `function(identity, conversation, stream, *arguments)`.

        With `confined`, if the kernel allows it, the reader sees the `places` alone; else it runs as the `owner`, without root's rights,
        unless the thing is to be read `as_root`. Programs that interpret the thing run as the owner. The last message holds `value`, the
        function's result, and `refused`, why there was no view; or the error that it raised.
        """
        mine, other = socket.socketpair()
        reading, writing = wide_pipe()
        try:
            request = pickle.dumps((function, arguments, list(places), owner, confined, as_root))
            with self._lock:
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("2i", other.fileno(), writing.fileno()))]
                self._control.sendmsg([HEADER.pack(len(request))], rights)
                self._control.sendall(request)
        except BaseException:
            mine.close()
            reading.close()
            raise
        finally:
            other.close()
            writing.close()
        return Reader(Conversation(mine), reading)


@contextlib.contextmanager
def _ending() -> Iterator[None]:
    """End this process with the block, whatever happens in it: a fork must not run on into its parent's code."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        yield
        code = 0
    finally:
        os._exit(code)


def _serve(control: socket.socket) -> None:
    """Fork a reader for each request until the control socket is closed."""
    signal.signal(
        signal.SIGCHLD, signal.SIG_IGN
    )  # nobody waits for readers: their clients see the end of the connection
    while True:
        header, ancillary, _, _ = control.recvmsg(HEADER.size, socket.CMSG_SPACE(2 * struct.calcsize("i")))
        if not header:
            return
        connection, stream = struct.unpack("2i", ancillary[0][2])
        size = HEADER.unpack(header)[0]
        request = b""
        while len(request) < size:
            request += control.recv(size - len(request))
        if os.fork() == 0:
            control.close()
            with _ending():
                process_groups.die_with_parent()
                _keep(connection, stream, request)
        os.close(connection)
        os.close(stream)


def _keep(connection: int, stream: int, request: bytes) -> None:
    """Start the reader itself, as the first process of a namespace, and end it when its client is gone."""
    function, arguments, places, owner, confined, as_root = pickle.loads(request)  # noqa: S301 (from the parent itself)
    refused = "" if confined else _UNASKED
    if confined:
        try:
            view.unshare()
        except OSError as error:
            refused = _refusal(error, *_FORBIDDEN, errno.ENOSPC)  # ENOSPC: the limit of namespaces is reached
    ended, alive = os.pipe()
    child = os.fork()
    if child == 0:
        with _ending():
            process_groups.die_with_parent()
            os.setsid()
            conversation = Conversation(socket.socket(fileno=connection))
            with os.fdopen(stream, "wb", buffering=0) as output:
                identity = _Start(places, owner, refused, as_root)
                answer(conversation, lambda: identity.work(function, conversation, output, arguments, alive))
    os.close(alive)
    os.close(stream)
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    poll.register(ended, 0)
    poll.poll()
    if refused:  # without a namespace nothing else ends what it started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGTERM)
        select.select([ended], [], [], _GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)


@dataclass
class _Start:
    """How a reader begins."""

    places: Sequence[Place]
    owner: int
    refused: str
    as_root: bool

    def work(
        self,
        function: Callable[..., Any],
        conversation: Conversation,
        stream: IO[bytes],
        arguments: Sequence[Any],
        alive: int,
    ) -> dict[str, Any]:
        """Enter the view, or become the owner if that is refused, and call the function."""
        if not self.refused:
            try:
                view.enter(self.places)
            except OSError as error:
                self.refused = _refusal(error, *_FORBIDDEN)
        _close_all_but(conversation.connection.fileno(), stream.fileno(), alive, *process_groups.lifelines())
        if self.refused:
            process_groups.end_with_children()
            tempfile.tempdir = next((place.path for place in self.places if place.inside == TEMPORARY_FOLDER), None)
            if os.geteuid() == 0 and not self.as_root:
                _let_through(self.places)
                view.become(self.owner)
                process_groups.die_with_parent()  # again, because the change of user undid it
                _require_reach(self.places, self.owner, self.refused)
        else:
            tempfile.tempdir = TEMPORARY_FOLDER if os.path.isdir(TEMPORARY_FOLDER) else None
            if os.geteuid() == 0:
                view.limit_capabilities()
        value = function(Identity(self.owner, viewed=not self.refused), conversation, stream, *arguments)
        return {"value": value, "refused": self.refused}


def _refusal(error: OSError, *numbers: int) -> str:
    """Return why the kernel refuses a view. Raise the error if its number is none of `numbers`."""
    if error.errno not in numbers:
        raise error
    return f"{error.filename}: {error.strerror}"


def _let_through(places: Sequence[Place]) -> None:
    """Let others pass through the folders between a place and the folder that it is `below`."""
    for place in places:
        folder = place.path
        while place.below and folder != place.below and is_within(folder, place.below):
            folder = os.path.dirname(folder)
            set_mode(folder, os.stat(folder).st_mode & 0o7777 | 0o011)  # to pass, not to list


def _require_reach(places: Sequence[Place], uid: int, refused: str) -> None:
    """Raise InvalidInput if this process, now of another user, cannot enter a folder to write in it; `refused`: why there is no view."""
    for place in places:
        if place.writable and not os.access(place.path, os.W_OK | os.X_OK):
            why, other = "", ""
            if refused != _UNASKED:
                why, other = ", since the kernel gives no view", ", or allow namespaces and mounts here (CAP_SYS_ADMIN)"
            raise InvalidInput(
                f"{place.path} cannot be entered by uid {uid}, as whom the item is read{why}: let others pass through the folders above it "
                f"(chmod o+x){other}"
            )


def _close_all_but(*kept: int) -> None:
    """Close all open files but those given and the standard ones."""
    first = 3
    for descriptor in (*sorted(kept), 1 << 16):
        os.closerange(first, descriptor)
        first = descriptor + 1
