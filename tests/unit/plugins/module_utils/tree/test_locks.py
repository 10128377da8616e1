"""One writer at a time on a tree: `flock` while a module runs, the run's lease in between, and who may take it over."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers.dead_mount import dead_mount, run_apart
from helpers.trees import small_disk
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.system import proc, processes
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput, Locked
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.locks import Run, held, lock_path, parse_run, shared
from ansible_collections.altbackup.core.plugins.modules import tarball_count, tarball_purge

RUN = Run(
    controller="hep1",
    user="scm",
    command="ansible-playbook playbooks/backup.yml",
    started="2013-05-10 10:47:01 UTC",
    host="machine/hep1",
    boot="boot",
    namespace="pid:[1]",
    pid=100,
    ticks=1000,
    seconds=600.0,
    alive=frozenset({"100/1000", "200/900"}),
)
LATER = replace(RUN, pid=300, ticks=2000, alive=frozenset({"300/2000", "100/1000"}))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "base" / ".altbackup").mkdir(parents=True)
    return open_tree(str(tmp_path / "base"))


@contextmanager
def another_module(tree: Tree) -> Iterator[subprocess.Popen[bytes]]:
    """Hold the lock of a tree in another process."""
    Path(lock_path(tree)).parent.mkdir(exist_ok=True)
    program = "import fcntl, sys, time; f = open(sys.argv[1], 'a'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program, lock_path(tree)], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            yield other
        finally:
            other.kill()


def fill(disk: Path) -> None:
    """Fill a disk."""
    with open(disk / "full", "wb", buffering=0) as stream, suppress(OSError):
        while stream.write(bytes(4096)):
            pass


def take(tree: Tree, run: Run | None) -> list[str]:
    """Take a tree's lease for a run, as one module call does; return the notes."""
    with held(tree, run, wait=0) as hold:
        return hold.notes


def test_lock_of_a_source_and_of_each_tree_on_a_target_are_apart(tmp_path: Path) -> None:
    (tmp_path / "copies" / ".altbackup").mkdir(parents=True)
    paths = {lock_path(open_tree(str(tmp_path / "copies" / name))) for name in ("dayabay", "lingao")}
    assert paths == {str(tmp_path / "copies" / ".altbackup" / "locks" / name) for name in ("dayabay", "lingao")}
    assert lock_path(open_tree(str(tmp_path / "copies"))) == str(tmp_path / "copies" / ".altbackup" / "lock")


def test_one_module_at_a_time_and_the_other_is_named(tree: Tree) -> None:
    with another_module(tree) as other:
        with pytest.raises(Locked, match=f"is in use: a module is still at work on it .process {other.pid}: .*flock"):
            take(tree, RUN)
        other.kill()
        other.wait()
        assert take(tree, RUN) == []


def test_module_waits_for_the_other_one_to_end(tree: Tree) -> None:
    with another_module(tree) as other:
        processes.threading.Timer(1, other.kill).start()
        with held(tree, RUN, wait=20):
            assert wait_until(lambda: other.poll() is not None, 0.8)  # it is locked no more a little before it is gone


def test_who_reads_keeps_writers_out_and_not_readers(tree: Tree) -> None:
    take(tree, None)
    with shared(tree, 0), shared(tree, 0), pytest.raises(Locked):
        take(tree, None)
    with another_module(tree), pytest.raises(Locked), shared(tree, 0):
        pass


def test_reading_makes_no_lock(tree: Tree) -> None:
    with shared(tree):
        assert os.listdir(tree.private) == []


def test_child_that_outlives_its_module_keeps_others_out(tree: Tree) -> None:
    with held(tree, RUN):
        child = processes.Child(["sleep", "60"])
    try:
        assert wait_until(lambda: proc.title_of(child.process.pid) == "sleep 60")
        with pytest.raises(Locked, match=f"process {child.process.pid}: sleep 60"):
            take(tree, RUN)
    finally:
        child.__exit__()
    assert take(tree, RUN) == []


def test_lease_keeps_other_runs_and_calls_without_a_run_away_and_names_its_run(tree: Tree) -> None:
    take(tree, RUN)
    for other in (LATER, replace(RUN, host="machine/hep2"), None):
        with pytest.raises(Locked) as caught:
            take(tree, other)
        for word in ("scm on hep1", "process 100", "2013-05-10 10:47:01 UTC", RUN.command, "ends at", lock_path(tree)):
            assert word in str(caught.value)
    assert take(tree, RUN) == []


@pytest.mark.parametrize(
    ("other", "taken"),
    [
        (replace(LATER, alive=frozenset({"300/2000"})), True),
        (replace(LATER, alive=frozenset({"300/2000", "100/1999"})), True),  # the number, given to another process
        (replace(LATER, boot="later"), True),
        (replace(LATER, alive=frozenset(), user="root"), True),
        (replace(LATER, alive=frozenset(), host="machine/hep2"), False),
        (replace(LATER, alive=frozenset(), namespace="pid:[2]"), False),
        (replace(LATER, alive=frozenset(), ticks=999), False),  # began earlier, so it cannot know
        (replace(LATER, alive=frozenset(), user="admin"), False),  # /proc may hide processes of others
        (replace(LATER, alive=frozenset(), boot=""), False),
    ],
    ids=[
        *("dead", "number used again", "after a boot", "root", "other controller", "other namespace", "older"),
        *("other user", "boot unknown"),
    ],
)
def test_run_known_to_be_dead_loses_its_lease_at_once(tree: Tree, other: Run, taken: bool) -> None:
    take(tree, RUN)
    if not taken:
        with pytest.raises(Locked):
            take(tree, other)
        return
    (note,) = take(tree, other)
    assert "took over the lock" in note
    assert "scm on hep1, process 100" in note
    if other.boot == RUN.boot:
        with pytest.raises(Locked):
            take(tree, RUN)


@pytest.mark.parametrize("unknown", [{"boot": ""}, {"namespace": ""}, {"ticks": 0}], ids=["boot", "namespace", "ticks"])
def test_where_the_controller_has_no_proc_no_run_is_known_to_be_dead(tree: Tree, unknown: dict[str, Any]) -> None:
    take(tree, replace(RUN, **unknown))
    with pytest.raises(Locked):
        take(tree, replace(LATER, alive=frozenset(), **unknown))


def test_lease_of_an_unknown_run_ends_when_it_expires(tree: Tree) -> None:
    take(tree, replace(RUN, seconds=0.5))
    other = replace(RUN, host="machine/hep2")
    with pytest.raises(Locked):
        take(tree, other)
    expires = json.loads(Path(lock_path(tree)).read_text())["expires"]
    assert wait_until(lambda: time.time() > expires)
    (note,) = take(tree, other)
    assert "took over the lock" in note


def test_expired_lease_is_not_taken_while_a_module_works(tree: Tree) -> None:
    take(tree, replace(RUN, seconds=0.001))
    with (
        another_module(tree),
        pytest.raises(Locked, match="a module is still at work on it, of the run of scm on hep1"),
    ):
        take(tree, LATER)


def test_each_call_renews_the_lease(tree: Tree) -> None:
    with held(tree, RUN) as hold:
        first = hold._lease
        hold.renew()
        assert first is not None
        assert hold._lease is not None
        assert hold._lease.expires > first.expires


def test_what_is_given_back_is_free(tree: Tree) -> None:
    take(tree, RUN)
    with held(tree, RUN) as hold:
        assert hold.release()
    assert take(tree, LATER) == []
    with held(tree, LATER) as hold:
        hold.release()
        assert not hold.release()


def test_call_that_takes_no_lease_leaves_none_and_is_kept_away_by_live_runs_alone(tree: Tree) -> None:
    call = replace(LATER, seconds=0.0)
    assert take(tree, call) == []
    assert Path(lock_path(tree)).read_bytes() == b""
    take(tree, RUN)
    with pytest.raises(Locked, match="process 100"):
        take(tree, call)
    (note,) = take(tree, replace(call, alive=frozenset()))
    assert "took over the lock" in note
    assert take(tree, replace(RUN, host="machine/hep2")) == []


def test_torn_lease_is_none(tree: Tree) -> None:
    Path(lock_path(tree)).write_text('{"run": {"controller": "hep1", ')
    assert take(tree, RUN) == []


def test_lease_of_a_run_with_a_long_command_in_any_script_is_read(tree: Tree) -> None:
    command = "ansible-playbook -i /home/备份/ " + "备份𝄞" * 1000
    take(tree, replace(RUN, command=command))
    assert Path(lock_path(tree)).stat().st_size == 4096
    with pytest.raises(Locked, match="ansible-playbook -i /home/备份/ 备份"):
        take(tree, LATER)


def test_leftovers_go_before_anything_is_written(tree: Tree) -> None:
    seen = []

    def clean() -> list[str]:
        seen.append(Path(lock_path(tree)).read_bytes())
        return ["removed x"]

    with held(tree, RUN, clean=clean) as hold:
        assert hold.notes == ["removed x"]
    assert seen == [b""]


def test_lock_can_be_taken_given_back_and_taken_again_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        (disk / ".altbackup").mkdir()
        tree = open_tree(str(disk))
        take(tree, RUN)
        fill(disk)
        with held(tree, RUN) as hold:
            hold.release()
        take(tree, LATER)
        with pytest.raises(Locked):
            take(tree, replace(RUN, host="machine/hep2"))


def test_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        (disk / ".altbackup").mkdir()
        fill(disk)
        with pytest.raises(OSError, match="No space") as caught:
            take(open_tree(str(disk)), RUN)
        assert caught.value.errno == errno.ENOSPC


def test_link_in_the_place_of_a_lock_is_not_followed(tree: Tree, tmp_path: Path) -> None:
    Path(lock_path(tree)).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        take(tree, RUN)
    assert not (tmp_path / "elsewhere").exists()


def test_run_is_what_a_plan_has_or_refused() -> None:
    value = {**asdict(RUN), "alive": sorted(RUN.alive)}
    assert parse_run(value) == RUN
    assert parse_run({}) is None
    for wrong in ({"controller": "x"}, {**value, "pid": "many"}, {**value, "seconds": None}):
        with pytest.raises(InvalidInput, match="it is none that the plan of a playbook has"):
            parse_run(wrong)


# Transfers into a target at a time


@pytest.fixture
def trees(tmp_path: Path) -> list[Tree]:
    """Return the trees of four sources on one target."""
    (tmp_path / "copies" / ".altbackup").mkdir(parents=True)
    return [open_tree(str(tmp_path / "copies" / name)) for name in ("dayabay", "lingao", "ihep", "daya")]


def reserve(tree: Tree, run: Run | None, slots: int = 1, wait: float = 0) -> bool:
    with held(tree, run) as hold:
        return hold.reserve(slots, wait)


def end(tree: Tree, run: Run) -> None:
    with held(tree, run) as hold:
        hold.end_transfer()


def test_no_more_transfers_than_slots_also_within_one_run(trees: list[Tree]) -> None:
    assert reserve(trees[0], RUN, 2)
    assert reserve(trees[0], RUN, 2), "its own is no other"
    assert reserve(trees[1], RUN, 2)
    assert not reserve(trees[2], RUN, 2)
    assert not reserve(trees[3], LATER, 2)
    end(trees[0], RUN)
    assert reserve(trees[2], RUN, 2)


def age(tree: Tree, seconds: float) -> None:
    """Age the last call for a transfer into a tree."""
    path = Path(lock_path(tree))
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "transfer": entry["transfer"] - seconds}))


def test_transfer_that_nobody_is_at_work_on_counts_for_minutes_not_until_its_lease_ends(trees: list[Tree]) -> None:
    reserve(trees[0], replace(RUN, seconds=40000.0))
    age(trees[0], 200)
    assert not reserve(trees[1], RUN)
    age(trees[0], 200)
    assert reserve(trees[1], RUN)


def test_each_call_makes_a_transfer_count_anew(trees: list[Tree]) -> None:
    reserve(trees[0], RUN)
    age(trees[0], 3600)
    take(trees[0], RUN)
    assert not reserve(trees[1], RUN)


def test_transfer_counts_as_long_as_a_module_is_at_work_on_it(trees: list[Tree]) -> None:
    reserve(trees[0], RUN)
    age(trees[0], 3600)
    with another_module(trees[0]):
        assert not reserve(trees[1], RUN)
    with shared(trees[0]):
        assert reserve(trees[1], RUN), "who reads sends nothing"


@pytest.mark.parametrize("open_file", [False, True], ids=["works there", "has a file open"])
def test_transfer_counts_as_long_as_a_process_is_at_work_in_its_folder(
    trees: list[Tree], tmp_path: Path, open_file: bool
) -> None:
    reserve(trees[0], RUN)
    age(trees[0], 3600)
    incoming = Path(trees[0].private_path("incoming"))
    incoming.mkdir(parents=True)
    part = incoming / "sha256-0"
    part.touch()
    os.utime(part, (0, 0))
    with (
        open(part if open_file else os.devnull, "rb") as stream,
        subprocess.Popen(["sleep", "60"], stdin=stream, cwd=tmp_path if open_file else incoming) as receiver,
    ):
        stream.close()
        assert not reserve(trees[1], RUN)
        receiver.kill()
        receiver.wait()
        assert reserve(trees[1], RUN)


def test_transfer_counts_between_two_of_its_files(trees: list[Tree]) -> None:
    reserve(trees[0], RUN)
    age(trees[0], 3600)
    incoming = Path(trees[0].private_path("incoming"))
    incoming.mkdir(parents=True)
    (incoming / "sha256-0").touch()
    assert not reserve(trees[1], RUN)
    os.utime(incoming / "sha256-0", (0, 0))
    assert reserve(trees[1], RUN)


def test_who_waits_for_a_slot_has_none_meanwhile(trees: list[Tree]) -> None:
    reserve(trees[0], RUN)
    age(trees[0], 3600)
    assert reserve(trees[1], RUN)
    assert not reserve(trees[0], RUN), "it went to another one"
    assert json.loads(Path(lock_path(trees[0])).read_text())["transfer"] == 0


def test_waits_for_a_slot(trees: list[Tree]) -> None:
    reserve(trees[0], RUN)
    timer = processes.threading.Timer(0.5, end, (trees[0], RUN))
    timer.start()
    assert reserve(trees[1], RUN, wait=30)
    timer.join()


def test_transfers_of_dead_runs_do_not_count(trees: list[Tree]) -> None:
    reserve(trees[0], RUN)
    assert not reserve(trees[1], LATER)
    assert reserve(trees[1], replace(LATER, alive=frozenset()))
    assert reserve(trees[2], None), "a call without a run is one of somebody who watches"


def test_lease_stays_when_a_transfer_ends_and_transfer_when_the_lease_is_renewed(trees: list[Tree]) -> None:
    reserve(trees[0], RUN)
    take(trees[0], RUN)
    assert not reserve(trees[1], RUN)
    end(trees[0], RUN)
    with pytest.raises(Locked):
        take(trees[0], LATER)


def test_descriptor_of_the_lock_is_closed_to_programs_started_otherwise(tree: Tree) -> None:
    with held(tree, RUN):
        done: Any = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, check=True)
        assert lock_path(tree) not in done.stdout
    descriptor = os.open(lock_path(tree), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("place", ["", "svn"])
@pytest.mark.parametrize(
    ("module", "more"),
    [(tarball_count, {"expect": {"x": 1}}), (tarball_purge, {"keep": 1, "_ansible_check_mode": True})],
)
def test_module_whose_base_does_not_answer_says_so(
    tmp_path: Path, module: ModuleType, more: dict[str, Any], place: str
) -> None:
    (tmp_path / ".altbackup").mkdir()
    with dead_mount(tmp_path / "dayabay" / place) as dead:
        result = run_apart(module, {"base": str(tmp_path / "dayabay"), **more})
    assert result["failed"]
    assert result["msg"].endswith(f"{dead} does not answer within 3 s: is the server of its mount up?")


def test_module_that_waits_for_ever_ends_itself_and_gives_its_lock_back(tmp_path: Path) -> None:
    """As when a thread has opened a named pipe."""
    base, pipe = tmp_path / "base", tmp_path / "pipe"
    (base / ".altbackup").mkdir(parents=True)
    os.mkfifo(pipe)
    options = {"base": str(base), "step_timeout": 2, "nice": 0, "ionice": "", "run": None}
    script = (
        "from ansible_collections.altbackup.core.plugins.module_utils.system import process_groups\n"
        "from ansible_collections.altbackup.core.plugins.module_utils.tree import locks\n"
        "process_groups.PATIENCE = 0.3\n"
        f"locks.run_exclusive({options!r}, lambda hold: open({str(pipe)!r}))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, timeout=30)
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["failed"] is True
    assert "took longer than its limit of 2 s, and waits for something that cannot be ended" in said["msg"]
    with held(open_tree(str(base)), None, wait=0.0):
        pass
