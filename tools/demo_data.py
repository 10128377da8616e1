"""The demo's live data, its changes, and its inventory."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import warnings
from collections.abc import Sequence
from pathlib import Path

from demo_places import DEMO, FOLDER, GIT, INVENTORY, LOGS, MADE_HERE, PLACES, ROOT, SQLITE, SVN, TRAC, WORK
from demo_shell import DemoFailed, Shell, expect, note

TRAC_ADMIN = ".venv/bin/trac-admin"
ODD_NAMES = (
    b"a name with spaces",
    b'it\'s "quoted"',
    b"$HOME `date`",
    b"-rf",
    b"two\nlines",
    b"no UTF-8 \xe4\xf6\xfc",
    "大亚湾".encode(),
)


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


def inventory(name: str) -> Path:
    """Return the folder of an inventory."""
    return Path("inventory") / name
