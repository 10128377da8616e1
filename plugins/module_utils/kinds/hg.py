"""Kind `hg`: a clone that Mercurial itself makes and brings up to date, never a copy of files.

A push appends to the files of a repository in an order in which a copy of them would not be one state. What a pull leaves
out, secret and hidden changesets, comes by a bundle; phases, bookmarks and obsolescence markers are as in the live
repository, which is compared with the copy at the end. Mercurial runs as the repository's owner, without anybody's
configuration, and so without hooks.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..archive.write import Part
from ..system.digest import new_hash, open_plain
from ..system.errors import AltbackupError, DeadlineExceeded, InvalidInput, SourceChanged, ToolMissing, name_os_errors
from ..system.processes import run
from ..system.programs import clean_environment, find_tool
from ..system.readers import Identity
from ..system.units import counted, first_of
from ..tree.publish import make_folders, remove_folder, remove_if_there, write_text
from ..tree.stamps import day_of
from .base import (
    Arrangement,
    Context,
    Kind,
    Snapshot,
    owner_found,
    owner_of,
    require_folder,
    require_inside,
    require_plain,
    scratch_folder,
    walk,
)
from .earlier import stamp_of
from .items import Item
from .kept import arrangement, building_folder, is_due, state_path

if TYPE_CHECKING:
    from .proofs import Proof

_COPY = "copy"
_BUNDLE = "left-out.hg"
ENVIRONMENT = {"HGRCPATH": "", "HGRCSKIPREPO": "1", "HGPLAIN": "1", "HGENCODING": "utf-8"}
"""Nothing of the system's, a user's or a repository's configuration counts"""
_SETTINGS = (
    "phases.publish=False",
    "experimental.evolution=all",
    "experimental.evolution.bundle-obsmarker=True",
    "experimental.bundle-phases=True",
    "ui.interactive=False",
    "worker.enabled=False",
    "format.usegeneraldelta=True",
)
_EXTENSIONS = ("largefiles",)
_LEFT_OUT = ("cache/", "wcache/", "undo", "store/undo", "store/lock", "wlock", "last-message", "dirstate", "branch")
"""What Mercurial makes again, or leaves of its last command, in the folder .hg"""
_OMITTED = "secret() or hidden()"
_LONGEST = 1 << 20
_MOST_HEADS = 1000
_SHOWN = 3


@dataclass(frozen=True)
class State:
    """What a repository holds, whatever the order in which it came there."""

    changesets: tuple[tuple[str, str], ...]
    """(node, phase), in the repository's own order"""
    bookmarks: tuple[str, ...]
    markers: tuple[str, ...]

    @property
    def facts(self) -> dict[str, Any]:
        """What is recorded of it."""
        return {
            "changesets": len(self.changesets),
            "history": _digest(f"{node} {phase}" for node, phase in self.changesets),
            "bookmarks": len(self.bookmarks),
            "bookmarked": _digest(self.bookmarks),
            "markers": len(self.markers),
            "marked": _digest(self.markers),
        }


def _digest(lines: Sequence[str] | Iterator[str]) -> str:
    total = new_hash("sha256")
    for line in sorted(lines):
        total.update(line.encode("utf-8", "surrogateescape") + b"\n")
    return str(total.hexdigest())


def options(requirements: Sequence[str]) -> list[str]:
    """Return the options with which Mercurial is called on a repository of such requirements and on copies of it."""
    words = ["--noninteractive"]
    for setting in (*_SETTINGS, *(f"extensions.{name}=" for name in _EXTENSIONS if name in requirements)):
        words += ["--config", setting]
    return words


def requirements_of(folder: str) -> list[str]:
    """Return what the formats of a repository require. Raise OSError."""
    found: list[str] = []
    for name in ("requires", "store/requires"):
        with contextlib.suppress(FileNotFoundError), open_plain(os.path.join(folder, ".hg", name)) as stream:
            found += stream.read(_LONGEST).decode("ascii", "replace").split()
    return found


def parse_state(listing: bytes, bookmarks: bytes, markers: bytes) -> State:
    """Parse what Mercurial prints of changesets, bookmarks and markers."""
    lines = [line.split(" ") for line in _lines(listing)]
    return State(tuple((node, phase) for node, phase in lines), tuple(_lines(bookmarks)), tuple(_lines(markers)))


def _lines(text: bytes) -> list[str]:
    return text.decode("utf-8", "surrogateescape").splitlines()


LISTING = ("--hidden", "log", "--rev", "all()", "--template", "{node} {phase}\n")
BOOKMARKS = ("bookmarks", "--template", "{node} {bookmark}\n")
MARKERS = ("debugobsolete",)
PUBLIC_HEADS = ("log", "--rev", "heads(public())", "--template", "{node}\n")


class _Mercurial:
    """Mercurial, as it is called on an item and its copy."""

    def __init__(self, item: Item, context: Context) -> None:
        self._item, self._context = item, context
        self.options = options(requirements_of(item.path))
        self.largefiles = "extensions.largefiles=" in self.options

    def run(self, repository: str, *words: str, what: str = "") -> bytes:
        """Run it on a repository and return what it says. Raise ToolFailed."""
        argv = [find_tool("hg"), *self.options, *(["--repository", repository] if repository else []), *words]
        identity: Identity = self._context.identity
        return run(
            identity.argv(argv),
            what=what or f"reading the repository {repository}",
            deadline=self._context.deadline,
            environment=clean_environment(**ENVIRONMENT),
            name="hg",
        )

    def state(self, repository: str) -> State:
        """Return what a repository holds."""
        return parse_state(*(self.run(repository, *words) for words in (LISTING, BOOKMARKS, MARKERS)))

    def phase_roots(self, repository: str) -> str:
        """Return the roots of phases, as a repository has them in its store."""
        text = b""
        for number, phase in ((1, "draft"), (2, "secret")):
            words = ("--hidden", "log", "--rev", f"sort(roots({phase}()), node)", "--template", f"{number} {{node}}\n")
            text += self.run(repository, *words)
        return text.decode("ascii")


def check(item: Item, context: Context) -> None:
    """Raise InvalidInput unless the item's path is a Mercurial repository of its own."""
    title = f"item hg {item.name!r}"
    require_folder(item)
    require_inside(item, context, (".hg", ".hg/store", ".hg/requires"))
    folder = os.path.join(item.path, ".hg")
    if not os.path.isdir(folder):
        raise InvalidInput(f"{title}: path {item.path} is not a Mercurial repository: it has no folder .hg")
    if os.path.lexists(os.path.join(folder, "sharedpath")):
        raise InvalidInput(
            f"{title}: path {item.path} shares the history of another repository (hg share): back up that one"
        )
    if not os.path.isdir(os.path.join(folder, "store")):
        raise InvalidInput(f"{title}: path {item.path} is damaged, or of Mercurial before 0.9: it has no .hg/store")
    require_plain(folder, lambda path: False, context.deadline, title, program="hg")


@contextlib.contextmanager
def copy(item: Item, context: Context) -> Iterator[Snapshot]:
    """Bring the item's copy to the state of the live repository and yield it. Raise SourceChanged where that changed meanwhile."""
    work = _Scratch(item, context)
    state = work.update()
    hg = os.path.join(work.path, ".hg")
    names = [
        os.path.join(b"./.hg", name[2:]) if name != b"." else b"./.hg"
        for name in walk(hg)[0]
        if not os.fsdecode(name[2:] + b"/").startswith(_LEFT_OUT)
    ]
    heads = _lines(work.mercurial.run(work.path, *PUBLIC_HEADS))
    facts = state.facts
    record: dict[str, Any] = {**facts, "measures": {"changesets": facts["changesets"]}}
    if len(heads) <= _MOST_HEADS:
        record["public_heads"] = sorted(heads)
    if state.changesets:
        record["identity"] = {"first changeset": state.changesets[0][0]}
    record["doubts"] = doubts_of(context.good, {node for node, _ in state.changesets})
    yield Snapshot(
        [Part(work.path, [b".", *names])],
        record,
        owner=owner_of(item.path),
        fixed_times=True,
        notes=work.notes,
        noted={"built": work.built, "rebuilt": work.rebuilt},
    )


def doubts_of(good: Mapping[str, Any], nodes: set[str]) -> list[str]:
    """Return doubts about the changesets that there are now, compared with the record of a good dump: public history does not vanish."""
    heads = good.get("public_heads")
    gone = [str(head) for head in heads if head not in nodes] if isinstance(heads, list) else []
    if not gone:
        return []
    return [
        f"{counted(len(gone), 'public head')} of the dump of {stamp_of(good)} vanished: {first_of([head[:12] for head in gone], _SHOWN)}"
    ]


class _Scratch:
    """The copy that is kept in the private folder."""

    def __init__(self, item: Item, context: Context) -> None:
        self._item, self._context = item, context
        self.mercurial = _Mercurial(item, context)
        self.path = scratch_folder(context, item)
        self.built = str(context.known["state"].get("built", ""))
        self.rebuilt = False
        self.notes: list[str] = []
        self._building = building_folder(context, item)

    def update(self) -> State:
        """Return what the copy holds, which is what the live repository holds; an error with a kept copy leads to a new one."""
        reason = self._reason_to_rebuild()
        if reason is None:
            try:
                return self._bring_up_to_date()
            except (DeadlineExceeded, ToolMissing, SourceChanged):
                raise
            except (AltbackupError, OSError) as error:
                reason = str(error)
        self.path, self.rebuilt, self.built = os.path.join(self._building, _COPY), True, day_of(self._context.stamp)
        remove_folder(self.path)
        state = self._bring_up_to_date()
        self.mercurial.run(self.path, "verify", "--quiet", what=f"verifying the copy of {self._item.path}")
        if reason:
            self.notes.append(f"the scratch copy was built anew and verified whole: {reason}")
        return state

    def _reason_to_rebuild(self) -> str | None:
        """Return None to go on with the copy, an empty text for a routine rebuild, else what is wrong with the copy."""
        context, key = self._context, self._item.key
        if not context.known["copied"]:
            return ""
        if not self.built:
            return f"{state_path(context.tree, self._item)} is missing or damaged"
        return "" if is_due(key, self.built, day_of(context.stamp), context.verify_every) else None

    def _bring_up_to_date(self) -> State:
        live, mercurial = self._item.path, self.mercurial
        before = mercurial.state(live)
        large = ["--all-largefiles"] if mercurial.largefiles else []
        if self.rebuilt:
            words = ("clone", "--pull", "--noupdate", *large, live, self.path)
            mercurial.run("", *words, what=f"copying the repository {live}")
        else:
            large = ["--lfrev", "pulled()"] if large else []
            mercurial.run(self.path, "pull", "--quiet", *large, live, what=f"copying what is new in {live}")
        self._take_what_a_pull_omits(before)
        roots = mercurial.phase_roots(live)
        self._write("store/phaseroots", roots)
        self._write("bookmarks", "".join(f"{line}\n" for line in before.bookmarks))
        self._copy_settings()
        copied, after = mercurial.state(self.path), mercurial.state(live)
        if before.facts != after.facts:
            raise SourceChanged(f"changed while it was read: {live}")
        if copied.facts != after.facts:
            raise AltbackupError(f"the copy of {live} is another one: {_differences(copied.facts, after.facts)}")
        return after

    def _take_what_a_pull_omits(self, live: State) -> None:
        """Bring secret and hidden changesets, with their markers, to the copy by a bundle."""
        mercurial = self.mercurial
        there = {node for node, _ in mercurial.state(self.path).changesets}
        if all(node in there for node, _ in live.changesets):
            return
        bundle = os.path.join(self._building, _BUNDLE)
        remove_if_there(bundle)
        words = (
            "--hidden",
            "bundle",
            "--quiet",
            "--type",
            "none-v2",
            "--rev",
            _OMITTED,
            "--base",
            f"not ({_OMITTED})",
            "--base",
            "null",
        )
        mercurial.run(
            self._item.path, *words, bundle, what=f"bundling secret and hidden changesets of {self._item.path}"
        )
        mercurial.run(
            self.path, "unbundle", "--quiet", bundle, what=f"copying secret and hidden changesets of {self._item.path}"
        )
        remove_if_there(bundle)

    def _copy_settings(self) -> None:
        """Let the copy have the live repository's settings, which are data here, rather than those that a clone writes."""
        text = ""
        with contextlib.suppress(FileNotFoundError), open_plain(os.path.join(self._item.path, ".hg", "hgrc")) as stream:
            content = stream.read(_LONGEST + 1)
            if len(content) > _LONGEST:
                raise InvalidInput(
                    f"item hg {self._item.name!r}: its hgrc has more than {_LONGEST} bytes, which is no setting of Mercurial"
                )
            text = content.decode("utf-8", "surrogateescape")
        if text:
            self._write("hgrc", text)
        else:
            remove_if_there(os.path.join(self.path, ".hg", "hgrc"))

    def _write(self, name: str, text: str) -> None:
        path = os.path.join(self.path, ".hg", name)
        remove_if_there(path)
        if text:
            with name_os_errors(path), open(
                path, "x", encoding="utf-8", errors="surrogateescape", newline=""
            ) as stream:
                stream.write(text)
            os.chmod(path, stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) & 0o666)
            self._context.identity.own(path)


def _differences(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    return first_of(
        [f"{name} {found[name]}, expected {expected[name]}" for name in found if found[name] != expected[name]], _SHOWN
    )


def arrange(item: Item, context: Context) -> Arrangement:
    """Return what a reader of the repository sees: it, the copy that is kept, and an empty folder to build a new one in."""
    state = _read_state(state_path(context.tree, item))
    return arrangement(item, context, owner_found(item.path), scratch_folder(context, item), state, {})


def keep(item: Item, context: Context, noted: Mapping[str, Any]) -> None:
    """Let a copy that was built anew take the place of the older one, and keep when it was built."""
    scratch, path = scratch_folder(context, item), state_path(context.tree, item)
    if noted["rebuilt"] is True:
        remove_if_there(path)  # until it is written again, the copy counts as damaged
        remove_folder(scratch)
        make_folders(os.path.dirname(scratch), context.tree.private)
        os.rename(os.path.join(building_folder(context, item), _COPY), scratch)
    make_folders(os.path.dirname(path), context.tree.private)
    write_text(path, json.dumps({"built": str(noted["built"])}) + "\n")


def spoiled(item: Item, context: Context) -> None:
    """Forget what is known of the copy, which may be half done: the next dump builds it anew."""
    remove_if_there(state_path(context.tree, item))


def _read_state(path: str) -> dict[str, Any]:
    try:
        with open_plain(path) as stream:
            return {"built": str(json.loads(stream.read(_LONGEST))["built"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}


def prove(proof: Proof) -> None:
    """Whole verification; changesets with their phases, bookmarks and markers as recorded."""
    proof.require_folder(".hg/store")
    for name, (mode, *_) in walk(proof.require_folder(".hg"))[0].items():
        if stat.S_ISLNK(mode):
            raise proof.fail(
                f".hg/{os.fsdecode(name[2:])} is a symbolic link, of which no copy of a repository has one"
            )
    settings = options(requirements_of(proof.path))
    with proof.opened() as repository:
        seen = proof.inside(repository)
        masked = [os.path.relpath(os.path.join(repository, ".hg", "hgrc"), proof.scratch)]

        def ask(*words: str) -> bytes:
            return proof.look("hg", *settings, "--repository", seen, *words, masked=masked, environment=ENVIRONMENT)

        ask("verify", "--quiet")
        state = parse_state(*(ask(*words) for words in (LISTING, BOOKMARKS, MARKERS)))
    for word, value in state.facts.items():
        proof.compare(word, value)
    proof.keep_version("hg", "--version", "--quiet")


def reads(item: Item) -> tuple[Sequence[str], Sequence[str]]:
    """Return the paths that Mercurial reads; it can do without its caches."""
    return [f"{item.path}/.hg"], [f"{item.path}/.hg/cache", f"{item.path}/.hg/wcache"]


KIND = Kind(check, copy, arrange, prove, tools=("hg",), keep=keep, spoiled=spoiled, reads=reads, differs=True)
