"""Code of a reader process, which runs as the owner of an item in a view of it: copy, select, archive, and confirm consistency."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

from ..archive.differential import select_changed
from ..archive.rules import WriteChecker
from ..archive.snapshot import new_private, read_known
from ..archive.write import Part, survey, tar_process
from ..kinds.base import Context, Snapshot, Verdict, walk
from ..kinds.items import Item
from ..kinds.registry import kind_of
from ..system.conversation import Conversation
from ..system.digest import open_plain
from ..system.errors import SourceChanged, ToolFailed
from ..system.names import Names
from ..system.processes import Child
from ..system.programs import find_tool
from ..system.readers import Identity
from ..tree.publish import remove_if_there

STATES, KNOWN = "states", "known"
"""Names of files in a reader's folder: the states of what it read, and the entries of the full tarball"""


def can_read(identity: Identity, conversation: Conversation, stream: IO[bytes], path: str) -> bool:
    """Return whether this process can open a plain file."""
    try:
        open_plain(os.path.realpath(path)).close()
        return True
    except OSError:
        return False


def ask_server(
    identity: Identity,
    conversation: Conversation,
    stream: IO[bytes],
    item: Item,
    context: Context,
    request: Mapping[str, Any],
) -> Mapping[str, Any]:
    """Return what a kind finds in a server of what its item has there. Raise AltbackupError or OSError."""
    return kind_of(item.kind).serve(item, replace(context, identity=identity), request)


def read_item(
    identity: Identity,
    conversation: Conversation,
    stream: IO[bytes],
    item: Item,
    context: Context,
    predicted: bool,
) -> dict[str, Any]:
    """Read an item: send what its copy is, write its archive to the stream, and confirm that it was one consistent state.

    With `predicted` return only its revision, and test that what would be read can be read. Raise AltbackupError or OSError.
    """
    context = replace(context, identity=identity)
    try:
        return _read(conversation, stream, item, context, predicted)
    except ToolFailed:
        look_through(item, context)  # a program's own message rarely names the file that it may not read
        raise


def _read(
    conversation: Conversation, stream: IO[bytes], item: Item, context: Context, predicted: bool
) -> dict[str, Any]:
    kind, identity = kind_of(item.kind), context.identity
    kind.check(item, context)
    for tool in (*kind.tools, "tar"):
        find_tool(tool)
    if predicted:
        look_through(item, context)
        return {"revision": kind.revision(item, context), **vars(kind.foresee(item, context))}
    with kind.copy(item, context) as prepared:
        selection = _select(prepared, item, context)
        if not selection.listed:
            checker_of(item, selection.top, context).check_names(_entries(prepared.parts, selection.top))
        surveyed = survey(prepared.parts)
        owners = surveyed.owners if prepared.owner is None else [prepared.owner]
        if selection.differs:
            surveyed = replace(surveyed, holes=survey(selection.parts).holes)
        found = {"revision": prepared.revision, "record": prepared.record, "noted": prepared.noted}
        amounts = {"count": sum(len(part.names) for part in prepared.parts), "owners": list(owners)}
        how = {"listed": selection.listed, "way": selection.way, "differs": selection.differs}
        conversation.send({"value": {**found, **amounts, **how}})
        names = conversation.receive()

        def as_root(argv: Sequence[str | bytes]) -> list[str | bytes]:
            return replace(identity, uid=os.geteuid()).argv(argv, "dac_read_search", "sys_admin")

        with tar_process(
            selection.parts,
            top=selection.top,
            owner=prepared.owner,
            fixed_times=prepared.fixed_times,
            sparse=prepared.sparse,
            stdout=stream,
            as_user=as_root,
            surveyed=surveyed,
            names=Names(dict(names["users"]), dict(names["groups"])),
        ) as tar:
            stream.close()
            try:
                tar.check(context.deadline, f"archiving {item.place}")
            except ToolFailed:
                if prepared.judge is None or not all(map(_tells_of_a_change, tar.lines())):
                    prepared.confirm()  # tar fails if a file changes or vanishes while it is read; confirm raises SourceChanged then, so that it is tried again
                    raise
            conversation.send({"value": {}})
            conversation.receive()
            return vars(_verdict(prepared, tar, conversation))


@dataclass(frozen=True)
class _Selection:
    """The parts of a copy that are archived, and how."""

    parts: Sequence[Part]
    top: str
    listed: bool
    way: Sequence[Any] = ()
    """Archive options [owner, fixed_times, sparse]; a differential needs those of its full tarball"""
    differs: bool = False


def _select(prepared: Snapshot, item: Item, context: Context) -> _Selection:
    """Select what of a copy is archived: changes since the full tarball if there is a base, else all; write the states of all files."""
    whole = _Selection(prepared.parts, prepared.top(item.name), prepared.listed)
    if context.base is None:
        return whole
    owner = None if prepared.owner is None else list(prepared.owner)
    way = [owner, prepared.fixed_times, prepared.sparse]
    differs = context.base.get("way") == way
    folder = tempfile.gettempdir()
    remove_if_there(os.path.join(folder, STATES))
    with new_private(os.path.join(folder, STATES)) as output:
        parts = select_changed(
            prepared.parts,
            read_known(os.path.join(folder, KNOWN)) if differs else None,
            output,
            context.deadline,
            owner=owner is not None,
            fixed_times=prepared.fixed_times,
        )
    return _Selection(parts, str(context.base["top"]) if differs else whole.top, True, way, differs)


_CHANGE = re.compile(
    r"(?:.*/)?[\w.-]+: (?:.*: (?:file changed as we read it|File shrank by \d+ bytes?; padding with zeros|File removed before we read it"
    r"|(?:Warning: )?Cannot \w+: (?:No such file or directory|Not a directory|Too many levels of symbolic links))"
    r"|Exiting with failure status due to previous errors)"
)
"""Messages of GNU tar about files that changed or vanished while they were read, after which it continues"""
_NO_ATTRIBUTES = re.compile(r".*: Warning: Cannot \w*xattr\w*: Operation not supported")
"""Message of GNU tar, for each file, if a file system has no extended attributes"""


def _tells_of_a_change(line: str) -> bool:
    return bool(_CHANGE.fullmatch(line))


def _verdict(prepared: Snapshot, tar: Child, conversation: Conversation) -> Verdict:
    """Return the verdict on an item whose archive was written. Raise SourceChanged."""

    def look_up(paths: Sequence[str]) -> Mapping[str, Sequence[Any]]:
        conversation.send({"value": {"asked": list(paths)}})
        digests: Mapping[str, Sequence[Any]] = conversation.receive()["told"]
        return digests

    if prepared.judge is None:
        prepared.confirm()
        verdict = Verdict() if prepared.examine is None else prepared.examine(look_up)
    else:
        verdict = prepared.judge(look_up)
    lines = [line for line in tar.stderr().splitlines() if not _NO_ATTRIBUTES.fullmatch(line)]
    more = [line for line in lines if not (prepared.judge and _tells_of_a_change(line))]
    return Verdict([*prepared.notes, *verdict.notes, *more], verdict.failures, verdict.noted, verdict.doubts)


def look_through(item: Item, context: Context) -> None:
    """Test that what a dump would read can be opened, without reading it; `Kind.foresee` does that for folders. Raise InvalidInput."""
    paths, needless = kind_of(item.kind).reads(item)
    there = [path for path in paths if os.path.lexists(path) and not os.path.islink(path)]
    with contextlib.suppress(SourceChanged):  # it is in use; a dump would try again
        if not there:
            return
        if context.identity.viewed:  # in a view programs may read files of other owners
            require_readable(there, needless)
        else:
            context.identity.call(require_readable, there, needless)


def require_readable(paths: Sequence[str], needless: Sequence[str] = ()) -> None:
    """Raise InvalidInput unless this user can read files, or folders and all below them except `needless`; links in them are not followed."""
    for path in paths:
        walk(path, lambda below, folder: f"{path}/{below}" in needless)  # noqa: B023 (called in this iteration)


def checker_of(item: Item, top: str, context: Context, links: Iterable[str] = ()) -> WriteChecker:
    """Return the checker that refuses an archive which no restore would unpack; `links` are those of the full tarball of a differential."""
    return WriteChecker(f"item {item.kind} {item.name!r}", top, context.deadline, [f"{top}/{link}" for link in links])


def _entries(parts: Sequence[Part], top: str) -> Iterator[tuple[bytes, int]]:
    """Yield (path in the archive, mode) of what will be archived; tar reports what vanished in the meantime."""
    for part in parts:
        for name in part.names:
            with contextlib.suppress(FileNotFoundError):
                yield os.fsencode(top) + name[1:], os.lstat(os.path.join(os.fsencode(part.root), name)).st_mode
