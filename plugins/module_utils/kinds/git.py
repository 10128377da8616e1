"""Kind `git`: every reference and all that is reachable from it, in packs made by git itself, to which each night brings what is new.

Git runs as the repository's owner on the live repository, and writes only to a pipe; what it says goes into a
repository of the private folder, with no configuration of anybody's. So nothing is shared with the live objects, and no archived setting or
hook takes effect. All else in the repository's folder is data, but what git makes again; repositories of submodules in it
are copied in the same way.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..archive.write import Part
from ..system.conversation import NeedsPlace
from ..system.digest import open_plain
from ..system.errors import InvalidInput, ToolFailed
from ..system.paths import is_within
from ..system.processes import Deadline
from ..system.seeing import as_whom
from ..system.twins import set_mode
from ..system.units import counted
from ..system.visible import printable
from ..tree.publish import make_folders, remove_folder, remove_if_there, write_text
from .base import (
    Arrangement,
    Asked,
    Context,
    Kind,
    Snapshot,
    Verdict,
    compare,
    identity,
    members_of,
    opened,
    owner_of,
    require_folder,
    require_inside,
    require_plain,
    scratch_folder,
    walk,
)
from .earlier import recall, retain
from .git_copy import Copied, assemble
from .git_history import NOTED, look_back
from .git_layout import READ_BY_GIT, SHALLOW, STREAMED, WORKTREES, find_repositories, is_repository, whereabouts
from .git_scratch import Scratch, checked
from .git_tool import Git
from .items import Item
from .kept import arrangement, building_folder, state_path

if TYPE_CHECKING:
    from .proofs import Proof

_DOT_GIT = ".git"
_TABLES_SINCE = (2, 45)
_THROUGH_LINKS = (
    ".",
    "objects",
    "objects/info",
    "objects/pack",
    "objects/info/alternates",
    "refs",
    "reftable",
    "HEAD",
    "packed-refs",
    "config",
    SHALLOW,
)
"""What git reads wherever links lead"""
_COPIED_AS_DATA = ("hooks/", "info/", "logs/")
_READ = (*READ_BY_GIT, "info", "logs", WORKTREES)
"""What is read whole, by git or for it"""
_LONGEST = 1 << 20
_MOST_ALTERNATES = 5
_CHECK_LIMIT = 60.0
_LONGEST_STATE = 64 << 20


def looks_like(path: str) -> bool:
    """Return whether a Git repository is at a path, or what is left of one; a `.git` that is a file is no repository."""
    return (
        os.path.isdir(os.path.join(path, _DOT_GIT)) or members_of(path, ("HEAD", "objects", "refs", "packed-refs")) >= 2
    )


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless the item's path is a Git repository of a form that can be copied whole."""
    if os.path.basename(item.path) == _DOT_GIT and (elsewhere := whereabouts(os.path.dirname(item.path))):
        raise InvalidInput(f"item git {item.name!r}: path {item.path} {elsewhere}")
    require_folder(item)
    _require_links_inside(item, context, (".", _DOT_GIT))
    folder = git_folder(item)
    paths = find_repositories(folder, context.deadline)
    title = f"item git {item.name!r}"
    require_plain(
        folder,
        lambda path: _is_harmless(folder, path, paths),
        context.deadline,
        title,
        program="git",
        read=lambda path: _within(path, paths).split("/")[0] in _READ,
    )
    top = os.path.relpath(folder, item.path)
    _require_links_inside(item, context, [os.path.join(top, path) for path in paths if path])
    limit = Deadline(context.deadline.at_most(_CHECK_LIMIT), "look at the configuration")
    for path in paths:
        live = os.path.normpath(os.path.join(folder, path))
        _require_no_lost_references(item, context, live)
        _require_alternates(os.path.join(live, "objects"), context)
        _require_known_form(title, Git(live, limit, context.identity))


def _require_links_inside(item: Item, context: Context, tops: Sequence[str]) -> None:
    """Raise NeedsPlace for what git reads of repositories in an item if it leads out."""
    require_inside(item, context, [os.path.normpath(f"{top}/{name}") for top in tops for name in _THROUGH_LINKS])


def _is_harmless(folder: str, path: str, repositories: Sequence[str]) -> bool:
    """Return whether git would not wait for ever at what is neither file, folder nor link."""
    within = _within(path, repositories)
    if within.startswith(_COPIED_AS_DATA):
        return True
    return within.split("/")[0] not in READ_BY_GIT and _is_socket(os.path.join(folder, path))


def _within(path: str, repositories: Sequence[str]) -> str:
    """Return a path below an item's own repository as it is below the innermost one that it is in."""
    above = max((other for other in repositories if is_within(path, other)), key=len, default="")
    return path[len(above) + 1 :] if above else path


def _is_socket(path: str) -> bool:
    """Return whether a socket is there, which nobody can open."""
    return stat.S_ISSOCK(os.lstat(path).st_mode)


def _require_known_form(title: str, live: Git) -> None:
    """Raise InvalidInput where this node's git cannot read the references of a repository."""
    form = live.settings().get("extensions.refstorage", "files")
    if form == "reftable":
        known = live.version()
        if known < _TABLES_SINCE:
            raise InvalidInput(
                f"{title}: {printable(live.folder)} keeps its references in a form other than files (reftable), which git reads from "
                f"{'.'.join(map(str, _TABLES_SINCE))} on; here is git {'.'.join(map(str, known))}: install a newer one"
            )
    elif form != "files":
        raise InvalidInput(
            f"{title}: {printable(live.folder)} keeps its references in a form other than files ({printable(form)}), which is not supported"
        )


def _require_no_lost_references(item: Item, context: Context, folder: str) -> None:
    """Raise NeedsPlace for a link among the references that leads out: git passes over it without a word."""
    for parent, folders, files in os.walk(os.path.join(folder, "refs")):
        links = [os.path.join(parent, name) for name in (*folders, *files)]
        require_inside(item, context, [os.path.relpath(path, item.path) for path in links if os.path.islink(path)])


def _require_alternates(objects: str, context: Context, depth: int = 0) -> None:
    """Raise NeedsPlace for a folder of objects from which another one borrows, and that this reader does not see."""
    try:
        with open_plain(os.path.join(objects, "info", "alternates")) as stream:
            lines = stream.read(_LONGEST).splitlines()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidInput(f"{printable(objects)}/info/alternates cannot be read{as_whom(error)}") from error
    for line in lines:
        if not line or line.startswith(b"#"):
            continue
        path = os.path.normpath(os.path.join(objects, os.fsdecode(line)))
        if not any(is_within(path, place) for place in context.shown):
            raise NeedsPlace(f"{printable(objects)} borrows from {printable(path)} (info/alternates)", path)
        if depth < _MOST_ALTERNATES:
            _require_alternates(path, context, depth + 1)


def git_folder(item: Item) -> str:
    """Return the own folder of an item's repository: the path itself, or `.git` in it. Raise InvalidInput."""
    for folder in (item.path, os.path.join(item.path, _DOT_GIT)):
        if is_repository(folder):
            return folder
    where = f"item git {item.name!r}: path {item.path}"
    elsewhere = whereabouts(item.path)
    if elsewhere:
        raise InvalidInput(f"{where} {elsewhere}")
    raise InvalidInput(f"{where} is not a Git repository: it has no HEAD, objects and refs")


def _apart(folder: str, path: str) -> tuple[str, str]:
    """Return what the top folder of an item's archive stands for, and where in that the repository is; `folder` is the repository's own.

    `.git` itself, given as path, is the same repository as the folder that it is in.
    """
    if folder == path and os.path.basename(path) != _DOT_GIT:
        return path, ""
    return os.path.dirname(folder), _DOT_GIT


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Yield the item's repositories with all references as of one moment, to which what is new was added."""
    folder = git_folder(item)
    place, within = _apart(folder, item.path)
    paths = find_repositories(folder, context.deadline)
    scratch = Scratch(item, context, folder, within, paths)
    copies = scratch.fill()
    looked = None
    while looked is None:
        try:
            looked = look_back(item, context, copies, bare=not within)
        except ToolFailed as error:
            copies = scratch.do_without(error)
    top = scratch.top
    set_mode(top, os.stat(item.path).st_mode & 0o7777 | 0o700)
    for copied in copies.values():
        assemble(copied, context)

    streams, notes = _streams(folder, paths)
    prefix = b"./" + os.fsencode(within) + b"/" if within else b"./"
    parts = [Part(top, list(walk(top)[0]))]
    if streams:
        parts.append(Part(place, [prefix + name for name in streams]))

    def confirm() -> None:
        if streams:
            compare(streams, _streams(folder, paths)[0])

    for copied in copies.values():
        notes += copied.notes
    if within:
        notes.append(
            "left out the working tree, and what is staged: add it as an item of kind folder if it holds what is not committed"
        )
    record = {
        **_recorded(copies),
        "identity": looked.identity,
        "measures": looked.measures,
        "counted": looked.counted,
        "doubts": looked.doubts,
    }
    notes += looked.notes + scratch.notes

    def examine(asked: Asked) -> Verdict:
        return Verdict(noted={"state": scratch.examine(asked), "rebuilt": scratch.rebuilt, "facts": looked.facts})

    yield Snapshot(
        parts,
        record,
        owner=owner_of(folder),
        fixed_times=True,
        listed=True,
        notes=notes,
        confirm=confirm,
        examine=examine,
    )


def _recorded(copies: Mapping[str, Copied]) -> dict[str, Any]:
    """Return what is recorded of an item, given its repositories by path: its own, and those of submodules."""
    record = copies[""].record
    modules = {printable(path): copied.record for path, copied in copies.items() if path}
    if modules:
        record["modules"] = modules
    incomplete = [_lacks(copied.live, copied.missing) for copied in copies.values() if copied.missing]
    if incomplete:
        record["incomplete"] = incomplete
    return record


def _lacks(folder: str, missing: int) -> str:
    return (
        f"{printable(folder)} is a partial clone that lacks {counted(missing, 'object')}, and what alone that leads to; what is there is stored. "
        f"Fetch that (git -C {printable(folder)} fetch --refetch, once remote.NAME.partialclonefilter is unset), or back up its origin, too"
    )


def _streams(folder: str, paths: Sequence[str]) -> tuple[dict[bytes, tuple[int, ...]], list[str]]:
    """Return ({path below an item's own repository: identity} of large files that are archived from where they are, notes)."""
    found: dict[bytes, tuple[int, ...]] = {}
    notes = []
    for name in (os.path.normpath(os.path.join(path, stream)) for path in paths for stream in STREAMED):
        top = os.path.join(folder, name)
        notes += [
            f"left out what the link {printable(link)} leads to: add it as an item of kind folder"
            for link in (name, f"{name}/objects")
            if os.path.islink(os.path.join(folder, link))
        ]
        if os.path.islink(top):
            found[os.fsencode(name)] = identity(os.lstat(top))
        elif os.path.isdir(top):
            below, left_out = walk(top)
            found.update({os.fsencode(name) + path[1:]: known for path, known in below.items()})
            notes += left_out
    return found, notes


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the repository sees: it, be it in a working tree, the copy that is kept, and an empty folder to build a new one in."""
    with opened(item.path) as descriptor:
        owner = os.fstat(descriptor).st_uid
        with contextlib.suppress(OSError):
            inner = os.open(_DOT_GIT, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=descriptor)
            owner = os.fstat(inner).st_uid
            os.close(inner)
    state = _read_state(state_path(context.tree, item))
    return arrangement(item, context, owner, scratch_folder(context, item), state, recall(item, context, NOTED))


def keep(item: Item, context: Context, noted: Mapping[str, Any]) -> Mapping[str, str]:
    """Let copies that were built anew take the place of the older ones, and keep what is known of them, and where references point."""
    if "state" not in noted:
        return {}
    scratch, path, state = scratch_folder(context, item), state_path(context.tree, item), checked(noted["state"])
    if noted["rebuilt"] is True:
        remove_if_there(path)  # until it is written again, the copy counts as damaged
        remove_folder(scratch)
        make_folders(os.path.dirname(scratch), context.tree.private)
        os.rename(building_folder(context, item), scratch)
    _write_state(context, item, state)
    return retain(item, context, NOTED, noted["facts"])


def spoiled(item: Item, context: Context) -> None:
    """Let the next dump verify the whole of what is kept: nobody knows why this one failed."""
    state = _read_state(state_path(context.tree, item))
    if state:
        _write_state(context, item, {**state, "built": ""})


def _write_state(context: Context, item: Item, state: Mapping[str, Any]) -> None:
    path = state_path(context.tree, item)
    make_folders(os.path.dirname(path), context.tree.private)
    write_text(path, json.dumps(state) + "\n")


def _read_state(path: str) -> dict[str, Any]:
    try:
        with open_plain(path) as stream:
            return checked(json.loads(stream.read(_LONGEST_STATE)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def prove(proof: Proof) -> None:
    """Prove an unpacked repository, and those of submodules in it. No dump reads the code of that."""
    from .git_proof import prove_repositories

    prove_repositories(proof)


def reads(item: Item) -> tuple[Sequence[str], Sequence[str]]:
    """Return the paths that git reads, but for what it does without."""
    own = os.path.join(item.path, _DOT_GIT)
    own = own if os.path.isdir(own) else item.path
    return [f"{own}/{name}" for name in ("HEAD", "objects", "refs", "packed-refs", "config", "config.worktree")], ()


KIND = Kind(
    check,
    copy,
    arrange,
    prove,
    tools=("git",),
    keep=keep,
    spoiled=spoiled,
    reads=reads,
    looks_like=looks_like,
    inner=_DOT_GIT,
    differs=True,
)
