"""Kind `svn`: an incremental hot copy, kept from night to night, checked and made the same for the same content.

A scratch copy alone is not to be trusted: what must not linger in it is removed before each copy, new revisions are
verified every night, and every few days it is built anew from empty and verified whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import sqlite3
import stat
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..archive.write import Part
from ..system.digest import CHUNK, open_plain
from ..system.errors import AltbackupError, DeadlineExceeded, InvalidInput, ToolFailed, ToolMissing
from ..system.holes import MOST, holes_in
from ..system.processes import run
from ..system.programs import find_tool
from ..system.seeing import denied, is_folder
from ..system.twins import point, set_mode
from ..system.units import readable
from ..system.visible import printable
from ..tree.contents import is_digest
from ..tree.publish import make_folders, remove_folder, remove_if_there, write_text
from ..tree.stamps import day_of
from .base import (
    Arrangement,
    Asked,
    Context,
    Kind,
    Snapshot,
    Verdict,
    members_of,
    owner_found,
    owner_of,
    require_folder,
    require_inside,
    require_plain,
    scratch_folder,
    walk,
)
from .earlier import recall, retain, stamp_of
from .items import Item
from .kept import arrangement, building_folder, is_due, state_path
from .sqlite_copy import uri
from .svn_history import Contents, digest_of, doubt_of

if TYPE_CHECKING:
    from .proofs import Proof

_BESIDE_CACHE = ("db/rep-cache.db-journal", "db/rep-cache.db-wal", "db/rep-cache.db-shm")
CACHE = ("db/rep-cache.db", *_BESIDE_CACHE)
# A hot copy takes a file of equal size for unchanged unless the live one is newer than the copy, and removes nothing.
_NEVER_LINGERS = (*CACHE, "db/locks", "db/node-origins")
_PROPERTIES = "db/revprops"
_KEPT = ("db", "format")
_MEMBERS = (
    "format",
    "conf/svnserve.conf",
    "locks/db.lock",
    "db/format",
    "db/fs-type",
    "db/current",
    "db/uuid",
    "db/revs",
)
_NOT_ARCHIVED = ("db/pack-lock", *_BESIDE_CACHE, "db/node-origins")
_ATTEMPTS = 3
_COPY = "copy"
_NOTED = "revisions"
"""The word under which a dump notes what its revisions hold"""
_LONGEST = 1 << 16
_VANISHED = "E000002"  # APR's ENOENT, as svnadmin shows it
_CACHE_FAILS = re.compile(r"sqlite\[S(\d+)\]: (?:(?!, executing statement )[^\n])*")
"""How svnadmin tells that it cannot use the one SQLite database that a repository has; of the statement nobody needs to know"""
_LOCKED = ("5", "6")
"""SQLITE_BUSY and SQLITE_LOCKED"""
_NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122, appendix C


def looks_like(path: str) -> bool:
    """Return whether a Subversion repository is at a path, or what is left of one."""
    return members_of(path, _MEMBERS) >= 2


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless the item's path is a Subversion repository."""
    require_folder(item)
    require_inside(item, context, ("format", "db", *_database_members(item)))
    require_plain(
        item.path,
        lambda path: path in CACHE,
        context.deadline,
        f"item svn {item.name!r}",
        program="svnadmin",
        read=lambda path: path not in CACHE,
    )
    for member in ("format", "db/fs-type", "db/current"):
        if not os.path.isfile(os.path.join(item.path, member)):
            raise InvalidInput(
                f"item svn {item.name!r}: path {item.path} is not a Subversion repository: it has no {member}"
            )


def _database_members(item: Item) -> list[str]:
    """Return what stands in the database of a repository, down to its shards, which svnadmin reads through links."""
    members: list[str] = []
    for folder in ("db", "db/revs", "db/revprops"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            members += [f"{folder}/{name}" for name in sorted(os.listdir(os.path.join(item.path, folder)))]
    return [member for member in members if member not in CACHE]


def foresee(item: Item, context: Context) -> Verdict:
    """Return what a dump would say of a cache that it cannot use, as far as can be seen without opening it."""
    problem = _cache_problem(item, context)
    return Verdict([_without_cache(problem)] if problem else [])


def _cache_problem(item: Item, context: Context) -> str:
    """Return why svnadmin cannot use the cache of a repository, as far as its files tell, empty if it can or there is none."""
    if context.identity.viewed:  # then svnadmin may read what others own in it
        return find_cache_problem(item.path)
    return str(context.identity.call(find_cache_problem, item.path))


def find_cache_problem(live: str) -> str:
    """Return what is wrong with the files of a repository's cache for this user, empty if nothing is."""
    for member in CACHE:
        path = os.path.join(live, member)
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISREG(status.st_mode):
            return f"{printable(path)} is {_what(status.st_mode)}"
        if not os.access(path, os.R_OK):
            return denied(path)
        if holes_in(path, status) > MOST:
            return f"{printable(path)} has holes of more than {readable(MOST)}"
    return ""


def is_sound_cache(live: str) -> bool:
    """Return whether a repository's cache can be read whole by this user, and nothing stands beside it that nobody has finished.

    The database is read as a file that nobody writes to: nothing is made beside it.
    """
    for member in _BESIDE_CACHE:  # Subversion leaves an empty journal
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(os.path.join(live, member)).st_size:
                return False
    path = os.path.join(live, CACHE[0])
    try:
        with contextlib.closing(sqlite3.connect(uri(path, "mode=ro&immutable=1"), uri=True)) as database:
            whole = bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
            database.execute("SELECT hash FROM rep_cache LIMIT 1").fetchone()
            return whole
    except sqlite3.Error:
        return False


def _what(mode: int) -> str:
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return "a folder" if stat.S_ISDIR(mode) else "a named pipe, a socket or a device"


def _without_cache(problem: str) -> str:
    return (
        f"{problem}: it is a mere cache, of contents that need not be stored twice, and is not in the copy. While nobody commits, move it away, "
        "with what stands beside it as rep-cache.db-*; Subversion makes a new one, which svnadmin build-repcache fills"
    )


def youngest(path: str, context: Context) -> int:
    """Return the youngest revision of a repository. Raise ToolFailed."""
    argv = context.identity.argv([find_tool("svnlook"), "youngest", path])
    output = run(argv, what=f"asking {path} for its youngest revision", deadline=context.deadline, name="svnlook")
    return int(output)


def identity(path: str, context: Context) -> str:
    """Return the UUID of a repository. Raise ToolFailed."""
    argv = context.identity.argv([find_tool("svnlook"), "uuid", path])
    return run(argv, what=f"asking {path} for its UUID", deadline=context.deadline, name="svnlook").decode().strip()


def date_of(path: str, revision: int, context: Context) -> str:
    """Return the date of a revision to the microsecond, empty if it has none. Raise ToolFailed."""
    words = [find_tool("svnlook"), "proplist", "--revprop", f"--revision={revision}", "--verbose", "--xml", path]
    what = f"asking {path} for the date of revision {revision}"
    listing = run(context.identity.argv(words), what=what, deadline=context.deadline, name="svnlook")
    match = re.search(rb'<property\s+name="svn:date"[^>]*>([^<]*)<', listing)
    return match.group(1).decode() if match else ""


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Bring the item's scratch copy up to date and yield it; its revision is the copy's, never the live one's."""
    scratch = Scratch(item, context)
    notes = scratch.update()
    left_out = tuple(f"./{member}/".encode() for member in _NOT_ARCHIVED)
    names = [name for name in walk(scratch.path)[0] if not (name + b"/").startswith(left_out)]
    identity, revision = scratch.state["uuid"], scratch.state["revision"]
    record = {"uuid": identity, "revision": revision, "identity": {"uuid": identity}}
    if "lost" in context.known:
        record["doubts"] = [context.known["lost"]]

    def examine(asked: Asked) -> Verdict:
        contents = Contents(asked, names, revision)
        doubts: list[str] = []
        state = scratch.state
        changed = _changed(context, scratch, contents)
        if changed:
            found = digest_of(changed)
            confirmed = scratch.rebuilt or context.known["state"].get("confirmed") == found
            doubts = [doubt_of(changed, stamp_of(context.good), confirmed=confirmed)]
            state = {**state, **({"confirmed": found} if confirmed else {"built": ""})}
        facts = {"uuid": identity, **contents.note()}
        return Verdict(doubts=doubts, noted={"state": state, "rebuilt": scratch.rebuilt, "facts": facts})

    yield Snapshot(
        [Part(scratch.path, names)],
        {**record, "measures": {"revisions": revision}},
        revision=revision,
        owner=owner_of(item.path),
        fixed_times=True,
        listed=True,
        notes=notes,
        noted={"state": scratch.state, "rebuilt": scratch.rebuilt},
        examine=examine,
    )


def _changed(context: Context, scratch: Scratch, contents: Contents) -> dict[str, str]:
    """Return what a copy holds otherwise than a good dump of the same repository did."""
    facts = context.known.get("facts", {})
    return contents.compare(facts) if facts and facts["uuid"] == scratch.state["uuid"] else {}


class Scratch:
    """The copy of a repository that is kept in the private folder, and what is known of it.

    Where a copy that was built anew held something else than a good dump did, its state has the digest of that as `confirmed`: while the copy
    holds just that, it is the repository, and not the copy, of which nobody knows whether it is right, and it need not be built anew again.
    """

    def __init__(self, item: Item, context: Context) -> None:
        self.item = item
        self.context = context
        self.path = scratch_folder(context, item)
        self.state: dict[str, Any] = dict(context.known["state"])
        self.rebuilt = False
        self.notes: list[str] = []
        self._source = item.path
        self._problem = _cache_problem(item, context)
        self._building = os.path.join(building_folder(context, item), _COPY)

    def update(self) -> list[str]:
        """Bring the copy to one committed state of the live repository, verified; return notes on what had to be done.

        Any error of an update leads to one rebuild from empty, which is reported; a second one is raised.
        """
        if self._problem:
            self._do_without_cache(_without_cache(self._problem))
        reason = self._reason_to_rebuild()
        if reason is None:
            try:
                self._copy_new_revisions()
                return self.notes
            except (DeadlineExceeded, ToolMissing):
                raise
            except (AltbackupError, OSError) as error:
                reason = str(error)
        self._rebuild()
        return [*([f"the scratch copy was built anew and verified whole: {reason}"] if reason else []), *self.notes]

    def _reason_to_rebuild(self) -> str | None:
        """Return None to go on with the copy, an empty text for a routine rebuild, else what is wrong with the copy."""
        state, context = self.state, self.context
        if not context.known["copied"]:
            return ""
        if not state:
            return f"{state_path(context.tree, self.item)} is missing or damaged"
        live = identity(self.item.path, context)
        if state["uuid"] != live:
            return f"the repository's UUID changed from {state['uuid']} to {live}: it was created anew"
        revision = youngest(self.item.path, context)
        if revision < state["revision"]:
            return f"the repository went back from revision {state['revision']} to {revision}"
        if date_of(self.item.path, state["revision"], context) != state["date"]:
            return f"revision {state['revision']} is no longer the one that was copied: the repository was restored from an older copy"
        return "" if is_due(self.item.key, state["built"], day_of(context.stamp), context.verify_every) else None

    def _copy_new_revisions(self) -> None:
        members = [name for name in os.listdir(self.path) if name not in _KEPT]
        for member in (*_NEVER_LINGERS, *members):
            path = os.path.join(self.path, member)
            remove_folder(path)
            remove_if_there(path)
        self._remove_other_properties()
        before = _revision_files(self.path)
        self._hotcopy(self.path, "--incremental")
        revision = youngest(self.path, self.context)
        if identity(self.path, self.context) != identity(self.item.path, self.context):
            raise AltbackupError("the copy's UUID is not the repository's")
        first = min([self.state["revision"] + 1, *(number for file, number in _revision_files(self.path) - before)])
        if first <= revision:
            self._verify(self.path, f"--revision={first}:{revision}")
        self._finish(self.path)
        self._note(revision, self.state["built"])

    def _remove_other_properties(self) -> None:
        """Remove from the copy the files of revision properties that are not those of the repository, so that they are copied anew.

        These change, and a hot copy would not see a change that leaves the size, and an older time.
        """
        live, copied = (os.path.join(path, _PROPERTIES) for path in (self.item.path, self.path))
        viewed = self.context.identity.viewed  # then programs may read what others own in it, and so may this
        others = other_members(live, copied) if viewed else self.context.identity.call(other_members, live, copied)
        for member in others:
            path = os.path.normpath(os.path.join(copied, member))  # no folder is removed by the name `.`
            remove_folder(path)
            remove_if_there(path)

    def _rebuild(self) -> None:
        self._hotcopy(self._building)
        self._verify(self._building)
        self._finish(self._building)
        self.path, self.rebuilt = self._building, True
        self._note(youngest(self.path, self.context), day_of(self.context.stamp))

    def _note(self, revision: int, built: str) -> None:
        date = date_of(self.path, revision, self.context)
        self.state = {"uuid": identity(self.path, self.context), "revision": revision, "date": date, "built": built}

    def _hotcopy(self, destination: str, *options: str) -> None:
        """Copy, again if a lock was broken or revisions were packed meanwhile: then a file vanishes under the hot copy.

        A cache that is locked or cannot be read is done without. If it is sound, it was the disk of the copy that failed.
        """
        vanished = 0
        while True:
            words = [find_tool("svnadmin"), "hotcopy", "--quiet", *options, self._source, destination]
            try:
                self._run(words, f"copying the repository {self.item.path}")
                return
            except ToolFailed as error:
                if self._source == self.item.path and self._is_of_the_live_cache(error):
                    self._do_without_cache(self._about_cache(error))
                    _remove_cache(destination)
                else:
                    vanished += 1
                    if vanished == _ATTEMPTS or _VANISHED not in error.stderr:
                        raise
            if not options:
                remove_folder(destination)

    def _verify(self, path: str, *options: str) -> None:
        """Verify a copy; one whose cache cannot be used without that. Raise ToolFailed."""
        words = [find_tool("svnadmin"), "verify", "--quiet", *options, path]
        what = f"verifying the copy of {self.item.path}"
        try:
            self._run(words, what)
        except ToolFailed as error:
            if not self._is_of_the_live_cache(error) or not os.path.lexists(os.path.join(path, CACHE[0])):
                raise
            self.notes.append(self._about_cache(error))
            _remove_cache(path)
            self._run(words, what)

    def _is_of_the_live_cache(self, error: ToolFailed) -> bool:
        """Return whether svnadmin failed for the cache of the live repository, and not for the disk on which the copy of it is made."""
        found = _CACHE_FAILS.search(error.stderr)
        if not found or found[1] in _LOCKED:
            return found is not None
        return not self.context.identity.call(is_sound_cache, self.item.path)

    def _make_stand_in(self) -> str:
        """Return a folder that stands for the live repository, as svnadmin reads it, but without its cache."""
        folder = os.path.join(building_folder(self.context, self.item), "stand-in")
        live = self.item.path
        os.makedirs(os.path.join(folder, "db"))
        for name in os.listdir(os.path.join(live, "db")):
            if f"db/{name}" not in CACHE:
                point(os.path.join(live, "db", name), os.path.join(folder, "db", name))
        for name in os.listdir(live):
            path, copied = os.path.join(live, name), os.path.join(folder, name)
            if name == "db":
                continue
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.copytree(path, copied, symlinks=True)
            else:
                shutil.copy2(path, copied, follow_symlinks=False)
        return folder

    def _do_without_cache(self, note: str) -> None:
        """Copy from what stands for the live repository from now on, and tell why."""
        self.notes.append(note)
        self._source = self._make_stand_in()

    def _about_cache(self, error: ToolFailed) -> str:
        """Return what is to be said of a cache that svnadmin could not use."""
        found = _CACHE_FAILS.search(error.stderr)
        path = printable(os.path.join(self.item.path, CACHE[0]))
        if found and found[1] in _LOCKED:
            return (
                f"{path} is locked by another program, such as svnadmin build-repcache: it is a mere cache, of contents that need not be stored "
                "twice, and is not in the copy. Nothing needs to be done; a later dump that finds it free has it again"
            )
        return _without_cache(f"{path} cannot be used ({found[0] if found else error})")

    def _run(self, words: Sequence[str], what: str) -> None:
        run(self.context.identity.argv(words), what=what, deadline=self.context.deadline, name="svnadmin")

    def _finish(self, path: str) -> None:
        """Replace the random instance id that each full copy gets, and take the live modes: equal repositories give equal archives."""
        uuid_file = os.path.join(path, "db", "uuid")
        with open_plain(uuid_file) as stream:
            lines = stream.read(4096).decode("ascii", "replace").splitlines()
        if len(lines) > 1:
            instance = str(uuid.uuid5(_NAMESPACE, f"urn:uuid:{lines[0]}"))
            if lines[1] != instance:
                write_text(uuid_file, f"{lines[0]}\n{instance}\n")
                set_mode(uuid_file, 0o644)
                self.context.identity.own(uuid_file)
        self._take_modes(path)

    def _take_modes(self, path: str) -> None:
        """Give folders and files the modes of their live counterparts, which a hot copy masks; a folder without one that of db."""
        usual = os.stat(os.path.join(self.item.path, "db")).st_mode
        for name, (mode, *_) in walk(path)[0].items():
            live = 0
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                live = os.lstat(os.path.join(os.fsencode(self.item.path), name)).st_mode
            if stat.S_ISDIR(mode):
                wanted = stat.S_IMODE(live if stat.S_ISDIR(live) else usual) | 0o700
            elif stat.S_ISREG(mode) and stat.S_ISREG(live):
                wanted = live & 0o777 | 0o400
            else:
                continue
            if wanted != stat.S_IMODE(mode):
                set_mode(os.path.join(os.fsencode(path), name), wanted)


def other_members(live: str, copied: str) -> list[str]:
    """Return the members of a folder's copy that are no folders of it and no files of equal bytes; `.` if that cannot be known."""
    others = []
    try:
        for parent, folders, files in os.walk(copied, onerror=_raise):
            of = os.path.relpath(parent, copied)
            gone = [name for name in folders if not is_folder(os.path.join(live, of, name), follow=False)]
            changed = [
                name for name in files if not _is_equal(os.path.join(live, of, name), os.path.join(parent, name))
            ]
            folders[:] = [name for name in folders if name not in gone]
            others += [os.path.join(of, name) for name in (*gone, *changed)]
    except OSError:
        return ["."]
    return others


def _raise(error: OSError) -> None:
    raise error


def _is_equal(live: str, copied: str) -> bool:
    """Return whether two plain files have the same bytes. Raise OSError if the copy cannot be read."""
    with open_plain(copied) as copy_stream:
        try:
            with open_plain(live) as live_stream:
                if os.fstat(live_stream.fileno()).st_size != os.fstat(copy_stream.fileno()).st_size:
                    return False
                while chunk := copy_stream.read(CHUNK):
                    if live_stream.read(CHUNK) != chunk:
                        return False
                return True
        except OSError:
            return False


def _remove_cache(path: str) -> None:
    for member in CACHE:
        remove_if_there(os.path.join(path, member))


def _revision_files(path: str) -> set[tuple[tuple[str, int], int]]:
    """Return ((path, time of writing in ns), first revision in it) of each file that holds revisions."""
    with open_plain(os.path.join(path, "db", "format")) as stream:
        sharded = re.search(rb"^layout sharded (\d+)$", stream.read(4096), re.MULTILINE)
    found = set()
    for parent, _, files in os.walk(os.path.join(path, "db", "revs")):
        shard, packed, _ = os.path.basename(parent).partition(".pack")
        for name in files:
            if packed or name.isdigit():
                file = os.path.join(parent, name)
                first = int(shard) * int(sharded.group(1)) if packed and sharded else int(name)
                found.add(((file, os.stat(file).st_mtime_ns), first))
    return found


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the repository sees: it, the scratch copy that is kept, and an empty folder to build a new one in."""
    state, known = _read_state(state_path(context.tree, item)), recall(item, context, _NOTED)
    return arrangement(item, context, owner_found(item.path), scratch_folder(context, item), state, known)


def keep(item: Item, context: Context, noted: Mapping[str, Any]) -> Mapping[str, str]:
    """Let a copy that was built anew take the place of the older one, and keep what is known of it, and of its revisions."""
    scratch, path = scratch_folder(context, item), state_path(context.tree, item)
    if noted["rebuilt"] is True:
        remove_if_there(path)  # until it is written again, the copy counts as damaged
        remove_folder(scratch)
        make_folders(os.path.dirname(scratch), context.tree.private)
        os.rename(os.path.join(building_folder(context, item), _COPY), scratch)
    make_folders(os.path.dirname(path), context.tree.private)
    write_text(path, json.dumps(_checked(noted["state"])) + "\n")
    return retain(item, context, _NOTED, noted["facts"]) if "facts" in noted else {}


def spoiled(item: Item, context: Context) -> None:
    """Forget what is known of the copy, which may be half done: the next dump builds it anew."""
    remove_if_there(state_path(context.tree, item))


def _read_state(path: str) -> dict[str, Any]:
    try:
        with open_plain(path) as stream:
            return _checked(json.loads(stream.read(_LONGEST)))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def _checked(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a copy, with its types. Raise KeyError, TypeError or ValueError."""
    known = {**{key: str(state[key]) for key in ("uuid", "date", "built")}, "revision": int(state["revision"])}
    return {**known, **({"confirmed": state["confirmed"]} if is_digest(state.get("confirmed")) else {})}


def prove(proof: Proof) -> None:
    """Whole verification; UUID and youngest revision as recorded, and as the name of the top folder has it."""
    proof.plain("db/current")
    for name, (mode, *_) in walk(proof.require_folder("db"))[0].items():
        if stat.S_ISLNK(mode):  # it would prove what it leads to
            raise proof.fail(
                f"db/{printable(os.fsdecode(name[2:]))} is a symbolic link, of which no copy of a repository has one"
            )
    with proof.opened() as repository:
        seen = proof.inside(repository)
        masked = [os.path.relpath(os.path.join(repository, "db", "fsfs.conf"), proof.scratch)]
        proof.look("svnadmin", "verify", "--quiet", seen, masked=masked)
        youngest = int(proof.look("svnlook", "youngest", seen, masked=masked))
        identity = proof.look("svnlook", "uuid", seen, masked=masked).decode("utf-8", "backslashreplace").strip()
    named = re.search(r"-(\d+)\Z", proof.title, re.ASCII)
    if named and "revision" not in proof.record and int(named[1]) != youngest:
        raise proof.fail(f"its youngest revision is {youngest}, but its name says {named[1]}")
    proof.compare("revision", youngest, "its youngest revision")
    proof.compare("uuid", identity, "its UUID")
    proof.keep_version("svnadmin", "--version", "--quiet")


def reads(item: Item) -> tuple[Sequence[str], Sequence[str]]:
    """Return the paths that svnadmin reads: all of a repository, but it can do without its cache."""
    return [f"{item.path}/{name}" for name in sorted(os.listdir(item.path))], [f"{item.path}/{name}" for name in CACHE]


KIND = Kind(
    check,
    copy,
    arrange,
    prove,
    tools=("svnadmin", "svnlook"),
    revision=lambda item, context: youngest(item.path, context),
    keep=keep,
    spoiled=spoiled,
    foresee=foresee,
    reads=reads,
    looks_like=looks_like,
    differs=True,
)
