"""What happened to the history of a Git repository since a dump that nobody doubts: which references were rewritten, or are gone."""

from __future__ import annotations

import fnmatch
import functools
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..system.digest import new_hash
from ..system.errors import ToolFailed
from ..system.units import counted, first_of
from ..system.visible import one_line
from .base import Context, shortened
from .earlier import stamp_of, was_noted
from .git_copy import Copied
from .git_layout import SHALLOW
from .git_packs import objects_in_pack
from .git_tool import OBJECT, SYMBOLIC, Git, References
from .items import Item

_OBJECTS = "objects"
NOTED = "references"
"""The word under which a dump notes what later ones compare theirs with"""
HEAD = "HEAD"
_BRANCHES, _TAGS = "refs/heads/", "refs/tags/"
_ORIGINS_HEAD = "refs/remotes/origin/HEAD"
_MOST_LOST = 0.3
"""The share of its references of which a repository may lose the history in one night"""
_FEWEST_LOST = 2
"""One branch that is rebased or deleted is daily life, be it one of three"""
_MOST_ALONE = 1000
"""Most references of which git is asked one by one"""
_MOST_ROOTS = 1000
_MOST_KEPT = 300_000
"""Most references of a repository that are kept for the next dump"""
_MANY_APART = 0.1
_SHOWN = 5
_SHORT = 12


@dataclass(frozen=True)
class History:
    """Where a repository's references point, as text."""

    head: str = ""
    """The content of its HEAD"""
    main: str = ""
    """The branch that is never rewritten, HEAD where that of a bare repository names a commit, empty for none"""
    references: Mapping[str, str] = field(default_factory=dict)
    """{name: object} of those that name one themselves"""

    @property
    def start(self) -> str:
        """The newest commit of the main branch, empty without one."""
        return self.references.get(self.main, "")


@dataclass(frozen=True)
class Moves:
    """What became of the references of an older history, apart from those that may move."""

    changed: Mapping[str, tuple[str, str]]
    """{name: (object then, object now)}"""
    vanished: Mapping[str, str]
    """{name: object then}"""
    total: int
    """How many there were"""


def history_of(references: References, *, bare: bool, main: str = "") -> History:
    """Return the history that references tell.

    A bare repository's main branch is the one that HEAD names. Where people work, HEAD follows what they look at: there it is
    `main`, the one of an earlier dump, while it exists, or the one that its origin's HEAD names.
    """
    named = {os.fsdecode(name): target.decode() for target, name, symbolic in references.lines if not symbolic}
    head = os.fsdecode(references.head)
    branch = head[len(SYMBOLIC) :] if references.head.startswith(SYMBOLIC) else HEAD
    if bare and OBJECT.fullmatch(references.head):
        named[HEAD] = head
    if not bare:
        remote = {os.fsdecode(name): os.fsdecode(target) for _, name, target in references.lines if target}
        origins = _BRANCHES + remote.get(_ORIGINS_HEAD, "").rpartition("/")[2]
        branch = next((name for name in (main, origins) if name.startswith(_BRANCHES) and name in named), branch)
    return History(head, branch if branch in named else "", named)


def may_move(name: str, patterns: Iterable[str]) -> bool:
    """Return whether one of the patterns, in which `*` stands for any text, matches the name of a reference."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def moves_between(then: History, now: History, patterns: Sequence[str]) -> Moves:
    """Return what became of the references of an earlier history in a later one, but for those that one of the patterns matches."""
    watched = {name: target for name, target in then.references.items() if not may_move(name, patterns)}
    found = {name: (target, now.references[name]) for name, target in watched.items() if name in now.references}
    return Moves(
        {name: pair for name, pair in found.items() if pair[0] != pair[1]},
        {name: target for name, target in watched.items() if name not in now.references},
        len(watched),
    )


def judge_moves(
    then: History,
    now: History,
    moves: Moves,
    rewritten: Collection[str],
    when: str,
    *,
    bare: bool,
    patterns: Sequence[str],
) -> tuple[list[str], list[str]]:
    """Return (doubts, notes) on what moved between two histories; `rewritten` are the references whose new objects do not lead to the old ones.

    `when` is the stamp of the first.
    """
    doubts, told = [], set()
    main = then.main
    if main in moves.vanished:
        doubts.append(f"{_called(main)} is gone; at the dump of {when} it was at {moves.vanished[main][:_SHORT]}")
        told.add(main)
    elif main in rewritten:
        old, new = (name[:_SHORT] for name in moves.changed[main])
        doubts.append(
            f"{_called(main)} was rewritten, as by a forced push: {old}, its commit at the dump of {when}, is no ancestor of {new}"
        )
        told.add(main)
    if bare and then.main and _names_another(then.head, now.head) and not may_move(HEAD, patterns):
        doubts.append(f"HEAD says {_named(now.head)!r}, and said {_named(then.head)!r} at the dump of {when}")
    for word, names in (("rewritten", rewritten), ("gone", moves.vanished)):
        tags = sorted(name for name in names if name.startswith(_TAGS))
        if tags:
            doubts.append(
                f"{counted(len(tags), 'tag')} of the dump of {when} {_were(tags, word)}: {_shown(tags, moves)}"
            )
            told.update(tags)
    lost = sorted({*rewritten, *moves.vanished})
    if len(lost) >= _FEWEST_LOST and len(lost) > _MOST_LOST * moves.total:
        doubts.append(
            f"{len(lost)} of {counted(moves.total, 'reference')} of the dump of {when} were rewritten or are gone "
            f"({len(lost) / moves.total:.0%}, allowed {_MOST_LOST:.0%}): {_shown(lost, moves)}"
        )
        told.update(lost)
    notes = [
        f"{counted(len(names), 'reference')} of the dump of {when} {_were(names, word)}: {_shown(names, moves)}"
        for word, names in (
            ("rewritten", sorted({*rewritten} - told)),
            ("gone", sorted({*moves.vanished} - told)),
        )
        if names
    ]
    return doubts, notes


def _names_another(then: str, now: str) -> bool:
    """Return whether HEAD names another branch, or none any more; of what it leads to without one it is told elsewhere."""
    return then != now and not all(OBJECT.fullmatch(os.fsencode(head)) for head in (then, now))


def _called(main: str) -> str:
    return "HEAD" if main == HEAD else f"the branch {_named(main)}"


def _were(names: Sequence[str], word: str) -> str:
    return (
        f"{'was' if len(names) == 1 else 'were'} rewritten"
        if word == "rewritten"
        else f"{'is' if len(names) == 1 else 'are'} gone"
    )


def _named(name: str) -> str:
    """Return a name as messages show it."""
    return one_line(shortened(name))


def _shown(names: Sequence[str], moves: Moves) -> str:
    then = {**moves.vanished, **{name: old for name, (old, _) in moves.changed.items()}}
    return first_of([f"{_named(name)} (was {then[name][:_SHORT]})" for name in names], _SHOWN)


class Rewritten:
    """Finds, in a copy of a repository that holds all that its references lead to, which references were rewritten."""

    def __init__(self, copy: Git) -> None:
        self._copy = copy

    def find(self, moves: Moves, main: str, *, shallow: bool) -> set[str]:
        """Return the names of references whose new object does not lead to the old one, as far as that can matter; of tags all that changed.

        Of branches of a `shallow` repository, which has not what they led to, nobody knows.
        """
        found = {name for name in moves.changed if name.startswith(_TAGS)}
        changed = {name: pair for name, pair in moves.changed.items() if name not in found}
        if shallow:
            return found
        commits = self._commits(old for old, _ in changed.values())
        absent = {name for name, (old, _) in changed.items() if old not in commits}
        there = {name: pair for name, pair in changed.items() if name not in absent}
        unreached = self._unreached({old for old, _ in there.values()})
        found |= absent | {name for name, (old, _) in there.items() if old in unreached}
        left = {name: pair for name, pair in there.items() if name not in found}
        if len(found) + len(left) + len(moves.vanished) <= max(_MOST_LOST * moves.total, _FEWEST_LOST - 1):
            left = {name: pair for name, pair in left.items() if name == main}
        alone = sorted(left, key=lambda name: (name != main, name))[:_MOST_ALONE]
        answers = {pair: self._leads_to(*pair) for pair in {left[name] for name in alone}}
        return found | {name for name in alone if not answers[left[name]]}

    def _commits(self, objects: Iterable[str]) -> set[str]:
        """Return those of the objects that are there, and are commits."""
        names = _lines(objects)
        if not names:
            return set()
        output = self._copy.run("cat-file", "--batch-check=%(objectname) %(objecttype)", input=names)
        words = (line.split() for line in output.decode("ascii", "replace").splitlines())
        return {name for name, kind in words if kind == "commit"}

    def _unreached(self, commits: Collection[str]) -> set[str]:
        """Return those of the commits to which no reference leads any more."""
        if not commits:
            return set()
        output = self._copy.run("rev-list", "--stdin", "--not", "--all", input=_lines(commits))
        return {*output.decode().split()} & {*commits}

    def _leads_to(self, old: str, new: str) -> bool:
        try:
            self._copy.run("merge-base", "--is-ancestor", old, new)
        except ToolFailed as error:
            if error.rc != 1:
                raise
            return False
        return True

    def leads_to(self, old: str, new: str) -> bool:
        """Return whether an object that may not be there is a commit to which another one leads."""
        return old == new or (bool(self._commits([old])) and self._leads_to(old, new))

    def roots(self, start: str) -> list[str]:
        """Return the commits without parents that a commit leads to, or all references do; sorted, and not more than a thousand."""
        output = self._copy.run("rev-list", "--max-parents=0", start or "--all")
        return sorted(output.decode().split())[:_MOST_ROOTS]


def _lines(objects: Iterable[str], before: str = "") -> bytes:
    return b"".join(f"{before}{name}\n".encode() for name in sorted(set(objects)))


def same_thing(known: Sequence[str], roots: Sequence[str]) -> bool:
    """Return whether two histories are of one repository, by their root commits: merging into it, or splitting off, does not make it another one."""
    return not {*known}.isdisjoint(roots)


def digest_of(roots: Sequence[str]) -> str:
    """Return the digest of sorted root commits."""
    total = new_hash("sha256")
    total.update(_lines(roots))
    return str(total.hexdigest())


@dataclass
class Looked:
    """What is recorded and said of an item's history, and what the next dump is to know."""

    identity: dict[str, str] = field(default_factory=dict)
    measures: dict[str, int] = field(default_factory=dict)
    counted: dict[str, str] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)


def look_back(item: Item, context: Context, copies: Mapping[str, Copied], *, bare: bool) -> Looked:
    """Compare an item's repositories, {path, '' for its own, else that of a submodule: its copy}, with what is known of them.

    Nothing is read but the copies. Raise ToolFailed.
    """
    looked = Looked(counted={_OBJECTS: ", ".join(sorted({*item.may_move}))} if item.may_move else {})
    known = _recalled(context, looked)
    facts: dict[str, Any] = {"repositories": {}}
    for path, copied in copies.items():
        then = known["repositories"].get(path)
        own = bare and not path
        title = f"{_named(path)}: " if path else ""
        work = _Comparison(item, context, copied, then, bare=own)
        doubts, notes = work.judge()
        looked.doubts += [f"{title}{text}" for text in doubts]
        looked.notes += [f"{title}{text}" for text in notes]
        facts["repositories"][path] = work.facts()
        looked.measures[_OBJECTS] = looked.measures.get(_OBJECTS, 0) + work.objects
        if not path:
            facts.update(work.identify(known))
            if work.has_history:
                looked.identity = {"roots": facts["identity"]}
    gone = sorted(set(known["repositories"]) - set(copies))
    if gone:
        looked.notes.append(
            f"{counted(len(gone), 'repository of a submodule', 'repositories of submodules')} of the dump of {work.when} are gone: "
            f"{first_of([_named(path) for path in gone], _SHOWN)}"
        )
    looked.facts = facts
    return looked


def _recalled(context: Context, looked: Looked) -> dict[str, Any]:
    """Return what an undoubted dump noted, of the form in which it is used."""
    if "lost" in context.known:
        looked.doubts.append(str(context.known["lost"]))
    facts = context.known.get("facts")
    if isinstance(facts, Mapping) and isinstance(facts.get("repositories"), Mapping):
        return {"identity": "", "roots": [], **facts}
    if was_noted(context, NOTED) and "lost" not in context.known:
        looked.notes.append(
            f"the references of the dump of {stamp_of(context.good)} are not kept here any more: nothing was compared with them"
        )
    return {"identity": "", "roots": [], "repositories": {}}


class _Comparison:
    """One repository beside what is known of it."""

    def __init__(
        self, item: Item, context: Context, copied: Copied, then: Mapping[str, Any] | None, *, bare: bool
    ) -> None:
        self._copied = copied
        self._patterns = item.may_move
        self._bare = bare
        self._known = then or {}
        self._fresh = Git(copied.fresh, context.deadline, context.identity)
        self._rewritten = Rewritten(self._fresh)
        self._shallow = os.path.lexists(os.path.join(copied.fresh, SHALLOW))
        self._then = History(
            self._known.get("head", ""), self._known.get("main", ""), self._known.get("references", {})
        )
        self._now = history_of(copied.references, bare=bare, main=self._then.main)
        self.when = stamp_of(context.good)

    @property
    def has_history(self) -> bool:
        """Whether it is known where its history begins."""
        return bool(self._now.references) and not self._shallow

    def judge(self) -> tuple[list[str], list[str]]:
        """Return (doubts, notes)."""
        notes = []
        if len(self._now.references) > _MOST_KEPT:
            notes.append(
                f"of its {len(self._now.references)} references {_MOST_KEPT} are kept, and compared by the next dump"
            )
        if not self._known:
            return [], notes
        moves = moves_between(self._then, self._now, self._patterns)
        if self._shallow and moves.changed:
            notes.append("it is a shallow clone: whether branches that moved were rewritten cannot be known")
        rewritten = self._rewritten.find(moves, self._then.main, shallow=self._shallow) if moves.changed else set()
        doubts, more = judge_moves(
            self._then, self._now, moves, rewritten, self.when, bare=self._bare, patterns=self._patterns
        )
        return doubts, notes + more

    def identify(self, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return the `roots` from which the history begins, and the digest that is its `identity`, which stays what it was while one of them does."""
        identity, roots, now, then = known["identity"], known["roots"], self._now, self._then
        if not self.has_history:
            return {"identity": identity, "roots": roots}
        starts = then.start, now.start
        if identity and (now == then or (all(starts) and self._rewritten.leads_to(*starts))):
            return {"identity": identity, "roots": roots}
        found = self._rewritten.roots(now.start)
        return {"identity": identity if same_thing(roots, found) else digest_of(found), "roots": found}

    @functools.cached_property
    def objects(self) -> int:
        """The number of objects that its worktrees, and those of its references that may not move, lead to; its copy holds others, too, such as
        those of reflogs, which expire."""
        total = objects_in_pack(self._copied.fresh)
        moving = {target for name, target in self._now.references.items() if may_move(name, self._patterns)}
        lasting = {*self._copied.heads, *self._lasting()}
        apart = {*self._copied.apart, *moving} - lasting
        if not apart:
            return total
        if not lasting:
            return 0
        if self._known.get("state") == self._state:
            return int(self._known["objects"])
        count = (
            "rev-list",
            "--objects",
            "--count",
            "--stdin",
            *(("--missing=allow-any",) if self._copied.missing else ()),
        )
        others = int(self._fresh.run(*count, input=_lines(apart) + _lines(lasting, "^")))
        if others <= _MANY_APART * total:
            return total - others
        return int(self._fresh.run(*count, input=_lines(lasting)))  # of the others many may be in both

    def _lasting(self) -> set[str]:
        """Return to what references lead that may not move, and a HEAD that names an object itself."""
        named = dict(self._now.references)
        if OBJECT.fullmatch(self._copied.references.head):
            named[HEAD] = os.fsdecode(self._copied.references.head)
        return {target for name, target in named.items() if not may_move(name, self._patterns)}

    @property
    def _state(self) -> str:
        """What says that references and worktrees lead to the same objects as before, and that the same ones are counted."""
        words = [self._copied.references.digest, digest_of(sorted(self._copied.heads))]
        return " ".join([*words, digest_of(sorted({*self._patterns}))] if self._patterns else words)

    def facts(self) -> dict[str, Any]:
        """Return what the next dump is to know."""
        names = sorted(self._now.references)
        if len(names) > _MOST_KEPT:
            names.sort(key=lambda name: (name != self._now.main, not name.startswith(_TAGS), name))
        kept = {name: self._now.references[name] for name in names[:_MOST_KEPT]}
        now = self._now
        return {"head": now.head, "main": now.main, "references": kept, "objects": self.objects, "state": self._state}
