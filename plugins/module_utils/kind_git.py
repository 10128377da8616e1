"""Kind `git`: every reference and all that is reachable from it, in a pack made afresh by git itself.

Git runs as the repository's owner on the live repository, and writes only to a pipe; what it says goes into a fresh
repository with no configuration of anybody's. So nothing is shared with the live objects, and no archived setting or
hook takes effect. All else in the repository's folder is data, but what git makes again; repositories of submodules in it
are copied in the same way.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .archive import Part
from .digest import open_plain
from .errors import AltbackupError, InvalidInput, SourceChanged, ToolFailed
from .git_layout import (
    NEEDED,
    READ_BY_GIT,
    SHALLOW,
    STREAMED,
    WORKTREES,
    Outside,
    copy_data,
    find_repositories,
    heads_of_worktrees,
    is_repository,
    lock_worktrees,
    objects_in_logs,
    objects_unfinished,
    whereabouts,
)
from .git_objects import (
    are_promised,
    existing,
    is_partial,
    looked_through,
    require_whole,
    transfer_present,
    transfer_reachable,
    whole,
)
from .git_tool import Git, References, ask_head, keeps_table, place_references, read_references, read_small
from .items import Item
from .kinds import (
    Arrangement,
    Context,
    Kind,
    Prepared,
    compare,
    identity,
    members_of,
    opened,
    owner_of,
    require_folder,
    require_inside,
    require_plain,
    scratch_folder,
    unreadable,
    walk,
)
from .layout import is_plain_file, printable
from .processes import Deadline, find_tool, run
from .publish import remove_folder
from .readers import NeedsPlace
from .view import Place

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
_LONGEST = 1 << 20
_MOST_ALTERNATES = 5
_ATTEMPTS = 30
_STALE_LOCK = 60.0
_CHECK_LIMIT = 60.0
_SHOWN = 3


def looks_like(path: str) -> bool:
    """Given a path, return whether a Git repository is there, or what is left of one; a `.git` that is a file is no repository."""
    return (
        os.path.isdir(os.path.join(path, _DOT_GIT)) or members_of(path, ("HEAD", "objects", "refs", "packed-refs")) >= 2
    )


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless the item's path is a Git repository of a form that can be copied whole."""
    require_folder(item)
    _require_links_inside(item, context, (".", _DOT_GIT))
    folder = git_folder(item)
    for tool in ("git", "tar"):
        find_tool(tool)
    paths = find_repositories(folder, context.deadline)
    title = f"item git {item.name!r}"
    require_plain(folder, lambda path: _is_harmless(folder, path, paths), context.deadline, title)
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
    above = max((other for other in repositories if f"{path}/".startswith(f"{other}/")), key=len, default="")
    within = path[len(above) + 1 :] if above else path
    if within.startswith(_COPIED_AS_DATA):
        return True
    return within.split("/")[0] not in READ_BY_GIT and _is_socket(os.path.join(folder, path))


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
        raise InvalidInput(f"{printable(objects)}/info/alternates cannot be read: {error.strerror}") from error
    for line in lines:
        if not line or line.startswith(b"#"):
            continue
        path = os.path.normpath(os.path.join(objects, os.fsdecode(line)))
        if not any(f"{path}/".startswith(f"{place}/") for place in context.shown):
            raise NeedsPlace(f"{printable(objects)} borrows from {printable(path)} (info/alternates)", path)
        if depth < _MOST_ALTERNATES:
            _require_alternates(path, context, depth + 1)


def git_folder(item: Item) -> str:
    """Given an item, return its repository's own folder: the path itself, or `.git` in it. Raise InvalidInput."""
    for folder in (item.path, os.path.join(item.path, _DOT_GIT)):
        if is_repository(folder):
            return folder
    where = f"item git {item.name!r}: path {item.path}"
    elsewhere = whereabouts(item.path)
    if elsewhere:
        raise InvalidInput(f"{where} {elsewhere}")
    raise InvalidInput(f"{where} is not a Git repository: it has no HEAD, objects and refs")


@dataclass
class _Copied:
    """A repository that was copied, and what is told of it."""

    live: str
    references: References
    data: str
    """A folder with its data"""
    fresh: str
    """A folder with its objects and references"""
    table: bool = False
    missing: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def record(self) -> dict[str, Any]:
        """What is recorded of it."""
        found: dict[str, Any] = {"references": self.references.digest, "count": len(self.references.lines)}
        return {**found, **({"missing": self.missing} if self.missing else {})}


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Prepared]:
    """Given an item, yield fresh repositories with all references as of one moment, checked for connectivity."""
    folder = git_folder(item)
    scratch = scratch_folder(context, item)
    top = os.path.join(scratch, "copy")
    within = "" if folder == item.path else _DOT_GIT
    paths = find_repositories(folder, context.deadline)
    copies = {path: _copy_repository(folder, path, paths, scratch, context) for path in paths}
    os.mkdir(top, 0o700)
    os.chmod(top, os.stat(item.path).st_mode & 0o7777 | 0o700)
    for path, copied in copies.items():
        _assemble(copied, os.path.normpath(os.path.join(top, within, path)), context)

    streams, notes = _streams(folder, paths)
    prefix = b"./" + os.fsencode(within) + b"/" if within else b"./"
    parts = [Part(top, list(walk(top)[0]))]
    if streams:
        parts.append(Part(item.path, [prefix + name for name in streams]))

    def confirm() -> None:
        if streams:
            compare(streams, _streams(folder, paths)[0])

    for copied in copies.values():
        notes += copied.notes
    if within:
        notes.append(
            "left out the working tree, and what is staged: add it as an item of kind folder if it holds what is not committed"
        )
    record = _recorded(copies)
    yield Prepared(parts, record, owner=owner_of(folder), fixed_times=True, notes=notes, confirm=confirm)


def _recorded(copies: Mapping[str, _Copied]) -> dict[str, Any]:
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
        f"{printable(folder)} is a partial clone that lacks {missing} objects, and all that only these lead to; what is there is stored. "
        f"Fetch them (git -C {printable(folder)} fetch --refetch, once remote.NAME.partialclonefilter is unset), or back up its origin, too"
    )


def _copy_repository(folder: str, path: str, paths: Sequence[str], scratch: str, context: Context) -> _Copied:
    """Copy the repository at a path below an item's own into the scratch folder, data and the rest by itself.

    Raise SourceChanged if it changed meanwhile.
    """
    live = Git(os.path.normpath(os.path.join(folder, path)), context.deadline, context.identity).at_home()
    number = paths.index(path)
    data, place = (os.path.join(scratch, f"{number}.{what}") for what in ("data", "git"))
    table = keeps_table(live.settings())
    references, notes = _steady_state(live, data, lambda: Outside(paths, path, table=table), table=table)
    fresh = _fresh_repository(live, place)
    copied = _Copied(live.folder, references, data, place, table=table, notes=notes)
    packs = _packs(live.folder)
    reading = Git(place, context.deadline, context.identity, objects_of=live.folder)
    try:
        _fill(copied, live, fresh, reading)
    except (ToolFailed, InvalidInput) as error:
        if read_references(live, table=table) != references or _packs(live.folder) != packs:
            raise SourceChanged(f"{live.folder}: references or packs changed while they were read: {error}") from error
        if isinstance(error, ToolFailed):
            _require_readable(os.path.join(live.folder, "objects"))
            _explain_missing(references.objects(), reading, place, error)
        raise
    return copied


def _fill(copied: _Copied, live: Git, fresh: Git, reading: Git) -> None:
    """Put objects and references into a fresh repository, and see that they are those of the live one."""
    references, data = copied.references, copied.data
    logged, begun = objects_in_logs(data), objects_unfinished(data)
    heads = heads_of_worktrees(data)
    _place(data, fresh.folder, NEEDED)
    targets = {**references.named(), **heads}
    there = existing(reading, {*targets.values(), *logged, *begun})
    _require_existing(live.folder, targets, there)
    if logged - there:
        copied.notes.append(f"reflogs or grafts name {len(logged - there)} objects that the repository no longer has")
    wanted = {*targets.values(), *(logged & there)}
    partial = is_partial(os.path.join(live.folder, "objects"))
    wanted |= begun & there if partial else whole(reading, begun & there, wanted)
    missing = _transfer_partial(reading, fresh, wanted) if partial else set()
    copied.missing = len(missing)
    if not missing:
        transfer_reachable(live, fresh, wanted)
    place_references(references, fresh.folder)
    if read_references(fresh) != references:
        raise AltbackupError(f"the copy's references are not those of {live.folder}")
    if missing:
        with looked_through(fresh, wanted, fresh.folder) as (_, still):
            if still != missing:
                raise AltbackupError(f"the copy of {live.folder} lacks other objects than the repository does")
        return
    options = ("--connectivity-only", "--no-dangling", "--no-reflogs", "--no-progress")
    fresh.run("fsck", *options, what=f"checking the copy of {live.folder}")
    require_whole(fresh, set(heads.values()))


def _require_existing(folder: str, targets: Mapping[bytes, bytes], there: set[bytes]) -> None:
    """Given {name: object}, raise InvalidInput for names that lead to objects which a repository does not have."""
    lost = sorted(name for name, target in targets.items() if target not in there)
    if lost:
        shown = ", ".join(f"{printable(os.fsdecode(name))} ({targets[name].decode()})" for name in lost[:_SHOWN])
        more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
        raise InvalidInput(
            f"{printable(folder)}: references lead to objects that the repository does not have: {shown}{more}: "
            "bring these objects back (git fetch), or remove what leads to them"
        )


def _transfer_partial(reading: Git, fresh: Git, wanted: set[bytes]) -> set[bytes]:
    """Transfer the objects of a partial clone if some are missing, and return those that are. Raise InvalidInput for lost ones."""
    with looked_through(reading, wanted, fresh.folder) as (present, missing):
        if missing:
            if not are_promised(reading, wanted):
                raise _lost(reading.title, missing)
            transfer_present(reading, fresh, present)
        return missing


def _lost(folder: str, missing: set[bytes]) -> InvalidInput:
    """Return the error that tells what a repository lacks that should be there."""
    shown = ", ".join(name.decode() for name in sorted(missing)[:_SHOWN])
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return InvalidInput(
        f"{printable(folder)} is damaged: it lacks {len(missing)} objects that its history leads to: {shown}{more}; "
        "bring them back from another clone (git fetch --refetch), or restore it"
    )


def _explain_missing(wanted: set[bytes], reading: Git, scratch: str, error: ToolFailed) -> None:
    """Raise InvalidInput if git failed since objects are missing, which it tells of one alone."""
    try:
        with looked_through(reading, wanted, scratch) as (_, missing):
            if missing:
                raise _lost(reading.title, missing) from error
    except ToolFailed:
        return  # there is worse, of which the first error told


def _assemble(copied: _Copied, place: str, context: Context) -> None:
    """Put a copied repository at its place in the copy of the item, its data with it; from here on git no longer touches it."""
    mode = os.stat(copied.live).st_mode & 0o7777 | 0o700
    for parent, _, _ in os.walk(copied.fresh):
        os.chmod(parent, mode)
    if copied.table:
        _take_for_files(copied, context)
    lock_worktrees(copied.data)
    os.rename(copied.fresh, place)
    _place(copied.data, place, os.listdir(copied.data))
    remove_folder(copied.data)


def _take_for_files(copied: _Copied, context: Context) -> None:
    """Let the settings of a copy say that references are in files, as they are in each copy."""
    config, changed = os.path.join(copied.data, "config"), os.path.join(copied.fresh, "config.tmp")
    os.rename(config, changed)
    context.identity.own(changed)
    fresh = Git(copied.fresh, context.deadline, context.identity)
    fresh.run("config", f"--file={changed}", "--unset-all", "extensions.refStorage")
    os.rename(changed, config)
    copied.notes.append(
        f"{printable(copied.live)} keeps its references in a table (reftable): the copy has them in files, without reflogs"
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


def _require_readable(objects: str) -> None:
    """Raise InvalidInput if this reader may not read one of the objects: git says that it is corrupt."""
    for parent, folders, files in os.walk(objects):
        for path in (os.path.join(parent, name) for name in (*folders, *files)):
            if not os.path.islink(path) and not os.access(path, os.R_OK):
                raise unreadable(path)


def _packs(folder: str) -> list[str]:
    """Return the names of the packs: a repacking removes what is being read."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(os.listdir(os.path.join(folder, "objects", "pack")))
    return []


def _steady_state(live: Git, data: str, outside: Callable[[], Outside], *, table: bool) -> tuple[References, list[str]]:
    """Return the references of one moment and notes on them, and put copies of the data of it into a folder.

    They are read twice alike, and no transaction stood half done in between: while one moves several references,
    those that it has not yet moved are locked.
    """
    for attempt in range(_ATTEMPTS):
        references = read_references(live, table=table)
        try:
            remove_folder(data)
            os.mkdir(data, 0o700)
            notes = copy_data(live.folder, outside(), data)
            if table:
                _ask_worktrees(live, data)
            locked, stale = _locks(live.folder)
            if not locked and read_references(live, table=table) == references:
                notes += [
                    f"{printable(path)} is a lock that a killed git left: nobody can push there" for path in stale
                ]
                return references, notes + _dangling(live.folder, references)
        except (FileNotFoundError, SourceChanged):
            pass
        live.deadline.remaining()
        time.sleep(min(0.02 * 2**attempt, 1.0))
    raise SourceChanged(f"{live.folder}: its references changed each of {_ATTEMPTS} times they were read")


def _ask_worktrees(live: Git, data: str) -> None:
    """Write down the HEADs of linked worktrees, where they are not in files."""
    folder = os.path.join(data, WORKTREES)
    for name in os.listdir(folder) if os.path.isdir(folder) and not os.path.islink(folder) else ():
        if os.path.isdir(os.path.join(folder, name)):
            with open(os.path.join(folder, name, "HEAD"), "wb") as stream:
                stream.write(ask_head(live, f"{WORKTREES}/{name}/HEAD") + b"\n")


def _locks(folder: str) -> tuple[list[str], list[str]]:
    """Return the locks of references that somebody holds, and those so old that nobody does."""
    held: list[str] = []
    stale: list[str] = []
    for parent, _, files in os.walk(os.path.join(folder, "refs")):
        for name in files:
            if name.endswith(".lock"):
                path = os.path.join(parent, name)
                with contextlib.suppress(FileNotFoundError):
                    (stale if abs(time.time() - os.lstat(path).st_mtime) > _STALE_LOCK else held).append(path)
    return held, stale


def _dangling(folder: str, references: References) -> list[str]:
    """Return notes on symbolic references to nothing, which git does not show."""
    known = {name for _, name, _ in references.lines}
    notes = []
    for parent, _, files in os.walk(os.path.join(folder, "refs")):
        for path in (os.path.join(parent, name) for name in files):
            name = os.path.relpath(path, folder)
            if os.fsencode(name) not in known and is_plain_file(path) and read_small(path).startswith(b"ref:"):
                notes.append(f"left out {printable(name)}: it leads to a reference that does not exist")
    return notes


def _fresh_repository(live: Git, scratch: str) -> Git:
    """Make an empty repository in the scratch folder, of the live one's object format."""
    object_format = live.settings().get("extensions.objectformat", "sha1")
    option = [f"--object-format={object_format}"] if object_format != "sha1" else []  # git has it from 2.28 on
    command = [find_tool("git"), "init", "--bare", "--quiet", "--template=", *option, scratch]
    run(
        live.identity.argv(command),
        what=f"making a scratch repository for {live.folder}",
        deadline=live.deadline,
        environment=live.environment,
        name="git",
    )
    return Git(scratch, live.deadline, live.identity)


def _place(small: str, scratch: str, names: Sequence[str]) -> None:
    """Move copied small files into the fresh repository, as data."""
    for name in names:
        source, destination = os.path.join(small, name), os.path.join(scratch, name)
        if os.path.lexists(source):
            remove_folder(destination)
            os.rename(source, destination)


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the repository sees: it, be it in a working tree."""
    with opened(item.path) as descriptor:
        owner = os.fstat(descriptor).st_uid
        with contextlib.suppress(OSError):
            inner = os.open(_DOT_GIT, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=descriptor)
            owner = os.fstat(inner).st_uid
            os.close(inner)
    return Arrangement(owner, [Place(item.path)], scratch=[scratch_folder(context, item)])


KIND = Kind(check, copy, arrange, looks_like=looks_like)
