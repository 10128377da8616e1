"""Objects of a Git repository on their way into a fresh one: which are there, which are missing, and their pack."""

from __future__ import annotations

import contextlib
import heapq
import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from ..system.errors import ToolFailed
from ..system.processes import Child
from ..system.twins import set_mode
from .git_packs import INDEX, PACK, names_in, packs_folder
from .git_tool import OBJECT, PROMISED, Git

_MOST_ALONE = 100
PROMISOR = ".promisor"
"""What a pack has beside it that came with the promise that its origin has what it leads to"""


def existing(git: Git, objects: Iterable[bytes]) -> set[bytes]:
    """Return those of the objects that the repository has: old entries of a reflog may name pruned ones."""
    names = _lines(objects)
    if not names:
        return set()
    listing = git.run("cat-file", "--batch-check=%(objectname)", input=names)
    return {line for line in listing.splitlines() if OBJECT.fullmatch(line)}


def whole(git: Git, objects: set[bytes], known: set[bytes]) -> set[bytes]:
    """Return those of the objects from which nothing is missing: of what no reference leads to, a part may have been pruned.

    What the `known` ones lead to is taken for whole.
    """
    others = objects - known
    if not others or _is_whole(git, others, known):
        return objects
    return objects & known | {name for name in sorted(others)[:_MOST_ALONE] if _is_whole(git, {name}, known)}


def _is_whole(git: Git, objects: set[bytes], known: set[bytes]) -> bool:
    names = _lines(objects) + _without(known)
    try:
        git.run("rev-list", "--objects", "--quiet", "--stdin", input=names)
    except ToolFailed:
        return False
    return True


def require_whole(git: Git, objects: set[bytes], known: set[bytes] | None = None) -> None:
    """Raise ToolFailed unless all is there that objects lead to, besides what the `known` ones do, or else references."""
    if objects:
        others = ("--not", "--all") if known is None else ()
        names = _lines(objects) + _without(known or ())
        git.run("rev-list", "--objects", "--quiet", "--stdin", *others, input=names)


def only_led_to_by(git: Git, ends: set[bytes], others: set[bytes]) -> set[bytes]:
    """Return the objects to which some lead, but not others, near enough: what is far behind in the history of those may be among them."""
    listing = git.run("rev-list", "--objects", "--stdin", input=_lines(ends) + _without(others))
    return {line.split(b" ", 1)[0] for line in listing.splitlines()}


def _lines(objects: Iterable[bytes]) -> bytes:
    return b"".join(name + b"\n" for name in sorted(objects))


def _without(objects: Iterable[bytes]) -> bytes:
    return b"".join(b"^" + name + b"\n" for name in sorted(objects))


def is_partial(objects: str) -> bool:
    """Return whether some objects in a folder came with the promise that their origin has more."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return any(name.endswith(PROMISOR) for name in os.listdir(os.path.join(objects, "pack")))
    return False


@contextlib.contextmanager
def looked_through(git: Git, wanted: set[bytes], scratch: str) -> Iterator[tuple[str, set[bytes]]]:
    """Yield a file of what is there of all that the wanted objects lead to, and the objects that are missing; nothing is fetched.

    What only missing ones lead to nobody can know. Raise ToolFailed if there is worse.
    """
    missing = set()
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(_temporary(os.path.join(scratch, "wanted.tmp"), _lines(wanted)))
        listing = stack.enter_context(_temporary(os.path.join(scratch, "listing.tmp")))
        present = stack.enter_context(_temporary(os.path.join(scratch, "present.tmp")))
        argv = git.argv("rev-list", "--objects", "--missing=print", "--stdin")
        with Child(argv, stdin=names, stdout=listing, environment=git.environment, name="git") as child:
            child.check(git.deadline, f"looking for missing objects of {git.title}")
        listing.seek(0)
        for line in listing:
            if line.startswith(b"?"):
                missing.add(line[1:].strip())
            else:
                present.write(line)
        present.flush()
        yield present.name, missing


def are_promised(git: Git, wanted: set[bytes]) -> bool:
    """Return whether all that is missing is what packs of a partial clone say that their origin has."""
    arguments = (*PROMISED, "rev-list", "--objects", "--missing=allow-promisor", "--quiet", "--stdin")
    try:
        git.run(*arguments, what=f"looking for what is missing in {git.title}", input=_lines(wanted))
    except ToolFailed:
        return False
    return True


@contextlib.contextmanager
def _temporary(path: str, content: bytes = b"") -> Iterator[IO[bytes]]:
    with open(path, "w+b") as stream:
        try:
            stream.write(content)
            stream.seek(0)
            yield stream
        finally:
            os.unlink(path)


def transfer_reachable(live: Git, fresh: Git, wanted: set[bytes]) -> None:
    """Pack what the wanted objects lead to, which must all be there, and index it in a fresh repository. Raise ToolFailed."""
    if wanted:
        with _temporary(os.path.join(fresh.folder, "wanted.tmp"), _lines(wanted)) as names:
            _transfer(live, fresh, names, "--revs")


def transfer_new(reading: Git, fresh: Git, wanted: set[bytes], known: set[bytes]) -> None:
    """Pack what the wanted objects lead to and a fresh repository does not have yet, and index it there.

    What the `known` ones lead to, which both have, it has. Raise ToolFailed.
    """
    with contextlib.ExitStack() as stack:
        ends = _lines(wanted) + _without(known)
        names, listing, told, new = (
            stack.enter_context(_temporary(os.path.join(fresh.folder, f"{what}.tmp"), content))
            for what, content in (("wanted", ends), ("listing", b""), ("told", b""), ("new", b""))
        )
        argv = reading.argv("rev-list", "--objects", "--stdin")
        with Child(argv, stdin=names, stdout=listing, environment=reading.environment, name="git") as child:
            child.check(reading.deadline, f"looking for what is new in {reading.title}")
        listing.seek(0)
        argv = fresh.argv("cat-file", "--batch-check=+%(rest)", "--buffer")
        with Child(argv, stdin=listing, stdout=told, environment=fresh.environment, name="git") as child:
            child.check(fresh.deadline, f"looking for what the copy of {reading.title} has")
        listing.seek(0)
        told.seek(0)
        new.writelines(line for line, answer in zip(listing, told) if not answer.startswith(b"+"))
        new.flush()
        if new.seek(0, os.SEEK_END):
            new.seek(0)
            _transfer(reading, fresh, new)


def put_together(fresh: Git, indexes: Sequence[str]) -> None:
    """Put all that is in some packs of a fresh repository, named by their indexes, into one pack. Raise ToolFailed or OSError."""
    with _temporary(os.path.join(fresh.folder, "names.tmp")) as names:
        names.writelines(name.hex().encode() + b"\n" for name in heapq.merge(*map(names_in, indexes)))
        names.seek(0)
        _transfer(fresh, fresh, names)
    packs = packs_folder(fresh.folder)
    gone = {os.path.basename(index)[: -len(INDEX)] for index in indexes}
    for name in os.listdir(packs):
        if name.partition(".")[0] in gone:
            os.unlink(os.path.join(packs, name))


def transfer_present(reading: Git, fresh: Git, present: str) -> None:
    """Pack the objects that a file names, and index them in a fresh repository with the promise that their origin has more.

    Raise ToolFailed.
    """
    with open(present, "rb") as names:
        _transfer(reading, fresh, names)
    packs = packs_folder(fresh.folder)
    for name in os.listdir(packs):
        if name.endswith(PACK):
            promise = os.path.join(packs, name[: -len(PACK)] + PROMISOR)
            with open(promise, "wb"):
                set_mode(promise, 0o444)


def _transfer(source: Git, fresh: Git, names: IO[bytes], *options: str) -> None:
    """Let git pack objects, by one thread so that equal ones give equal packs, and let it index what comes out."""
    settings = ("-c", "pack.writeBitmaps=false")
    arguments = ("pack-objects", *options, "--stdout", "--threads=1", "--delta-base-offset", "-q")
    with Child(
        source.argv(*settings, *arguments),
        stdin=names,
        stdout=subprocess.PIPE,
        environment=source.environment,
        name="git",
    ) as packer:
        output = packer.stdout
        indexing = fresh.argv("index-pack", "--stdin")
        with Child(indexing, stdin=output, environment=fresh.environment, name="git") as indexer:
            output.close()
            try:
                packer.check(source.deadline, f"packing {source.title}")
            finally:
                rc = indexer.wait(source.deadline)
            if rc:
                indexer.check(source.deadline, f"indexing the pack of {source.title}")
