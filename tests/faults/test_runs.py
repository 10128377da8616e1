"""Whole runs that are killed, at the controller, at a node or at both, and runs that meet: the next one does what is missing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults.conftest import Row
from faults.invariants import MARKER, TEMPORARY, differences, tree_of, verified
from faults.pairs import SLACK, Pairs, await_that, short, size_of
from integration.lab_site import DAY1, DAY2, LabSite, command, environment, plant, renew_sessions, repaired, when
from integration.site import REPOSITORY, item_of
from lab import Lab
from lab.host import Host
from lab.lab_fixture import lab_fixture, needs_namespaces
from lab.processes import Running

pytestmark = [needs_namespaces, pytest.mark.full]

BULK = 30_000_000
RATE = 10_000_000
OLD = 300
"""Nights, of which a killed purge must have removed some and not all"""
FORMER = "folders/former"
NODES = ("dayabay", "cms01")
PAYLOADS = "payloads"
"""The temporary folder of both nodes: Ansible unpacks a module there at its start, and removes it at its end"""
sites = lab_fixture(["dayabay", "cms01", "ntu"], sources=["dayabay", "cms01", "ntu"])


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A source with a larger folder and a target; one night is done, and the folder has changed since."""
    with repaired(sites, tmp_path) as site:
        site.add_source(
            "dayabay", altbackup_targets=["cms01"], altbackup_keep=1, altbackup_retired={FORMER: "2013/05/01"}
        )
        site.add_target("cms01", altbackup_keep=1)
        for tree in (site.tree("dayabay"), site.tree("dayabay", "cms01")):
            plant(tree, FORMER, "2013/05/01/104701", b"of an item that is none any more: nothing removes it")
        first = site.run("backup", stamp=DAY1)
        assert first.rc == 0, first.stdout
        (site.live_of("dayabay") / "notes" / "bulk").write_bytes(os.urandom(BULK))
        (site.folder / PAYLOADS).mkdir()
        for name in NODES:
            renew_sessions(sites[name], [f"TMPDIR={site.folder / PAYLOADS}"])
        yield site


@dataclass
class Started:
    """A run of a playbook as a process of its own."""

    process: subprocess.Popen[str]
    output: Path

    @property
    def said(self) -> str:
        """The output so far."""
        return self.output.read_text(errors="replace")

    def end(self, seconds: float = 180) -> int:
        """Wait for its end; return its exit code."""
        return self.process.wait(seconds)


def start(site: LabSite, stamp: str, number: int = 1, host: Host | None = None) -> Started:
    """Start a backup, on the controller or on a host of the lab as another controller."""
    output = site.folder / f"output{number}"
    extra = {"altbackup_stamp": stamp}
    if host is not None:
        extra["ansible_control_path_dir"] = "/run/ansible"  # its own, with a short path
        host.run(["mkdir", "-p", extra["ansible_control_path_dir"]], check=True)
    words = command(site, "ansible-playbook", str(REPOSITORY / "playbooks/backup.yml"), "-e", json.dumps(extra))
    with open(output, "w") as stream:
        if host is not None:
            return Started(host.popen(words, env=environment(), stdout=stream, stderr=stream), output)
        process = subprocess.Popen(
            words,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
            text=True,
        )
        return Started(process, output)


def children_of(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def kill(pids: Sequence[int]) -> None:
    """Kill processes, some of which may have ended."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def has_worked(module: str, pairs: Pairs) -> Callable[[], bool]:
    """Return a function that tells whether a module has begun its main work, and not ended it.

    Preflight changes nothing, and prepare takes no time: they are killed as soon as they run.
    """
    source, target = pairs.source("dayabay").base, pairs.target("dayabay", "cms01").base
    tonight = target / "folders/notes" / DAY2

    def dumping() -> bool:
        return any(size_of(path) for path in (source / MARKER / "tmp").glob(f"{TEMPORARY}*"))

    def sending() -> bool:
        return BULK // 4 < sum(map(size_of, pairs.arriving("dayabay", "cms01"))) < BULK

    def accepting() -> bool:
        return any(size_of(path) > BULK for path in tonight.glob(f"{TEMPORARY}*-notes.tar.zst"))

    def purging() -> bool:
        return 0 < len(os.listdir(source / "folders/notes/2013/04/01")) < OLD

    works = {
        "tarball_dump": dumping,
        "tarball_send": sending,
        "tarball_accept": accepting,
        "tarball_purge": purging,
    }
    return works.get(module, lambda: True)


def signal_all(processes: Sequence[Running], number: int) -> None:
    """Send a signal to processes, some of which may have ended."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def stop(processes: Sequence[Running]) -> None:
    """Stop processes, and wait until they have stopped."""
    signal_all(processes, signal.SIGSTOP)
    await_that(lambda: all(state_of(it.pid) in ("T", "Z", "") for it in processes), "a stop", pause=0.001)


def state_of(pid: int) -> str:
    """Return the letter of a process's state, an empty text if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@contextmanager
def killed_at(module: str, victims: str, pairs: Pairs) -> Iterator[Started]:
    """Start a backup, and kill it (`controller`), a module on its node, or both, when that module has done a part of its work.

    The module is stopped first, so that its work so far can be checked when the first of them dies, and afterwards.
    """
    site = pairs.site
    run = start(site, DAY2)
    whole: list[int] = []
    worked = has_worked(module, pairs)

    workers: list[Running] = []
    known: list[Path] = []

    def seen() -> bool:
        if (unpacked := payloads(site, module)) != known:
            known[:], workers[:] = unpacked, pythons(site)
        return run.process.poll() is not None or bool(known and worked())

    try:
        await_that(seen, f"the work of {module}", 120, pause=0.001)
        stop(workers)
        assert run.process.poll() is None, f"it was over before it could be killed: {run.said}"
        assert payloads(site, module) and worked(), f"{module} was over before it could be killed"
        assert [it for it in workers if state_of(it.pid) == "T"], f"it is not {module} that is stopped"
        if victims != "module":
            whole.extend(children_of(run.process.pid))
            kill([run.process.pid])
        if victims == "controller":
            signal_all(workers, signal.SIGCONT)
        else:
            signal_all(workers, signal.SIGKILL)
            assert worked(), "what was killed removes nothing"
            assert payloads(site, module), "what was killed removes nothing"
        rc = run.end()
        assert rc != 0, f"what was killed was not missed: {run.said}"
        yield run
    finally:
        kill([*children_of(run.process.pid), *whole] if run.process.poll() is None else whole)
        run.process.wait(30)


@contextmanager
def kept(site: LabSite, folder: Path) -> Iterator[Callable[[], None]]:
    """Keep copies of the trees; yield a function that restores them."""
    places = [site.tree("dayabay"), site.place("cms01") / "copies"]
    copies = [folder / f"kept{number}" for number in range(len(places))]
    for place, copy in zip(places, copies, strict=True):
        subprocess.run(["cp", "-a", "--", place, copy], check=True)

    def restore() -> None:
        for place, copy in zip(places, copies, strict=True):
            shutil.rmtree(place)
            subprocess.run(["cp", "-a", "--", copy, place], check=True)

    yield restore


def plant_old_nights(site: LabSite) -> None:
    """Give the source many nights to be purged, so that a purge takes a while."""
    base = site.tree("dayabay")
    for number in range(OLD):
        plant(base, "folders/notes", f"2013/04/01/{number // 60:04}{number % 60:02}", b"old")
    last = base / "folders/notes/last"
    last.unlink()
    last.symlink_to(DAY1)


def nights_due(pairs: Pairs) -> list[str]:
    """Return the tarballs on the source, and on the target, that a purge at the end of the next night must remove."""
    return [relpath for relpath in verified(pairs.source("dayabay").base) if relpath.startswith("folders/notes/")]


@pytest.mark.parametrize(
    ("victims", "modules"),
    [
        ("controller", ["preflight", "tarball_dump", "tarball_prepare", "tarball_send"]),
        ("module", ["tarball_dump", "tarball_send", "tarball_accept"]),
        ("both", ["tarball_dump", "tarball_accept", "tarball_purge"]),
    ],
)
def test_whole_run_killed(
    lab_site: LabSite, victims: str, modules: list[str], add_row: Callable[[Row], None], tmp_path: Path
) -> None:
    pairs = Pairs(lab_site, {"dayabay": ["cms01"]})
    with kept(lab_site, tmp_path) as restore:
        undisturbed = lab_site.run("backup", stamp=DAY2)
        assert undisturbed.rc == 0, undisturbed.stdout
        shapes = all_shapes(pairs)
        whole = verified(pairs.source("dayabay").base)
        rows = []
        for module in modules:
            restore()
            for left in (lab_site.folder / PAYLOADS).iterdir():
                shutil.rmtree(left)
            if module == "tarball_purge":
                plant_old_nights(lab_site)
            if module == "tarball_send":
                lab_site.lab["cms01"].limit_rate(RATE)
            pairs.look()
            due = nights_due(pairs)
            removable = due if victims == "module" or module == "tarball_purge" else ()  # else it never came to a purge
            with killed_at(module, victims, pairs) as killed:
                lab_site.lab["cms01"].limit_rate(None)
                await_that(lambda: not at_work(lab_site), "the end of what was left", 60)
                assert pairs.wrong(removable=removable, once=DAY2, whole=whole) == [], (victims, module)
                arrived = pairs.arrived("dayabay", "cms01")
                received = lab_site.lab["cms01"].bytes_received()
                again = lab_site.run("backup", stamp=DAY2)
            assert again.rc == 0, f"{victims}, {module}: {again.stdout}"
            assert pairs.wrong(healed=True, removable=due, once=DAY2) == [], (victims, module)
            waiting = due if module == "tarball_purge" else ()  # a run removes two of them at most
            assert unlike(pairs, shapes, waiting) == [], (victims, module)
            moved = lab_site.lab["cms01"].bytes_received() - received
            assert moved < 1.1 * max(0, BULK - arrived) + SLACK, (victims, module, moved, arrived)
            name = {"controller": "ansible-playbook", "module": module, "both": f"{module} and ansible-playbook"}[
                victims
            ]
            seen = f"rc {killed.process.returncode}"
            if victims == "module":
                seen += f": {short(re.findall('dayabay.*: (.* killed by SIGKILL .*)', killed.said)[0])}"
            fault = f"kill -9 of {name} at {module}"
            rows.append(Row(fault, seen, bytes=f"{moved / 1e6:.1f} of {BULK / 1e6:.0f} MB"))
    for row in rows:
        add_row(row)


def all_shapes(pairs: Pairs) -> list[dict[str, str]]:
    """Return the contents of the source and of its tree on the target."""
    return [tree_of(tree.top) for tree in pairs.trees().values()]


def unlike(pairs: Pairs, shapes: Sequence[dict[str, str]], waiting: Sequence[str] = ()) -> list[str]:
    """Return how the trees differ from those after an undisturbed run, but in which tarballs were read when, and in those `waiting` to be purged."""
    skipped = {
        "/readings",
        *(str(Path(relpath).parent) for relpath in waiting),
        *([": folder, undisturbed None"] if waiting else ()),
    }
    lines = [line for now, then in zip(all_shapes(pairs), shapes, strict=True) for line in differences(now, then)]
    return [line for line in lines if not any(part in line for part in skipped)]


def payloads(site: LabSite, module: str) -> list[Path]:
    """Return the folders of modules at work on a node, or killed there."""
    return list((site.folder / PAYLOADS).glob(f"ansible_*.{module}_payload_*"))


def pythons(site: LabSite) -> list[Running]:
    """Return the processes of modules on the nodes: Ansible hands them to Python by its stdin."""
    hosts = [site.lab[name] for name in NODES]
    return [it for host in hosts for it in host.processes() if it.argv == (host.python,)]


def at_work(site: LabSite) -> list[Running]:
    """Return the processes of modules and transfers on the nodes."""
    return [*pythons(site), *(it for name in NODES for it in site.lab[name].processes("rsync"))]


@pytest.mark.parametrize("second", ["the same controller", "another controller"])
def test_two_whole_runs_at_once(lab_site: LabSite, second: str, add_row: Callable[[Row], None]) -> None:
    pairs = Pairs(lab_site, {"dayabay": ["cms01"]})
    due = nights_due(pairs)
    lab_site.lab["cms01"].limit_rate(6_000_000)  # so that neither is over before the other has begun
    runs = [
        start(lab_site, DAY2),
        start(lab_site, DAY2, 2, lab_site.lab["ntu"] if second == "another controller" else None),
    ]
    ends = [run.end() for run in runs]
    assert sorted(map(bool, ends)) == [False, True], [run.said for run in runs]
    loser = runs[ends.index(next(filter(None, ends)))]
    assert "is in use by another run" in loser.said, loser.said
    assert pairs.wrong(healed=True, removable=due, once=DAY2) == []
    assert len(item_of(lab_site.tree("dayabay", "cms01"), "folder", "notes")) == 1, "done, and purged"
    lab_site.lab["cms01"].limit_rate(None)
    received = lab_site.lab["cms01"].bytes_received()
    again = lab_site.run("backup", stamp=DAY2)
    assert again.rc == 0, again.stdout
    assert not again.changed
    line = next(line for line in loser.said.splitlines() if "is in use by another run" in line)
    moved = lab_site.lab["cms01"].bytes_received() - received
    assert moved < SLACK
    seen = f"rc 0 and {max(ends)}: {short(line.partition('is in use')[1] + line.partition('is in use')[2])}"
    add_row(
        Row(
            f"two whole runs at once, the second from {second}",
            seen,
            rerun="nothing changed",
            bytes=f"{moved / 1e6:.1f} MB",
        )
    )


def test_orphan_of_a_killed_controller_is_waited_for(
    lab_site: LabSite, add_row: Callable[[Row], None], tmp_path: Path
) -> None:
    pairs = Pairs(lab_site, {"dayabay": ["cms01"]})
    due = nights_due(pairs)
    lab = lab_site.lab
    with kept(lab_site, tmp_path) as restore:
        undisturbed = lab_site.run("backup", stamp=DAY2)
        assert undisturbed.rc == 0, undisturbed.stdout
        shapes = all_shapes(pairs)
        restore()
    lab["cms01"].limit_rate(RATE)
    met: list[Running] = []

    def meet() -> None:
        met.extend(it for it in pythons(lab_site) if it in orphans)
        lab["cms01"].limit_rate(RATE // 3)

    with killed_at("tarball_send", "controller", pairs):
        lab["cms01"].limit_rate(RATE // 10)  # so that it lasts until the other run has come
        orphans = pythons(lab_site)
        with when(lambda: bool(payloads(lab_site, "preflight")), meet):
            meeting = lab_site.run("backup", stamp=DAY2)
        assert meeting.rc == 0, meeting.stdout
        assert met, "the orphan was at work when the other run came to its tree"
        notes = [note for _, module, result in meeting.calls if module == "preflight" for note in result["notes"]]
        assert [note for note in notes if "took over the lock" in note and str(lab_site.tree("dayabay")) in note], notes
        wire = [result["wire"]["cms01"] for _, module, result in meeting.calls if module == "tarball_send"]
        assert sum(wire) < BULK // 10, "the orphan has sent it"
        assert pairs.wrong(removable=due, once=DAY2) == []
        assert not at_work(lab_site)
    lab["cms01"].limit_rate(None)
    again = lab_site.run("backup", stamp=DAY2)
    assert (again.rc, again.changed) == (0, 0), again.stdout
    assert pairs.wrong(healed=True, removable=due, once=DAY2) == []
    assert unlike(pairs, shapes) == []
    fault = "controller killed, orphaned tarball_send goes on while the next run comes"
    add_row(
        Row(fault, "waited for it, took the lock over, did not send again: rc 0", rerun="same tree, nothing changed")
    )
