"""A contest: contenders do the same work in turns, each measured from outside."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab import Lab
from lab.host import PATH, Host

from .figures import Figures, Limit, Result
from .meter import Step, measure

if TYPE_CHECKING:
    from .contenders import Nights

SOURCE, TARGET = "dayabay", "cms01"
PACKAGES = {"borg": "borgbackup"}
"""{program: its package in Debian and Ubuntu} where the names differ"""


def nothing() -> dict[str, float]:
    """Do nothing, find nothing."""
    return {}


@dataclass(frozen=True)
class Size:
    """The amount of data, and how often each row is measured."""

    megabytes: int
    revisions: int
    commits: int
    repositories: int
    files: int
    pairs: int
    nights: int
    """Turns of the rows that show what a week of nights stores"""
    trees: tuple[float, ...]
    """Gigabytes of the trees whose digests are verified"""
    gigabytes: tuple[float, ...]
    """Gigabytes of the repositories of nights and first copies"""
    items: tuple[int, ...]
    hosts: tuple[int, ...]
    shares: tuple[float, ...]
    firsts: bool = True
    """Whether nights in which data changed have a first night before them"""


@dataclass
class Contender:
    """One way to do the work: its processes, unmeasured steps before and after each turn, and what it needs."""

    name: str
    steps: Callable[[], Sequence[Step]]
    before: Callable[[], object] = nothing
    after: Callable[[], Figures] = nothing
    """Returns further figures of the turn"""
    profile: Callable[[], Figures] = nothing
    """Returns the seconds of the turn by part"""
    needs: str = ""
    """The program without which it is left out"""


@dataclass
class Contest:
    """Contenders, ours first, and what changes before each turn, for all of them."""

    contenders: Sequence[Contender]
    change: Callable[[], object] = nothing
    first: bool = False
    """Whether each has a separately reported first night, before anything changes"""
    turns: int = 0
    """Least number of turns"""


@dataclass
class Bench:
    """Places of the benchmark: the hosts, the kept data, and a folder of the run."""

    lab: Lab
    size: Size
    store: Path
    folder: Path
    full_every: int = 1
    nights: Nights | None = field(default=None, repr=False)
    """The nights shared by rows of one curve"""
    servers: ExitStack = field(default_factory=ExitStack, repr=False)
    """What runs for a row"""

    @property
    def source(self) -> Host:
        """Return the host whose data are backed up."""
        return self.lab[SOURCE]

    @property
    def target(self) -> Host:
        """Return the host to which they go."""
        return self.lab[TARGET]

    def clear(self) -> None:
        """End and remove what a row has left on the hosts and here."""
        self.servers.close()
        self.nights = None
        for folder in (self.folder, *(host.data for host in self.lab.hosts.values())):
            for path in folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()


@dataclass(frozen=True)
class Row:
    """A row of the table: the work, its contenders, and what is required of ours."""

    key: str
    work: str
    contest: Callable[[Bench], Contest]
    limits: tuple[Limit, ...] = ()
    curve: str = ""
    """Name of its curve; adjacent rows of a curve may share their nights"""
    at: float = 0.0
    """Position on the curve"""


def on(host: Host, title: str, *argv: object, env: Mapping[str, str] | None = None) -> Step:
    """Return the step that is a command on a host, in a clean environment."""
    clean = {"PATH": PATH, "HOME": str(host.home), "USER": host.user, "LANG": "C.UTF-8", **(env or {})}
    return Step(title, host.command([str(word) for word in argv], host.data), clean)


def run_row(row: Row, bench: Bench) -> Result:
    """Measure a row: its contenders in turn, A B A B, the required number of times."""
    result = Result(row.key, row.work, row.limits, row.curve, row.at)
    contest = row.contest(bench)
    present = []
    for contender in contest.contenders:
        if contender.needs and not shutil.which(contender.needs, path=PATH):
            package = PACKAGES.get(contender.needs, contender.needs)
            result.absent[contender.name] = f"{contender.needs} is not installed: install the package {package}"
        else:
            present.append(contender)
    if contest.first:
        for contender in present:
            result.first[contender.name], _ = _turn(contender, bench)
    for _ in range(max(bench.size.pairs, contest.turns)):
        contest.change()
        for contender in present:
            figures, parts = _turn(contender, bench)
            result.turns.setdefault(contender.name, []).append(figures)
            result.parts.setdefault(contender.name, []).append(parts)
    return result


def _turn(contender: Contender, bench: Bench) -> tuple[Figures, Figures]:
    """Measure one turn of a contender; return its figures, and its seconds by part."""
    contender.before()
    figures, parts = measure(contender.steps(), bench.lab, bench.folder / "output.log")
    return {**figures, **contender.after()}, {**parts, **contender.profile()}
