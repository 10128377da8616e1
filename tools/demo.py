"""Show three nights of backups of real repositories below var/demo, a damaged copy, and how it is found and healed: make demo.

Every command that is shown is the one that runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import NoReturn

import demo_database

ROOT = Path(__file__).resolve().parent.parent
# Relative to ROOT, as a person in the checkout types them.
DEMO = Path("var/demo")
LIVE, WORK, LOGS = DEMO / "live", DEMO / "work", DEMO / "logs"
SOURCE, TARGET = DEMO / "source", DEMO / "target"
COPIES = TARGET / "localhost"
INVENTORY = DEMO / "inventory"
MADE_HERE = DEMO / ".made-by-make-demo"

SVN = LIVE / "svn/dybsvn"
TRAC = LIVE / "tracs/dybsvn"
GIT = LIVE / "git/toolbox.git"
FOLDER = LIVE / "svnsetup"
SQLITE = LIVE / "monitor.db"
PLACES = {
    "/home/scm/svn/dybsvn": SVN,
    "/home/scm/tracs/dybsvn": TRAC,
    "/home/scm/git/toolbox.git": GIT,
    "/etc/apache2/svnsetup": FOLDER,
    "/home/scm/monitor.db": SQLITE,
    "altbackup_base: /home/scm/backup": SOURCE,
    "altbackup_target_base: /data/backup": TARGET,
}
"""{text of inventory/local: the demo's own path that replaces it}"""
REPOSITORIES = 5
"""Items of inventory/local; where its server is installed, there is one of a database, too"""
UNCHANGED_ITEMS = 1

PLAYBOOK = ".venv/bin/ansible-playbook"
TRAC_ADMIN = ".venv/bin/trac-admin"
EXT = ".tar.zst"
LONGEST_COMMAND = 600  # seconds
WIDTH = 110
IDENTITY = {"NAME": "Demo", "EMAIL": "demo@example.org"}
ODD_NAMES = (
    b"a name with spaces",
    b'it\'s "quoted"',
    b"$HOME `date`",
    b"-rf",
    b"two\nlines",
    b"no UTF-8 \xe4\xf6\xfc",
    "大亚湾".encode(),
)


class DemoFailed(Exception):
    """Raised if a step ends otherwise than the demo shows."""


@dataclass(frozen=True)
class Ran:
    """A finished command: exit code, output, seconds, and its log."""

    code: int
    output: str
    seconds: float
    log: Path


@dataclass
class Stored:
    """The tarballs below source and target: their paths, and {inode: bytes} of their files."""

    names: set[Path] = field(default_factory=set)
    files: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Growth:
    """What a night added: new files, their bytes, and further names (hard links) of existing files."""

    files: int
    size: int
    links: int


class Shell:
    """Runs commands in the checkout, shows each as a person would type it, and logs each."""

    def __init__(self) -> None:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "GIT_", "LC_"))}
        common = {
            "LANG": "C.UTF-8",
            "PYTHONWARNINGS": "ignore",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ALTBACKUP_MAIL_TO": "none",
            "ALTBACKUP_HISTORY": str(ROOT / WORK / "history"),
        }
        self._environment = {**inherited, **common}
        # Commands that make live data neither read nor write the user's own settings.
        self._isolated = {
            **self._environment,
            "HOME": str(ROOT / WORK / "home"),
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in IDENTITY.items()},
        }
        self._count = 0
        self.database: demo_database.Server | None = None
        """The server that is backed up, too, if there is one"""

    @property
    def items(self) -> int:
        """How many items there are."""
        return REPOSITORIES + (self.database is not None)

    def make(self, *argv: str | Path, folder: Path | None = None) -> str:
        """Run a command that makes or changes live data; return its output. Raise DemoFailed unless it exits 0."""
        words = [str(word) for word in argv]
        if folder:
            show_command(f"(cd {shlex.quote(str(folder))} && {shlex.join(words)})")
        else:
            show_command(shlex.join(words))
        ran = self._run(words, words[0], self._isolated, folder or Path())
        if ran.code:
            raise DemoFailed(f"{words[0]} ended with exit code {ran.code}:\n{ran.output.rstrip()}")
        return ran.output

    def line(self, command: str) -> None:
        """Run one line of shell. Raise DemoFailed unless it exits 0."""
        show_command(command)
        ran = self._run(["sh", "-c", command], command, self._environment)
        if ran.code:
            raise DemoFailed(f"{command}: exit code {ran.code}:\n{ran.output.rstrip()}")

    def play(self, *arguments: str, fails: bool = False) -> Ran:
        """Run ansible-playbook with the demo's inventory and show its output.

        Raise DemoFailed if it fails unexpectedly or, with `fails`, if it does not fail.
        """
        arguments = (arguments[0], "-i", str(INVENTORY), *arguments[1:])
        show_command(shlex.join([PLAYBOOK, *arguments]))
        ran = self._run([PLAYBOOK, *arguments], Path(arguments[0]).stem, self._environment, show=show_line)
        print(f"    exit code {ran.code} after {ran.seconds:.1f} s", flush=True)
        if bool(ran.code) != fails:
            raise DemoFailed(f"{arguments[0]} ended with exit code {ran.code}; {ran.log} says why")
        return ran

    def _run(
        self,
        argv: Sequence[str],
        title: str,
        environment: dict[str, str],
        folder: Path = Path(),
        show: Callable[[str], None] = lambda line: None,
    ) -> Ran:
        """Run a command, passing each line of its output to `show` as it comes. Raise DemoFailed after LONGEST_COMMAND seconds."""
        self._count += 1
        log = (
            LOGS
            / f"{self._count:02}-{re.sub(r'[^A-Za-z0-9]+', '-', Path(title.split(maxsplit=1)[0]).name).strip('-')}.log"
        )
        start = time.monotonic()
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        limit = threading.Timer(LONGEST_COMMAND, end_group, [process])
        limit.start()
        try:
            with log.open("wb") as stream:
                output = ""
                for line in process.stdout or ():
                    stream.write(line)
                    text = line.decode(errors="backslashreplace")
                    show(text)
                    output += text
            code = process.wait()
        finally:
            timed_out = limit.finished.is_set()
            limit.cancel()
            end_group(process)
        if timed_out:
            raise DemoFailed(f"{shlex.join(argv)} did not end within {LONGEST_COMMAND} s; see {log}")
        return Ran(code, output, time.monotonic() - start, log)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Kill all processes of a command, however it ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def show_step(title: str, *sentences: str) -> None:
    """Print the heading of a step and sentences about it."""
    print(f"\n== {title}")
    for sentence in sentences:
        print(textwrap.fill(sentence, WIDTH))
    sys.stdout.flush()


def show_command(command: str) -> None:
    """Print a command as a person would type it."""
    print(f"  $ {command}", flush=True)


def note(text: str) -> None:
    """Print what was done without a command, or the result of one."""
    print(textwrap.fill(text, WIDTH, initial_indent="    ", subsequent_indent="    "), flush=True)


def show_line(line: str) -> None:
    """Print a line of ansible-playbook's output, wrapped if it is long."""
    indent = " " * (4 + len(line) - len(line.lstrip()))
    wrapped = textwrap.wrap(
        line.strip(),
        WIDTH,
        initial_indent=indent,
        subsequent_indent=f"{indent}    ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    print("\n".join(wrapped) if len(indent + line.strip()) > WIDTH else f"    {line.rstrip()}", flush=True)


def start_afresh() -> None:
    """Remove what an earlier demo made, and make empty folders. Raise DemoFailed if something else is there."""
    if DEMO.is_symlink() or (DEMO.exists() and not DEMO.is_dir()):
        raise DemoFailed(f"{ROOT / DEMO} is no folder; please move it away")
    if DEMO.exists() and any(DEMO.iterdir()) and not MADE_HERE.is_file():
        raise DemoFailed(f"{ROOT / DEMO} was not made by make demo (it has no {MADE_HERE.name}); please move it away")
    DEMO.mkdir(parents=True, exist_ok=True)
    MADE_HERE.touch()
    for path in DEMO.iterdir():
        if path.name == MADE_HERE.name:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for folder in (LOGS, WORK / "home", SVN.parent, TRAC.parent, GIT.parent, FOLDER):
        folder.mkdir(parents=True)


def make_subversion(shell: Shell) -> None:
    """Make a repository with three revisions, and keep a working copy."""
    url, copy = (ROOT / SVN).as_uri(), WORK / "dybsvn"
    shell.make("svnadmin", "create", SVN)
    shell.make("svn", "mkdir", "-q", "-m", "Layout", f"{url}/trunk", f"{url}/branches", f"{url}/tags")
    shell.make("svn", "checkout", "-q", f"{url}/trunk", copy)
    (copy / "reconstruct.py").write_text("print('muons: 1')\n", encoding="utf-8")
    (copy / "calibration.bin").write_bytes(os.urandom(200_000))
    shell.make("svn", "add", "-q", "reconstruct.py", "calibration.bin", folder=copy)
    shell.make("svn", "commit", "-q", "-m", "Reconstruction and its calibration", folder=copy)
    shell.make("svn", "copy", "-q", "-m", "First release", f"{url}/trunk", f"{url}/tags/1.0")


def make_trac(shell: Shell) -> None:
    """Make an environment with a wiki page, an attachment and tickets."""
    page, picture = WORK / "DataTaking.txt", WORK / "rate.svg"
    page.write_text("= Data taking =\nRate: [[Image(rate.svg)]]\n", encoding="utf-8")
    picture.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>\n', encoding="utf-8")
    shell.make(TRAC_ADMIN, TRAC, "initenv", "dybsvn", "sqlite:db/trac.db")
    shell.make(TRAC_ADMIN, TRAC, "wiki", "import", "DataTaking", page)
    shell.make(TRAC_ADMIN, TRAC, "attachment", "add", "wiki:DataTaking", picture, "demo", "Rate of one night")
    change_tickets(["Count muons twice", "Calibration drifts"])
    note("and two tickets, through Trac's own Python interface")


def change_tickets(new: Sequence[str], comment: str = "") -> None:
    """Add tickets with these summaries; comment on the first one."""
    warnings.simplefilter("ignore")
    from trac.env import open_environment
    from trac.ticket.model import Ticket

    environment = open_environment(str(ROOT / TRAC))
    try:
        for summary in new:
            ticket = Ticket(environment)
            ticket["summary"], ticket["reporter"], ticket["status"] = summary, "demo", "new"
            ticket.insert()
        if comment:
            Ticket(environment, 1).save_changes("demo", comment)
    finally:
        environment.shutdown()


def make_git(shell: Shell) -> None:
    """Make a bare repository with branches and tags, and keep a clone."""
    clone = WORK / "toolbox"
    shell.make("git", "init", "-q", "--bare", "--initial-branch=main", GIT)
    shell.make("git", "clone", "-q", GIT, clone)
    (clone / "README").write_text("Tools of the night shift\n", encoding="utf-8")
    shell.make("git", "add", "README", folder=clone)
    shell.make("git", "commit", "-q", "-m", "Start", folder=clone)
    shell.make("git", "tag", "-a", "-m", "First release", "v1.0", folder=clone)
    shell.make("git", "branch", "faster", folder=clone)
    shell.make("git", "push", "-q", "origin", "main", "faster", "v1.0", folder=clone)


def make_folder() -> None:
    """Make files with legal but troublesome names."""
    (FOLDER / "users.conf").write_text("demo:*\n", encoding="utf-8")
    (FOLDER / "authz.conf").write_text("[/]\n* = r\n", encoding="utf-8")
    (FOLDER / "to authz").symlink_to("authz.conf")
    (FOLDER / "empty folder").mkdir()
    made = 0
    for name in ODD_NAMES:
        # Some file systems refuse names that are not UTF-8.
        with contextlib.suppress(OSError), open(os.path.join(os.fsencode(FOLDER), name), "wb") as stream:
            stream.write(name)
            made += 1
    note(
        f"{FOLDER}: {made} files with odd names (spaces, quotes, a $, a leading dash, a newline, bytes that are no UTF-8), "
        "a link and an empty folder"
    )


def add_samples(first: int, last: int) -> None:
    """Add rows to the SQLite database."""
    with contextlib.closing(sqlite3.connect(ROOT / SQLITE)) as database, database:
        database.execute("create table if not exists samples (id integer primary key, rate real)")
        database.executemany(
            "insert into samples values (?, ?)", [(number, number / 7) for number in range(first, last)]
        )


def change_live_data(shell: Shell) -> None:
    """Change everything but the folder."""
    copy, clone = WORK / "dybsvn", WORK / "toolbox"
    with (copy / "reconstruct.py").open("a", encoding="utf-8") as stream:
        stream.write("print('muons: 2')\n")
    shell.make("svn", "commit", "-q", "-m", "Count twice", folder=copy)
    with (clone / "README").open("a", encoding="utf-8") as stream:
        stream.write("Now with a lamp\n")
    shell.make("git", "commit", "-q", "-a", "-m", "Lamp", folder=clone)
    shell.make("git", "tag", "v1.1", folder=clone)
    shell.make("git", "push", "-q", "origin", "main", "v1.1", folder=clone)
    change_tickets(["Lamp flickers"], "Done in [4]")
    add_samples(1000, 1100)
    note("a new ticket and a comment in Trac, a hundred rows in the database; the folder stays as it is")
    if shell.database is not None:
        shell.make(
            *shell.database.argv("USE tickets; INSERT INTO ticket SELECT seq, 'a lamp flickers' FROM seq_301_to_320")
        )


def look_at_stored() -> Stored:
    """Return the stored tarballs."""
    stored = Stored()
    for base in (SOURCE, TARGET):
        for path in base.rglob(f"*{EXT}"):
            if ".altbackup" not in path.parts and not path.is_symlink() and "last" not in path.parts:
                status = path.lstat()
                stored.names.add(path)
                stored.files[status.st_ino] = status.st_size
    return stored


def growth(before: Stored, after: Stored) -> Growth:
    """Return what a night added, from the tarballs before and after it."""
    sizes = [size for inode, size in after.files.items() if inode not in before.files]
    return Growth(len(sizes), sum(sizes), len(after.names - before.names) - len(sizes))


def show_cost(ran: Ran, added: Growth) -> None:
    """Print what a night cost."""
    note(
        f"This night: {ran.seconds:.1f} s; on source and target together {added.files} new files with {added.size:,} bytes "
        f"and {added.links} hard links to tarballs that were there."
    )


def expect(condition: bool, text: str) -> None:
    """Raise DemoFailed unless the condition holds."""
    if not condition:
        raise DemoFailed(text)


def run_night(shell: Shell, *arguments: str) -> Growth:
    """Run the backup and print its cost; return what it added. Raise DemoFailed unless each item has a new tarball on both sides."""
    before = look_at_stored()
    ran = shell.play("playbooks/backup.yml", *arguments)
    after = look_at_stored()
    new = after.names - before.names
    items = shell.items
    expect(len(new) == 2 * items, f"expected {2 * items} new tarballs, {items} on each side, but found {len(new)}")
    without = [path for path in new if not Path(f"{path}.dna").is_file()]
    expect(not without, f"tarballs without dna: {', '.join(map(str, without))}")
    added = growth(before, after)
    show_cost(ran, added)
    return added


def newest(base: Path, item: str) -> Path:
    """Return the newest tarball of an item, by the link `last`."""
    link = base / item / "last"
    found = sorted((base / item / os.readlink(link)).glob(f"*{EXT}"))
    expect(len(found) == 1, f"expected one tarball in {link}, found {len(found)}")
    return found[0]


def flip_byte(shell: Shell, path: Path) -> None:
    """Invert all bits of a byte in the middle of a file."""
    middle = path.stat().st_size // 2
    with path.open("rb") as stream:
        stream.seek(middle)
        flipped = stream.read(1)[0] ^ 0xFF
    shell.line(f"printf '\\{flipped:03o}' | dd of={shlex.quote(str(path))} bs=1 seek={middle} conv=notrunc status=none")


def day_arguments(stamp: str) -> list[str]:
    """Return the arguments that name the day of a stamp, none if that is today (UTC)."""
    day = stamp[: len("2013/05/10")]
    return [] if datetime.now(UTC).strftime("%Y/%m/%d") == day else ["-e", f"altbackup_day={day}"]


def show_live_data(shell: Shell) -> None:
    """Step: make the live data, the two bases and the inventory."""
    show_step(
        "Live data: a Subversion repository, a Trac, a Git repository, a folder and a database",
        f"All of it is real, and below {LIVE}.",
    )
    make_subversion(shell)
    make_trac(shell)
    make_git(shell)
    make_folder()
    add_samples(0, 1000)
    note(f"{SQLITE}: a table with a thousand rows")
    make_server_data(shell)
    show_step(
        "Two marked folders",
        "A run never creates a base folder: the folder .altbackup in it says that the right disk is mounted. "
        "Here both are on this machine.",
    )
    shell.make("mkdir", "-p", SOURCE / ".altbackup", TARGET / ".altbackup")
    show_step(
        "An inventory of the demo's own",
        f"{INVENTORY} is inventory/local with the paths of this demo: it names the two folders and the {shell.items} items.",
    )
    write_inventory(shell)


def make_server_data(shell: Shell) -> None:
    """Make a table in the database server, if there is one."""
    if shell.database is not None:
        table = "CREATE TABLE tickets.ticket (id int PRIMARY KEY, summary text)"
        rows = "INSERT INTO tickets.ticket SELECT seq, CONCAT('ticket ', seq) FROM seq_1_to_300"
        shell.make(*shell.database.argv(f"CREATE DATABASE tickets; {table}; USE tickets; {rows}"))
        note("a database of MariaDB with three hundred rows, in a server of this demo's own, which runs until it ends")


def write_inventory(shell: Shell) -> None:
    """Write the demo's inventory: inventory/local with the demo's paths. Raise DemoFailed if that lacks a path of PLACES."""
    shutil.copytree(inventory("local"), INVENTORY)
    found: set[str] = set()
    for file in INVENTORY.rglob("*.yml"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        text = "".join(with_own_paths(line, found) for line in lines)
        if shell.database is not None:
            text = text.replace("altbackup_items:\n", f"altbackup_items:\n{shell.database.item()}")
        file.write_text(text, encoding="utf-8")
    expect(found == set(PLACES), f"inventory/local does not have {', '.join(sorted(set(PLACES) - found))}")


def with_own_paths(line: str, found: set[str]) -> str:
    """Return a line of the inventory with the demo's paths, and add the replaced texts to `found`; comments stay as they are."""
    if line.lstrip().startswith("#"):
        return line
    for place, own in PLACES.items():
        if place in line:
            found.add(place)
            variable, _, path = place.rpartition(": ")
            return line.replace(
                place, place.removesuffix(path) + f'"{{{{ inventory_dir }}}}/../{own.relative_to(DEMO)}"'
            )
    return line


def show_nights(shell: Shell) -> str:
    """Step: three nights; return the stamp of the last one."""
    today = datetime.now(UTC)
    first, second = (f"{today - timedelta(days=days):%Y/%m/%d}/013000" for days in (2, 1))
    show_step(
        "The first night: dump, check, synchronize, check, purge, report",
        "The same command as from cron. The stamp says under which date and time the run stores; without it, now.",
    )
    added = run_night(shell, "-e", f"altbackup_stamp={first}")
    expect(added.links == 0, f"expected no hard links in the first night, but found {added.links}")
    show_step(
        "The night after: nothing has changed",
        "An unchanged item gives the same bytes. They are not stored or sent again: the old tarball is read, "
        "and gets a second name.",
    )
    added = run_night(shell, "-e", f"altbackup_stamp={second}")
    expect(added == Growth(0, 0, 2 * shell.items), f"expected only hard links in an unchanged night, but found {added}")
    show_step("The day goes on", "People commit, push, and write tickets.")
    change_live_data(shell)
    show_step("Tonight", "What changed is stored and sent; the folder did not, and costs two links.")
    added = run_night(shell)
    expect(
        added.links == 2 * UNCHANGED_ITEMS,
        f"expected {2 * UNCHANGED_ITEMS} hard links for what did not change, but found {added.links}",
    )
    return os.readlink(SOURCE / "svn/dybsvn/last")


def show_damage(shell: Shell, stamp: str) -> None:
    """Step: damage a copy, see the check fail, see the copy healed, see the check pass."""
    victim = newest(COPIES, "svn/dybsvn")
    show_step(
        "A disk goes bad: one byte of one copy on the target is flipped",
        "The size stays, the date stays, tar may not even complain. The check reads the bytes, so it must fail:",
    )
    flip_byte(shell, victim)
    ran = shell.play("playbooks/check.yml", *day_arguments(stamp), fails=True)
    message = f"{victim.relative_to(COPIES)} does not match its dna"
    expect(message in ran.output, f"{ran.log} does not say: {message}")
    show_step(
        "It heals",
        "The source's tarball is good. Any backup that reads the damaged copy sets it apart and fetches a good one; this one completes the same night. "
        "It fails all the same: a disk that rots once does so again.",
    )
    ran = shell.play("playbooks/backup.yml", "-e", f"altbackup_stamp={stamp}", fails=True)
    expect("healed from localhost" in " ".join(ran.output.split()), f"{ran.log} does not say that it was healed")
    expect(victim.is_file(), f"no good copy came in the place of {victim}")
    shell.play("playbooks/check.yml", *day_arguments(stamp))


def show_restore(shell: Shell) -> None:
    """Step: unpack a copy by hand."""
    tarball, restored = newest(COPIES, "svn/dybsvn"), DEMO / "restored"
    top = restored / tarball.name.removesuffix(EXT)
    show_step("A copy needs nothing of this project to be read", "It is a plain tarball. Its name says the revision.")
    shell.make("mkdir", restored)
    shell.make("tar", "-xf", tarball, "-C", restored)
    shell.make("svnadmin", "verify", "--quiet", top)
    said = shell.make("svnlook", "youngest", top).strip()
    note(said)
    expect(said == "4", f"the copy's youngest revision is {said}, not 4")


def show_end(seconds: float) -> None:
    """Print where everything is and what to do next."""
    stored = look_at_stored()
    show_step(f"Done in {seconds:.0f} s. What lies where, in {ROOT}")
    rows = [
        (LIVE, "the live data"),
        (SOURCE, "its tarballs, as CATEGORY/NAME/YYYY/MM/DD/HHMMSS/, each with its digest and size in .dna"),
        (COPIES, "the target's copies of them, the same layout"),
        (DEMO / "restored", "the repository that was unpacked from a copy"),
        (INVENTORY, "the inventory, for more runs: -i var/demo/inventory"),
        (LOGS, "the output of each command"),
    ]
    for path, meaning in rows:
        print(f"    {path!s:26}{meaning}")
    note(f"{len(stored.names)} tarballs in {len(stored.files)} files, {sum(stored.files.values()):,} bytes")
    mine = next(
        name for name in ("mine", *(f"mine-{number}" for number in range(2, 1000))) if not inventory(name).exists()
    )
    show_step(
        "Next, with your own data: three commands",
        f"After the first, edit the files in {inventory(mine)}/group_vars: your items, and two folders of your own, each "
        "with a folder .altbackup in it. The second one predicts and changes nothing: it names what is still missing.",
    )
    show_command(f"cp -R {inventory('local')} {inventory(mine)}")
    show_command(f"{PLAYBOOK} -i {inventory(mine)} playbooks/backup.yml --check")
    show_command(f"{PLAYBOOK} -i {inventory(mine)} playbooks/backup.yml")
    print("\nREADME.md tells the rest. Run make demo again at any time: it starts afresh.")


def inventory(name: str) -> Path:
    """Return the folder of an inventory."""
    return Path("inventory") / name


@contextlib.contextmanager
def only_one_demo() -> Iterator[None]:
    """Keep a second demo in this checkout from starting. Raise DemoFailed if one is running."""
    with open(__file__, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoFailed("another make demo is running in this checkout") from None
        yield


def stop(number: int, frame: FrameType | None) -> NoReturn:
    """Turn a signal into DemoFailed, so that the running command is ended."""
    raise DemoFailed(f"stopped by {signal.Signals(number).name}")


def run_demo() -> None:
    """Run all steps. Raise DemoFailed at the first that ends otherwise than shown."""
    start = time.monotonic()
    start_afresh()
    shell = Shell()
    print(f"make demo: everything happens below {ROOT / DEMO}")
    with contextlib.ExitStack() as stack:
        try:
            shell.database = stack.enter_context(demo_database.running(ROOT / DEMO / "db"))
        except demo_database.NoDatabase as error:
            print(textwrap.fill(f"No database of a server is shown: {error}.", WIDTH))
        show_live_data(shell)
        stamp = show_nights(shell)
        show_step("What is where", "Both trees, as the dna sidecars have it: source, state, bytes, digest, path.")
        shell.play("playbooks/list.yml")
        show_damage(shell, stamp)
        show_restore(shell)
        if shell.database is not None:
            note(
                "The server of the database has ended: further runs with the demo's inventory fail for its item, databases/tickets."
            )
    show_end(time.monotonic() - start)


def main() -> int:
    """Run the demo; return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
    os.chdir(ROOT)
    os.umask(0o022)
    try:
        with only_one_demo():
            run_demo()
    except (DemoFailed, OSError) as error:
        print(f"\nmake demo: failed: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
