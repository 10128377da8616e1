"""One Git repository, copied: references of one moment, what they lead to, and its data, into folders of their own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..system.digest import new_hash
from ..system.errors import AltbackupError, InvalidInput, SourceChanged, ToolFailed
from ..system.processes import run
from ..system.programs import find_tool
from ..system.twins import set_mode
from ..system.units import counted, first_of
from ..system.visible import printable
from ..tree.layout import is_plain_file
from ..tree.publish import remove_folder
from .base import Context, unreadable
from .git_layout import (
    NEEDED,
    SHALLOW,
    WORKTREES,
    Outside,
    copy_data,
    heads_of_worktrees,
    lock_worktrees,
    objects_in_logs,
    objects_unfinished,
    worktrees_of,
)
from .git_objects import (
    are_promised,
    existing,
    is_partial,
    looked_through,
    only_led_to_by,
    put_together,
    require_whole,
    transfer_new,
    transfer_present,
    transfer_reachable,
    whole,
)
from .git_packs import count_in, indexes_of, to_put_together
from .git_tool import Git, References, ask_head, keeps_table, place_references, read_references, read_small

_ATTEMPTS = 30
_STALE_LOCK = 60.0
_USUAL_FORM = "sha1"
_SHOWN = 3
_MOST_PACKS = 12
"""Most packs of a copy that is kept: each night may bring one, and git looks for an object in one after the other"""


@dataclass(frozen=True)
class Kept:
    """What is known of the objects of a repository that its copy has from earlier nights."""

    form: str
    """The format of their names"""
    shallow: str
    """The digest of what says where its history was cut off"""
    ends: frozenset[bytes]
    """Objects of which the copy has all that they lead to"""


@dataclass
class Copied:
    """A repository that was copied, and what is told of it."""

    live: str
    references: References
    data: str
    """A folder with its data"""
    fresh: str
    """A folder with its objects and references"""
    form: str = ""
    table: bool = False
    partial: bool = False
    missing: int = 0
    heads: set[str] = field(default_factory=set)
    """Objects to which HEADs and references of linked worktrees lead"""
    apart: set[str] = field(default_factory=set)
    """Objects that only reflogs, what was begun, and references of earlier nights lead to"""
    shallow: str = ""
    ends: set[bytes] = field(default_factory=set)
    """Objects of which the copy has all that they lead to"""
    waste: int = 0
    """About how many objects it has to which nothing leads any more"""
    notes: list[str] = field(default_factory=list)

    @property
    def record(self) -> dict[str, Any]:
        """What is recorded of it."""
        found: dict[str, Any] = {"references": self.references.digest, "count": len(self.references.lines)}
        return {**found, **({"missing": self.missing} if self.missing else {})}


def copy_repository(
    folder: str,
    path: str,
    paths: Sequence[str],
    scratch: str,
    place: str,
    context: Context,
    kept: Kept | None = None,
) -> Copied:
    """Copy the repository at a path below an item's own: data into the scratch folder, the rest to a place, an empty folder of its owner's.

    There may be packs from earlier nights, of which it is known what is `kept` in them: they stay, and what is new comes to them.
    Raise SourceChanged if it changed meanwhile.
    """
    live = Git(os.path.normpath(os.path.join(folder, path)), context.deadline, context.identity).at_home()
    number = paths.index(path)
    data = os.path.join(scratch, f"{number}.data")
    settings = live.settings()
    table, form = keeps_table(settings), settings.get("extensions.objectformat", _USUAL_FORM)
    references, notes = _steady_state(live, data, lambda: Outside(paths, path, table=table), table=table)
    fresh = _fresh_repository(live, place, form)
    partial = is_partial(os.path.join(live.folder, "objects"))
    if kept and (kept.form != form or partial):
        raise AltbackupError(f"{live.folder} is another kind of repository than it was")
    copied = Copied(live.folder, references, data, place, form=form, table=table, partial=partial, notes=notes)
    packs = _packs(live.folder)
    reading = Git(place, context.deadline, context.identity, objects_of=live.folder)
    try:
        _fill(copied, live, fresh, reading, kept)
    except (ToolFailed, InvalidInput) as error:
        if read_references(live, table=table) != references or _packs(live.folder) != packs:
            raise SourceChanged(f"{live.folder}: references or packs changed while they were read: {error}") from error
        if isinstance(error, ToolFailed):
            _require_readable(os.path.join(live.folder, "objects"))
            _explain_missing(references.objects(), reading, place, error)
        raise
    return copied


def _fill(copied: Copied, live: Git, fresh: Git, reading: Git, kept: Kept | None) -> None:
    """Put objects and references into a fresh repository, and see that they are those of the live one."""
    references, data = copied.references, copied.data
    logged, begun = objects_in_logs(data), objects_unfinished(data)
    heads = heads_of_worktrees(data)
    _place(data, fresh.folder, NEEDED)
    copied.shallow = _digest_of(os.path.join(fresh.folder, SHALLOW))
    targets = {**references.named(), **heads}
    there = existing(reading, {*targets.values(), *logged, *begun})
    _require_existing(live.folder, targets, there)
    if logged - there:
        copied.notes.append(
            f"reflogs or grafts name {counted(len(logged - there), 'object')} that the repository no longer has"
        )
    if worktrees_of(data):
        copied.notes.append(
            f"{printable(live.folder)}: left out the files of linked worktrees, and what is staged there: {printable(', '.join(worktrees_of(data)))}"
        )
    wanted = {*targets.values(), *(logged & there)}
    wanted |= begun & there if copied.partial else whole(reading, begun & there, wanted)
    missing = _transfer_partial(reading, fresh, wanted) if copied.partial else set()
    copied.missing = len(missing)
    copied.heads = {name.decode() for name in heads.values()}
    copied.apart = {name.decode() for name in wanted.difference(targets.values())}
    copied.ends = wanted
    if kept:
        _add_new(copied, fresh, reading, kept)
    elif not missing:
        transfer_reachable(live, fresh, wanted)
    place_references(references, fresh.folder)
    if read_references(fresh) != references:
        raise AltbackupError(f"the copy's references are not those of {live.folder}")
    if missing:
        with looked_through(fresh, wanted, fresh.folder) as (_, still):
            if still != missing:
                raise AltbackupError(f"the copy of {live.folder} lacks other objects than the repository does")
        return
    if not kept:
        options = ("--connectivity-only", "--no-dangling", "--no-reflogs", "--no-progress")
        fresh.run("fsck", *options, what=f"checking the copy of {live.folder}")
    require_whole(fresh, set(heads.values()))


def _add_new(copied: Copied, fresh: Git, reading: Git, kept: Kept) -> None:
    """Add what is new to packs that are kept, see that nothing is missing, and note what nothing leads to any more."""
    wanted, ends = set(copied.ends), set(kept.ends)
    if kept.shallow != copied.shallow:  # where the history was cut off an end led to less, or to more
        ends = set()
    if wanted - ends:
        transfer_new(reading, fresh, wanted, existing(reading, ends))
        require_whole(fresh, wanted, ends)
        sizes = {index: count_in(index) for index in indexes_of(fresh.folder)}
        small = to_put_together(sizes, _MOST_PACKS)
        if small:
            put_together(fresh, small)
    if ends - wanted:
        waste = only_led_to_by(fresh, ends - wanted, wanted)
        lost = waste & ends
        copied.waste = len(waste)
        copied.ends |= lost
        copied.apart |= {name.decode() for name in lost}


def _digest_of(path: str) -> str:
    """Return the digest of a small file, of nothing if it is not there."""
    digest = new_hash("sha256")
    digest.update(read_small(path))
    return str(digest.hexdigest())


def _require_existing(folder: str, targets: Mapping[bytes, bytes], there: set[bytes]) -> None:
    """Raise InvalidInput for names in {name: object} that lead to objects which a repository does not have."""
    lost = sorted(name for name, target in targets.items() if target not in there)
    if lost:
        shown = first_of([f"{printable(os.fsdecode(name))} ({targets[name].decode()})" for name in lost], _SHOWN)
        raise InvalidInput(
            f"{printable(folder)}: references lead to objects that the repository does not have: {shown}: "
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
    shown = first_of([name.decode() for name in sorted(missing)], _SHOWN)
    return InvalidInput(
        f"{printable(folder)} is damaged: it lacks {counted(len(missing), 'object')} that its history leads to: {shown}; "
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


def assemble(copied: Copied, context: Context) -> None:
    """Put the data of a copied repository to the rest of it; from here on git no longer touches it."""
    mode = os.stat(copied.live).st_mode & 0o7777 | 0o700
    set_mode(copied.fresh, mode)
    for top in ("objects", "refs"):
        for parent, _, _ in os.walk(os.path.join(copied.fresh, top)):
            set_mode(parent, mode)
    if copied.table:
        _take_for_files(copied, context)
    lock_worktrees(copied.data)
    _place(copied.data, copied.fresh, os.listdir(copied.data))
    remove_folder(copied.data)


def _take_for_files(copied: Copied, context: Context) -> None:
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
    for name in worktrees_of(data):
        with open(os.path.join(data, WORKTREES, name, "HEAD"), "wb") as stream:
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


def _fresh_repository(live: Git, place: str, form: str) -> Git:
    """Make an empty repository in a folder, of the live one's object format; packs that are there stay."""
    option = [f"--object-format={form}"] if form != _USUAL_FORM else []  # git has it from 2.28 on
    command = [find_tool("git"), "init", "--bare", "--quiet", "--template=", *option, place]
    run(
        live.identity.argv(command),
        what=f"making a scratch repository for {live.folder}",
        deadline=live.deadline,
        environment=live.environment,
        name="git",
    )
    return Git(place, live.deadline, live.identity)


def _place(small: str, place: str, names: Sequence[str]) -> None:
    """Move copied small files into the fresh repository, as data; a folder that is there has another repository in it."""
    for name in names:
        source, destination = os.path.join(small, name), os.path.join(place, name)
        if _is_folder(source) and _is_folder(destination):
            set_mode(destination, os.stat(source).st_mode & 0o7777)
            _place(source, destination, os.listdir(source))
        elif os.path.lexists(source):
            remove_folder(destination)
            os.rename(source, destination)


def _is_folder(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
