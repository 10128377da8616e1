"""age: what encrypts to recipients, and decrypts with an identity, which no command line, environment or file has."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from .errors import AltbackupError, InvalidInput, ToolFailed
from .pipes import wait_until_read
from .processes import Child, Deadline, ended_at
from .programs import find_tool

SUFFIX = ".age"
"""How files end that are encrypted"""
MOST_IDENTITIES = 32 << 10
"""Bytes of identities at most: all of them fit into a pipe"""
_OTHER_KEY = ("no identity matched any of the recipients",)
_PASSPHRASE = ("passphrase",)
_NO_KEYS = ('reading "/dev/fd/',)


class NoKey(AltbackupError):
    """Something encrypted that no identity at hand opens."""


@dataclass(frozen=True)
class Identities:
    """Private keys of age or ssh, as a file has them."""

    text: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.text.strip())

    @contextlib.contextmanager
    def handed(self) -> Iterator[int]:
        """Yield a descriptor from which a child can read them, once. Raise InvalidInput for what can be none."""
        content = self.text.encode("utf-8", "surrogateescape")
        if len(content) > MOST_IDENTITIES:
            raise InvalidInput(
                f"the identity has {len(content)} bytes, more than any file of keys: is it the one that was meant?"
            )
        reader, writer = os.pipe()
        try:
            with os.fdopen(writer, "wb") as stream:
                stream.write(content)
            yield reader
        finally:
            os.close(reader)


NOBODY = Identities()
"""Where there is no key"""


def is_encrypted(path: str) -> bool:
    """Return whether a file is encrypted, by its name."""
    return path.endswith(SUFFIX)


def encrypting(recipients: Sequence[str]) -> list[str]:
    """Return the argv that encrypts stdin to stdout. Raise ToolMissing."""
    command = [find_tool("age"), "--encrypt"]
    for recipient in recipients:
        command += ["--recipient", recipient]
    return command


def encrypt(content: bytes, recipients: Sequence[str], deadline: Deadline) -> bytes:
    """Return a small content encrypted to recipients. Raise AltbackupError."""
    return _through(encrypting(recipients), content, (), deadline, "encrypting what was recorded")


@contextlib.contextmanager
def decrypting(identities: Identities, source: IO[bytes], title: str) -> Iterator[Child]:
    """Yield the child that writes what is in an encrypted stream; messages name the stream by `title`. Raise NoKey, InvalidInput or ToolMissing.

    It runs as this process does, in no sandbox: users who read what is hostile could look into it there, and see the identity.
    """
    if not identities:
        raise NoKey(f"{title} is encrypted, and there is no identity to open it (altbackup_identity_file)")
    with _handed(identities) as (argv, descriptors):
        with Child(argv, stdin=source, stdout=subprocess.PIPE, pass_fds=descriptors) as child:
            yield child


@contextlib.contextmanager
def _handed(identities: Identities) -> Iterator[tuple[list[str], list[int]]]:
    """Yield the argv that decrypts, and the descriptors that it reads: age takes no file that has keys of several forms. Raise InvalidInput or ToolMissing."""
    with contextlib.ExitStack() as stack:
        descriptors = [stack.enter_context(one.handed()) for one in split(identities) or [identities]]
        words = [word for descriptor in descriptors for word in ("--identity", f"/dev/fd/{descriptor}")]
        yield [find_tool("age"), "--decrypt", *words], descriptors


def explained(error: ToolFailed, title: str) -> AltbackupError:
    """Return what a failure of age to decrypt something means."""
    if any(text in error.stderr for text in _OTHER_KEY):
        return NoKey(
            f"{title} is encrypted to other recipients than those of the identity at hand (altbackup_identity_file)"
        )
    if any(text in error.stderr for text in _PASSPHRASE):
        return NoKey(
            f"{title}: the identity has a passphrase, which can only be asked for on a terminal: hand over one without, or use restore.sh there"
        )
    if any(text in error.stderr for text in _NO_KEYS):
        return InvalidInput(
            f"{title}: what altbackup_identity_file has is neither an identity of age nor a private key of ssh: see whether it is the file that was meant"
        )
    return error


def decrypt(content: bytes, identities: Identities, deadline: Deadline, title: str) -> bytes:
    """Return what is in a small encrypted content. Raise NoKey or another AltbackupError."""
    if not identities:
        raise NoKey(f"{title} is encrypted, and there is no identity to open it (altbackup_identity_file)")
    with _handed(identities) as (argv, descriptors):
        try:
            return _through(argv, content, descriptors, deadline, f"decrypting {title}")
        except ToolFailed as error:
            raise explained(error, title) from error


def _through(argv: Sequence[str], content: bytes, descriptors: Sequence[int], deadline: Deadline, what: str) -> bytes:
    """Run a program over a content that is in memory, and on no disk; return what it writes."""
    unread: list[OSError] = []
    with Child(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=descriptors) as child:
        feeder = threading.Thread(target=_feed, args=(child.stdin, content, unread), daemon=True)
        feeder.start()
        try:
            with ended_at(deadline, [child]):
                found = child.stdout.read()
            child.check(deadline, what)
        finally:
            child.end()
            feeder.join()
    if unread:
        raise AltbackupError(f"{what}: {child.name} ended well, and had not read all of it: {unread[0]}")
    return found


def _feed(stream: IO[bytes], content: bytes, unread: list[OSError]) -> None:
    """Write a content to a program; add to `unread` why it could not be read whole."""
    try:
        with stream:
            stream.write(content)
            stream.flush()
            wait_until_read(stream)
    except OSError as error:
        unread.append(error)


def split(identities: Identities) -> list[Identities]:
    """Return each identity of a file by itself."""
    found: list[list[str]] = []
    inside = False
    for line in identities.text.splitlines():
        if line.startswith("-----BEGIN "):
            found.append([])
            inside = True
        elif line.startswith("AGE-SECRET-KEY-"):
            found.append([])
        if found and (inside or line.startswith("AGE-SECRET-KEY-")):
            found[-1].append(line)
        inside = inside and not line.startswith("-----END ")
    return [Identities("\n".join(lines) + "\n") for lines in found]


def recipients_in(identity: Identities, deadline: Deadline) -> list[str]:
    """Return the recipient of one identity. Raise InvalidInput for what is none, or has a passphrase, ToolMissing or DeadlineExceeded."""
    if identity.text.startswith("-----BEGIN "):
        argv = [find_tool("ssh-keygen"), "-y", "-P", "", "-f"]
    else:
        argv = [find_tool("age-keygen"), "-y"]
    with identity.handed() as descriptor:
        try:
            output = _through([*argv, f"/dev/fd/{descriptor}"], b"", [descriptor], deadline, "reading an identity")
        except ToolFailed as error:
            raise InvalidInput(
                "one of the identities is damaged, or has a passphrase: hand over one without"
            ) from error
    lines = output.decode("ascii", "replace").splitlines()
    return [" ".join(line.split()[:2]) for line in lines if line.strip()]
