"""With root and the key of a source, an attacker gets nothing on its targets but room in the folder of that pair, and is seen there.

Real ssh and rsync over the lab, with keys and lines as setup.yml makes them. Each attempt is made from the source, and judged on the
target.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from attacks.conftest import Row
from lab import Lab
from lab.errors import LabError
from lab.lab_fixture import lab_fixture, needs_namespaces
from lab.processes import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = [needs_namespaces, pytest.mark.root]
LIMIT = 4_000_000
SECRET = "canary-7f3a9c51-of-the-target"
ADD = "rsync --server -pIRe.LsfxCIvu --timeout=60 --inplace . ."
LIE = ADD.replace("=60", "=5")
"""Command of a client that then behaves otherwise; neither side waits long for what never comes"""
READ = "rsync --server --sender -pIRe.LsfxCIvu --timeout=60 --inplace --files-from=- --from0 . ."
BYTES = os.urandom(200_000)
NAME = f"sha256-{hashlib.sha256(BYTES).hexdigest()}"
_OWN = ("incoming/dayabay", "receive/dayabay")
"""Parts of the marker that belong to the pair"""

_REFUSED = re.compile(
    r"refused|denied|prohibited|not from a permitted host|no match|correct key but|not allowed", re.IGNORECASE
)
_ACCEPTED = re.compile("Accepted publickey")
"""For a terminal or a port, sshd logs only that the key was accepted"""

hosts = lab_fixture(["dayabay", "lingao", "cms01"])


@dataclass
class World:
    """A target with accepted tarballs of two sources, and a source that is the attacker's."""

    lab: Lab
    folder: Path
    answers: list[str] = field(default_factory=list)
    """All replies to the attacker"""

    @property
    def target(self) -> Path:
        """The base on the target."""
        return self.lab["cms01"].data / "copies"

    @property
    def base(self) -> Path:
        """The base of the attacker's source."""
        return self.lab["dayabay"].data / "backup"

    @property
    def incoming(self) -> Path:
        """The folder of the pair on the target."""
        return self.target / ".altbackup" / "incoming" / "dayabay"

    @property
    def log(self) -> list[str]:
        """Log lines of the forced command on the target."""
        path = self.target / ".altbackup" / "receive" / "dayabay" / "log"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def sshd_log(self) -> list[str]:
        """Log lines of sshd on the target."""
        return self.lab["cms01"].log.splitlines()

    def ssh(self, *options: str, key: str = "dayabay") -> list[str]:
        """Return the argv of ssh with the key that set-up made, without a command."""
        trust = self.lab[key].data / "backup" / ".altbackup" / "trust" / "cms01"
        host = self.lab["cms01"]
        known = [
            f"-oUserKnownHostsFile={trust}/known_hosts",
            "-oHostKeyAlias=cms01",
            "-oBatchMode=yes",
            "-oControlMaster=no",
        ]
        return [
            "ssh",
            "-F",
            "none",
            "-i",
            f"{trust}/key",
            "-oIdentitiesOnly=yes",
            *known,
            "-p",
            str(host.port),
            "-l",
            host.user,
            *options,
        ]

    def call(
        self, *argv: str, here: str = "dayabay", text: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the attacker's and keep its output."""
        done = self.lab[here].run(list(argv), text=text, timeout=timeout)
        self.answers.append(done.stdout + done.stderr)
        return done

    def ask(self, command: str, *options: str, text: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
        """Ask the target for a command."""
        return self.call(
            *self.ssh(*options, **more), self.lab["cms01"].address, *([command] if command else []), text=text
        )

    def rsync(
        self, *options: str, source: str, to: str = ".", claim: str = "", text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run rsync to the target; with `claim` it requests that command whatever its options are, as an attacker's client can."""
        wrapper = self.folder / "rsh"
        there = self.lab["cms01"].address
        asked = shlex.quote(claim) if claim else '"$*"'
        wrapper.write_text(
            f'#!/bin/sh\nwhile [ "$1" != {there} ]; do shift; done; shift\nexec {shlex.join(self.ssh())} {there} {asked}\n'
        )
        wrapper.chmod(0o700)
        bound = (
            ["timeout", "--kill-after=2", "20"] if claim else []
        )  # two sides that mean different things keep each other alive
        options = (f"--rsh={wrapper}", f"--timeout={5 if claim else 60}", *options)
        return self.call(*bound, "rsync", *options, source, f"{there}:{to}", text=text)

    def file(self, name: str, content: bytes = b"of the attacker") -> Path:
        """Return an attacker's file, in a folder of its own."""
        path = self.folder / "loot" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path


def on(lab: Lab, host: str, call: str) -> Any:
    """Evaluate a call of a function of synchronize/trust.py on a host; return its result."""
    program = (
        f"import json, sys\nsys.path.insert(0, {str(REPOSITORY / '.collections')!r})\n"
        "from ansible_collections.altbackup.core.plugins.module_utils.synchronize import trust\n"
        f"print(json.dumps({call}))\n"
    )
    done = lab[host].run([lab[host].python, "-c", program], check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def world(hosts: Lab) -> World:
    """Two sources with keys for one target, which holds an accepted tarball of each."""
    made = World(hosts, hosts["dayabay"].data)
    made.target.mkdir()
    (made.target / ".altbackup").mkdir(mode=0o700)
    for source in ("dayabay", "lingao"):
        base = hosts[source].data / "backup"
        (base / ".altbackup").mkdir(parents=True, mode=0o700)
        keys = on(hosts, source, f"trust.own_keys({str(base)!r}, 'cms01')[1]")
        on(
            hosts,
            "cms01",
            f"trust.admit({str(made.target)!r}, 'incoming', {source!r}, {keys!r}, sources={hosts[source].address!r}, limit={LIMIT})",
        )
        found = on(hosts, "cms01", f"trust.host_keys({hosts['cms01'].port})")
        line = (hosts["cms01"].folder / "host_key.pub").read_text().split()
        assert " ".join(line[:2]) in found
        on(hosts, source, f"trust.pin({str(base)!r}, 'cms01', {[' '.join(line[:2])]!r})")
        tarball = made.target / source / "folders/notes/2026/11/01/010000/notes.tar.zst"
        tarball.parent.mkdir(parents=True)
        tarball.write_bytes(SECRET.encode())
        Path(f"{tarball}.dna").write_text(
            json.dumps({"dig": hashlib.sha256(SECRET.encode()).hexdigest(), "size": len(SECRET), "alg": "sha256"})
        )
    (made.target / "restore.sh").write_text("#!/bin/sh\n")
    for source in ("dayabay", "lingao"):
        done = made.call(*made.ssh(key=source), hosts["cms01"].address, "altbackup hello", here=source)
        assert done.returncode == 0, done.stderr
    return made


def state(world: World) -> dict[str, tuple[Any, ...]]:
    """Return all of the target but the folder of the pair, and its user's home: {path: description}."""
    found: dict[str, tuple[Any, ...]] = {}
    home = world.lab["cms01"].home
    for top in (world.target, home):
        for path in top.rglob("*"):
            if str(path.relative_to(top)).startswith(tuple(f".altbackup/{own}" for own in _OWN)):
                continue
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            found[str(path)] = (status.st_mode, status.st_uid, status.st_nlink if path.is_file() else 0, content)
    return found


def strangers(world: World) -> list[str]:
    """Return the files in the pair's folder that are not named by a digest."""
    found = [path for path in world.incoming.rglob("*") if path.relative_to(world.incoming).parts[0] != "basis"]
    return [
        str(path) for path in found if path.is_symlink() or not path.is_file() or not path.name.startswith("sha256-")
    ]


@dataclass(frozen=True)
class Attempt:
    """One attempt, and what is wrong afterwards beyond what is checked after each one."""

    name: str
    tried: str
    act: Callable[[World], Iterable[str]]
    quick: bool = False
    logged: re.Pattern[str] = _REFUSED
    """What sshd logs of it, where it does not get as far as to the forced command"""


ATTEMPTS: list[Attempt] = []


def attempt(
    tried: str, *, quick: bool = False, logged: re.Pattern[str] = _REFUSED
) -> Callable[[Callable[[World], Iterable[str]]], Callable[[World], Iterable[str]]]:
    """Register an attempt."""

    def register(act: Callable[[World], Iterable[str]]) -> Callable[[World], Iterable[str]]:
        ATTEMPTS.append(Attempt(act.__name__, tried, act, quick, logged))
        return act

    return register


def refused(done: subprocess.CompletedProcess[str]) -> Iterator[str]:
    """Yield what is wrong if something was not refused."""
    if done.returncode == 0:
        yield f"it was let through: {done.stdout[:200]}"


@attempt("a command", quick=True)
def shell(world: World) -> Iterable[str]:
    yield from refused(world.ask(f"cat {world.target}/lingao/folders/notes/2026/11/01/010000/notes.tar.zst"))


@attempt("a login shell with a terminal", logged=_ACCEPTED)
def terminal(world: World) -> Iterable[str]:
    yield from refused(world.ask("", "-tt", text="id\nexit\n"))


@attempt("what a shell would obey behind a command that is allowed")
def injection(world: World) -> Iterable[str]:
    for more in ("; touch PWNED", "$(touch PWNED)", "`touch PWNED`", "| sh", "\ntouch PWNED", "&& id", "' ; id ; '"):
        yield from refused(world.ask(f"{ADD}{more.replace('PWNED', str(world.target / 'pwned'))}"))


@attempt("sftp")
def sftp(world: World) -> Iterable[str]:
    yield from refused(world.ask("sftp", "-s", text="ls\n"))


@attempt("scp, writing and reading")
def scp(world: World) -> Iterable[str]:
    there = f"{world.lab['cms01'].address}:{world.target}/lingao/folders/notes/2026/11/01/010000/notes.tar.zst"
    words = [word if word != "-p" else "-P" for word in world.ssh()[1:]]
    user = words.index("-l")
    words[user : user + 2] = ["-o", f"User={words[user + 1]}"]
    for old in ([], ["-O"]):
        yield from refused(world.call("scp", *old, *words, str(world.file("x")), there))
        yield from refused(world.call("scp", *old, *words, there, str(world.folder / "stolen")))


@attempt("git, Subversion and rsync's daemon through the key")
def other_servers(world: World) -> Iterable[str]:
    for command in ("git-upload-pack /", "git-receive-pack /", "svnserve -t", "rsync --server --daemon ."):
        yield from refused(world.ask(command))


@attempt("forwarding to a port of the target")
def forwarding(world: World) -> Iterable[str]:
    done = world.call(*world.ssh("-W", f"127.0.0.1:{world.lab['cms01'].port}"), world.lab["cms01"].address)
    if "SSH-2.0" in done.stdout:
        yield "a port of the target answered"
    yield from refused(done)


@attempt("a port of the target that leads to the attacker", logged=_ACCEPTED)
def remote_forwarding(world: World) -> Iterable[str]:
    yield from refused(world.ask("altbackup hello", "-oExitOnForwardFailure=yes", "-R", "0.0.0.0:0:127.0.0.1:1"))


@attempt("forwarding of an agent and of X11")
def agent(world: World) -> Iterable[str]:
    path = world.folder / "agent"
    serving = world.lab["dayabay"].popen(["ssh-agent", "-D", "-a", str(path)])
    try:
        wait_until(path.exists, 30, "an agent")
        with session(world, "-A", "-X", SSH_AUTH_SOCK=str(path), DISPLAY="127.0.0.1:9") as found:
            yield from (f"{name} was forwarded" for name in sorted({"SSH_AUTH_SOCK", "DISPLAY"} & set(found)))
    finally:
        os.killpg(serving.pid, signal.SIGTERM)
        serving.communicate()


@attempt("variables that programs obey")
def environment(world: World) -> Iterable[str]:
    names = ("LD_PRELOAD", "RSYNC_RSH", "PYTHONSTARTUP", "BASH_ENV", "LC_EVIL")
    with session(world, f"-oSetEnv={' '.join(f'{name}={world.incoming}/x' for name in names)}") as found:
        yield from (f"{name} is there" for name in names[:-1] if name in found)


@contextlib.contextmanager
def session(world: World, *options: str, **environment: str) -> Iterator[dict[str, str]]:
    """Hold a session that is let in; yield the environment of what serves it on the target."""
    given = [f"{name}={value}" for name, value in environment.items()]
    logged = len(world.log)
    argv = ["env", *given, *world.ssh(*options), world.lab["cms01"].address, ADD]
    holder = world.lab["dayabay"].popen(argv, stdin=subprocess.PIPE)
    path = world.target / ".altbackup/receive/dayabay/session"
    try:
        end = time.monotonic() + 30
        while not (path.exists() and path.read_text().isdigit()):
            assert time.monotonic() < end, "no session began"
            time.sleep(0.05)
        serving = world.lab["cms01"].run(["cat", f"/proc/{path.read_text()}/environ"], check=True)
        words = serving.stdout.split("\0")
        yield dict(word.split("=", 1) for word in words if "=" in word)
    finally:
        os.killpg(holder.pid, signal.SIGKILL)  # ssh runs below what enters the host's namespaces
        holder.communicate()
    end = time.monotonic() + 30
    while len(world.log) == logged and time.monotonic() < end:
        time.sleep(0.05)


@attempt("the key from another machine")
def elsewhere(world: World) -> Iterable[str]:
    stolen = world.lab["lingao"].data / "stolen"
    key = (world.base / ".altbackup/trust/cms01/key").read_text()
    stolen.write_text(key)
    stolen.chmod(0o600)
    argv = world.ssh(key="lingao")
    argv[argv.index("-i") + 1] = str(stolen)
    yield from refused(world.call(*argv, world.lab["cms01"].address, "altbackup hello", here="lingao"))


@attempt("the folder of another source, by the key of this one", quick=True)
def other_folder(world: World) -> Iterable[str]:
    other = world.target / ".altbackup" / "incoming" / "lingao"
    for path in (f"{other}/", "../lingao/", f"{world.incoming}/../lingao/", f"{world.target}/lingao/"):
        yield from refused(world.ask(ADD[:-1] + path))


@attempt("reading its own folder, another source's tree, the root")
def reading(world: World) -> Iterable[str]:
    for path in (".", f"{world.target}/lingao/", "/", "../../../lingao"):
        yield from refused(world.ask(READ[:-1] + path))


@attempt("rsync with --delete and its kin")
def deleting(world: World) -> Iterable[str]:
    world.file("x")
    for option in (
        "--delete",
        "--delete-excluded",
        "--delete-missing-args",
        "--force",
        "--ignore-errors",
        "--existing",
    ):
        yield from refused(world.ask(ADD.replace("--inplace", f"--inplace {option}")))


@attempt("rsync --remove-source-files, reading and adding")
def removing(world: World) -> Iterable[str]:
    yield from refused(world.ask(READ.replace("--from0", "--from0 --remove-source-files")))
    yield from refused(world.ask(ADD.replace("--inplace", "--inplace --remove-source-files")))


@attempt("a path with ..")
def upwards(world: World) -> Iterable[str]:
    path = world.file("restore.sh")
    for to in ("../../../", "../../../restore.sh", "./../../../lingao/", f"{world.incoming}/../../../"):
        yield from refused(world.rsync("-p", "-I", "--inplace", source=str(path), to=to))


@attempt("an absolute path")
def absolute(world: World) -> Iterable[str]:
    path = world.file("authorized_keys")
    for to in (f"{world.lab['cms01'].home}/.ssh/", "/", f"{world.target}/restore.sh", "/etc/cron.d/x"):
        yield from refused(world.rsync("-p", "-I", "--inplace", source=str(path), to=to))


@attempt("names with .. in the list of files, by a client that claims to be a transfer")
def upwards_in_list(world: World) -> Iterable[str]:
    inner = world.folder / "deep/a/b/c/d"
    inner.mkdir(parents=True, exist_ok=True)
    (world.folder / "deep/a/restore.sh").write_text("of the attacker")
    world.rsync("--inplace", "-R", "--files-from=-", source=f"{inner}/", claim=LIE, text="../../../restore.sh\n")
    yield from ()


@attempt("absolute names in the list of files, by such a client")
def absolute_in_list(world: World) -> Iterable[str]:
    world.rsync("--inplace", "-R", source=f"{world.file('restore.sh')}", claim=LIE)
    yield from ()


@attempt("overwriting accepted tarballs and sidecars by their paths")
def accepted(world: World) -> Iterable[str]:
    path = "dayabay/folders/notes/2026/11/01/010000/notes.tar.zst"
    for name in (path, f"{path}.dna"):
        world.file(name)
        world.rsync("--inplace", "-R", "--files-from=-", source=f"{world.folder}/loot/", claim=LIE, text=f"{name}\n")
        yield from refused(
            world.rsync("-p", "-I", "--inplace", source=str(world.folder / "loot" / name), to=str(world.target / name))
        )


@attempt("restore.sh, a sidecar and a marker among the arriving files", quick=True)
def strange_names(world: World) -> Iterable[str]:
    names = ["restore.sh", "notes.tar.zst.dna", "owner", ".hidden", "sha256-short", "partial.json"]
    for name in names:
        world.file(name)
    text = "".join(f"{name}\n" for name in names)
    world.rsync("--inplace", "-p", "-I", "-R", "--files-from=-", source=f"{world.folder}/loot/", claim=LIE, text=text)
    yield from ()


@attempt("symbolic links")
def links(world: World) -> Iterable[str]:
    link = world.folder / "links" / NAME
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(world.target / "lingao")
    yield from refused(world.rsync("-rl", "--inplace", source=f"{link.parent}/"))
    world.rsync("-rl", "--inplace", source=f"{link.parent}/", claim=LIE)


@attempt("devices, pipes and sockets")
def devices(world: World) -> Iterable[str]:
    folder = world.folder / "devices"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkfifo(folder / NAME)
        os.mknod(folder / f"sha256-{'1' * 64}", 0o020666, os.makedev(1, 3))
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as place:
        place.bind(str(folder / "s"))
    for options in (
        ("-rD", "--inplace"),
        ("-rD", "--inplace", "--write-devices"),
        ("-r", "--inplace", "--copy-devices"),
    ):
        yield from refused(world.rsync(*options, source=f"{folder}/"))
    world.rsync("-rD", "--inplace", source=f"{folder}/", claim=LIE)


@attempt("folders, and files in them")
def folders(world: World) -> Iterable[str]:
    (world.folder / "loot" / NAME).unlink(missing_ok=True)
    world.file(f"{NAME}/x")
    try:
        yield from refused(world.rsync("-r", "--inplace", source=f"{world.folder}/loot/"))
        world.rsync("-r", "--inplace", source=f"{world.folder}/loot/", claim=LIE)
    finally:
        (world.folder / "loot" / NAME / "x").unlink()
        (world.folder / "loot" / NAME).rmdir()


@attempt("hard links, owners, groups, attributes and special modes")
def attributes(world: World) -> Iterable[str]:
    path = world.file(NAME, BYTES)
    path.chmod(0o4777)
    for options in (
        ("-H",),
        ("-og",),
        ("-A",),
        ("-X",),
        ("--chmod=u+s,a+rwx",),
        ("--chown=nobody:nogroup",),
        ("--fake-super",),
        ("-E",),
    ):
        world.rsync("--inplace", *options, source=str(path))
    world.rsync("--inplace", "-p", "-I", "-R", "--files-from=-", source=f"{path.parent}/", claim=LIE, text=f"{NAME}\n")
    for found in world.incoming.glob("sha256-*"):
        modes = [oct(path.stat().st_mode & 0o7777) for path in (found.parent, found)]
        if found.stat().st_uid != os.geteuid() or modes != ["0o700", "0o600"]:
            yield f"{found} can be reached by others: {modes}"
        found.unlink()


@attempt("options that name other files, and arguments that are hidden from the command")
def options(world: World) -> Iterable[str]:
    outside = world.target / "pwned"
    for word in (
        *(
            f"--{name}={outside}"
            for name in ("log-file", "temp-dir", "backup-dir", "partial-dir", "link-dest", "compare-dest")
        ),
        *("--backup", "--append", "--no-inplace", "--rsh=sh", "--files-from=/etc/passwd", "--exclude-from=/etc/passwd"),
    ):
        yield from refused(world.ask(ADD.replace("--inplace", f"--inplace {word}")))
    yield from refused(world.ask("rsync --server -spIRe.LsfxCIvu --inplace . ."))


@attempt("more than the limit of the pair")
def filling(world: World) -> Iterable[str]:
    path = world.file(f"sha256-{'2' * 64}", b"x" * (4 * LIMIT))
    for _ in range(2):
        yield from refused(
            world.rsync(
                "--inplace",
                "-p",
                "-I",
                "-R",
                "--files-from=-",
                source=f"{path.parent}/",
                claim=LIE,
                text=f"{path.name}\n",
            )
        )
    size = sum(found.stat().st_size for found in world.incoming.rglob("*") if found.is_file())
    if size > LIMIT:
        yield f"{size} bytes lie there, and the limit is {LIMIT}"
    if not any("limit" in line for line in world.log):
        yield "the limit is not in the log"
    (world.incoming / path.name).unlink(missing_ok=True)
    path.unlink()


def send_whole(world: World, content: bytes = BYTES) -> None:
    """Send the file named by the digest of BYTES."""
    path = world.file(NAME, content)
    world.rsync("--inplace", "-p", "-I", "-R", "--files-from=-", source=f"{path.parent}/", claim=LIE, text=f"{NAME}\n")


@attempt("writing a file anew that came whole, before it is accepted")
def rewriting(world: World) -> Iterable[str]:
    send_whole(world)
    send_whole(world, b"other bytes")
    on(world.lab, "cms01", f"trust.forced_command.gather({str(world.incoming)!r})")
    if (world.incoming / NAME).read_bytes() != BYTES:
        yield "what was whole is not what it was"
    (world.incoming / NAME).unlink()


@attempt("a session that stays open and goes on writing while a file is accepted")
def open_descriptor(world: World) -> Iterable[str]:
    send_whole(world)
    with session(world):
        if (world.incoming / NAME).exists():
            yield "an open session can reach what came whole"
    on(world.lab, "cms01", f"trust.forced_command.gather({str(world.incoming)!r})")
    (world.incoming / NAME).unlink(missing_ok=True)


@attempt("many sessions at once")
def many_sessions(world: World) -> Iterable[str]:
    started = [
        world.lab["dayabay"].popen([*world.ssh(), world.lab["cms01"].address, ADD], stdin=subprocess.PIPE)
        for _ in range(6)
    ]

    def at_work(what: str = "^/usr/bin/rsync --server") -> int:
        """Return how many processes of sessions the target has, whatever connections are open."""
        return int(world.lab["cms01"].run(["pgrep", "--count", "--full", what]).stdout)

    try:
        wait_until(at_work, 60, "a session")
        time.sleep(2)
        with contextlib.suppress(LabError):
            wait_until(lambda: at_work("bin/forced_command.py") <= 1, 40, "the end of older sessions")
        if (left := max(at_work(), at_work("bin/forced_command.py"))) > 1:
            yield f"{left} sessions go on"
    finally:
        for one in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.communicate()
        wait_until(lambda: not at_work(), 90, "the end of the last session")


@attempt("lines of its own in the log, and a terminal's escapes")
def log_lines(world: World) -> Iterable[str]:
    before = len(world.log)
    yield from refused(world.ask("x\n2026-11-01T01:00:00Z lingao adds from 192.0.2.1: all is well\x1b[2J" + "y" * 3000))
    new = world.log[before:]
    if len(new) != 1 or new[0].startswith("2026-11-01") or "\x1b" in new[0] or len(new[0]) > 2000:
        yield f"it wrote lines of its own: {new}"


@pytest.mark.parametrize(
    "one", [pytest.param(entry, id=entry.name, marks=[] if entry.quick else [pytest.mark.full]) for entry in ATTEMPTS]
)
def test_a_source_that_was_taken_over_gets_nothing(one: Attempt, world: World, add_row: Callable[[Row], None]) -> None:
    before, logged, noted = state(world), len(world.log), len(world.sshd_log)
    world.answers.clear()
    wrong = list(one.act(world))
    after = state(world)
    wrong += [f"{path} is not what it was" for path in {*before, *after} if before.get(path) != after.get(path)]
    wrong += [f"{path} lies in the folder of the pair" for path in strangers(world)]
    wrong += ["it was told what is not its own"] if any(SECRET in said for said in world.answers) else []
    told = [*world.log[logged:], *(line for line in world.sshd_log[noted:] if one.logged.search(line))]
    wrong += [] if told else ["nothing of it is in a log of the target"]
    add_row(
        Row(
            "source",
            "key of a pair",
            one.tried,
            (told or ["nothing"])[0][:150],
            "; ".join(wrong)[:300] or "nothing lost, read or changed",
            "NO" if wrong else "repelled",
        )
    )
    assert not wrong, "\n".join([*wrong, "said was:", *world.answers])


def test_there_are_enough_attempts() -> None:
    assert len(ATTEMPTS) >= 25
