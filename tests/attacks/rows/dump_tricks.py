"""Other contents of an item that make its readers act: settings, journals, names, sizes, markers."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sqlite3
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attacks.ground import Ground, acting_as, as_attacker, escape_of, give
from attacks.registry import SCENES, Register, Scene
from attacks.rows.common import add_item, drill_agrees, good_went_on, link, link_judge, one_source, refused, write
from attacks.rows.dump_links import play, rest


def odd(name: str) -> str:
    """Return a name that terminals, templates and shells may interpret, and that contains the attempt's."""
    return f"a{escape_of(name)}b\n\x1b[2J%s{{{{ 1 }}}}'\"c"


def lay_commands(ground: Ground, name: str) -> None:
    """Let a repository's settings name commands wherever git accepts one."""
    path = ground.thing(name, "git")
    mark = ground.home(name) / "ran"
    command = write(path.parent / "command", f"#!/bin/sh\nid -u >>{mark}\ncat\n")
    command.chmod(0o755)
    keys = (
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "core.editor",
        "core.askPass",
        "core.gitProxy",
        "core.alternateRefsCommand",
        "credential.helper",
        "diff.external",
        "gpg.program",
        "pager.for-each-ref",
        "pager.config",
        "pager.cat-file",
        "uploadpack.packObjectsHook",
        "filter.x.clean",
        "filter.x.smudge",
        "filter.x.process",
        "trailer.x.command",
        "remote.origin.uploadpack",
        "remote.origin.vcs",
        "merge.x.driver",
        "interactive.diffFilter",
        "sequence.editor",
    )
    for key in keys:
        as_attacker("git", "config", f"--file={path}/config", key, command)
    for key in ("for-each-ref", "rev-list", "pack-objects", "cat-file", "config", "fsck"):
        as_attacker("git", "config", f"--file={path}/config", f"alias.{key}", f"!{command}")
    as_attacker("git", "config", f"--file={path}/config", "core.hooksPath", path.parent)
    for hook in ("reference-transaction", "post-index-change", "pre-auto-gc"):
        shutil.copy(command, path / "hooks" / hook)
    write(path / "info" / "attributes", "* filter=x diff=x\n")
    add_item(ground, "git", name, path)


def judge_commands(kind: str, ground: Ground, name: str) -> Iterator[str]:
    """Nothing ran."""
    if (ground.site.live / name / "ran").exists():
        yield f"a command of the repository's ran, as uid {(ground.site.live / name / 'ran').read_text().split()}"
    if not ground.stored(kind, name) and not ground.about(name):
        yield "it was neither stored nor told of"


def lay_hooks(ground: Ground, name: str) -> None:
    """Let every hook of a Subversion repository leave a trace."""
    path = ground.thing(name, "svn")
    for hook in ("start-commit", "pre-commit", "post-commit", "pre-lock", "post-lock", "pre-revprop-change"):
        write(path / "hooks" / hook, f"#!/bin/sh\nid -u >>{ground.home(name)}/ran\n").chmod(0o755)
    give(path)
    add_item(ground, "svn", name, path)


def lay_git_text(place: str, text: str, ground: Ground, name: str) -> None:
    """Let a file of a repository name one of root's; `@` is a canary, `@@` a repository of root's."""
    path = ground.thing(name, "git")
    if "@@" in text:
        whole = ground.witness.folder_of(name) / "whole"
        shutil.copytree(ground.templates / "git", whole)
        text = text.replace("@@", str(whole))
    elif "@" in text:
        text = text.replace("@", str(ground.witness.file(name)))
    with (path / place).open("a") as stream:
        stream.write(text)
    give(path)
    add_item(ground, "git", name, path)


def lay_gitdir(ground: Ground, name: str) -> None:
    """Let `.git` be a file that names a repository of root's."""
    whole = ground.witness.folder_of(name) / "whole"
    shutil.copytree(ground.templates / "git", whole)
    write(ground.home(name) / "work" / ".git", f"gitdir: {whole}\n")
    give(ground.home(name))
    add_item(ground, "git", name, ground.home(name) / "work")


def lay_stolen(ground: Ground, name: str) -> None:
    """Make objects, refs and packed-refs links into a repository of root's: all of it would be packed."""
    path = ground.thing(name, "git")
    whole = ground.witness.folder_of(name) / "whole"
    shutil.copytree(ground.templates / "git", whole)
    for place in ("objects", "refs", "packed-refs"):
        link(ground, path / place, whole / place)
    add_item(ground, "git", name, path)


def lay_alternates(ground: Ground, name: str) -> None:
    """Use the objects of root's repository by alternates, and remove the own ones."""
    path = ground.thing(name, "git")
    whole = ground.witness.folder_of(name) / "whole"
    shutil.copytree(ground.templates / "git", whole)
    shutil.rmtree(path / "objects")
    write(path / "objects" / "info" / "alternates", f"{whole}/objects\n")
    give(path)
    add_item(ground, "git", name, path)


def lay_lfs(ground: Ground, name: str) -> None:
    """Let lfs be a link to a folder of the user's own, with files below it."""
    path = ground.thing(name, "git")
    write(ground.home(name) / "elsewhere" / "objects" / "aa" / "bb" / "large", "an object\n")
    give(ground.home(name))
    link(ground, path / "lfs", ground.home(name) / "elsewhere")
    add_item(ground, "git", name, path)


def judge_lfs(ground: Ground, name: str) -> Iterator[str]:
    """It is stored in a form that a drill accepts, or refused."""
    yield from drill_agrees(ground, name, "git")
    if not ground.said(name, "lfs", "dump"):
        yield "nobody was told of lfs"


def lay_odd_names(kind: str, ground: Ground, name: str) -> None:
    """Give files that are left out, and so reported, names that terminals interpret."""
    path = ground.thing(name, kind)
    folder = path if kind != "svn" else path / "conf"
    with acting_as():
        before = os.getcwd()
        os.chdir(folder)
        try:
            with socket.socket(socket.AF_UNIX) as made:
                made.bind(odd(name))
            (folder / f"{odd(name)}2").write_text("x")
            if kind == "git":
                os.mkfifo(folder / "hooks" / f"{odd(name)}3")
                (folder / "refs" / "heads" / f"{odd(name)}.lock").write_text("")
                os.utime(folder / "refs" / "heads" / f"{odd(name)}.lock", (0, 0))
        finally:
            os.chdir(before)
    add_item(ground, kind, name, path)


def no_escapes(ground: Ground, name: str) -> Iterator[str]:
    """No message about it contains what a terminal interprets."""
    for playbook, run, _ in ground.runs:
        if escape_of(name) in run.stdout:
            yield f"{playbook}.yml: the terminal was sent an escape sequence of the attacker's"
    if not ground.about(name):
        yield "it was not told of"


def lay_attachment_names(ground: Ground, name: str) -> None:
    """Give missing attachments, which are reported, names that terminals interpret."""
    path = ground.thing(name, "trac")
    with contextlib.closing(sqlite3.connect(path / "db" / "trac.db")) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(attachment)")]
        values = {"type": "wiki", "id": odd(name), "filename": odd(name), "size": 1, "time": 1}
        row = [values.get(column, "x") for column in columns]
        database.execute(f"INSERT INTO attachment VALUES ({', '.join('?' * len(row))})", row)
        database.commit()
    give(path)
    add_item(ground, "trac", name, path)


def hot_journal(path: Path, victim: Path, pages: int) -> bytes:
    """Return a hot journal of a database that names another file as its super-journal."""
    named = os.fsencode(victim)
    page = struct.unpack(">H", path.read_bytes()[16:18])[0]
    magic = bytes.fromhex("d9d505f920a163d7")
    head = (magic + struct.pack(">IIIII", 0, 0x1234, pages, 512, page)).ljust(512, b"\0")
    check = sum(byte if byte < 128 else byte - 256 for byte in named) & 0xFFFFFFFF
    tail = struct.pack(">I", 0x40000000 // page + 1) + named + struct.pack(">II", len(named), check) + magic
    return head + tail


def lay_super_journal(kind: str, wal: bool, ground: Ground, name: str) -> None:
    """Lay a hot journal that names root's file as its super-journal: opening the database for writing would remove that."""
    path = ground.thing(name, kind)
    database = path / "db" / "trac.db" if kind == "trac" else path
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    data = bytearray(database.read_bytes())
    page = struct.unpack(">H", data[16:18])[0]
    data[18] = data[19] = 2 if wal else 1
    database.write_bytes(data)
    victim = ground.witness.file(name)
    write(database.with_name(database.name + "-journal"), hot_journal(database, victim, len(data) // page))
    give(ground.home(name))
    add_item(ground, kind, name, path)


def lay_rollback(ground: Ground, name: str) -> None:
    """Leave a hot journal of the user's own, as a killed writer does: the dump must not roll it back."""
    path = ground.thing(name, "sqlite")
    page = struct.unpack(">H", path.read_bytes()[16:18])[0]
    data = path.read_bytes()
    head = (bytes.fromhex("d9d505f920a163d7") + struct.pack(">IIIII", 1, 1, len(data) // page, 512, page)).ljust(
        512, b"\0"
    )
    first = data[:page]
    total = 1 + sum(first[offset] for offset in range(page - 200, 0, -200))
    write(
        path.with_name(path.name + "-journal"),
        head + struct.pack(">I", 1) + first + struct.pack(">I", total & 0xFFFFFFFF),
    )
    give(ground.home(name))
    add_item(ground, "sqlite", name, path)


def unchanged_live(ground: Ground, name: str) -> Iterator[str]:
    """It was refused with a message on the journal, or stored; the live database is unchanged."""
    before = ground.notes[name]
    if {path: path.read_bytes() for path in before} != before:
        yield "the live database, or what stands beside it, was changed by the dump"
    if not ground.said(name, "journal") and not ground.stored("sqlite", name):
        yield "nobody was told of the journal"


def remembering(lay: Callable[[Ground, str], None]) -> Callable[[Ground, str], None]:
    """Return a function that lays an attempt and remembers the files of its folder."""

    def whole(ground: Ground, name: str) -> None:
        lay(ground, name)
        files = [path for path in (ground.site.live / name).rglob("*") if path.is_file() and not path.is_symlink()]
        ground.notes[name] = {path: path.read_bytes() for path in files}

    return whole


def lay_inherit(value: str, ground: Ground, name: str) -> None:
    """Let trac.ini inherit from root's file, `@`, or from one that never ends, or waits."""
    path = ground.thing(name, "trac")
    victim = ground.witness.file(name, "secret.ini")
    text = value.replace("@@", os.path.relpath(victim, path / "conf")).replace("@", str(victim))
    write(path / "conf" / "trac.ini", f"[inherit]\nfile = {text}\n[project]\nname = x\n")
    if "pipe" in value:
        ground.lures.lay(name, path / "conf" / "pipe")
    add_item(ground, "trac", name, path)


def lay_trac_database(value: str, ground: Ground, name: str) -> None:
    """Let trac.ini name a database of root's."""
    path = ground.thing(name, "trac")
    victim = ground.witness.database(name)
    link(ground, path / "sub", victim.parent)
    value = value.replace("@@", os.path.relpath(victim, path)).replace("@", str(victim))
    write(path / "conf" / "trac.ini", f"[trac]\ndatabase = {value}\n")
    add_item(ground, "trac", name, path)


def lay_marker(content: Callable[[Ground, str], None], ground: Ground, name: str) -> None:
    """Lay an imitation of a restored copy's marker beside an item."""
    path = ground.thing(name, "folder")
    add_item(ground, "folder", name, path)
    content(ground, name)


def marker_of(ground: Ground, name: str) -> Path:
    """Return the path of an item's marker."""
    return ground.home(name) / "folder.altbackup-restored"


def marker_text(ground: Ground, name: str) -> None:
    """A marker with texts that terminals interpret."""
    words = dict.fromkeys(("source", "item", "stamp", "dig", "node", "host", "when", "by"), odd(name))
    write(marker_of(ground, name), json.dumps(words))


def marker_deep(ground: Ground, name: str) -> None:
    """A marker nested as deep as its size allows."""
    write(marker_of(ground, name), "[" * 65536)


def marker_link(ground: Ground, name: str) -> None:
    """A marker that is a link to root's file."""
    link(ground, marker_of(ground, name), ground.witness.file(name))


def marker_pipe(ground: Ground, name: str) -> None:
    """A marker that is a named pipe."""
    ground.lures.lay(name, marker_of(ground, name))


def lay_large(kind: str, place: str, ground: Ground, name: str) -> None:
    """Replace a small file of an item by a sparse one of 40 GB."""
    path = ground.thing(name, kind)
    (path / place).parent.mkdir(exist_ok=True)
    with (path / place).open("ab") as stream:
        stream.truncate(40 << 30)
    give(path)
    add_item(ground, kind, name, path)


def judge_large(kind: str, ground: Ground, name: str) -> Iterator[str]:
    """It is stored with its holes, in a form that a drill accepts, or it is a failure of that item."""
    yield from drill_agrees(ground, name, kind)
    if not ground.stored(kind, name) and not ground.about(name, "dump"):
        yield "it was neither stored nor told of"


_rows = Register("dump links", "user", "dump", good_went_on, quick=("sqlite-super-journal-wal",))
_rows.add(
    "git-commands",
    "git",
    "config, alias and hooks name commands wherever git takes one",
    lay_commands,
    partial(judge_commands, "git"),
)
_rows.add("svn-hooks", "svn", "every hook leaves a mark", lay_hooks, partial(judge_commands, "svn"))
_rows.add(
    "git-include",
    "git",
    "config includes a file of root's",
    partial(lay_git_text, "config", "[include]\n\tpath = @\n"),
    link_judge("git", ""),
)
_rows.add(
    "git-includeif",
    "git",
    "config includes a file of root's if it is in this folder",
    partial(lay_git_text, "config", '[includeIf "gitdir:/**"]\n\tpath = @\n'),
    link_judge("git", ""),
)
_rows.add(
    "git-worktree",
    "git",
    "core.worktree is a folder of root's",
    partial(lay_git_text, "config", "[core]\n\tbare = false\n\tworktree = @\n"),
    link_judge("git", ""),
)
_rows.add(
    "git-attributesfile",
    "git",
    "core.attributesFile is a file of root's",
    partial(lay_git_text, "config", "[core]\n\tattributesFile = @\n\texcludesFile = @\n"),
    link_judge("git", ""),
)
_rows.add(
    "git-commondir-text",
    "git",
    "commondir names a repository of root's",
    partial(lay_git_text, "commondir", "@@\n"),
    link_judge("git", "commondir"),
)
_rows.add(
    "git-alternates-text",
    "git",
    "alternates name the objects of a repository of root's",
    partial(lay_git_text, "objects/info/alternates", "@@/objects\n"),
    refused("alternates"),
)
_rows.add(
    "git-http-alternates",
    "git",
    "http-alternates name a repository of root's",
    partial(lay_git_text, "objects/info/http-alternates", "@@/objects\n"),
    link_judge("git", ""),
)
_rows.add(
    "git-alternates-missing",
    "git",
    "alternates name a repository of root's, and its packs are gone here",
    lay_alternates,
    refused("alternates"),
)
_rows.add(
    "git-gitdir-text",
    "git",
    ".git is a file that names a repository of root's",
    lay_gitdir,
    refused("not a Git repository"),
)
_rows.add(
    "git-stolen",
    "git",
    "objects, refs and packed-refs are links into a repository of root's",
    lay_stolen,
    refused("objects"),
)
_rows.add("git-lfs-own", "git", "lfs is a link to a folder of the user's own with files below it", lay_lfs, judge_lfs)
for _kind in ("git", "trac", "folder", "svn"):
    _rows.add(
        f"{_kind}-odd-names",
        _kind,
        "sockets, locks and files whose names terminals, templates and shells obey",
        partial(lay_odd_names, _kind),
        no_escapes,
    )
_rows.add(
    "trac-odd-attachments", "trac", "missing attachments whose names terminals obey", lay_attachment_names, no_escapes
)
for _kind in ("sqlite", "trac"):
    _rows.add(
        f"{_kind}-super-journal-wal",
        _kind,
        "a WAL database without -wal, but a hot journal that names a file of root's as super-journal",
        partial(lay_super_journal, _kind, True),
        refused("journal"),
    )
    _rows.add(
        f"{_kind}-super-journal",
        _kind,
        "a rollback database, and a hot journal that names a file of root's as super-journal",
        partial(lay_super_journal, _kind, False),
        refused("journal"),
    )
_rows.add("sqlite-hot-journal", "sqlite", "a hot journal of the user's own", remembering(lay_rollback), unchanged_live)
for _form, _value in {
    "absolute": "@",
    "relative": "@@",
    "endless": "/dev/zero",
    "pipe": "pipe",
    "itself": "trac.ini",
    "terminal": "/dev/tty",
    "many": ", ".join(f"x{n}" for n in range(5000)),
}.items():
    _rows.add(
        f"trac-inherit-{_form}",
        "trac",
        f"[inherit] file is {_value[:20].replace('@@', 'a relative path to a file of root').replace('@', 'a file of root')}",
        partial(lay_inherit, _value),
        link_judge("trac", "" if _form in ("itself", "many", "terminal") else "ini"),
    )
for _form, _value in {
    "absolute": "sqlite:@",
    "relative": "sqlite:@@",
    "through-link": "sqlite:sub/secret.db",
    "uri": "sqlite:@?mode=rwc",
}.items():
    _rows.add(
        f"trac-database-{_form}",
        "trac",
        f"database is {_value} of root's",
        partial(lay_trac_database, _value),
        refused("leads to" if _form == "through-link" else "database"),
    )
for _form, _content in (("text", marker_text), ("deep", marker_deep), ("link", marker_link), ("pipe", marker_pipe)):
    _rows.add(
        f"marker-{_form}", "folder", f"beside the item: {_content.__doc__}", partial(lay_marker, _content), no_escapes
    )
for _kind, _place in (
    ("trac", "conf/trac.ini"),
    ("git", "description"),
    ("git", "info/grafts"),
    ("git", "logs/HEAD"),
    ("svn", "db/fsfs.conf"),
    ("trac", "log/trac.log"),
):
    _rows.add(
        f"{_kind}-large-{_place.replace('/', '-').replace('.', '-').lower()}",
        _kind,
        f"{_place} is a sparse file of 40 GB",
        partial(lay_large, _kind, _place),
        partial(judge_large, _kind),
    )
SCENES["dump links"] = Scene("dump links", one_source, play, rest)
