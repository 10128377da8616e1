"""Faults during a transfer, and of what has arrived: each pair fails or recovers by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
from faults.conftest import Row
from faults.pairs import SLACK, Pairs, await_that, of_program, plant_older, said, size_of
from integration.lab_site import DAY1, LabSite, failures_of, plant, repaired, stamps_of, when
from integration.site import Run
from lab import Lab
from lab.host import Host
from lab.lab_fixture import lab_fixture, needs_namespaces
from lab.processes import Running

pytestmark = [needs_namespaces, pytest.mark.full]

SIZE = 20_000_000
RATE = 8_000_000
DISK = 60_000_000
WRITER = """
import os, sys, time
with open(sys.argv[1], "r+b", buffering=0) as file:
    os.pwrite(file.fileno(), os.urandom(10), 0)
    print("written", flush=True)
    while True:
        time.sleep(0.01)
        os.pwrite(file.fileno(), os.urandom(10), 0)
"""
TARGETS = [
    "good",
    "sshd",
    "receiver",
    "sender",
    "stopped",
    "slow",
    "during",
    "arrived",
    "flipped",
    "twice",
    "writer",
    "ended",
]
sites = lab_fixture(["dayabay", "lingao", *TARGETS, "altered"], sources=["dayabay", "lingao", *TARGETS, "altered"])

FAULTS = {
    "sshd killed": ("dayabay -> sshd", ""),
    "rsync killed at the receiver": ("dayabay -> receiver", "rsync"),
    "rsync killed at the sender": ("dayabay -> sender", "rsync"),
    "receiver stopped, never continued": ("dayabay -> stopped", ""),
    "link that trickles": ("dayabay -> slow", "a second over 30 s, less than its limit of 1.0 MiB a second"),
    "target disk full during the transfer": ("dayabay -> during", "No space left on device"),
    "target disk full when all had arrived": ("dayabay -> arrived", "No space left on device"),
    "byte flipped on the far side, each time": ("dayabay -> twice", "arrived twice with other bytes"),
    "file rewritten by nobody that is seen": ("dayabay -> writer", "is open for writing in another process"),
    "source tarball altered while it is sent": ("lingao -> altered", "arrived twice with other bytes"),
}
WORDS = {
    "push": {"sshd killed": "Broken pipe", "receiver stopped, never continued": "timeout in data send/receive"},
    "pull": {
        "sshd killed": "connection unexpectedly closed",
        "receiver stopped, never continued": "rsync neither read nor wrote anything",
    },
}
"""Messages that differ by transport"""
MADE_GOOD = {
    "byte flipped on the far side, once": ("dayabay -> flipped", "sent once more in the same run"),
    "file rewritten by a process of the target": (
        "dayabay -> ended",
        "process ended, file sent once more in the same run",
    ),
}


@pytest.fixture
def lab_site(sites: Lab, tmp_path: Path) -> Iterator[LabSite]:
    """A site without hosts, whose lab is repaired afterwards."""
    with repaired(sites, tmp_path) as site:
        yield site


class Faults:
    """What is done to each pair when half of its tarball has arrived."""

    def __init__(self, pairs: Pairs, transport: str) -> None:
        self.pairs, self.lab, self.transport = pairs, pairs.site.lab, transport
        self.open: list[int] = []
        self.running: list[subprocess.Popen[str]] = []
        self.threads: list[threading.Thread] = []
        self.rewritten = 0
        self.over = threading.Event()

    def end(self) -> None:
        """Release what is still held."""
        self.over.set()
        for thread in self.threads:
            thread.join()
        while self.open:
            os.close(self.open.pop())
        for process in self.running:
            process.kill()
            process.communicate()

    def _file(self, name: str, source: str = "dayabay") -> Path:
        (path,) = self.pairs.arriving(source, name)
        return path

    def _ends(self, name: str) -> tuple[Sequence[Running], Sequence[Running]]:
        """Return the rsync processes that send to, and receive on, a target."""
        words = [self.lab[name].address] if self.transport == "push" else [f"outgoing/{name}"]
        return of_program(self.lab["dayabay"], "rsync", *words), self.lab[name].processes("rsync")

    def sshd(self, name: str) -> None:
        """Kill the sshd that carries the transfer: all sessions, or the one session on the source."""
        if self.transport == "push":
            self.lab[name].stop_sshd()
            return
        for process in self._ends(name)[0]:
            with suppress(ProcessLookupError):
                os.kill(parent_of(process.pid), signal.SIGKILL)

    def receiver(self, name: str) -> None:
        """Kill the receiving rsync."""
        signal_all(self._ends(name)[1], signal.SIGKILL)

    def sender(self, name: str) -> None:
        """Kill the sending rsync."""
        signal_all([it for it in self._ends(name)[0] if os.path.basename(it.argv[0]) == "rsync"], signal.SIGKILL)

    def stopped(self, name: str) -> None:
        """Stop the receiving rsync."""
        signal_all(self._ends(name)[1], signal.SIGSTOP)

    def slow(self, name: str) -> None:
        """Slow the link down."""
        self.lab[name].limit_rate(100_000)

    def during(self, name: str) -> None:
        """Fill the disk."""
        self._fill(name, lambda _: 0)

    def arrived(self, name: str) -> None:
        """Fill the disk except for what is still to come."""
        self._fill(name, lambda arrived: -(-SIZE // 4096) * 4096 - arrived)

    def _fill(self, name: str, leave: Callable[[int], int]) -> None:
        """Fill a target's disk while nothing arrives; `leave` returns the bytes to leave free, given those of the arriving file."""
        signal_all(self._ends(name)[1], signal.SIGSTOP)
        arrived = self._file(name).stat().st_blocks * 512
        self.lab[name].fill_disk(self.pairs.site.place(name) / "copies", leave=leave(arrived))
        signal_all(self._ends(name)[1], signal.SIGCONT)

    def flipped(self, name: str) -> None:
        """Flip a byte of what has arrived."""
        flip(self._file(name))

    def twice(self, name: str) -> None:
        """Flip a byte of what has arrived, and again when it arrives again."""
        flip(self._file(name))

        def again() -> None:
            with suppress(AssertionError, ValueError):
                await_that(
                    lambda: self.over.is_set() or not self.pairs.arriving("dayabay", name),
                    "the first is thrown away",
                    120,
                )
                await_that(
                    lambda: self.over.is_set() or sum(map(size_of, self.pairs.arriving("dayabay", name))) > SIZE // 2,
                    "it comes again",
                    120,
                )
                if not self.over.is_set():
                    flip(self._file(name))

        self._begin(again)

    def _begin(self, function: Callable[[], None]) -> None:
        self.threads.append(threading.Thread(target=function, daemon=True))
        self.threads[-1].start()

    def writer(self, name: str) -> None:
        """Keep what arrives open for writing, invisible to the target, and write into it continuously once it is complete."""
        self.open.append(file := os.open(self._file(name), os.O_RDWR))

        def write() -> None:
            while not self.over.wait(0.001):
                if os.fstat(file).st_size == SIZE:
                    self.rewritten += os.pwrite(file, os.urandom(1), 1000)

        self._begin(write)

    def ended(self, name: str) -> None:
        """Let a process of the target write continuously into what arrives."""
        inside = str(self._file(name)).partition("/root/")[2]
        process = self.lab[name].popen(["python3", "-c", WRITER, f"/{inside}"])
        self.running.append(process)
        assert process.stdout is not None and process.stdout.readline() == "written\n"

    def altered(self, _name: str) -> None:
        """Alter the tarball on the source."""
        (path,) = self.pairs.source("lingao").base.glob(f"folders/notes/{DAY1}/*.zst")
        flip(path, SIZE - 10)


def parent_of(pid: int) -> int:
    """Return a process's parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def signal_all(processes: Sequence[Running], number: int) -> None:
    """Send a signal to processes of which some may have ended."""
    assert processes, "there is none"
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def flip(path: Path, position: int = 1000) -> None:
    """Flip a bit."""
    with open(path, "r+b") as stream:
        stream.seek(position)
        byte = stream.read(1)
        stream.seek(position)
        stream.write(bytes([byte[0] ^ 1]))


def accepted(run: Run, name: str) -> tuple[list[str], list[str]]:
    """Return the notes of a target's accept calls, and the tarballs that had arrived with other bytes."""
    results = [
        result for _, module, result in run.calls if module == "tarball_accept" and result["__call"]["node"] == name
    ]
    return (
        [note for result in results for note in result["notes"]],
        [entry["relpath"] for result in results for entry in result["wrong"]],
    )


def prepare_disk(site: LabSite, host: Host) -> None:
    """Give a target a small disk for its base."""
    base = site.place(host.name) / "copies"
    base.mkdir(parents=True)
    host.small_disk(DISK, base)
    host.run(["mkdir", "-m", "700", f"{base}/.altbackup"], check=True)


def half_arrived(pairs: Pairs, source: str, name: str) -> Callable[[], bool]:
    """Return a function that tells whether half of a source's tarball has arrived at a target."""
    return lambda: pairs.arrived(source, name) > SIZE // 2


@pytest.mark.parametrize("transport", ["push", "pull"])
def test_faults_during_a_transfer(lab_site: LabSite, transport: str, add_row: Callable[[Row], None]) -> None:
    lab = lab_site.lab
    options = {"altbackup_transport": transport, "altbackup_step_timeout": "3m"}
    lab_site.add_source("dayabay", altbackup_targets=TARGETS, altbackup_min_rate="1M", **options)
    lab_site.add_source("lingao", altbackup_targets=["altered"], **options)
    for name in ("during", "arrived"):
        prepare_disk(lab_site, lab[name])
    for name in (*TARGETS, "altered"):
        lab_site.add_target(name, **({"altbackup_min_rate": "1M"} if name == "slow" else {}))
        lab[name].limit_rate(RATE)
    ways = {"dayabay": TARGETS, "lingao": ["altered"]}
    for source, targets in ways.items():
        for target in ("", *targets):
            plant_older(lab_site, source, target)
        plant(lab_site.tree(source), "folders/notes", DAY1, os.urandom(SIZE))
    pairs = Pairs(lab_site, ways)
    faults = Faults(pairs, transport)

    with ExitStack() as stack:
        stack.callback(faults.over.set)
        for name in (*TARGETS[1:], "altered"):
            source = "lingao" if name == "altered" else "dayabay"
            stack.enter_context(when(half_arrived(pairs, source, name), partial(getattr(faults, name), name)))
        run = lab_site.run("synchronize", stamp=DAY1)
    failures = failures_of(run)
    expected = {fault: (where, WORDS[transport].get(fault, words)) for fault, (where, words) in FAULTS.items()}
    missing = {fault: it for fault, it in expected.items() if it[1] not in failures.get(it[0], "-")}
    assert not missing, f"{missing}\n{run.message}"
    assert set(failures) == {where for where, _ in expected.values()}, "nothing else failed"
    assert "rsync" not in failures["dayabay -> arrived"], "rsync had done its part"
    faults.altered("altered")  # back to what it was
    assert pairs.wrong() == []
    for name in ("flipped", "ended"):
        assert accepted(run, name)[1] == [f"folders/notes/{DAY1}/notes.tar.zst"], name
    assert [note for note in accepted(run, "ended")[0] if note.startswith("ended process") and "python3" in note]
    assert faults.running[0].wait(10) == -signal.SIGKILL
    assert faults.rewritten, "nothing was written into what had arrived"

    faults.end()
    for name in ("during", "arrived"):
        lab[name].free_disk(lab_site.place(name) / "copies")
    lab["sshd"].start_sshd()
    for name in (*TARGETS, "altered"):
        lab[name].limit_rate(None)
    arrived = {where: pairs.arrived(*where.split(" -> ")) for where in pairs.trees() if " -> " in where}
    kept = ("sshd", "receiver", "sender", "stopped", "slow", "during", "arrived", "writer")
    assert [name for name in kept if arrived[f"dayabay -> {name}"] < SIZE // 2] == [], "what had arrived is kept"
    assert arrived["dayabay -> arrived"] == arrived["dayabay -> writer"] == SIZE
    received = {name: lab[name].bytes_received() for name in lab.names}
    again = lab_site.run("synchronize", stamp=DAY1)
    assert again.rc == 0, again.stdout
    assert pairs.wrong(healed=True) == []
    for fault, (where, words) in {**expected, **MADE_GOOD}.items():
        source, target = where.split(" -> ")
        if source == "dayabay":
            assert pairs.differences(source, target, "good") == [], fault
        assert len(stamps_of(lab[target].outside(lab_site.tree(source, target)))) == 2, fault
        moved = lab[target].bytes_received() - received[target]
        lacking = max(0, SIZE - arrived[where])
        assert moved < 1.1 * lacking + SLACK, f"{fault}: {moved} bytes, {arrived[where]} had arrived"
        seen = words if fault in MADE_GOOD else said(run, where, words)
        add_row(Row(f"{fault} ({transport})", seen, bytes=f"{moved / 1e6:.1f} of {SIZE / 1e6:.0f} MB"))
