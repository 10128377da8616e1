"""Readers: what they see, the users that they and their programs run as, and how they end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import pytest
from helpers.environments import make_environment
from helpers.repositories import make_git, make_subversion
from helpers.trees import NIGHTS, NOBODY, Base, forbid_views, needs_root, nobodys_home
from helpers.waiting import count_running, wait_until

from ansible_collections.altbackup.core.plugins.module_utils.system.conversation import Conversation
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    AltbackupError,
    DeadlineExceeded,
    ToolFailed,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline, run
from ansible_collections.altbackup.core.plugins.module_utils.system.readers import Identity, Readers
from ansible_collections.altbackup.core.plugins.module_utils.system.view import Place

OWNER = 54321


def ask(readers: Readers, function: Any, *arguments: Any, places: list[Place], **options: Any) -> Any:
    """Return the result of a function in a reader."""
    with readers.begin(function, *arguments, places=places, **{"owner": OWNER, **options}) as reader:
        return reader.conversation.result(Deadline(30, "test"))["value"]


def look(identity: Identity, conversation: Conversation, stream: IO[bytes], *paths: str) -> list[Any]:
    """Return the reader's findings at paths."""
    found: list[Any] = []
    for path in paths:
        try:
            with open(path, encoding="utf-8") as file:
                found.append(file.read())
        except OSError as error:
            found.append(error.strerror)
    return found


@needs_root
def test_reader_sees_the_thing_and_nothing_beside_it(readers: Readers, thing: Path) -> None:
    paths = [thing / "file", thing / "absolute", thing / "relative", thing.parent / "secret", "/etc/shadow"]
    found = ask(readers, look, *map(str, paths), places=[Place(str(thing))])
    assert found == ["content", *["No such file or directory"] * 4]


def write(identity: Identity, conversation: Conversation, stream: IO[bytes], path: str) -> str:
    """Return the result of an attempt to write."""
    try:
        Path(path).write_text("written")
    except OSError as error:
        return str(error.strerror)
    return "done"


@needs_root
def test_thing_is_read_only_unless_it_is_to_be_written(readers: Readers, thing: Path) -> None:
    path = str(thing / "file")
    assert ask(readers, write, path, places=[Place(str(thing))]) == "Read-only file system"
    assert (thing / "file").read_text() == "content"
    assert ask(readers, write, path, places=[Place(str(thing), writable=True)]) == "done"
    assert (thing / "file").read_text() == "written"


def who(identity: Identity, conversation: Conversation, stream: IO[bytes], *paths: str) -> list[str]:
    """Return user and capabilities of started programs, and their findings at paths."""
    limit = Deadline(30)
    status = run(identity.argv(["/bin/cat", "/proc/self/status"]), what="x", deadline=limit).decode()
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    said = []
    for path in paths:
        try:
            said.append(run(identity.argv(["/bin/cat", path]), what="x", deadline=limit).decode())
        except ToolFailed as error:
            said.append(error.stderr)
    return [lines["Uid"].split()[1], lines["CapEff"], lines["CapBnd"], lines["NoNewPrivs"], *said]


@needs_root
def test_programs_run_as_the_owner_and_may_read_what_others_have_in_the_thing(readers: Readers, thing: Path) -> None:
    found = ask(readers, who, str(thing / "file"), places=[Place(str(thing))])
    assert found == [str(OWNER), f"{4:016x}", f"{4:016x}", "1", "content"]


@needs_root
def test_programs_on_roots_own_thing_have_no_more_rights(readers: Readers, thing: Path) -> None:
    found = ask(readers, who, str(thing / "file"), places=[Place(str(thing))], owner=0)
    assert found == ["0", f"{4:016x}", f"{4:016x}", "1", "content"]


def call_as_owner(identity: Identity, conversation: Conversation, stream: IO[bytes], *paths: str) -> Any:
    """Return the findings of a function called as the owner."""
    return [os.geteuid(), *identity.call(as_owner, *paths)]


def as_owner(*paths: str) -> list[Any]:
    """Return the user it runs as, and its findings at paths."""
    return [os.geteuid(), *look(None, None, None, *paths)]  # type: ignore[arg-type]


@needs_root
def test_functions_run_as_the_owner_without_any_right(readers: Readers, thing: Path) -> None:
    assert ask(readers, call_as_owner, str(thing / "file"), places=[Place(str(thing))]) == [
        0,
        OWNER,
        "Permission denied",
    ]
    os.chown(thing / "file", OWNER, OWNER)
    assert ask(readers, call_as_owner, str(thing / "file"), places=[Place(str(thing))]) == [0, OWNER, "content"]


@needs_root
def test_thing_below_folders_that_its_owner_cannot_enter(readers: Readers, thing: Path) -> None:
    thing.parent.chmod(0o700)
    os.chown(thing / "file", OWNER, OWNER)
    assert ask(readers, call_as_owner, str(thing / "file"), places=[Place(str(thing))])[2] == "content"


@needs_root
def test_without_a_view_the_reader_is_the_owner(thing: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forbid_views(monkeypatch)
    for folder in [thing, *thing.parents]:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    thing.chmod(0o755)
    with Readers() as readers:
        with readers.begin(as_self, str(thing / "file"), places=[Place(str(thing))], owner=OWNER) as reader:
            told = reader.conversation.result(Deadline(30))
        assert told["value"] == [OWNER, "Permission denied"]
        assert told["refused"] == "namespaces: Operation not permitted"
        assert ask(readers, as_self, str(thing / "file"), places=[Place(str(thing))], as_root=True) == [0, "content"]


def as_self(identity: Identity, conversation: Conversation, stream: IO[bytes], *paths: str) -> list[Any]:
    """Return the user that a reader runs as, and its findings at paths."""
    return as_owner(*paths)


def hang(identity: Identity, conversation: Conversation, stream: IO[bytes], pipe: str, seconds: str) -> None:
    """Start a program and wait for ever."""
    with subprocess.Popen(["sleep", seconds], start_new_session=True):
        open(pipe, "rb").close()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("viewed", [True, False])
def test_reader_that_hangs_is_ended_with_all_that_it_started(
    thing: Path, monkeypatch: pytest.MonkeyPatch, viewed: bool
) -> None:
    if not viewed:
        forbid_views(monkeypatch)
    os.mkfifo(thing / "pipe")
    seconds = f"1000.{os.getpid()}{int(viewed)}"
    owner, places = os.geteuid(), [Place(str(thing))]
    with Readers() as readers:
        started = time.monotonic()
        with readers.begin(hang, str(thing / "pipe"), seconds, places=places, owner=owner, as_root=True) as reader:
            assert wait_until(lambda: count_running("sleep", seconds) == 1)
            with pytest.raises(DeadlineExceeded, match=r"the dump took longer than its limit of 0\.2 s"):
                reader.conversation.result(Deadline(0.2, "dump"))
        assert time.monotonic() - started < 15
        if viewed and os.geteuid() == 0:
            assert wait_until(lambda: count_running("sleep", seconds) == 0)
    for_all = subprocess.run(["pkill", "-f", f"^sleep {seconds}$"])
    assert for_all.returncode == (1 if viewed and os.geteuid() == 0 else for_all.returncode)


def die(identity: Identity, conversation: Conversation, stream: IO[bytes]) -> None:
    """Exit without a message."""
    os._exit(1)


def test_reader_that_dies_is_an_error(readers: Readers, thing: Path) -> None:
    with pytest.raises(AltbackupError, match="was killed before it had said what it found"):
        ask(readers, die, places=[Place(str(thing))], owner=os.geteuid())


def count_files(identity: Identity, conversation: Conversation, stream: IO[bytes]) -> list[str]:
    """Return the open files of a reader."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the list itself
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found


def test_reader_inherits_no_file(readers: Readers, thing: Path) -> None:
    with open(thing / "file", encoding="utf-8"):
        found = ask(readers, count_files, places=[Place(str(thing))], owner=os.geteuid())
    assert [path for path in found if path.startswith(str(thing.parent))] == []


def test_no_process_is_left(thing: Path) -> None:
    with Readers() as readers:
        ask(readers, look, places=[Place(str(thing))], owner=os.geteuid())
        started = readers.pid
    assert not os.path.exists(f"/proc/{started}")


@pytest.mark.full
def test_all_end_with_a_process_that_is_killed(tmp_path: Path, thing: Path) -> None:
    os.mkfifo(thing / "pipe")
    seconds = f"1000.{os.getpid()}9"
    script = (
        "import os, sys, signal, time\n"
        "sys.path.insert(0, os.environ['HERE'])\n"
        "import test_readers as here\n"
        "with here.Readers() as readers:\n"
        f"    with readers.begin(here.hang, {str(thing / 'pipe')!r}, {seconds!r}, places=[here.Place({str(thing)!r})], "
        "owner=os.geteuid(), as_root=True) as reader:\n"
        "        reader.conversation.receive(here.Deadline(60))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HERE": os.path.dirname(__file__)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as process:
        began = wait_until(lambda: count_running("sleep", seconds) == 1, 60)
        process.kill()
    assert began
    if os.geteuid() == 0:
        assert wait_until(lambda: count_running("sleep", seconds) == 0)
    else:
        subprocess.run(["pkill", "-f", f"^sleep {seconds}$"])


@pytest.mark.full
@needs_root
def test_without_views_a_private_base_takes_what_belongs_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that may not mount: programs that run as the owner reach the scratch folders, and nothing else."""
    forbid_views(monkeypatch)
    with nobodys_home() as home:
        things = [
            {"kind": "svn", "name": "svn", "path": str(make_subversion(home / "svn", 3))},
            {"kind": "git", "name": "git", "path": str(make_git(home / "git"))},
            {"kind": "trac", "name": "trac", "path": str(make_environment(home / "trac"))},
            {"kind": "sqlite", "name": "db", "path": str(home / "trac" / "db" / "trac.db")},
            {"kind": "folder", "name": "all", "path": str(home)},
        ]
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", home], check=True)
        base = Base(home.parent / "base")
        base.path.chmod(0o700)
        for stamp in NIGHTS[:2]:
            result = base.dump(*things, stamp=stamp)
            assert result["failures"] == []
            assert sorted(tarball["name"] for tarball in result["tarballs"]) == ["all", "db", "git", "svn", "trac"]
            assert sum("the kernel does not allow a view" in note for note in result["notes"]) == 1
            private = [base.path, *(path for path in (base.path / ".altbackup").iterdir() if path.is_dir())]
            assert [path for path in private if path.stat().st_mode & 0o077] == []
        home.parent.chmod(0o700)
        reason = base.reason(things[0], stamp=NIGHTS[2])
        assert f"cannot be entered by uid {NOBODY}, as whom the item is read, since the kernel gives no view" in reason
