"""A source, its targets and their disks, over nights that a clock of its own counts; what runs there are the modules themselves."""

from __future__ import annotations

import hashlib
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from helpers.original_trees import marked, put, run_module

from .model import Copy, Night, Rules, complaints

ITEM = "folders/notes"
FILES = 30
"""Files of the item, each with text that a person could have written"""
READ_WITHIN = timedelta(days=8)
"""In what time each kept copy is read"""
_STAMP = "%Y/%m/%d/%H%M%S"
_WORDS = (
    "the",
    "source",
    "keeps",
    "what",
    "a",
    "target",
    "lost",
    "and",
    "nobody",
    "missed",
    "until",
    "it",
    "was",
    "read",
    "again",
)


def text_of(number: int, file: int) -> str:
    """Return the text of one file of a content; contents have half of their files in common."""
    chance = random.Random(file if file % 2 else f"{number}-{file}")
    return " ".join(chance.choice(_WORDS) for _ in range(40)) + "\n"


@dataclass
class Node:
    """A node with the item's copies."""

    name: str
    base: Path
    """The folder of the item's source on it"""
    rules: Rules
    trash_days: int
    private: Path
    confirmed: Rules = field(default_factory=Rules)
    """The most that was asked for since less was confirmed"""
    away: bool = False
    known: dict[datetime, Copy] = field(default_factory=dict)
    """What was there after the last run, as it was seen on the disk"""
    lost: set[datetime] = field(default_factory=set)
    rotted: datetime | None = None
    """Until when it must be told that something rotted"""
    """What something else took away or damaged since"""


@dataclass
class World:
    """All of it, and the truth about what each tarball holds."""

    folder: Path
    targets: int = 1
    now: datetime = datetime(2013, 1, 1, 1, 30)  # noqa: DTZ001 (stamps bear no zone)
    content: int = 0
    bad: str = ""
    """What happened to the live data, if anything did"""
    truth: dict[str, tuple[int, str]] = field(default_factory=dict)
    """{sha256 of a tarball: (content, what had happened to it)}"""
    accepted: datetime | None = None
    """Up to when suspects are accepted"""
    holds: set[datetime] = field(default_factory=set)
    source: Node = field(init=False)
    nodes: list[Node] = field(init=False)
    told: list[str] = field(default_factory=list)
    """What the last run reported"""
    confirming: bool = False
    """Whether somebody confirms that rules fell"""

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.live = self.folder / "live"
        self.live.mkdir(parents=True)
        base = marked(self.folder / "source")
        self.source = Node("dayabay", base, Rules(3), 0, base / ".altbackup")
        copies = [marked(self.folder / f"target{n}") for n in range(self.targets)]
        more = Rules(3, 7, 4, 6, 0, timedelta(days=1))
        self.nodes = [
            self.source,
            *(Node(path.name, path / "dayabay", more, 2, path / ".altbackup") for path in copies),
        ]
        for node in self.nodes:
            node.confirmed = node.rules

    def live_on(self, content: int, bad: str = "") -> None:
        """Let the live data be of a content, or what something did to it."""
        self.content, self.bad = content, bad
        for path in self.live.iterdir():
            path.unlink()
        for file in range(1 if bad == "unmounted" else FILES):
            data = text_of(content, file).encode()
            if bad == "ransom":
                data = random.Random(f"{content}-{file}").randbytes(len(data))
            (self.live / f"{file:02}.txt").write_bytes(data)

    def accept(self) -> None:
        """Let somebody accept all suspects that are there: what they hold is good from now on."""
        self.accepted, self.bad = self.now, ""
        self.truth = {digest: (content, "") for digest, (content, _) in self.truth.items()}

    def hold(self, chance: float) -> None:
        """Let somebody hold one of the copies of the source."""
        times = sorted(self.source.known)
        if times:
            self.holds.add(times[int(chance * len(times))])

    def rot(self, node: Node, chance: float) -> None:
        """Let a byte of one of a node's copies, and of all that share it, change."""
        paths = sorted(self._tarballs(node))
        if paths:
            path = paths[int(chance * len(paths))]
            inode = path.stat().st_ino
            data = bytearray(path.read_bytes())
            data[int(chance * len(data))] ^= 1
            with path.open("r+b") as stream:
                stream.write(data)
            shared = [other for other in paths if other.stat().st_ino == inode]
            node.lost.update(_time(other) for other in shared)
            node.rotted = self.now + READ_WITHIN

    def forge(self, chance: float) -> None:
        """Let somebody who took the source over put a copy into its past."""
        time = self.now - timedelta(days=1 + int(chance * 400))
        path = self.source.base / ITEM / f"{time:{_STAMP}}" / "notes.tar"
        if not path.exists():
            data = f"forged {time}".encode()
            put(self.source.base, str(path.relative_to(self.source.base)), data)
            self.truth[hashlib.sha256(data).hexdigest()] = (-len(self.truth), "")

    def night(self, after: timedelta) -> list[str]:
        """Let time go on and the whole chain run; return what the model has to say of it."""
        self.now += after
        before = {node.name: dict(node.known) for node in self.nodes}
        self.told = self._chain()
        said = []
        for node in self.nodes:
            if not node.away:
                said += [f"{node.name}: {text}" for text in self._judged(node, before[node.name])]
        return said

    def _moment(self) -> dict[str, str]:
        stamp = f"{self.now:{_STAMP}}"
        return {"stamp": stamp, "clock": stamp}

    def _marks(self) -> dict[str, Any]:
        accepted = {ITEM: f"{self.accepted:{_STAMP}}"} if self.accepted else {}
        return {"accepted": accepted, "holds": {f"{ITEM}/{time:{_STAMP}}": "held" for time in self.holds}}

    def _chain(self) -> list[str]:
        failures: list[str] = []
        moment, marks = self._moment(), self._marks()

        def call(module: str, node: Node, **options: Any) -> dict[str, Any]:
            result = run_module(module, base=str(node.base), fail=False, **moment, **options)
            failures.extend(entry["reason"] for entry in result.get("failures", []))
            if result.get("failed"):
                failures.append(result["msg"])
            return result

        source = self.source
        items = [{"kind": "folder", "name": "notes", "path": str(self.live)}]
        expect = {"expect": {"notes": 1}, "items": [ITEM], "source": "dayabay", "day": moment["stamp"][:10]}
        call("tarball_dump", source, items=items, ext=".tar", marks=marks)
        self._learn()
        checked = call("tarball_check", source, **expect, listing=True, quarantine=True, reverify_days=7)
        bad = {entry["relpath"] for entry in checked.get("failures", [])}
        offer = [
            {name: entry.get(name) for name in ("relpath", "size", "dig", "alg", "record")}
            for entry in checked.get("tarballs", [])
            if entry["state"] == "verified" and entry["relpath"] not in bad
        ]
        passed = _passed(checked)
        arrived = 0
        for node in self.nodes[1:]:
            if node.away:
                failures.append(f"{node.name} is unreachable")
                continue
            rules = _as_options(node.rules)
            prepared = call(
                "tarball_prepare", node, tarballs=offer, day=expect["day"], marks=marks, items=[ITEM], **rules
            )
            wanted = [entry for entry in offer if entry["relpath"] in prepared.get("send", [])]
            for entry in wanted:
                incoming = node.private / "incoming" / "dayabay"
                incoming.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.base / entry["relpath"], incoming / f"{entry['alg']}-{entry['dig']}")
            if wanted:
                call("tarball_accept", node, tarballs=wanted)
            result = call(
                "tarball_purge",
                node,
                **_as_options(node.rules),
                names=[ITEM],
                marks=marks,
                more={"check": expect},
                quarantine=True,
                reverify_days=7,
                trash_days=node.trash_days,
                confirm=self.confirming,
                copies={ITEM: 1},
                min_copies=1,
                remember=True,
            )
            arrived += moment["stamp"] in str(result.get("match"))
        call(
            "tarball_purge",
            source,
            **_as_options(source.rules),
            names=[ITEM] if passed else [],
            marks=marks,
            reverify_days=7,
            trash_days=source.trash_days,
            confirm=self.confirming,
            copies={ITEM: arrived},
            min_copies=1,
            remember=True,
        )
        return failures

    def _learn(self) -> None:
        """Note what the tarball of this run holds, as it was just made."""
        for path in self._tarballs(self.source):
            if f"{self.now:{_STAMP}}" in str(path):
                self.truth.setdefault(_digest(path), (self.content, self.bad))

    def _tarballs(self, node: Node) -> list[Path]:
        return [path for path in node.base.glob(f"{ITEM}/*/*/*/*/notes.tar") if Path(f"{path}.dna").exists()]

    def seen(self, node: Node) -> dict[datetime, Copy]:
        """Return the copies on a node whose bytes are those that a dump once made, by a look at its disk."""
        found = {}
        for path in self._tarballs(node):
            known = self.truth.get(_digest(path))
            if known:
                found[_time(path)] = self._copy(node, _time(path), *known)
        return found

    def _copy(self, node: Node, time: datetime, content: int, bad: str) -> Copy:
        old = node.known.get(time)
        suspect = bool(bad) and not (self.accepted and time <= self.accepted)
        came = None if node is self.source else (old.came if old else self.now)
        return Copy(time, content, suspect, time in self.holds, came)

    def _judged(self, node: Node, before: Mapping[datetime, Copy]) -> list[str]:
        after = self.seen(node)
        everything = {**{time: self._again(copy) for time, copy in before.items()}, **after}
        came = [copy for time, copy in after.items() if time not in before and not copy.late]
        lost = [copy for time, copy in everything.items() if time in node.lost]
        if self.confirming:
            node.confirmed = node.rules
        else:
            node.confirmed = _most(node.confirmed, node.rules)
        night = Night(
            self.now,
            node.confirmed,
            list(everything.values()),
            list(after.values()),
            len({copy.time.date() for copy in came}),
            self.told,
            lost,
            node is self.source and all(other.away for other in self.nodes[1:]),
            self._alarms(node),
            None if self.bad else self.content,
        )
        node.known, node.lost = after, set()
        return complaints(night)

    def _alarms(self, node: Node) -> list[str]:
        fell = any(new < old for new, old in zip(node.rules.numbers(), node.confirmed.numbers(), strict=True))
        late = node.rotted is not None and self.now >= node.rotted
        if self.told:
            node.rotted = None
        return [*([self.bad] if self.bad else []), *(["rules fell"] if fell else []), *(["rot"] if late else [])]

    def _again(self, copy: Copy) -> Copy:
        """Return a copy as it is to be seen now: accepted, held or released since."""
        suspect = copy.suspect and not (self.accepted and copy.time <= self.accepted)
        return replace(copy, suspect=suspect, held=copy.time in self.holds)


def _time(path: Path) -> datetime:
    return datetime.strptime("/".join(path.parts[-5:-1]), _STAMP)


def _most(one: Rules, other: Rules) -> Rules:
    return Rules(
        *(max(pair) for pair in zip(one.numbers()[:-1], other.numbers()[:-1], strict=True)),
        max(one.within, other.within),
    )  # type: ignore[arg-type]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _as_options(rules: Rules) -> dict[str, Any]:
    names = ("daily", "weekly", "monthly", "yearly")
    return {
        "keep": rules.keep,
        "rules": {**{name: getattr(rules, name) for name in names}, "within": rules.within.total_seconds()},
    }


def _passed(checked: Mapping[str, Any]) -> bool:
    return not any(checked.get(kind) for kind in ("mismatch", "missing", "malformed")) and bool(checked.get("match"))
