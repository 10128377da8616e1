"""Lines of this collection in an authorized_keys file, among others: read and written as the user who owns the file."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pwd
import re
import stat
from collections.abc import Iterator, Mapping, Sequence

from .errors import AltbackupError, InvalidInput, name_os_errors

MARK = "altbackup:"
"""Prefix of the comment of each line of this collection; the purpose follows, which no other line has"""
_LONGEST = 4 << 20
_KEY = re.compile(r"(ssh-[a-z0-9-]+|ecdsa-sha2-[a-z0-9-]+|sk-[a-z0-9@.-]+) [A-Za-z0-9+/]{40,20000}={0,3}")
_FROM = re.compile(r"[0-9A-Za-z.:/*?!_-]+(?:,[0-9A-Za-z.:/*?!_-]+)*")


def line_of(key: str, command: Sequence[str], sources: str, purpose: str) -> str:
    """Return the line of a public key; `command` is its forced command, `sources` its allowed addresses (empty for any).

    Raise InvalidInput for a value that could make another line of it.
    """
    if not _KEY.fullmatch(key):
        raise InvalidInput(f"{key[:80]!r} is no public key")
    if sources and not _FROM.fullmatch(sources):
        raise InvalidInput(f"{sources[:80]!r} is no list of addresses with commas between them")
    for word in (*command, purpose):
        if not word.isprintable():
            raise InvalidInput(f"{word!r} cannot stand in authorized_keys")
    text = " ".join(map(_quoted, command)).replace("\\", "\\\\").replace('"', '\\"')
    where = f'from="{sources}",' if sources else ""
    return f'restrict,{where}command="{text}" {key} {MARK}{purpose}'


def _quoted(word: str) -> str:
    """Return a word quoted for every login shell: sshd hands the command to the user's."""
    return word if re.fullmatch(r"[A-Za-z0-9_./:=@%+,-]+", word) else "'" + word.replace("'", "'\\''") + "'"


def purpose_of(line: str) -> str:
    """Return the purpose of a line, empty if it is not of this collection."""
    _, mark, purpose = line.rstrip("\n").partition(f" {MARK}")
    return purpose if mark and line.startswith("restrict,") else ""


def sources_of(lines: Sequence[str]) -> str:
    """Return the allowed addresses of the first line that has any."""
    found = (re.match(r'restrict,from="([^"]*)",', line) for line in lines)
    return next((match[1] for match in found if match), "")


def changed_lines(lines: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a file's lines with the `wanted` ones, {purpose: lines}, and no others of these purposes.

    Lines of others keep their place and their bytes.
    """
    left = {purpose: [*own] for purpose, own in wanted.items()}
    found = []
    for line in lines:
        purpose = purpose_of(line)
        if purpose in wanted:
            found += left.pop(purpose, [])
        else:
            found.append(line)
    new = [line for own in left.values() for line in own]
    if new and found and not found[-1].endswith("\n"):
        found[-1] += "\n"
    return [line if line.endswith("\n") or line not in _all(wanted) else f"{line}\n" for line in [*found, *new]]


def _all(wanted: Mapping[str, Sequence[str]]) -> set[str]:
    return {line for own in wanted.values() for line in own}


def home_of(user: str) -> str:
    """Return the home of a user, empty for this process's own. Raise InvalidInput for an unknown user."""
    try:
        return (pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())).pw_dir
    except KeyError:
        raise InvalidInput(f"user {user!r}, as whom peers log in, does not exist on this node") from None


def edit(home: str, wanted: Mapping[str, Sequence[str]], *, write: bool) -> tuple[bool, list[str]]:
    """Put the `wanted` lines, as changed_lines takes them, into the file of a home; return whether that changes it, and its lines.

    The home is this process's user's. Only a plain file of that user in a folder of that user is read or replaced; links are not followed.
    Raise AltbackupError or OSError.
    """
    with _folder(home, write=write) as folder:
        if folder is None:
            lines = changed_lines([], wanted)
            return bool(lines), lines
        text, mode = _read(folder, home)
        before = text.splitlines(keepends=True)
        lines = changed_lines(before, wanted)
        changed = lines != before
        if changed and write:
            _write(folder, "".join(lines), mode)
        return changed, lines


@contextlib.contextmanager
def _folder(home: str, *, write: bool) -> Iterator[int | None]:
    """Yield the open folder .ssh of a home, with `write` made and locked; None if there is none. Raise AltbackupError."""
    path = os.path.join(home, ".ssh")
    if write:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise AltbackupError(f"{path} is a link or no folder: nothing is written there") from error
        raise
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise AltbackupError(f"{path} is not a folder of uid {os.geteuid()} to which nobody else can write")
        if write:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _read(folder: int, home: str) -> tuple[str, int]:
    """Return text and mode of authorized_keys, bytes that are not UTF-8 as surrogates. Raise AltbackupError."""
    path = os.path.join(home, ".ssh", "authorized_keys")
    try:
        descriptor = os.open("authorized_keys", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except FileNotFoundError:
        return "", 0o600
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise AltbackupError(f"{path} is a link: nothing is written through it") from error
        raise
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink > 1:
            raise AltbackupError(f"{path} is not a plain file of uid {os.geteuid()}")
        content = stream.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise AltbackupError(f"{path} is longer than {_LONGEST} bytes")
    return content.decode("utf-8", "surrogateescape"), stat.S_IMODE(status.st_mode) & 0o755


def _write(folder: int, text: str, mode: int) -> None:
    """Write the file under a temporary name, flush it, and rename it. Raise OSError."""
    temporary = f".authorized_keys.altbackup-{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=folder)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        with name_os_errors("authorized_keys"), open(descriptor, "wb") as stream:
            stream.write(text.encode("utf-8", "surrogateescape"))
            stream.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        os.rename(temporary, "authorized_keys", src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        raise
