"""Where the demo keeps what: its folders, and the paths of inventory/local that they replace."""

from __future__ import annotations

from pathlib import Path

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
EXT = ".tar.zst"
