"""Proofs: an unpacked item is what its dump recorded, and the engine whose data it is finds no fault with it.

What is proved may be hostile. Programs read it in a sandbox; nothing archived is loaded as configuration or run as a hook.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..archive.write import manifest_line
from ..system.digest import CHUNK, add_zeros, digest_file, limited, new_hash, open_plain
from ..system.errors import InvalidInput, ProofFailed, ToolFailed
from ..system.holes import parts_of
from ..system.paths import is_within
from ..system.processes import Deadline, find_tool, run
from ..system.sandbox import Sandbox, give, inside
from ..system.twins import duplicate, set_mode
from ..system.units import counted, first_of
from ..system.visible import printable
from ..tree.publish import remove_folder
from . import sqlite_survey
from .base import parts_of_path, walk
from .git_layout import find_repositories, heads_of_worktrees
from .git_objects import is_partial
from .git_tool import ENVIRONMENT, LISTING, OBJECT, PROMISED, References, parse_references, place_references
from .trac import attachment_paths

_SHOWN = 5
_TRAC_DATABASE = "db/trac.db"
_DOT_GIT = ".git"
_GIT_DIED = 128
_PACK = re.compile(r"pack-[0-9a-f]{40,64}\.(?:pack|idx|promisor)")
_LOOSE_FOLDER = re.compile(r"[0-9a-f]{2}")
_LOOSE = re.compile(r"[0-9a-f]{38,62}")
_LFS_OBJECT = re.compile(r"[0-9a-f]{64}")
_LINK_LIMIT = 10


def prove(
    kind: str,
    path: str,
    record: Mapping[str, Any],
    scratch: str,
    deadline: Deadline,
    sandbox: Sandbox,
    absent: Mapping[str, tuple[bytes, str]] | None = None,
) -> dict[str, Any]:
    """Given an unpacked item of a kind, what its dump recorded of it and a private scratch folder, prove that it restores.

    Of a folder, `absent` are the members that were left out: {name in the archive: (type, what a hard link leads to)}.

    Return `facts` (what was found), `versions` (of the programs that looked) and `notes` (what could not be compared).
    The item is not changed; what the sandbox's user cannot read, or is not in the scratch folder, is copied there first.
    Raise ProofFailed, naming what differs; ToolFailed, DeadlineExceeded, InvalidInput or OSError where nothing was proved.
    """
    if kind not in _PROOFS:
        raise InvalidInput(f"kind {kind!r}: there is no proof of it, but of {', '.join(_PROOFS)}")
    work = _Work(path, record, scratch, deadline, sandbox, absent or {})
    work.require_folder("")
    if not record:
        work.notes.append("its dump left no record: what it holds was compared with nothing")
    _PROOFS[kind](work)
    return {"facts": work.facts, "versions": work.versions, "notes": work.notes}


@dataclass
class _Work:
    """One proof, and what it found."""

    path: str
    record: Mapping[str, Any]
    scratch: str
    deadline: Deadline
    sandbox: Sandbox
    absent: Mapping[str, tuple[bytes, str]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """What messages call the item."""
        return printable(os.path.basename(self.path))

    def fail(self, reason: str) -> ProofFailed:
        """Return the failure of this proof."""
        return ProofFailed(f"{self.title}: {reason}")

    def compare(self, name: str, found: Any, what: str = "") -> None:
        """Keep a fact and compare it with the record. Raise ProofFailed where they differ."""
        self.facts[name] = found
        if name in self.record:
            if self.record[name] != found:
                raise self.fail(f"{what or name} is {found}, but its dump recorded {self.record[name]}")
        elif self.record:
            self.notes.append(f"its dump recorded no {what or name}")

    def look(self, tool: str, *arguments: str, **options: Any) -> bytes:
        """Run a program on it in the sandbox. Raise ProofFailed where it finds a fault."""
        argv = [find_tool(tool), *arguments]
        try:
            return self.sandbox.run(argv, self.scratch, what=self.title, deadline=self.deadline, **options)
        except ToolFailed as error:
            if error.rc is not None and 0 < error.rc < 125:
                raise ProofFailed(str(error)) from error
            raise

    def inside(self, path: str) -> str:
        """Return a path as the sandbox sees it."""
        return inside(self.scratch, path)

    @contextlib.contextmanager
    def opened(self, path: str = "") -> Iterator[str]:
        """Let the sandbox's user have the scratch folder, and yield where it can read a file or folder there."""
        uid, gid = self.sandbox.identity()
        set_mode(self.scratch, 0o700)
        if os.geteuid() == 0:
            os.chown(self.scratch, uid, gid)
        source = path or self.path
        if os.lstat(source).st_uid == uid and is_within(source, self.scratch):
            yield source
            return
        copied = os.path.join(self.scratch, "copy")
        remove_folder(copied)
        os.mkdir(copied, 0o700)
        try:
            destination = os.path.join(copied, os.path.basename(source))
            argv = [find_tool("cp"), "-R", "-P", "--reflink=auto", "--no-preserve=mode", "--", source, destination]
            run(argv, what=f"copying {printable(source)} for its proof", deadline=self.deadline)
            give(copied, (uid, gid))
            yield destination
        finally:
            remove_folder(copied)

    def plain(self, relative: str) -> str:
        """Return the path of a file of the item. Raise ProofFailed if none is there, or only one behind a link."""
        path = self._unlinked(relative)
        if not os.path.isfile(path):
            raise self.fail(f"{printable(relative)} is missing, or no file")
        return path

    def require_folder(self, relative: str) -> str:
        """Return the path of a folder of the item. Raise ProofFailed if none is there, or only one behind a link."""
        path = self._unlinked(relative)
        if not os.path.isdir(path):
            raise self.fail(f"{printable(relative) or 'the item itself'} is missing, or no folder")
        return path

    def _unlinked(self, relative: str) -> str:
        path = self.path
        for part in ["", *relative.split("/")] if relative else [""]:
            path = os.path.join(path, part) if part else path
            if part in (".", "..") or os.path.islink(path):
                raise self.fail(f"{printable(relative) or 'the item itself'} is, or lies behind, a symbolic link")
        return path


def _prove_svn(work: _Work) -> None:
    """Whole verification; UUID and youngest revision as recorded, and as the name of the top folder has it."""
    work.plain("db/current")
    for name, (mode, *_) in walk(work.require_folder("db"))[0].items():
        if stat.S_ISLNK(mode):  # it would prove what it leads to
            raise work.fail(
                f"db/{printable(os.fsdecode(name[2:]))} is a symbolic link, of which no copy of a repository has one"
            )
    with work.opened() as repository:
        seen = work.inside(repository)
        masked = [os.path.relpath(os.path.join(repository, "db", "fsfs.conf"), work.scratch)]
        work.look("svnadmin", "verify", "--quiet", seen, masked=masked)
        youngest = int(work.look("svnlook", "youngest", seen, masked=masked))
        identity = work.look("svnlook", "uuid", seen, masked=masked).decode("utf-8", "backslashreplace").strip()
    named = re.search(r"-(\d+)\Z", work.title, re.ASCII)
    if named and "revision" not in work.record and int(named[1]) != youngest:
        raise work.fail(f"its youngest revision is {youngest}, but its name says {named[1]}")
    work.compare("revision", youngest, "its youngest revision")
    work.compare("uuid", identity, "its UUID")
    work.versions["svnadmin"] = version_of("svnadmin", work.deadline, "--version", "--quiet")


def version_of(tool: str, deadline: Deadline, *arguments: str) -> str:
    """Given a program that is installed, return its version. Raise ToolFailed."""
    argv = [find_tool(tool), *(arguments or ("--version",))]
    said = run(argv, what=f"asking {tool} for its version", deadline=deadline).decode("utf-8", "replace")
    found = re.search(r"\d+(?:\.\d+)+", said)
    return found.group() if found else said.strip()


def _prove_sqlite(work: _Work) -> None:
    """Integrity, and the rows of each table as recorded."""
    names = [entry.name for entry in os.scandir(work.path) if entry.is_file(follow_symlinks=False)]
    recorded = os.path.basename(str(work.record.get("path", "")))
    if not recorded and len(names) != 1:
        raise work.fail(f"it should hold one database, but holds {len(names)} files")
    _survey(work, recorded or names[0])


def _survey(work: _Work, relative: str) -> dict[str, Any]:
    """Let a database be surveyed in the sandbox, compare its rows with the record, and return what was found."""
    path = work.plain(relative)
    for suffix in ("-wal", "-journal"):  # whoever opens the database next would take up what it says
        if os.path.lexists(path + suffix):
            reason = f"{printable(relative)}{suffix} stands beside its database, and may change it when that is opened"
            if work.record:
                raise work.fail(f"{reason}; its dump takes none")
            work.notes.append(reason)
    with work.opened(path) as database:
        text = work.sandbox.run(
            [work.inside(database)],
            work.scratch,
            what=f"{work.title}: surveying {printable(relative)}",
            deadline=work.deadline,
            program=sqlite_survey,
        )
    found: dict[str, Any] = json.loads(text)
    work.versions["sqlite"] = str(found["version"])
    if found["problems"]:
        raise work.fail(f"its database {printable(relative)} is damaged: {'; '.join(map(str, found['problems']))}")
    rows = found["rows"]
    work.notes += sqlite_survey.notes_on(printable(relative), found["unchecked"], rows)
    work.facts.update(tables=len(rows), rows=sum(count or 0 for count in rows.values()))
    recorded = work.record.get("rows")
    if isinstance(recorded, Mapping):
        differing = sorted(table for table in {*rows, *recorded} if _differ(table, rows, recorded))
        if differing:
            raise work.fail(
                f"its tables differ from its dump's: {first_of([_rows(table, rows, recorded) for table in differing], _SHOWN)}"
            )
    elif work.record:
        work.notes.append("its dump recorded no rows of tables")
    return found


def _differ(table: str, rows: Mapping[str, int | None], recorded: Mapping[str, int | None]) -> bool:
    """Return whether a table is not the one that was dumped; where one side could not count its rows, the other is believed."""
    if table not in rows or table not in recorded:
        return True
    return None not in (rows[table], recorded[table]) and rows[table] != recorded[table]


def _rows(table: str, rows: Mapping[str, int | None], recorded: Mapping[str, int | None]) -> str:
    found, expected = (f"{side[table]} rows" if table in side else "no such table" for side in (rows, recorded))
    return f"{table} ({found}, expected {expected})"


def _prove_trac(work: _Work) -> None:
    """The database as for sqlite; the files of all attachments that its dump saw."""
    work.plain("VERSION")
    found = _survey(work, str(work.record.get("database", _TRAC_DATABASE)))
    absent = []
    for realm, parent, filename, _ in found["attachments"]:
        paths = attachment_paths(str(realm), str(parent), str(filename))
        if not any(os.path.isfile(os.path.join(work.path, path)) for path in paths):
            absent.append(f"{realm}/{parent}/{filename}")
    work.compare("attachments", len(found["attachments"]), "its number of attachments")
    expected = work.record.get("absent", 0)
    if len(absent) > int(expected):
        raise work.fail(
            f"files of {len(absent)} attachments are missing, {expected} were at its dump: {first_of(absent, _SHOWN)}"
        )
    if absent:
        work.notes.append(f"the files of {len(absent)} attachments are missing, as they were at its dump")


def _prove_git(work: _Work) -> None:
    """Objects and references of it, and of the submodules in it, are whole in fresh repositories; the references are those recorded."""
    top = "" if os.path.lexists(os.path.join(work.path, "HEAD")) else _DOT_GIT
    top = top if os.path.lexists(os.path.join(work.path, top)) else ""
    work.plain(os.path.join(top, "HEAD"))
    try:
        paths = find_repositories(work.require_folder(top), work.deadline)
    except InvalidInput as error:
        raise work.fail(str(error)) from error
    recorded = work.record.get("modules")
    modules = dict(recorded) if isinstance(recorded, Mapping) else {}
    work.facts["large"] = 0
    for path in filter(None, paths):
        name = printable(path)
        known = modules.pop(name, None)
        if work.record and not isinstance(known, Mapping):
            raise work.fail(f"it holds the repository {name} of a submodule, of which its dump recorded nothing")
        found, missing = _prove_repository(work, os.path.join(top, path))
        _compare_repository(work, f"{name}: ", known or {}, found, missing)
        if known and known.get("references") != found.digest:
            raise work.fail(f"{name}: its references are not those that its dump recorded")
        work.facts["modules"] = work.facts.get("modules", 0) + 1
    if modules:
        raise work.fail(f"repositories of submodules are missing: {first_of(sorted(modules), _SHOWN)}")
    found, missing = _prove_repository(work, top)
    _compare_repository(work, "", work.record, found, missing)
    work.compare("references", found.digest, "the digest of its references")
    work.facts["count"] = len(found.lines)
    work.versions["git"] = version_of("git", work.deadline)


def _compare_repository(work: _Work, title: str, known: Mapping[str, Any], found: References, missing: int) -> None:
    """Raise ProofFailed where a repository has other numbers of things than its dump recorded."""
    expected = known.get("count", len(found.lines))
    if expected != len(found.lines):
        raise work.fail(f"{title}it has {counted(len(found.lines), 'reference')}, but its dump recorded {expected}")
    expected = known.get("missing", 0) if known else missing
    if expected != missing:
        raise work.fail(f"{title}it lacks {counted(missing, 'object')}, but its dump recorded {expected}")
    if missing:
        work.notes.append(f"{title}it is a partial clone, and lacks {counted(missing, 'object')}")


def _prove_repository(work: _Work, within: str) -> tuple[References, int]:
    """Prove the repository at a path in an item; return its references and the number of objects of a partial clone that are missing."""
    work.plain(os.path.join(within, "HEAD"))
    folder = os.path.join(work.path, within) if within else work.path
    references = _archived_references(folder, work.require_folder(os.path.join(within, "refs")))
    with work.opened(work.require_folder(os.path.join(within, "objects"))) as objects:
        fresh = os.path.join(work.scratch, "fresh.git")
        remove_folder(fresh)
        try:
            _make_fresh(work, folder, fresh, references, objects)
            heads = set(heads_of_worktrees(folder).values())
            missing = _count_missing(work, fresh, references.objects() | heads)
            _fsck(work, fresh, heads, partial=bool(missing))
            listing = work.look("git", *_git(work, fresh), *LISTING, environment=ENVIRONMENT)
        finally:
            remove_folder(fresh)
    found = parse_references(listing, references.head)
    if found.digest != references.digest:
        raise work.fail(
            f"git does not show the references that are archived{f' in {printable(within)}' if within else ''}"
        )
    work.facts["large"] += _check_large_files(work, within)
    return found, missing


def _count_missing(work: _Work, fresh: str, wanted: set[bytes]) -> int:
    """Return how many objects are missing where a pack says that its origin has more; elsewhere git's own check finds them.

    Raise ProofFailed if there is worse.
    """
    if not is_partial(os.path.join(fresh, "objects")):
        return 0
    names = b"".join(name + b"\n" for name in sorted(wanted))
    command = (*_git(work, fresh), "rev-list", "--objects", "--stdin", "--missing=print")
    try:
        said = work.look("git", *command, environment=ENVIRONMENT, input=names)
    except ToolFailed as error:
        if error.rc == _GIT_DIED:
            raise ProofFailed(str(error)) from error
        raise
    return sum(line.startswith(b"?") for line in said.splitlines())


def _git(work: _Work, fresh: str) -> list[str]:
    limits = (
        "core.packedGitLimit=512m",
        "core.packedGitWindowSize=32m",
        "core.hooksPath=/dev/null",
        "core.fsmonitor=false",
        "advice.graftFileDeprecated=false",
    )
    return [f"--git-dir={work.inside(fresh)}", *(word for limit in limits for word in ("-c", limit))]


def _make_fresh(work: _Work, folder: str, fresh: str, references: References, objects: str) -> None:
    """Make a repository without anybody's configuration, and put objects and references into it."""
    wide = any(len(name) == 64 for name in references.objects())
    form = ["--object-format=sha256"] if wide else []
    work.look("git", "init", "--bare", "--quiet", "--template=", *form, work.inside(fresh), environment=ENVIRONMENT)
    names = [name for name in os.listdir(objects) if _LOOSE_FOLDER.fullmatch(name)]
    for part, pattern in [("pack", _PACK), *((name, _LOOSE) for name in names)]:
        source, destination = os.path.join(objects, part), os.path.join(fresh, "objects", part)
        if os.path.isdir(source) and not os.path.islink(source):
            os.makedirs(destination, exist_ok=True)
            for name in filter(pattern.fullmatch, os.listdir(source)):
                if stat.S_ISREG(os.lstat(os.path.join(source, name)).st_mode):
                    duplicate(os.path.join(source, name), os.path.join(destination, name))
    shallow = os.path.join(folder, "shallow")
    if os.path.lexists(shallow):
        with open_plain(shallow) as stream, open(os.path.join(fresh, "shallow"), "wb") as copy:
            copy.writelines(line + b"\n" for line in stream.read().split() if OBJECT.fullmatch(line))
    place_references(references, fresh)
    give(fresh, work.sandbox.identity())


def _fsck(work: _Work, fresh: str, heads: set[bytes], *, partial: bool) -> None:
    """Let git check all objects, of a `partial` clone those that are there, and what heads of worktrees lead to.

    Raise ProofFailed unless they are whole; a note tells of old ones of odd form.
    """
    options = ("--no-dangling", "--no-reflogs", "--no-progress")
    command = [*_git(work, fresh), *(PROMISED if partial else ())]
    if heads:
        names = sorted(name.decode() for name in heads)
        work.look("git", *command, "fsck", "--connectivity-only", *options, *names, environment=ENVIRONMENT)
    try:
        work.look("git", *command, "fsck", "--full", *options, environment=ENVIRONMENT)
    except ProofFailed as error:
        cause = error.__cause__
        packs = os.path.join(fresh, "objects", "pack")
        loose = any(map(_LOOSE_FOLDER.fullmatch, os.listdir(os.path.dirname(packs))))
        indexes = [os.path.join(work.inside(packs), name) for name in os.listdir(packs) if name.endswith(".idx")]
        if not isinstance(cause, ToolFailed) or loose or not indexes:
            raise
        work.look("git", *command, "verify-pack", *indexes, environment=ENVIRONMENT)
        work.look("git", *command, "fsck", "--connectivity-only", *options, environment=ENVIRONMENT)
        first = next(iter(cause.stderr.splitlines()), "")
        work.notes.append(
            f"its objects are whole, but git finds fault with the form of some, as it does in the live repository: {first}"
        )


def _archived_references(folder: str, loose: str) -> References:
    """Given an archived repository, return its HEAD and references, read as text. Raise ProofFailed for what is none."""
    found: dict[bytes, bytes] = {}
    packed = os.path.join(folder, "packed-refs")
    if os.path.lexists(packed):
        with open_plain(packed) as stream:
            for line in stream:
                if not line.startswith((b"#", b"^")):
                    value, _, name = line.rstrip(b"\n").partition(b" ")
                    found[name] = value
    for parent, _, files in os.walk(os.fsencode(loose)):
        for name in files:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, os.fsencode(folder))] = _small(os.fsdecode(path))
    for name, value in found.items():
        parts = name.split(b"/")
        odd = parts[0] != b"refs" or any(part in (b"", b".", b"..") for part in parts)
        if odd or not (OBJECT.fullmatch(value) or value.startswith(b"ref: refs/")):
            raise ProofFailed(f"{printable(folder)}: {printable(os.fsdecode(name))} is no reference")
    lines = []
    for name, value in sorted(found.items()):
        target = value[5:] if value.startswith(b"ref: ") else b""
        lines.append((_resolved(found, value), name, target))
    return References(_small(os.path.join(folder, "HEAD")), tuple(lines))


def _small(path: str) -> bytes:
    with open_plain(path) as stream:
        return stream.read(4096).strip()


def _resolved(found: Mapping[bytes, bytes], value: bytes) -> bytes:
    for _ in range(_LINK_LIMIT):
        if not value.startswith(b"ref: "):
            break
        value = found.get(value[5:], b"")
    return value


def _check_large_files(work: _Work, within: str) -> int:
    """Return the number of LFS objects; their names are the digests of what they hold. Raise ProofFailed for another one."""
    count = 0
    relative = os.path.join(within, "lfs", "objects")
    large = os.path.join(work.path, relative)
    if os.path.islink(os.path.dirname(large)) or os.path.islink(large):
        work.notes.append("its LFS objects lie behind a symbolic link, and are not in this copy")
        return 0
    for parent, _, files in os.walk(work.require_folder(relative)) if os.path.lexists(large) else ():
        for name in filter(_LFS_OBJECT.fullmatch, files):
            path = os.path.join(parent, name)
            if digest_file(path, "sha256")[0] != name:
                raise work.fail(f"the LFS object {name} holds other bytes than its name says")
            work.deadline.remaining()
            count += 1
    return count


def _prove_folder(work: _Work) -> None:
    """Paths, sizes and digests as in the manifest of its dump, which may have told that it is not whole."""
    said = work.record.get("incomplete")
    work.notes += [f"its dump told: {reason}" for reason in said] if isinstance(said, list) else []
    manifest = tree_manifest(work.path, work.deadline, absent=work.absent)
    if ".diff.tar" in str(work.record.get("relpath", "")):
        work.notes.append("its dump was a differential, whose manifest is not that of the tree")
        work.facts.update(manifest)
        return
    work.compare("entries", manifest["entries"], "its number of entries")
    work.compare("bytes", manifest["bytes"], "its size in bytes")
    digest = manifest["manifest"]
    if work.record.get("manifest", digest) != digest:
        older = tree_manifest(work.path, work.deadline, by_whole_paths=True, absent=work.absent)["manifest"]
        digest = older if older == work.record["manifest"] else digest
    work.compare("manifest", digest, "the digest over its paths and contents")


def tree_manifest(
    path: str,
    deadline: Deadline,
    *,
    by_whole_paths: bool = False,
    absent: Mapping[str, tuple[bytes, str]] | None = None,
) -> dict[str, Any]:
    """Given an unpacked folder, return `entries`, `bytes` and `manifest` as its archive's manifest has them.

    Of what was left `absent`, {name in the archive: (type, what a hard link leads to)}, it has what the archive says.
    With `by_whole_paths` in the order of older archives, in which siblings may stand between a folder and its content.
    """
    total = new_hash("sha256")
    size = 0
    seen: dict[int, bytes] = {}
    top = os.fsencode(os.path.basename(path))
    members = walk(path)[0]
    lines = _lines_of(absent or {}, top)
    names = sorted({*members, *lines}, key=None if by_whole_paths else parts_of_path)
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY)  # a path from there may be longer than it could be from the root
    try:
        for name in names:
            if name not in members:
                total.update(lines[name])
                continue
            mode, inode = members[name][0], members[name][-1]
            below = name[2:]
            digest, target, kind = "", b"", _TYPES.get(stat.S_IFMT(mode), b"?")
            if inode in seen and not stat.S_ISDIR(mode):
                kind, target = b"1", top + b"/" + seen[inode]
            elif stat.S_ISLNK(mode):
                target = os.readlink(name, dir_fd=folder)
            elif stat.S_ISREG(mode):
                digest, count = _digest(name, folder, deadline)
                size += count
            seen.setdefault(inode, below)
            total.update(manifest_line(kind, below, digest, target))
    finally:
        os.close(folder)
    return {"entries": len(names), "bytes": size, "manifest": total.hexdigest()}


def _lines_of(absent: Mapping[str, tuple[bytes, str]], top: bytes) -> dict[bytes, bytes]:
    """Return {path as walk has it: line of the manifest} of members of an archive."""
    lines = {}
    for name, (kind, link) in absent.items():
        below = os.fsencode(name)[len(top) + 1 :]
        lines[b"./" + below] = manifest_line(kind, below, "", os.fsencode(link))
    return lines


_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}


def _digest(path: bytes, folder: int, deadline: Deadline) -> tuple[str, int]:
    digest, seen = new_hash("sha256"), 0
    with open_plain(os.fsdecode(path), folder) as stream, limited(deadline):
        size = os.fstat(stream.fileno()).st_size
        for start, length in parts_of(stream.fileno(), size):
            add_zeros(digest, start - seen)
            stream.seek(start)
            seen = start
            while block := stream.read(min(CHUNK, start + length - seen)):
                deadline.remaining()
                digest.update(block)
                seen += len(block)
        add_zeros(digest, size - seen)
    return str(digest.hexdigest()), size


_PROOFS: dict[str, Callable[[_Work], None]] = {
    "svn": _prove_svn,
    "trac": _prove_trac,
    "git": _prove_git,
    "folder": _prove_folder,
    "sqlite": _prove_sqlite,
}
