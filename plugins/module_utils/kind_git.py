"""Kind `git`: every reference and all that is reachable from it, in a pack made afresh by git itself.

Git runs as the repository's owner on the live repository, and writes only to a pipe; what it says goes into a fresh
repository with no configuration of anybody's. So nothing is shared with the live objects, and no archived setting or
hook takes effect.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .archive import Part
from .digest import new_hash, open_plain
from .errors import AltbackupError, InvalidInput, SourceChanged, ToolFailed, naming
from .items import Item
from .kinds import (
    Arrangement,
    Context,
    Kind,
    Prepared,
    compare,
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
from .processes import Child, Deadline, clean_environment, find_tool, run
from .publish import remove_folder
from .readers import Identity, NeedsPlace
from .view import Place

_SHALLOW = "shallow"
_NEEDED = ("logs", _SHALLOW)
_INERT = ("config", "config.worktree", "description", "info", "hooks", "git-daemon-export-ok")
_REPLACED = ("objects", "refs", "packed-refs", "HEAD")
_PASSING = ("index", "FETCH_HEAD", "ORIG_HEAD", "MERGE_HEAD", "COMMIT_EDITMSG", "gc.log", "gc.pid", "branches")
_LFS = "lfs"
OBJECT = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
LISTING = ("for-each-ref", "--format=%(objectname)%00%(refname)%00%(symref)")
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "",  # older gits know no GIT_NO_LAZY_FETCH: they would run commands of the live configuration
    "GIT_DEFAULT_REF_FORMAT": "files",
}
_THROUGH_LINKS = (
    ".",
    "objects",
    "objects/info",
    "objects/pack",
    "objects/info/alternates",
    "refs",
    "HEAD",
    "packed-refs",
    "config",
    _SHALLOW,
)
"""What git reads wherever links lead"""
_COPIED_AS_DATA = ("hooks/", "info/", "logs/")
_LONGEST = 1 << 20
_MOST_ALTERNATES = 5
_ATTEMPTS = 30
_STALE_LOCK = 60.0
_CHECK_LIMIT = 60.0


def looks_like(path: str) -> bool:
    """Given a path, return whether a Git repository is there, or what is left of one; a `.git` that is a file is no repository."""
    return (
        os.path.isdir(os.path.join(path, ".git")) or members_of(path, ("HEAD", "objects", "refs", "packed-refs")) >= 2
    )


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless the item's path is a Git repository of a form that can be copied whole."""
    require_folder(item)
    require_inside(
        item, context, [os.path.normpath(f"{top}/{name}") for top in (".", ".git") for name in _THROUGH_LINKS]
    )
    folder = git_folder(item)
    require_plain(folder, lambda path: path.startswith(_COPIED_AS_DATA), context.deadline, f"item git {item.name!r}")
    _require_no_lost_references(item, context, folder)
    _require_alternates(os.path.join(folder, "objects"), context)
    for tool in ("git", "tar"):
        find_tool(tool)
    limit = Deadline(context.deadline.at_most(_CHECK_LIMIT), "look at the configuration")
    settings = Git(folder, limit, context.identity).settings()
    lazy = any(
        re.fullmatch(r"remote\..*\.promisor", key, re.DOTALL) and _is_true(value) for key, value in settings.items()
    )
    for found, what in (
        (
            lazy or "extensions.partialclone" in settings,
            "is a partial clone: what it never fetched cannot be copied; back up its origin",
        ),
        (
            settings.get("extensions.refstorage", "files") != "files",
            "keeps its references in a form other than files, which is not supported yet",
        ),
    ):
        if found:
            raise InvalidInput(f"item git {item.name!r}: {item.path} {what}")


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


def _is_true(value: str) -> bool:
    return value.lower() not in ("false", "no", "off", "0", "")


def git_folder(item: Item) -> str:
    """Given an item, return its repository's own folder: the path itself, or `.git` in it. Raise InvalidInput."""
    for folder in (item.path, os.path.join(item.path, ".git")):
        if (
            os.path.isdir(os.path.join(folder, "objects"))
            and os.path.isdir(os.path.join(folder, "refs"))
            and os.path.lexists(os.path.join(folder, "HEAD"))
        ):
            return folder
    raise InvalidInput(
        f"item git {item.name!r}: path {item.path} is not a Git repository: it has no HEAD, objects and refs"
    )


def _read(path: str) -> bytes:
    try:
        with open_plain(path) as stream:
            return stream.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read by uid {os.geteuid()}: {error.strerror}") from error


class Git:
    """Calls git on a repository as the owner of the live one."""

    def __init__(self, folder: str, deadline: Deadline, identity: Identity) -> None:
        self.folder = folder
        self.deadline = deadline
        self.identity = identity
        self._command: list[str | bytes] = [
            find_tool("git"),
            f"--git-dir={folder}",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "advice.graftFileDeprecated=false",
        ]
        self.environment = clean_environment(**ENVIRONMENT)

    def argv(self, *arguments: str) -> list[str | bytes]:
        """Return the argv of a git command."""
        return self.identity.argv([*self._command, *arguments])

    def run(self, *arguments: str, what: str = "", input: bytes = b"", said: list[str] | None = None) -> bytes:
        """Run a git command to its end and return its stdout; `said` receives the lines of its stderr. Raise ToolFailed."""
        what = what or f"git {arguments[0]} in {self.folder}"
        return run(
            self.argv(*arguments),
            what=what,
            deadline=self.deadline,
            input=input,
            environment=self.environment,
            said=said,
            name="git",
        )

    def settings(self) -> dict[str, str]:
        """Return the repository's own settings, of a repository that this git cannot use, too. Raise ToolFailed."""
        path = os.path.join(self.folder, "config")
        if not os.path.lexists(path):
            return {}
        listing = self.run("config", f"--file={path}", "--includes", "--list", "--null").decode("utf-8", "replace")
        pairs = (entry.partition("\n") for entry in listing.split("\0") if entry)
        return {key: value if separator else "true" for key, separator, value in pairs}


@dataclass(frozen=True)
class References:
    """What a repository points to at one moment."""

    head: bytes
    """Content of HEAD: `ref: refs/heads/main` or an object."""
    lines: tuple[tuple[bytes, bytes, bytes], ...]
    """(object, name, target if symbolic), sorted by name"""

    @property
    def digest(self) -> str:
        """One digest over all of it."""
        total = new_hash("sha256")
        total.update(self.head + b"\n" + b"".join(b" ".join(line) + b"\n" for line in self.lines))
        return str(total.hexdigest())

    def objects(self) -> set[bytes]:
        """Return the objects pointed to."""
        found = {line[0] for line in self.lines}
        return found | ({self.head} if OBJECT.fullmatch(self.head) else set())


def read_references(git: Git) -> References:
    """Given a repository, return HEAD and every reference that for-each-ref shows in it. Raise ToolFailed."""
    said: list[str] = []
    listing = git.run(*LISTING, said=said)
    broken = [line for line in said if "dangling symref" not in line]
    if broken:
        raise AltbackupError(f"{git.folder}: a reference cannot be read: {broken[0]}")
    return parse_references(listing, _read_head(git.folder))


def parse_references(listing: bytes, head: bytes) -> References:
    """Given what git says to LISTING and the content of HEAD, return both."""
    lines = tuple(sorted((tuple(line.split(b"\0")) for line in listing.splitlines()), key=lambda line: line[1]))
    return References(head, lines)  # type: ignore[arg-type]


def _read_head(folder: str) -> bytes:
    """Return the content of HEAD, in the form of today where it is a symbolic link, as it was of old."""
    path = os.path.join(folder, "HEAD")
    return b"ref: " + os.fsencode(os.readlink(path)) if os.path.islink(path) else _read(path).strip()


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Prepared]:
    """Given an item, yield a fresh bare repository with all references as of one moment, checked for connectivity."""
    folder = git_folder(item)
    scratch = scratch_folder(context, item)
    live = Git(folder, context.deadline, context.identity)
    small = os.path.join(scratch, "small.tmp")
    references, notes = _steady_state(live, small)
    fresh = _fresh_repository(live, scratch)
    packs = _packs(folder)
    try:
        named = _named_objects(small)
        existing = _existing(live, named)
        _transfer_objects(live, fresh, references.objects() | existing)
        place_references(references, scratch)
        _place(small, scratch, _NEEDED)
        if read_references(fresh) != references:
            raise AltbackupError(f"item git {item.name!r}: the copy's references are not those of {item.path}")
        options = ("--connectivity-only", "--no-dangling", "--no-reflogs", "--no-progress")
        fresh.run("fsck", *options, what=f"checking the copy of {folder}")
    except ToolFailed as error:
        if read_references(live) != references or _packs(folder) != packs:
            raise SourceChanged(f"{folder}: references or packs changed while they were read: {error}") from error
        _require_readable(os.path.join(folder, "objects"))
        raise
    if named - existing:
        notes.append(f"reflogs or grafts name {len(named - existing)} objects that the repository no longer has")
    _place(small, scratch, _INERT)  # from here on git no longer touches the copy
    remove_folder(small)
    mode = os.stat(folder).st_mode & 0o7777 | 0o700
    for parent, _, _ in os.walk(scratch):
        os.chmod(parent, mode)

    lfs_folder = os.path.join(folder, _LFS)
    lfs = walk(lfs_folder)[0] if os.path.isdir(lfs_folder) and not os.path.islink(lfs_folder) else {}

    def confirm() -> None:
        if lfs:
            compare(lfs, walk(lfs_folder)[0])

    below = [b"./" + _LFS.encode() + name[1:] for name in lfs]
    names = below or ([b"./" + _LFS.encode()] if os.path.islink(lfs_folder) else [])
    parts = [Part(scratch, list(walk(scratch)[0])), *([Part(folder, names)] if names else [])]
    record = {"references": references.digest, "count": len(references.lines)}
    notes += _left_out(folder, item)
    yield Prepared(parts, record, owner=owner_of(folder), fixed_times=True, notes=notes, confirm=confirm)


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


def _steady_state(live: Git, small: str) -> tuple[References, list[str]]:
    """Return the references of one moment and notes on them, and put copies of the small files of it into a folder.

    They are read twice alike, and no transaction stood half done in between: while one moves several references,
    those that it has not yet moved are locked.
    """
    for attempt in range(_ATTEMPTS):
        references = read_references(live)
        try:
            remove_folder(small)
            os.mkdir(small, 0o700)
            notes = _copy_small(live.folder, small)
            locked, stale = _locks(live.folder)
            if not locked and read_references(live) == references:
                notes += [
                    f"{printable(path)} is a lock that a killed git left: nobody can push there" for path in stale
                ]
                return references, notes + _dangling(live.folder, references)
        except (FileNotFoundError, SourceChanged):
            pass
        live.deadline.remaining()
        time.sleep(min(0.02 * 2**attempt, 1.0))
    raise SourceChanged(f"{live.folder}: its references changed each of {_ATTEMPTS} times they were read")


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
            if os.fsencode(name) not in known and is_plain_file(path) and _read(path).startswith(b"ref:"):
                notes.append(f"left out {printable(name)}: it leads to a reference that does not exist")
    return notes


def _copy_small(folder: str, small: str) -> list[str]:
    """Copy the small files, following no link; return notes on what is left out, or a link itself.

    Raise InvalidInput where one cannot be read, FileNotFoundError or SourceChanged where one vanishes.
    """
    notes = []
    for name in (*_NEEDED, *_INERT):
        root = os.path.join(folder, name)
        if not os.path.lexists(root):
            continue
        if name == _SHALLOW and os.path.islink(root):  # without what it says the copy would not be whole
            with open_plain(os.path.realpath(root)) as stream, open(os.path.join(small, name), "wb") as copied:
                copied.write(stream.read())
            continue
        if os.path.islink(root):
            os.symlink(os.readlink(root), os.path.join(small, name))
            notes.append(f"{printable(root)} is a symbolic link and is archived as one, without what it leads to")
            continue
        found, left_out = walk(root)
        notes += left_out
        for path, (mode, *_) in found.items():
            source, destination = (
                os.path.normpath(os.path.join(top, name, os.fsdecode(path))) for top in (folder, small)
            )
            if stat.S_ISDIR(mode):
                os.mkdir(destination, 0o700)
            elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
                shutil.copy2(source, destination, follow_symlinks=False)
            else:
                notes.append(f"left out {printable(source)}: neither file, folder nor link")
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


def _transfer_objects(live: Git, fresh: Git, wanted: set[bytes]) -> None:
    """Pack what is reachable from the wanted objects, one thread so that equal repositories give equal packs, and index it."""
    if not wanted:
        return
    pack = os.path.join(fresh.folder, "objects", "pack", "incoming.pack")
    source = os.path.join(fresh.folder, "wanted.tmp")
    with open(source, "wb") as stream:
        stream.write(b"".join(name + b"\n" for name in sorted(wanted)))
    try:
        with open(source, "rb") as names, Child(
            live.argv(
                "-c",
                "pack.writeBitmaps=false",
                "pack-objects",
                "--revs",
                "--stdout",
                "--threads=1",
                "--delta-base-offset",
                "-q",
            ),
            stdin=names,
            stdout=subprocess.PIPE,
            environment=live.environment,
            name="git",
        ) as packer:
            if packer.process.stdout is None:
                raise AssertionError("a pipe was asked for")
            with Child(
                fresh.argv("index-pack", "--stdin"),
                stdin=packer.process.stdout,
                environment=fresh.environment,
                name="git",
            ) as indexer:
                packer.process.stdout.close()
                try:
                    packer.check(live.deadline, f"packing {live.folder}")
                finally:
                    rc = indexer.wait(live.deadline)
                if rc:
                    indexer.check(live.deadline, f"indexing the pack of {live.folder}")
    finally:
        for path in (pack, source):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _named_objects(small: str) -> set[bytes]:
    """Return the objects that copied reflogs and grafts name: without them the copy's would lead nowhere."""
    found: set[bytes] = set()
    info, logs = os.path.join(small, "info"), os.path.join(small, "logs")
    grafts = b"" if os.path.islink(info) else _read(os.path.join(info, "grafts"))
    found.update(word for line in grafts.splitlines() for word in line.split() if not line.startswith(b"#"))
    for parent, _, files in () if os.path.islink(logs) else os.walk(logs):
        for name in files:
            if not is_plain_file(os.path.join(parent, name)):
                continue
            with open_plain(os.path.join(parent, name)) as stream:
                found.update(word for line in stream for word in line.split(b" ", 2)[:2])
    return {word for word in found if OBJECT.fullmatch(word) and word.strip(b"0")}


def _existing(live: Git, objects: set[bytes]) -> set[bytes]:
    """Return those of the objects that the repository still has: old entries of a reflog may name pruned ones."""
    if not objects:
        return set()
    names = b"".join(name + b"\n" for name in sorted(objects))
    listing = live.run("cat-file", "--batch-check=%(objectname)", input=names)
    return {line for line in listing.splitlines() if OBJECT.fullmatch(line)}


def _place(small: str, scratch: str, names: Sequence[str]) -> None:
    """Move copied small files into the fresh repository, as data."""
    for name in names:
        source, destination = os.path.join(small, name), os.path.join(scratch, name)
        if os.path.lexists(source):
            remove_folder(destination)
            os.rename(source, destination)


def place_references(references: References, scratch: str) -> None:
    """Write HEAD and references into a fresh repository."""
    packed = os.path.join(scratch, "packed-refs")
    with naming(packed), open(packed, "wb") as stream:
        stream.write(b"# pack-refs with: sorted \n")
        stream.write(b"".join(b"%s %s\n" % line[:2] for line in references.lines if not line[2]))
    for _, name, target in references.lines:
        if target:
            path = os.path.join(os.fsencode(scratch), name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.write(b"ref: " + target + b"\n")
    with open(os.path.join(scratch, "HEAD"), "wb") as stream:
        stream.write(references.head + b"\n")


def _left_out(folder: str, item: Item) -> list[str]:
    """Return notes on what stands in the repository's folder and is not archived."""
    known = (*_NEEDED, *_INERT, *_REPLACED, *_PASSING, _LFS)
    names = [name for name in sorted(os.listdir(folder)) if name not in known and not name.endswith(".lock")]
    notes = [f"left out {printable(name)}" for name in names]
    notes += [
        f"left out what the link {name} leads to: add it as an item of kind folder"
        for name in (_LFS, f"{_LFS}/objects")
        if os.path.islink(os.path.join(folder, name))
    ]
    if folder != item.path:
        notes.append("left out the working tree: add it as an item of kind folder if it holds what is not committed")
    return notes


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the repository sees: it, be it in a working tree."""
    with opened(item.path) as descriptor:
        owner = os.fstat(descriptor).st_uid
        with contextlib.suppress(OSError):
            inner = os.open(".git", os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=descriptor)
            owner = os.fstat(inner).st_uid
            os.close(inner)
    return Arrangement(owner, [Place(item.path)], scratch=[scratch_folder(context, item)])


KIND = Kind(check, copy, arrange, looks_like=looks_like)
