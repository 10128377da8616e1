"""A source, its targets and their disks, over nights counted by a simulated clock; the runs are those of the modules themselves."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from helpers.original_trees import put, run_module

from .chain import KILLED, Asked, Chain, Killed
from .live import KINDS, Live
from .model import Alarm, Copy, Night, Rules, complaints
from .node import SOURCE, Node, copy_tree, mark, plug

OTHER = "folders/old"
"""An item beside the tested one, which never changes"""
READ_WITHIN = timedelta(days=8)
"""Time within which each kept copy is read"""
_STAMP = "%Y/%m/%d/%H%M%S"
_CORE = "ansible_collections.altbackup.core.plugins."
_MACHINE = {
    "module_utils.system.mounts.find_hung": lambda paths, seconds: set(),
    "module_utils.synchronize.receivers._receivers": lambda incoming: iter(()),
}
"""Replacements for what looks at the machine instead of at its disks: no path hangs here, and nobody else writes"""


@dataclass
class World:
    """The site, and the truth about the content of each tarball."""

    folder: Path
    kind: str = "folder"
    targets: int = 2
    min_copies: int = 1
    full_every: int = 1
    """Nights from one full tarball of the item to the next"""
    now: datetime = datetime(2013, 1, 1, 1, 30)  # noqa: DTZ001 (stamps bear no zone)
    """Time of the controller's clock"""
    real: datetime = datetime(2013, 1, 1, 1, 30)  # noqa: DTZ001
    stamp: datetime = datetime(2013, 1, 1, 1, 30)  # noqa: DTZ001
    """The stamp of the run"""
    content: int = 0
    bad: str = ""
    """Damage to the live data, if any"""
    truth: dict[str, tuple[int, str]] = field(default_factory=dict)
    """{digest of a tarball: (content, damage)}: its sha256, of a differential also that of its full one"""
    accepted: datetime | None = None
    """Stamp up to which suspects are accepted"""
    holds: set[datetime] = field(default_factory=set)
    released: set[datetime] = field(default_factory=set)
    source: Node = field(init=False)
    nodes: list[Node] = field(init=False)
    live: Live = field(init=False)
    told: list[str] = field(default_factory=list)
    """Reports of the last run"""
    confirming: bool = False
    """Whether fallen rules are confirmed"""
    adopting: bool = False
    """Whether all disks are adopted"""
    gone: bool = False
    """Whether the live data is missing"""
    declared: bool = True
    """Whether the other item is declared"""
    retired: str = ""
    """The day from which on it is retired"""
    missed: bool = False
    """Whether it was undeclared while copies of it were known"""
    kill_after: int = 0
    unjudged: set[datetime] = field(default_factory=set)
    """Times of copies that could not be compared with a good one"""
    compared: bool = False
    """Whether the source has a good dump of the item"""
    made: bool = False
    """Whether the last run made a tarball of the item"""

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.live = KINDS[self.kind](self.folder / "live")
        self.item = f"{self.live.category}/notes"
        (self.folder / "old").mkdir()
        (self.folder / "old" / "file").write_text("as it always was\n")
        base = self.folder / "source"
        self.source = Node(SOURCE, base, base, Rules(3), 0)
        tops = [self.folder / f"target{n}" for n in range(self.targets)]
        more = Rules(3, 7, 4, 6, 0, timedelta(days=1))
        self.nodes = [self.source, *(Node(top.name, top, top / SOURCE, more, 2) for top in tops)]
        for node in self.nodes:
            mark(node)
            node.confirmed = node.rules

    # Changes of the live data

    def change(self, content: int) -> None:
        """Make the live data good, with a content."""
        self.live.change(content)
        self.content, self.bad = content, ""

    def spoil(self, way: str, content: int) -> None:
        """Damage the live data; change it if that is impossible, or if the source has nothing to compare it with."""
        if not (self.compared and self.live.can(way)):
            self.change(content)
            return
        self.live.spoil(way, content)
        self.content, self.bad = content, way

    # Actions of people

    def accept(self) -> None:
        """Accept all present suspects: their content is good from now on."""
        times = [copy.time for copy in self.source.known.values() if copy.suspect]
        self.accepted = max([self.now, self.stamp, *times, *([self.accepted] if self.accepted else [])])
        if self.bad and self.content in {content for content, _ in self.truth.values()}:
            self.live.accept()
            self.bad = ""
        self.truth = {digest: (content, "") for digest, (content, _) in self.truth.items()}

    def hold(self, chance: float) -> None:
        """Hold one of the source's copies."""
        times = sorted(self.source.known)
        if times:
            self.holds.add(times[int(chance * len(times))])

    def release(self) -> None:
        """Release everything that is held."""
        self.released |= self.holds
        self.holds.clear()

    def undeclare(self) -> None:
        """Lose the other item from the inventory."""
        self.declared = False
        for node in self.nodes:
            node.others = self._others(node)
        self.missed = any(node.others for node in self.nodes)

    def retire(self) -> None:
        """Retire the other item."""
        if not self.declared:
            self.retired = f"{self.now:%Y/%m/%d}"

    def declare(self) -> None:
        """Declare the other item again."""
        self.declared, self.retired, self.missed = True, "", False

    def undo(self) -> list[str]:
        """Undo the last purge of each target; return what did not come back."""
        said = []
        for node in self.nodes[1:]:
            if not (node.removed and node.is_there):
                continue
            moment = {"stamp": f"{self.stamp:{_STAMP}}", "clock": f"{self.now:{_STAMP}}"}
            result = run_module("tarball_undo", base=str(node.base), days=[node.purged], fail=False, **moment)
            seen = self.seen(node)
            missing = [copy for time, copy in node.removed.items() if time not in seen and time not in node.lost]
            said += [f"{node.name}: {copy.time} was not put back: {result}" for copy in missing]
            back = {
                time: replace(copy, came=node.removed[time].came) for time, copy in seen.items() if time in node.removed
            }
            node.known.update(back)
            node.removed = {}
        return said

    # Faults of nodes

    def rot(self, node: Node, chance: float) -> None:
        """Change a byte of one of a node's copies, and so of all that share it."""
        paths = sorted(self._tarballs(node))
        if paths and node.is_there:
            path = paths[int(chance * len(paths))]
            inode, digest = path.stat().st_ino, _mark(path, _digest(path))
            data = bytearray(path.read_bytes())
            data[int(chance * len(data))] ^= 1
            with path.open("r+b") as stream:
                stream.write(data)
            shared = [_time(other) for other in paths if other.stat().st_ino == inode]
            node.rotten.update({time: (node.known[time], digest) for time in shared if time in node.known})
            node.rotted = self.real + READ_WITHIN

    def forge(self, chance: float, *, ahead: bool = False) -> None:
        """Put a copy into the source's past, or into its future, as an intruder."""
        days = timedelta(days=1 + int(chance * 400))
        when = (self.real + days if ahead else self.real - days) + timedelta(seconds=7)  # not to the second of a run
        path = self.source.base / self.item / f"{when:{_STAMP}}" / self._filename()
        if not path.parent.exists() and self.source.is_there:
            data = f"forged {when}".encode()
            put(self.source.base, str(path.relative_to(self.source.base)), data)
            self.truth[hashlib.sha256(data).hexdigest()] = (-len(self.truth) - 1, "")

    def replace_disk(self, node: Node) -> None:
        """Replace a node's disk by an empty one with a marker."""
        if node.is_there:
            node.lost.update(node.known)
            shutil.rmtree(node.top)
            mark(node)
            node.known, node.removed, node.rotted, node.rotten, node.others = {}, {}, None, {}, set()
            node.confirmed, node.touched = node.rules, True
            if node is self.source:
                self._origin_lost()
                self.compared = False
                if self.bad:
                    self.change(10**6 + len(self.truth))
            else:
                node.replaced = "is not what it was" if node.paired else ""

    def _origin_lost(self) -> None:
        """Adjust the state of the targets, whose copies came from the lost base: they know no other, and the new one does not know them."""
        for node in self.nodes[1:]:
            node.paired = False
            if node.known:
                node.replaced = "holds the copies of another source|is not what it was"

    def take_snapshot(self, node: Node) -> None:
        """Copy a target's disk."""
        if node is not self.source and node.is_there and not node.lost:
            path = self.folder / f"snapshot-{node.name}"
            shutil.rmtree(path, ignore_errors=True)
            copy_tree(node.top, path)
            node.snapshot = path, dict(node.known), node.confirmed

    def restore_snapshot(self, node: Node) -> None:
        """Restore the copy of a target's disk."""
        if node.snapshot and node.is_there:
            path, known, confirmed = node.snapshot
            differs = set(known) != set(node.known)
            node.lost.update(set(node.known) - set(known))
            shutil.rmtree(node.top)
            copy_tree(path, node.top)
            node.known = {time: self._again(copy) for time, copy in known.items()}
            node.removed, node.others, node.rotted, node.rotten = {}, set(), None, {}
            node.confirmed, node.touched = _most(confirmed, node.rules), True
            if differs and node.paired and set(node.lost) - set(known):
                node.replaced = node.replaced or "is not what it was"

    # A night

    def night(
        self, after: timedelta, *, jump: timedelta = timedelta(0), back: timedelta = timedelta(0), rerun: bool = False
    ) -> list[str]:
        """Advance the time and run the whole chain, twice if requested; return what the model finds wrong.

        The controller's clock is wrong by `jump`; the stamp is set by hand, `back` earlier.
        """
        self.real += after
        self.now = self.real + jump
        self.stamp = self.now - back
        said: list[str] = []
        for again in (False, True) if rerun else (False,):
            before = {node.name: dict(node.known) for node in self.nodes}
            chain = self._run(jump)
            said += [f"{'rerun: ' if again else ''}{text}" for text in self._judged(chain, before, jump)]
            self.kill_after = 0
        for node in self.nodes:
            node.away = False
            plug(node, there=True)
        self.confirming = self.adopting = self.gone = False
        return said

    def _run(self, jump: timedelta) -> Chain:
        chain = Chain(self._asked(jump), self.nodes)
        epoch = self.real.replace(tzinfo=UTC).timestamp()
        clock = SimpleNamespace(time=lambda: epoch)
        with contextlib.ExitStack() as stack:
            stack.enter_context(mock.patch(f"{_CORE}modules.tarball_purge.time", clock))
            for name, instead in _MACHINE.items():
                stack.enter_context(mock.patch(f"{_CORE}{name}", instead))
            if self.gone:
                stack.enter_context(self.live.gone())
            for node in self.nodes:
                plug(node, there=not node.unplugged)
            try:
                chain.run()
            except Killed:
                chain.failures.append(KILLED)
        self.told = list(dict.fromkeys(chain.failures))
        self._learn(behind=jump < timedelta(0))
        return chain

    def _asked(self, jump: timedelta) -> Asked:
        """Return the parameters of tonight's run."""
        items = {
            self.item: {**self.live.item(), **({"full_every": self.full_every} if self.full_every > 1 else {})},
            OTHER: {"kind": "folder", "name": "old", "path": str(self.folder / "old")},
        }
        return Asked(
            stamp=f"{self.stamp:{_STAMP}}",
            clock=f"{self.now:{_STAMP}}",
            jump=jump.total_seconds(),
            items=items if self.declared else {self.item: items[self.item]},
            marks=self._marks(),
            retired={OTHER: self.retired} if self.retired else {},
            min_copies=self.min_copies,
            confirming=self.confirming,
            adopting=self.adopting,
            steps=self.kill_after,
        )

    def _marks(self) -> dict[str, dict[str, str]]:
        accepted = {self.item: f"{self.accepted:{_STAMP}}"} if self.accepted else {}
        holds = {f"{self.item}/{time:{_STAMP}}": "" for time in self.released}
        holds.update({f"{self.item}/{time:{_STAMP}}": "held" for time in self.holds})
        return {"accepted": accepted, "holds": holds}

    # Observations

    def _learn(self, *, behind: bool) -> None:
        """Note the content of this run's tarball, if it made one.

        In a night whose clock is behind it is compared with what there was at that time, possibly nothing: then it need not be reported.
        """
        self.made = False
        if self.bad and behind and not any("is suspect" in text for text in self.told):
            self.unjudged.add(self.stamp)
        for path in self._tarballs(self.source):
            if f"{self.stamp:{_STAMP}}" in str(path):
                self.truth.setdefault(_mark(path, _digest(path)), (self.content, self.bad))
                self.made = True
                self.compared = self.compared or not self.bad

    def _filename(self) -> str:
        return "notes-1.tar" if self.kind == "svn" else "notes.tar"

    def _tarballs(self, node: Node) -> list[Path]:
        found = node.base.glob(f"{self.item}/*/*/*/*/notes*.tar")
        return [path for path in found if Path(f"{path}.dna").exists()]

    def _others(self, node: Node) -> set[datetime]:
        found = node.base.glob(f"{OTHER}/*/*/*/*/old.tar")
        return {_time(path) for path in found if Path(f"{path}.dna").exists()}

    def seen(self, node: Node) -> dict[datetime, Copy]:
        """Return the copies on a node whose bytes a dump once made, as found on its disk.

        Rotted ones count as long as they are undiscovered. A differential counts with its full tarball; if that was set apart it is lost
        until that comes back.
        """
        found = {}
        paths = self._tarballs(node)
        inodes = {path.stat().st_ino: path for path in paths}
        digests = {inode: _digest(path) for inode, path in inodes.items()}
        marks = {path: _mark(path, digests[path.stat().st_ino]) for path in paths}
        times = {_time(path) for path in paths}
        fulls = {*marks.values(), *(mark for time, (_, mark) in node.rotten.items() if time in times)}
        rotten = {mark for _, mark in node.rotten.values()}
        for path, mark_ in marks.items():
            known, time, needed = self.truth.get(mark_), _time(path), _base_of(path)
            if known and needed and needed not in fulls:
                if needed in rotten:
                    node.rotten.setdefault(time, (self._copy(node, time, *known), mark_))
            elif known:
                found[time] = self._copy(node, time, *known)
                node.rotten.pop(time, None)
            elif time in node.rotten:
                found[time] = self._again(node.rotten[time][0])
        node.digests = {each for each in marks.values() if each in self.truth}
        return found

    def _copy(self, node: Node, time: datetime, content: int, bad: str) -> Copy:
        old = node.known.get(time) or (node.rotten[time][0] if time in node.rotten else None)
        suspect = bool(bad) and time not in self.unjudged and not (self.accepted and time <= self.accepted)
        came = None if node is self.source else (old.came if old else self.stamp)
        return Copy(time, content, suspect, time in self.holds, came)

    def _again(self, copy: Copy) -> Copy:
        """Return a copy with its present marks: accepted, held or released."""
        suspect = copy.suspect and not (self.accepted and copy.time <= self.accepted)
        return replace(copy, suspect=suspect, held=copy.time in self.holds)

    # The expectations of the model

    def _judged(self, chain: Chain, before: Mapping[str, Mapping[datetime, Copy]], jump: timedelta) -> list[str]:
        seen = {node.name: self._look(node) for node in self.nodes}
        held = {**before[SOURCE], **seen[SOURCE]}
        newest = max((time for time in held if time <= self.stamp and time in seen[SOURCE]), default=None)
        having = [node for node in self.nodes[1:] if node.name in chain.usable and newest in seen[node.name]]
        frozen = len(having) < self.min_copies
        said = []
        for node in self.nodes:
            if not node.is_there:
                continue
            night = self._night(node, chain, before[node.name], seen[node.name], jump)
            night.frozen = frozen
            if node is not self.source and node.name in chain.usable and node.name in chain.purged:
                night.offered = [self._again(copy) for copy in held.values() if copy.time in seen[SOURCE]]
                others = [it for it in self.nodes[1:] if it is not node and it.name in chain.usable - chain.doubted]
                for other in others if node.name in chain.refilled else ():
                    night.offered += [self._again(copy) for copy in seen[other.name].values()]
            wrong = [*complaints(night), *self._of_other(node), *self._unhealed(node, chain, seen[node.name])]
            said += [f"{node.name}: {text}" for text in wrong]
        for node in self.nodes:
            if node.is_there:
                after = seen[node.name]
                gone = {time: copy for time, copy in before[node.name].items() if time not in after}
                if node.name in chain.purged:
                    node.removed = {time: copy for time, copy in gone.items() if time not in {*node.lost, *node.rotten}}
                    node.purged = f"{self.now:%Y/%m/%d}"
                node.known, node.lost = after, set()
                node.paired = node.paired or (node.name in chain.pairs_now and SOURCE in chain.purged)
        if not any(node.touched or node.rotten for node in self.nodes):
            said += [f"nothing happened to that disk: {text}" for text in self.told if "is not what it was" in text]
        for node in self.nodes if self.adopting and not chain.killed else ():
            if node.name in chain.purged:
                node.replaced, node.touched = "", False
        return said

    def _look(self, node: Node) -> dict[datetime, Copy]:
        return self.seen(node) if node.is_there else {}

    def _of_other(self, node: Node) -> list[str]:
        """Return what is wrong with the copies of the retired item."""
        gone = set() if self.declared else node.others - self._others(node)
        return [f"{OTHER} of {time} was given up by nobody and is gone" for time in sorted(gone)]

    def _unhealed(self, node: Node, chain: Chain, seen: Mapping[datetime, Copy]) -> list[str]:
        """Return what rotted, was found, and did not come back, though another node has it."""
        found = []
        for when, (copy, digest) in node.rotten.items():
            if when in seen or when > max(self.stamp, self.now):  # copies of the future are not accepted
                continue
            place = (
                node.private / "quarantine" / ("" if node is self.source else SOURCE) / self.item / f"{when:{_STAMP}}"
            )
            others = [other for other in self.nodes if other is not node and other.name in chain.usable]
            if place.exists() and any(digest in other.digests for other in others) and not chain.killed:
                found.append(f"{copy.time} rotted and was not healed, though others have it")
        return found

    def _night(
        self,
        node: Node,
        chain: Chain,
        before: Mapping[datetime, Copy],
        after: Mapping[datetime, Copy],
        jump: timedelta,
    ) -> Night:
        everything = {**{time: self._again(copy) for time, copy in before.items()}, **after}
        came = [copy for time, copy in after.items() if not copy.late and (time not in before or time == self.stamp)]
        lost = [copy for time, copy in everything.items() if time in node.lost or time in node.rotten]
        is_purged = node.name in chain.purged
        if self.confirming and is_purged:
            node.confirmed = node.rules
        else:
            node.confirmed = _most(node.confirmed, node.rules)
        return Night(
            self.stamp,
            node.confirmed,
            list(everything.values()),
            list(after.values()),
            len({copy.time.date() for copy in came}),
            self.told,
            lost,
            alarms=self._alarms(node, chain, after, jump),
            expected=self.content,
            latest=max(self.stamp, self.now),
        )

    def _alarms(self, node: Node, chain: Chain, after: Mapping[datetime, Copy], jump: timedelta) -> list[Alarm]:
        """Return what must be reported: the event, and a word of its report."""
        alarms = [Alarm("a wrong clock", "the clocks are")] if abs(jump) > timedelta(hours=1) else []
        if SOURCE not in chain.usable:
            alarms.append(Alarm("a source that is not there", "is its disk mounted"))
        else:
            alarms += [*self._of_item(node, chain, after), *self._of_disk(node, chain)]
        is_rotten = any(time in after for time in node.rotten)
        if any("does not match its dna" in text for text in self.told):
            node.rotted = None
        elif node.rotted is not None and self.real >= node.rotted and is_rotten and node.name in chain.purged:
            alarms.append(Alarm("rot", "does not match its dna"))
        return [] if chain.killed else alarms

    def _of_item(self, node: Node, chain: Chain, after: Mapping[datetime, Copy]) -> list[Alarm]:
        """Return what must be reported of items and copies."""
        alarms = []
        if self.bad and self.made and self.stamp not in self.unjudged:
            alarms.append(Alarm(self.bad, "is suspect"))
        if self.gone:
            alarms.append(Alarm("live data that is gone", "notes"))
        if node.name in chain.purged and any(time > max(self.stamp, self.now) for time in after):
            alarms.append(Alarm("a stamp that is ahead", "stamped later than"))
        if not self.declared and self.missed and not self.retired:
            alarms.append(
                Alarm("an item that is missed", "declared or found no more|holds the copies of another source")
            )
        return alarms

    def _of_disk(self, node: Node, chain: Chain) -> list[Alarm]:
        """Return what must be reported of a node's disk, and of its rules."""
        alarms = []
        if node.unplugged:
            alarms.append(Alarm("a disk that is not there", "is its disk mounted"))
        if node.replaced and not self.adopting and not node.unplugged:
            alarms.append(Alarm("another disk", node.replaced))
        fell = any(new < old for new, old in zip(node.rules.numbers(), node.confirmed.numbers(), strict=True))
        if fell and (node.name, self.item) in chain.judged:
            alarms.append(
                Alarm(
                    "rules that fell",
                    " fell, (keep|daily) from |^expecting|does not match|the clock of this node allows",
                )
            )
        return alarms


def _time(path: Path) -> datetime:
    return datetime.strptime("/".join(path.parts[-5:-1]), _STAMP)


def _most(one: Rules, other: Rules) -> Rules:
    return Rules(
        *(max(pair) for pair in zip(one.numbers()[:-1], other.numbers()[:-1], strict=True)),
        max(one.within, other.within),
    )  # type: ignore[arg-type]


def _base_of(path: Path) -> str:
    """Return the sha256 of the full tarball that a differential needs, empty for a full one."""
    return str(json.loads(Path(f"{path}.dna").read_text())["base_dig"]) if ".diff." in path.name else ""


def _mark(path: Path, digest: str) -> str:
    """Return the key of a tarball's content; `digest` is its sha256."""
    base = _base_of(path)
    return f"{digest} over {base}" if base else digest


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
