"""Show three nights of backups of real repositories below var/demo, a damaged copy, and how it is found and healed: make demo.

Every command that is shown is the one that runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import NoReturn

import demo_database
from demo_data import (
    add_samples,
    change_live_data,
    inventory,
    make_folder,
    make_git,
    make_server_data,
    make_subversion,
    make_trac,
    start_afresh,
    write_inventory,
)
from demo_places import COPIES, DEMO, EXT, INVENTORY, LIVE, LOGS, ROOT, SOURCE, SQLITE, TARGET
from demo_shell import WIDTH, DemoFailed, Ran, Shell, expect, note, show_command, show_step

PROGRAM = "bin/altbackup"
UNCHANGED_ITEMS = 1


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
    revision = shell.make("svnlook", "youngest", top).strip()
    note(revision)
    expect(revision == "4", f"the copy's youngest revision is {revision}, not 4")


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
        print(textwrap.fill(f"{path!s:26}{meaning}", WIDTH, initial_indent="    ", subsequent_indent=" " * 30))
    note(f"{len(stored.names)} tarballs in {len(stored.files)} files, {sum(stored.files.values()):,} bytes")
    mine = next(
        name for name in ("mine", *(f"mine-{number}" for number in range(2, 1000))) if not inventory(name).exists()
    )
    show_step(
        "Next, with your own data: three commands",
        f"The first asks which machines, and writes what it finds on them into {inventory(mine)}, for you to look through; the second "
        "makes the folders and the schedule (--check predicts), the third makes and verifies the first copies.",
    )
    show_command(f"{PROGRAM} init {mine}")
    show_command(f"{PROGRAM} run setup -i {inventory(mine)}")
    show_command(f"{PROGRAM} run backup -i {inventory(mine)}")
    print("\nREADME.md tells the rest. Run make demo again at any time: it starts afresh.")


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
