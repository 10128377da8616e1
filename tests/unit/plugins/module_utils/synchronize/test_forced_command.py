"""The forced command of a pair's key: which requests it allows, and how it runs them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import forced_command
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.forced_command import (
    REFUSED,
    Refused,
    Room,
    Session,
    parse,
)
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.rsync import rsync_command

FOLDER = "/data/.altbackup/incoming/dayabay"
NAME = f"sha256-{'0' * 64}"
ADD = "rsync --server -pIRe.LsfxCIvu --timeout=60 --stats --copy-dest basis --inplace . ."
READ = "rsync --server --sender -pIRe.LsfxCIvu --timeout=60 --inplace --files-from=- --from0 . ./"
BYTES = b"tarball" * 10_000
DIGEST = f"sha256-{hashlib.sha256(BYTES).hexdigest()}"


@pytest.mark.parametrize(
    ("asked", "argv"),
    [
        (ADD, "--server -pIRe.LsfxCIvu --timeout=60 --inplace --stats --copy-dest basis --chmod=D700,F600 . ./"),
        (ADD.replace(". .", f". {FOLDER}/"), "--server -pIRe.LsfxCIvu --timeout=60 --inplace --stats --copy-dest basis --chmod=D700,F600 . ./"),
        ("rsync --server -pIRe.iLsfxCIvu --inplace . .", "--server -pIRe.iLsfxCIvu --timeout=600 --inplace --chmod=D700,F600 . ./"),
        ("rsync --server -pIRe.LsfxC --timeout=0 --inplace . .", "--server -pIRe.LsfxC --timeout=600 --inplace --chmod=D700,F600 . ./"),
        (
            "rsync --server -npIRe31.14Lsfx --timeout=60 --bwlimit=97.66 --inplace . .",
            "--server -npIRe31.14Lsfx --bwlimit=97.66 --timeout=60 --inplace --chmod=D700,F600 . ./",
        ),
        (f"rsync --server -pIe.Lsf --inplace . ./{NAME}", f"--server -pIe.Lsf --timeout=600 --inplace --chmod=D700,F600 . ./{NAME}"),
        (f"rsync --server -pIe.Lsf --inplace . {FOLDER}/{NAME}", f"--server -pIe.Lsf --timeout=600 --inplace --chmod=D700,F600 . ./{NAME}"),
    ],
)  # fmt: skip
def test_what_transfers_ask_for_is_let_through(asked: str, argv: str) -> None:
    assert " ".join(parse(asked, FOLDER, reads=False).argv("rsync")) == f"rsync {argv}"


def test_a_pair_that_reads_is_let_through() -> None:
    session = parse(READ, FOLDER, reads=True)
    assert session.argv("rsync") == [
        *("rsync", "--server", "--sender", "-pIRe.LsfxCIvu", "--timeout=60", "--files-from=-", "--from0", "--inplace"),
        *(".", "./"),
    ]


@pytest.mark.parametrize(
    ("words", "nice", "ionice"),
    [("nice -n 19", 19, None), ("ionice -c 3", 0, (3, 4)), ("nice -n 5 ionice -c 2 -n 7", 5, (2, 7))],
)
def test_a_peer_may_stand_back_for_others(words: str, nice: int, ionice: tuple[int, int] | None) -> None:
    session = parse(f"{words} {ADD}", FOLDER, reads=False)
    assert (session.nice, session.ionice) == (nice, ionice)


@pytest.mark.parametrize(
    ("asked", "reads", "why"),
    [
        ("", False, "no rsync"),
        ("sh", False, "no rsync"),
        ("sh -c id", False, "no rsync"),
        ("/usr/lib/openssh/sftp-server", False, "no rsync"),
        ("scp -t /tmp", False, "no rsync"),
        ("scp -f /etc/shadow", False, "no rsync"),
        ("git-upload-pack x", False, "no rsync"),
        ("nice -n -5 " + ADD, False, "no rsync"),
        ("nice -n 20 " + ADD.replace("rsync", "/tmp/rsync"), False, "no rsync"),
        ("ionice -c 1 " + ADD, False, "no rsync"),
        ("sudo -n " + ADD, False, "no rsync"),
        ("rsync --daemon", False, "no rsync"),
        (f"{ADD}; id", False, "other characters"),
        (f"{ADD} `id`", False, "other characters"),
        (f"{ADD} $(id)", False, "other characters"),
        (f"{ADD}\nid", False, "other characters"),
        (f"{ADD} | sh", False, "other characters"),
        (ADD.replace(".LsfxCIvu", ".LsfxCIvu' '"), False, "other characters"),
        (f"{ADD}{'x' * 5000}", False, "too long"),
        (READ, False, "reads nothing"),
        (ADD, True, "only reads"),
        ("rsync --server -spIRe.LsfxCIvu --inplace . .", False, "flags"),
        ("rsync --server -lpIRe.LsfxCIvu --inplace . .", False, "flags"),
        ("rsync --server -DpIRe.LsfxCIvu --inplace . .", False, "flags"),
        ("rsync --server -rpIRe.LsfxCIvu --inplace . .", False, "flags"),
        ("rsync --server -bpIRe.LsfxCIvu --inplace . .", False, "flags"),
        ("rsync --server -kpIRe.LsfxCIvu --inplace . .", False, "flags"),
        ("rsync --server", False, "flags"),
        ("rsync --server -pIRe.Lsfx", False, "end"),
        ("rsync --server -pIRe.Lsfx --inplace", False, "end"),
        ("rsync --server -pIRe.Lsfx --inplace /etc .", False, "end"),
        ("rsync --server -pIRe.Lsfx . .", False, "--inplace is missing"),
        (ADD.replace("--stats", "--delete"), False, "--delete"),
        (ADD.replace("--stats", "--delete-before"), False, "--delete-before"),
        (ADD.replace("--stats", "--remove-source-files"), False, "--remove-source-files"),
        (ADD.replace("--stats", "--partial-dir=/tmp"), False, "--partial-dir"),
        (ADD.replace("--stats", "--backup-dir=/tmp"), False, "--backup-dir"),
        (ADD.replace("--stats", "--temp-dir=/tmp"), False, "--temp-dir"),
        (ADD.replace("--stats", "--log-file=/tmp/x"), False, "--log-file"),
        (ADD.replace("--stats", "--files-from=/etc/passwd"), False, "--files-from"),
        (ADD.replace("--stats", "--usermap=x"), False, "--usermap"),
        (ADD.replace("--stats", "--write-devices"), False, "--write-devices"),
        (ADD.replace("--stats", "--copy-devices"), False, "--copy-devices"),
        (ADD.replace("--stats", "--timeout=60"), False, "twice"),
        (ADD.replace("--stats", "--bwlimit=x"), False, "--bwlimit"),
        (ADD.replace("basis", "../other"), False, "--copy-dest"),
        (ADD.replace("--copy-dest basis", "--link-dest basis"), False, "--link-dest"),
        (ADD.replace("--copy-dest basis", "--compare-dest=/etc"), False, "--compare-dest"),
        (ADD.replace(". .", ". /etc"), False, "not the folder"),
        (ADD.replace(". .", ". .."), False, "not the folder"),
        (ADD.replace(". .", ". ../sdu/"), False, "not the folder"),
        (ADD.replace(". .", ". ./../sdu"), False, "not the folder"),
        (ADD.replace(". .", f". {FOLDER}/../sdu/"), False, "not the folder"),
        (ADD.replace(". .", f". ./{NAME}"), False, "names a file"),
        (f"rsync --server -pIe.Lsf --inplace . ./{NAME}/..", False, "not the folder"),
        ("rsync --server -pIe.Lsf --inplace . ./restore.sh", False, "not the folder"),
        (READ.replace("--from0", "--remove-source-files"), True, "--remove-source-files"),
        (READ.replace("--files-from=-", "--files-from=/etc/shadow"), True, "--files-from"),
        (READ.replace(". ./", ". /"), True, "not the folder"),
        (READ.replace("--files-from=- ", ""), True, "--files-from=- is missing"),
    ],
)  # fmt: skip
def test_all_else_is_refused(asked: str, reads: bool, why: str) -> None:
    with pytest.raises(Refused, match=why):
        parse(asked, FOLDER, reads=reads)


WORDS = st.sampled_from(
    [*ADD.split(), *READ.split(), "--delete", "..", "/etc/shadow", "../x", "-e", "sh", "--rsh=sh", "--sender", "-n", "", "nice", NAME]
)  # fmt: skip


@given(st.one_of(st.text(), st.lists(WORDS, max_size=14).map(" ".join)), st.booleans())
def test_whatever_is_asked_for_what_is_started_is_a_transfer(asked: str, reads: bool) -> None:
    try:
        session = parse(asked, FOLDER, reads=reads)
    except Refused:
        return
    check(session, reads)


@given(st.lists(st.sampled_from([*READ.split()[2:-2], *ADD.split()[2:-2]]), max_size=9), st.booleans())
def test_words_of_transfers_in_any_order_give_no_other_transfer(words: list[str], reads: bool) -> None:
    sender = ["--sender"] if reads else []
    try:
        session = parse(" ".join(["rsync", "--server", *sender, *words, ".", "."]), FOLDER, reads=reads)
    except Refused:
        return
    check(session, reads)


def check(session: Session, reads: bool) -> None:
    """Assert that a session is a transfer and nothing else."""
    argv = session.argv("/usr/bin/rsync")
    assert ("--sender" in argv) == reads
    assert argv[:2] == ["/usr/bin/rsync", "--server"]
    assert "--inplace" in argv and any(word.startswith("--timeout=") and word != "--timeout=0" for word in argv)
    allowed = (
        "--server",
        "--sender",
        "--inplace",
        "--stats",
        "--copy-dest",
        "basis",
        "--files-from=-",
        "--from0",
        "--chmod=D700,F600",
        ".",
    )
    left = [word for word in argv[1:-1] if word not in allowed]
    assert all(word.startswith(("-p", "-np", "--timeout=", "--bwlimit=")) for word in left), left
    assert argv[-1] == "./" or forced_command.TRANSIT.fullmatch(argv[-1][2:])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder of a pair below a base with a marker."""
    tmp_path.chmod(0o700)
    (tmp_path / ".altbackup").mkdir(mode=0o700)
    yield tmp_path / ".altbackup" / "incoming" / "dayabay"
    for line in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines():
        assert str(tmp_path) not in line, "a process is left"


def state(folder: Path, name: str = "") -> Path:
    """Return the path of the program's state of the pair."""
    return folder.parents[1] / "receive" / folder.name / name


def ask(folder: Path, asked: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Request a command as sshd does."""
    return subprocess.run(
        command(folder, *options), env=environment(asked), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def command(folder: Path, *options: str) -> list[str]:
    """Return the forced command of a folder."""
    return [sys.executable, "-I", "-S", str(forced_command.__file__), str(folder), *options]


def environment(asked: str) -> dict[str, str]:
    """Return the environment that sshd makes for a session."""
    return {"SSH_ORIGINAL_COMMAND": asked, "SSH_CONNECTION": "192.0.2.7 51000 192.0.2.1 22"}


def transfer(
    folder: Path, here: Path, names: list[str], tmp_path: Path, *options: str, **more: Any
) -> subprocess.CompletedProcess[str]:
    """Send files by a transfer's rsync, with a program in place of ssh that starts the forced command."""
    shell = tmp_path / "shell"
    words = " ".join(command(folder, *options))
    shell.write_text(
        f'#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND="$*" SSH_CONNECTION="192.0.2.7 1 192.0.2.1 22" exec {words}\n'
    )
    shell.chmod(0o700)
    argv = rsync_command(Peer("cms01", ".", host="cms01"), str(here), **more)
    argv = [f"--rsh={shell}" if word.startswith("--rsh=") else word for word in argv]
    return subprocess.run(argv, input="".join(f"{name}\0" for name in names), capture_output=True, text=True)


def test_hello_tells_from_where_it_was_said(folder: Path) -> None:
    said = json.loads(ask(folder, "altbackup hello").stdout)
    assert (said["address"], said["does"], said["folder"]) == ("192.0.2.7", "add", str(folder))


def test_a_transfer_arrives_and_is_logged_and_what_is_whole_is_not_written_again(folder: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / DIGEST).write_bytes(BYTES)
    assert transfer(folder, here, [DIGEST], tmp_path).returncode == 0
    assert (folder / DIGEST).read_bytes() == BYTES
    assert oct((folder / DIGEST).stat().st_mode & 0o777) == "0o600"
    (here / DIGEST).write_bytes(b"other")
    (here / "restore.sh").write_bytes(b"rm -rf /")
    transfer(folder, here, [DIGEST, "restore.sh"], tmp_path)
    assert list(folder.iterdir()) == []
    forced_command.gather(str(folder))
    assert (folder / DIGEST).read_bytes() == BYTES
    log = state(folder, "log").read_text()
    assert "added, exit code 0" in log and f"removed what no transfer leaves: {DIGEST}" in log.replace(
        "restore.sh, ", ""
    )


def test_a_file_that_came_in_part_goes_on(folder: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / DIGEST).write_bytes(BYTES)
    folder.mkdir(parents=True, mode=0o700)
    (folder / DIGEST).write_bytes(BYTES[:50_000])
    done = transfer(folder, here, [DIGEST], tmp_path)
    assert done.returncode == 0, done.stderr
    assert (folder / DIGEST).read_bytes() == BYTES
    matched = next(line for line in done.stdout.splitlines() if line.startswith("Matched data"))
    assert int(matched.split()[2]) > 40_000


def test_more_than_the_limit_does_not_come(folder: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    (here / NAME).write_bytes(b"x" * 3_000_000)
    done = transfer(folder, here, [NAME], tmp_path, "--limit=1000000")
    assert done.returncode != 0
    assert (folder / NAME).stat().st_size <= 1_000_000
    done = transfer(folder, here, [NAME], tmp_path, "--limit=1000000")
    assert "the limit of this pair is 1000000" in done.stderr
    assert re.search(r"refused: 100\d{4} bytes lie in", state(folder, "log").read_text())


def test_a_newer_session_ends_an_older_one(folder: Path) -> None:
    with subprocess.Popen(command(folder), env=environment(ADD), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as old:
        first = await_group(folder)
        with subprocess.Popen(
            command(folder), env=environment(ADD), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as new:
            assert old.wait(60) == 128 + signal.SIGTERM
            assert await_group(folder, first) != first
            assert new.poll() is None
            new.terminate()
    assert "ended an older session" in state(folder, "log").read_text()


def test_a_session_that_is_ended_while_it_begins_leaves_nothing(folder: Path) -> None:
    """Its rsync has not yet asked to die with it then."""
    wrapper = (
        "import os, sys, time\n"
        f"sys.path.insert(0, {str(Path(str(forced_command.__file__)).parent)!r})\n"
        "import forced_command\n"
        "give_up = forced_command._give_up\n"
        "def slow(*arguments):\n"
        "    print('begins', flush=True)\n"
        "    time.sleep(1)\n"
        "    give_up(*arguments)\n"
        "forced_command._give_up = slow\n"
        "sys.exit(forced_command.main(sys.argv[1:], os.environ))\n"
    )
    argv = [sys.executable, "-I", "-S", "-c", wrapper, str(folder)]
    with subprocess.Popen(argv, env=environment(ADD), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdout and session.stdout.readline() == b"begins\n"
        session.terminate()
        assert session.wait(60) == 128 + signal.SIGTERM
        with state(folder, "session").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_session_ends_what_a_killed_one_left(folder: Path) -> None:
    assert ask(folder, "altbackup hello").returncode == 0
    with state(folder, "session").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        orphan = subprocess.Popen(["sleep", "600"], start_new_session=True, pass_fds=[lock.fileno()])
        lock.write(str(orphan.pid))
    assert ask(folder, ADD).returncode != REFUSED
    assert orphan.wait(10) == -signal.SIGTERM


def await_group(folder: Path, but: int = 0) -> int:
    """Wait until a session has started rsync; return its process group, which must be a new one."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        path = state(folder, "session")
        if path.exists() and (text := path.read_text()).isdigit() and int(text) != but:
            return int(text)
        time.sleep(0.02)
    raise AssertionError("no session began")


@pytest.mark.parametrize("asked", ["", "sh -c id", READ, ADD.replace(". .", ". /etc")])
def test_refusals_say_so_and_are_logged(folder: Path, asked: str) -> None:
    done = ask(folder, asked)
    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert done.stderr.startswith("altbackup: refused: ")
    assert f"refused: {done.stderr.strip().partition('refused: ')[2]}" in state(folder, "log").read_text()


def test_the_log_is_one_line_an_entry_and_bounded(folder: Path) -> None:
    ask(folder, "x\n2026-01-01T00:00:00Z all is well\x1b[31m" + "y" * 5000)
    text = state(folder, "log").read_text()
    assert text.count("\n") == 1 and "\x1b" not in text and len(text) < 500
    state(folder, "log").write_text("x" * 1_100_000)
    ask(folder, "x")
    assert sorted(path.name for path in state(folder).glob("log*")) == ["log", "log.1"]
    assert state(folder, "log").stat().st_size < 1000


@pytest.mark.parametrize(
    "path",
    [
        "relative/.altbackup/incoming/x",
        "/data/incoming/x",
        "/data/.altbackup/state/x",
        "/data/.altbackup/incoming/../x",
    ],
)
def test_a_folder_that_is_none_of_a_pair_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="no folder of a pair"):
        Room(path)


def test_a_folder_to_which_others_can_write_and_one_behind_a_link_are_refused(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    folder.chmod(0o777)
    assert "to which nobody else can write" in ask(folder, ADD).stderr
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    assert "to which nobody else can write" in ask(folder, ADD).stderr
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_without_a_marker_nothing_is_made(tmp_path: Path) -> None:
    assert "is the disk mounted" in ask(tmp_path / ".altbackup" / "incoming" / "dayabay", ADD).stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not forced_command.landlock(), reason="this kernel has no Landlock")
def test_what_it_starts_reaches_nothing_but_its_folder(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    (folder / "there").write_text("x")
    (tmp_path / "secret").write_text("secret")
    deeds = {
        "read another file": f"open({str(tmp_path / 'secret')!r})",
        "write another file": f"open({str(tmp_path / 'new')!r}, 'w')",
        "remove a file": "os.unlink('there')",
        "rename a file": "os.rename('there', 'elsewhere')",
        "make a link": "os.symlink('/etc', 'link')",
        "make a folder": "os.mkdir('folder')",
        "make a pipe": "os.mkfifo('pipe')",
        "read a password": "open('/etc/shadow')",
        "list the root": "os.listdir('/')",
        "listen": "socket.socket().bind(('127.0.0.1', 0))",
        "call": "socket.socket().connect(('127.0.0.1', 1))",
    }
    program = "import os, socket\nopen('new', 'w').close()\n"
    for name, deed in deeds.items():
        program += f"try:\n    {deed}\n    print({name!r})\nexcept PermissionError:\n    pass\n"
    outer = (
        "import os, sys\nsys.path.insert(0, sys.argv[1])\nimport forced_command as f\nos.chdir(sys.argv[2])\n"
        "room = f.Room(sys.argv[2])\nf._give_up(f.parse(sys.argv[3], sys.argv[2], reads=False), room, '/usr/bin/rsync', f.landlock())\n"
        "exec(sys.argv[4])\n"
    )
    place = str(Path(str(forced_command.__file__)).parent)
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import socket\n{outer}", place, str(folder), ADD, program],
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stderr
    assert (folder / "new").exists() and not (tmp_path / "new").exists()


def test_nothing_of_the_environment_reaches_rsync(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Stopped(Exception):
        pass

    def stop(*_: Any, **options: Any) -> None:
        seen.update(options["env"])
        raise Stopped

    monkeypatch.setenv("RSYNC_RSH", "sh")
    room = Room(str(folder))
    forced_command._prepare(room)
    with monkeypatch.context() as patched:
        patched.setattr(forced_command.subprocess, "Popen", stop)
        with pytest.raises(Stopped):
            forced_command.serve(room, parse(ADD, room.folder, reads=False), forced_command.Log(room, ""))
    assert sorted(seen) == ["HOME", "LANG", "PATH"]
    assert os.environ["RSYNC_RSH"] == "sh"
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])
