"""The pairs of a site over the lab as the checker sees them: their former state, what is wrong now, what a rerun moved."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.invariants import (
    TEMPORARY,
    Bytes,
    Tree,
    differences,
    final_files,
    last_links,
    surroundings,
    tree_of,
    unhealed,
    verified,
    violations,
)
from integration.lab_site import LabSite, plant
from integration.site import Run
from lab.host import Host
from lab.processes import Running

OLDER = "2013/05/06/104701"
"""Stamp of a night before everything that tests do"""
SLACK = 4_000_000
"""Most bytes that one run's module calls take on a host's link"""
PAYLOADS = 1_400_000
"""Most bytes that the module calls for one source take on a target's link when it synchronizes"""


@dataclass
class Pairs:
    """The targets of each source, and what was verified there at the last look."""

    site: LabSite
    targets: Mapping[str, list[str]]
    before: dict[str, tuple[dict[str, Bytes], dict[str, str]]] = field(default_factory=dict)
    outside: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self._hosts():
            place = self.site.lab[name].outside(self.site.place(name))
            (place / "copies-of-others").mkdir(exist_ok=True)
            for path in (place / "beside", place / "copies-of-others" / "one"):
                path.write_text("somebody else's")
        self.look()

    def _hosts(self) -> list[str]:
        return sorted({*self.targets, *(name for names in self.targets.values() for name in names)})

    def source(self, name: str) -> Tree:
        """Return a source's tree."""
        base = self.site.lab[name].outside(self.site.tree(name))
        return Tree(base, base)

    def target(self, source: str, name: str) -> Tree:
        """Return a source's tree on a target."""
        base = self.site.lab[name].outside(self.site.tree(source, name))
        return Tree(base, base.parent)

    def trees(self) -> dict[str, Tree]:
        """Return all trees, each under the name of its pair."""
        pairs = {
            f"{source} -> {name}": self.target(source, name) for source, names in self.targets.items() for name in names
        }
        return {**{source: self.source(source) for source in self.targets}, **pairs}

    def look(self) -> None:
        """Remember what is verified now, and what surrounds the bases."""
        self.before = {name: (verified(tree.base), last_links(tree.base)) for name, tree in self.trees().items()}
        self.outside = self._surroundings()

    def _surroundings(self) -> dict[str, Any]:
        found = {}
        for name in self._hosts():
            place = self.site.lab[name].outside(self.site.place(name))
            found[name] = surroundings(place, [place / "backup", place / "copies"])
        return found

    def wrong(
        self,
        *,
        healed: bool = False,
        removable: Collection[str] = (),
        once: str = "",
        whole: Mapping[str, Bytes] | None = None,
    ) -> list[str]:
        """Return the violated invariants; `whole` is by default what the sources have.

        What is removable must be there as long as there is no verified tarball of the stamp `once`.
        """
        found = []
        trees = self.trees()
        good = {name: verified(tree.base) for name, tree in trees.items()}
        for name, tree in trees.items():
            before, lasts = self.before[name]
            sent = good[name.partition(" -> ")[0]]
            known = whole if whole is not None else sent
            replaced = not once or any(f"/{once}/" in relpath for relpath in good[name])
            due = removable if replaced else ()
            found += violations(tree, before=before, lasts=lasts, whole=known, removable=due)
            found += unhealed(tree) if healed else []
            found += [
                f"other bytes: {name}: {relpath} is {content}, and on the source {sent[relpath]}"
                for relpath, content in good[name].items()
                if sent.get(relpath, content) != content
            ]
        now = self._surroundings()
        return found + [f"outside of the bases of {name}: changed" for name in now if now[name] != self.outside[name]]

    def shape(self, source: str, target: str) -> dict[str, str]:
        """Return the contents of a source's tree on a target."""
        own = (f"{source}/", f".altbackup/records/{source}/")
        return {path: what for path, what in tree_of(self.target(source, target).top).items() if path.startswith(own)}

    def differences(self, source: str, target: str, reference: str) -> list[str]:
        """Return how a target's copy of a source differs from an undisturbed one."""
        shapes = [self.shape(source, name) for name in (target, reference)]
        assert shapes[1], f"{reference} has nothing of {source}"
        return differences(*shapes)

    def arriving(self, source: str, target: str) -> list[Path]:
        """Return the files that are arriving on a target."""
        return list((self.target(source, target).top / ".altbackup/incoming" / source).glob("*-*"))

    def arrived(self, source: str, target: str) -> int:
        """Return the bytes of a source's tarballs that arrived on a target since the last look, under any name."""
        base = self.target(source, target).base
        known, _ = self.before[f"{source} -> {target}"]
        published = [path for path in final_files(base) if str(path.relative_to(base)) not in known]
        moved = base.glob(f"*/*/*/*/*/*/{TEMPORARY}*")
        tarballs = [path for path in published if path.suffix != ".dna"]
        return sum(map(size_of, (*self.arriving(source, target), *moved, *tarballs)))


def size_of(path: Path) -> int:
    """Return the size of a file that may just have been renamed, 0 if it is gone."""
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def plant_older(site: LabSite, source: str, target: str = "") -> None:
    """Add a small tarball of an earlier night to a source, or to its tree on a target, which must stay untouched."""
    tree = site.lab[target or source].outside(site.tree(source, target))
    plant(tree, "folders/notes", OLDER, f"an older night of {source}\n".encode())


def said(run: Run, where: str, words: str = "") -> str:
    """Return a run's exit code and its message on a node or pair that contains these words, for the table."""
    lines = reason(run.message, where).splitlines()
    shown = [line for line in lines if words in line and not line.endswith(" failures:")]
    assert shown, f"{words!r} is not said of {where}: {run.message}"
    return f"rc {run.rc}: {short(shown[0])}"


def reason(message: str, where: str) -> str:
    """Return the failure of a node or pair in the last task's message."""
    found = re.search(rf"^(?:  \d+\. )?{re.escape(where)}: (.+(?:\n    .+)*)", message, re.MULTILINE)
    assert found, f"nothing is said of {where}: {message}"
    return found.group(1)


def short(text: str) -> str:
    """Return a message without what differs from run to run, short enough for a table."""
    text = re.sub(r"/(?:[\w.@ -]+/)+", ".../", text)
    text = re.sub(r"\b[0-9a-f]{32,}\b", lambda match: match.group()[:8] + "...", text)
    text = re.sub(r"\d+\.\d+\.\d+\.\d+", "ADDRESS", re.sub(r"\s+", " ", text))
    return text if len(text) <= 230 else f"{text[:227]}..."


def of_program(host: Host, *words: str) -> list[Running]:
    """Return the processes of a host whose command line contains all these words."""
    return [it for it in host.processes() if all(word in " ".join(it.argv) for word in words)]


def await_that(condition: Callable[[], object], what: str, seconds: float = 60, pause: float = 0.02) -> None:
    """Wait until a condition holds, checking every `pause` seconds; fail after some seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not happen within {seconds:g} s"
        time.sleep(pause)
