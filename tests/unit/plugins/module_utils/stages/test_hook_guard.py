"""The guard of hooks by itself: what it waits for, what it lets go of, and what it writes down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.trees import FIRST, Base
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.stages.hook_guard import Guard, GuardGone
from ansible_collections.altbackup.core.plugins.module_utils.stages.hook_ledger import Ledger
from ansible_collections.altbackup.core.plugins.module_utils.system import process_groups
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree

CALL = """
import os, signal, subprocess, sys
from ansible_collections.altbackup.core.plugins.module_utils.stages.hook_guard import Guard
from ansible_collections.altbackup.core.plugins.module_utils.system import process_groups
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
base, text = sys.argv[1:]
guard = Guard(open_tree(base)).__enter__()
reader = subprocess.Popen(["sleep", "2"], pass_fds=process_groups.lifelines(), start_new_session=True)
guard.ask("open", 10, wait=1)
program = {"argv": [sys.executable, "-c", text, str(reader.pid)], "uid": os.geteuid(), "seconds": 60}
guard.ask("owe", 10, item="folders/x", title="x", stamp="2013/05/10/104701", programs={"after": [program], "on_failure": []})
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return open_tree(str(Base(tmp_path / "base").path))


def program(*argv: str, seconds: float = 60) -> dict[str, object]:
    return {"argv": list(argv), "uid": os.geteuid(), "seconds": seconds}


def test_what_is_owed_is_not_run_while_anything_of_the_call_lives(tree: Tree, tmp_path: Path) -> None:
    said = tmp_path / "said"
    text = (
        "import os, sys\n"
        "path = f'/proc/{sys.argv[1]}/stat'\n"
        f"open({str(said)!r}, 'w').write(open(path).read().split()[2] if os.path.exists(path) else 'gone')"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", CALL, tree.base, text], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert wait_until(lambda: said.exists() and said.read_text() != "", 40)
    assert said.read_text() in ("gone", "Z")


def test_what_a_program_fails_with_is_what_is_raised(tree: Tree) -> None:
    with Guard(tree) as guard:
        guard.ask("open", 10, wait=1)
        told = {"item": "a/b", "title": "b", "stamp": FIRST, "when": "before", "which": 0, "state": "begun"}
        with pytest.raises(ToolFailed, match="b: before: /bin/sh failed with exit code 7: no") as failed:
            guard.ask("run", 10, program=program("/bin/sh", "-c", "echo no; exit 7"), **told)
        assert (failed.value.rc, failed.value.stderr) == (7, "no")
        with pytest.raises(AltbackupError, match="killed by signal 9"):
            guard.ask("run", 10, program=program("/bin/sh", "-c", "kill -9 $$"), **told)
        with pytest.raises(AltbackupError, match="said more than"):
            guard.ask("run", 60, program=program("/usr/bin/yes"), **told)
        with pytest.raises(AltbackupError, match="/nonexistent"):
            guard.ask("run", 10, program=program("/nonexistent"), **told)
        guard.ask("end", 10)
    assert not os.path.exists(Ledger(tree).path)


@pytest.mark.full
def test_a_call_that_cannot_wait_leaves_the_rest_to_the_guard(tree: Tree, tmp_path: Path) -> None:
    with Guard(tree) as guard:
        guard.ask("open", 10, wait=1)
        late = program("/bin/sh", "-c", f"sleep 3; touch {tmp_path}/late")
        last = program("/bin/sh", "-c", f"touch {tmp_path}/last")
        programs = {"after": [late, last], "on_failure": []}
        guard.ask("owe", 10, item="a/b", title="b", stamp=FIRST, programs=programs)
        told = {"item": "a/b", "title": "b", "stamp": FIRST, "when": "after", "which": 0, "state": "done"}
        with pytest.raises(GuardGone) as gone:
            guard.ask("run", 1, program=late, **told)
        assert not gone.value.killed
    assert wait_until((tmp_path / "last").exists, 20) and (tmp_path / "late").exists()
    ledger = Ledger(tree)
    ledger.open(10)
    assert ledger.owed == [] and len(ledger.results) == 2 and not any(entry.bad for entry in ledger.results)
    ledger.close(reported=True)


def test_a_guard_that_is_told_to_end_by_others_stays(tree: Tree) -> None:
    with Guard(tree) as guard:
        guard.ask("open", 10, wait=1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            os.kill(guard.pid, number)
        guard.ask("pay", 10, item="a/b")
        see = program("/bin/sh", "-c", "kill -TERM $$")  # it is no stranger to signals itself
        told = {"item": "a/b", "title": "b", "stamp": FIRST, "when": "before", "which": 0, "state": "begun"}
        with pytest.raises(AltbackupError, match="killed by signal 15"):
            guard.ask("run", 10, program=see, **told)
        os.kill(guard.pid, signal.SIGKILL)
        with pytest.raises(GuardGone) as gone:
            guard.ask("pay", 10, item="a/b")
        assert gone.value.killed
    assert process_groups.lifelines() == []
