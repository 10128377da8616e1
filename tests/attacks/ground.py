"""The ground for attempts: a site on this machine, an attacker with a uid of its own, and runs as root.

All of it lies below one folder that the attacker can enter but not write to. An attempt is laid as the attacker if he is a user of the
source, and as root if a node is taken over: then root there is the attacker.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attacks.witness import Witness
from integration.site import CATEGORIES, REPOSITORY, Run, Site, item_of, make_live

ATTACKER = 54321
"""A uid and gid that nobody has"""
GOOD = "good"
_MEMORY = 6 << 30
_FILE = 512 << 20
ESCAPE = "\x1b]0;"
"""Beginning of the escape sequence that sets a terminal's title"""


def escape_of(name: str) -> str:
    """Return an escape sequence that makes a terminal show whose attempt it is."""
    return f"{ESCAPE}{name}\x07"


@contextlib.contextmanager
def acting_as(uid: int = ATTACKER) -> Iterator[None]:
    """Run the block as a user without any capability."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    mask = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(mask)
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def as_attacker(*argv: object, cwd: Path | None = None) -> str:
    """Run a command as the attacker; return its stdout."""
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        user=ATTACKER,
        group=ATTACKER,
        extra_groups=[],
        env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"},
    )
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def give(path: Path, uid: int = ATTACKER) -> Path:
    """Make a user the owner of a path and all below it; return it."""
    for parent, folders, files in [] if path.is_symlink() else os.walk(path):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), uid, uid, follow_symlinks=False)
    os.chown(path, uid, uid, follow_symlinks=False)
    return path


def replace(path: Path) -> Path:
    """Remove whatever stands at a path, and make the folders above it; return it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Limit memory and file size of processes started in the block: an attempt that succeeds must not take this machine with it."""
    limits = {resource.RLIMIT_AS: _MEMORY, resource.RLIMIT_FSIZE: _FILE}
    before = {kind: resource.getrlimit(kind) for kind in limits}
    for kind, value in limits.items():
        resource.setrlimit(kind, (value, before[kind][1]))
    try:
        yield
    finally:
        for kind, value in before.items():
            resource.setrlimit(kind, value)


class Lures:
    """Watched named pipes: a process that opened one for reading and waits is noted, and released."""

    def __init__(self) -> None:
        self.caught: dict[str, str] = {}
        self._pipes: dict[str, Path] = {}

    def lay(self, name: str, path: Path) -> None:
        """Make a pipe."""
        os.mkfifo(replace(path), 0o644)
        os.chown(path, ATTACKER, ATTACKER)
        self._pipes[name] = path

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the pipes while the block lasts."""
        environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}/tests"}
        with contextlib.ExitStack() as stack:
            watches = {
                name: stack.enter_context(
                    subprocess.Popen(
                        [sys.executable, "-m", "attacks.lure", path],
                        env=environment,
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
                for name, path in self._pipes.items()
            }
            try:
                yield
            finally:
                for name, watch in watches.items():
                    if watch.communicate()[0].strip():
                        self.caught[name] = f"{self._pipes[name].name} was opened for reading, and waited at"


@dataclass
class Ground:
    """A site, what lies outside it, and what the runs on it did."""

    folder: Path
    templates: Path
    site: Site = field(init=False)
    witness: Witness = field(init=False)
    lures: Lures = field(default_factory=Lures)
    runs: list[tuple[str, Run, float]] = field(default_factory=list)
    count: int = 0
    texts: list[str] = field(default_factory=list)
    """Output of programs that are not playbooks"""
    seen: dict[str, list[str]] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    """Values that laying an attempt leaves for its judge"""

    def __post_init__(self) -> None:
        self.folder.chmod(0o755)
        self.site = Site(self.folder)
        self.site.live.mkdir(mode=0o755)
        self.site.mail = {
            "ALTBACKUP_MAIL_TO": "admin@example.org",
            "ALTBACKUP_MAIL_HOST": "127.0.0.1",
            "ALTBACKUP_MAIL_PORT": "9",
            "ALTBACKUP_MAIL_SECURITY": "none",
            "ALTBACKUP_MAIL_TIMEOUT": "2",
            "ALTBACKUP_MAIL_SPOOL": str(self.folder / "spool"),
        }
        self.witness = Witness(self.folder / "outside")

    def add_source(self, name: str, items: list[dict[str, Any]], targets: list[str], **settings: Any) -> Path:
        """Add a source; a target on this machine is known to it by name alone."""
        settings = {"altbackup_items": items, "altbackup_targets": targets, **settings}
        return self.site.add_source(name, **settings)

    def thing(self, name: str, kind: str, uid: int = ATTACKER) -> Path:
        """Make a small item of a kind, owned by a user, in the attempt's own folder; return its path."""
        home = self.home(name, uid)
        origin = self.templates / (f"{kind}.db" if kind == "sqlite" else kind)
        path = home / origin.name
        if origin.is_dir():
            shutil.copytree(origin, path, symlinks=True)
        else:
            shutil.copy2(origin, path)
        return give(path, uid)

    def home(self, name: str, uid: int = ATTACKER) -> Path:
        """Make a user's folder; return its path."""
        path = self.site.live / name
        path.mkdir(mode=0o755, exist_ok=True)
        os.chown(path, uid, uid)
        return path

    def run(self, playbook: str, *arguments: str, **extra: Any) -> Run:
        """Run a playbook as root; end and note the processes that it leaves."""
        start = time.monotonic()
        with bounded(), self.lures.watched():
            run = self.site.run(playbook, *arguments, **extra)
        self.runs.append((playbook, run, time.monotonic() - start))
        self.count += 1
        shutil.copytree(self.folder / "runner", self.folder / f"runner.{self.count}", symlinks=True)
        holders = {process.pid for process in self.notes.get("holders", ())}
        for pid, title in (entry for entry in _at_work(self.folder) if entry[0] not in holders):
            self.seen.setdefault("", []).append(f"{title} outlived {playbook}.yml")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return run

    def call(self, *argv: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program as root; keep its output."""
        with bounded():
            done = subprocess.run(
                [str(word) for word in argv],
                cwd=cwd,
                capture_output=True,
                text=True,
                errors="surrogateescape",
                check=False,
                env={**os.environ, **environment},
                timeout=300,
            )
        self.texts += [done.stdout, done.stderr]
        return done

    def words(self, *playbooks: str) -> list[str]:
        """Return all messages of the runs: failures and notes of modules, messages of tasks."""
        found: list[str] = []
        for playbook, run, _ in self.runs:
            if playbooks and playbook not in playbooks:
                continue
            for _, _, result in run.calls:
                found += _strings([result.get(key) for key in ("failures", "notes", "msg")])
            found += run.message.splitlines()
            found += _told_lines(run.stdout)
        return found

    def about(self, name: str, *playbooks: str) -> list[str]:
        """Return the messages of the runs about an attempt."""
        pattern = re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")
        return list(dict.fromkeys(text for text in self.words(*playbooks) if pattern.search(text)))

    def said(self, name: str, word: str, *playbooks: str) -> bool:
        """Return whether a message about an attempt contains a word, other than in the attempt's name."""
        return any(word in text.replace(name, "") for text in self.about(name, *playbooks))

    def base(self, node: str, source: str = "") -> Path:
        """Return the tree of a source on a node."""
        return self.folder / node / "copies" / source if source else self.folder / node / "backup"

    def stored(self, kind: str, name: str, node: str = "dayabay", source: str = "") -> list[Path]:
        """Return the tarballs of an item that have a dna."""
        return [path for path in item_of(self.base(node, source), kind, name) if Path(f"{path}.dna").is_file()]

    def finish(self) -> None:
        """Collect what happened."""
        for name, what in self.witness.end().items():
            self.seen.setdefault(name, []).extend(what)
        for name, what in self.lures.caught.items():
            self.seen.setdefault(name, []).append(what)
        from attacks.witness import told_in

        outputs = tuple(run.stdout for _, run, _ in self.runs) + tuple(self.texts)
        folders = [path for path in self.folder.iterdir() if path.name not in ("outside", "live", "inventory")]
        self.told = told_in(*(path for path in folders if path.is_dir()), texts=outputs)


def _strings(value: Any) -> list[str]:
    """Return each failure, note or message as one text."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [" ".join(str(part) for part in value.values() if part)]
    if isinstance(value, (list, tuple)):
        return [text for entry in value for text in _strings(entry)]
    return []


def _told_lines(stdout: str) -> list[str]:
    """Return the notes of a run's last play, each on one line: YAML folds long ones."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", stdout)
    text = re.sub(r"\n {6,}(?!- )", " ", plain)
    return [line.strip() for line in text.splitlines() if re.match(r"\s+- ['\"]?note: ", line)]


def _at_work(folder: Path) -> Iterator[tuple[int, str]]:
    """Yield (pid, title) of processes of this session's runs that still work below a folder."""
    time.sleep(0.2)
    needle = os.fsencode(folder)
    for name in filter(str.isdigit, os.listdir("/proc")):
        if int(name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            links = [os.readlink(f"/proc/{name}/fd/{entry}") for entry in os.listdir(f"/proc/{name}/fd")]
            command = Path(f"/proc/{name}/cmdline").read_bytes()
            if needle in command or any(link.startswith(str(folder)) for link in links):
                yield int(name), command.replace(b"\0", b" ")[:80].decode("utf-8", "replace").strip()


def make_templates(folder: Path) -> Path:
    """Make one small thing of every kind; return their folder."""
    make_live(folder)
    tree = folder / "folder"
    (tree / "mode").chmod(stat.S_IRUSR | stat.S_IWUSR)
    return folder


@contextlib.contextmanager
def a_ground(templates: Path) -> Iterator[Ground]:
    """Yield a ground, which is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="altbackup-attacks-", dir="/var/tmp"))
    try:
        yield Ground(folder, templates)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


__all__ = ["ATTACKER", "CATEGORIES", "GOOD", "REPOSITORY", "Ground", "a_ground", "acting_as", "as_attacker", "sys"]
