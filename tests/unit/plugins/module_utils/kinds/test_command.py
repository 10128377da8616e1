"""Kind `command`: the output of a program or a folder that it fills, within limits, and complete or not at all."""

from __future__ import annotations

import getpass
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import drill_one
from helpers.trees import FIRST, SECOND, Base, needs_root, nobodys_home, unpack
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ProofFailed, ToolMissing


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


def command(*argv: str, **more: Any) -> dict[str, Any]:
    """Return an item of a program as users write it."""
    return {"kind": "command", "name": "thing", "argv": list(argv), "user": getpass.getuser(), **more}


def script(folder: Path, text: str) -> tuple[str, str]:
    """Write a program in Python and return its argv."""
    path = folder / "program.py"
    path.write_text(text)
    path.chmod(0o755)
    folder.chmod(0o755)
    return sys.executable, str(path)


def test_what_a_program_says_is_stored(base: Base, tmp_path: Path) -> None:
    tarball = base.dump_one(command("/bin/echo", "two words", "$HOME"))
    assert tarball["relpath"] == f"commands/thing/{FIRST}/thing.tar.zst"
    assert (unpack(tarball, tmp_path / "out") / "output").read_text() == "two words $HOME\n"
    assert tarball["record"]["content_bytes"] == 16


def test_the_same_output_costs_a_link(base: Base) -> None:
    first, second = (base.dump_one(command("/bin/echo", "same"), stamp=stamp) for stamp in (FIRST, SECOND))
    assert os.path.samefile(first["path"], second["path"])


def test_the_files_that_it_leaves_are_stored(base: Base, tmp_path: Path) -> None:
    argv = script(
        tmp_path,
        "import os, sys\nos.mkdir('sub')\nopen('sub/a', 'w').write('x')\nopen(sys.argv[1] + '/b', 'w').write('y')",
    )
    item = command(*argv, "{folder}", produces="folder")
    tarballs = [base.dump_one(item, stamp=stamp) for stamp in (FIRST, SECOND)]
    top = unpack(tarballs[0], tmp_path / "out")
    assert {str(path.relative_to(top)): path.read_text() for path in top.rglob("*") if path.is_file()} == {
        "sub/a": "x",
        "b": "y",
    }
    assert tarballs[0]["dig"] == tarballs[1]["dig"]


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("", {}, "said nothing"),
        ("print('half'); raise SystemExit(3)", {}, "exit code 3"),
        (
            "import sys; print('half', flush=True); sys.stderr.write('the disk is gone'); raise SystemExit(1)",
            {},
            "the disk is gone",
        ),
        ("import os; print('half', flush=True); os.kill(os.getpid(), 9)", {}, "killed by signal 9"),
        ("print('x' * 5000)", {"size_limit": "4K"}, "more than 4.0 KiB"),
        ("import time; print('half', flush=True); time.sleep(60)", {"time_limit": "1s"}, "took longer than its limit"),
        ("", {"produces": "folder"}, "left no file"),
        ("open('big', 'w').write('x' * 5000)", {"produces": "folder", "size_limit": "4K"}, "more than 4.0 KiB"),
        ("open('half', 'w').write('x'); raise SystemExit(2)", {"produces": "folder"}, "exit code 2"),
    ],
)
def test_what_is_not_whole_is_a_failure_and_nothing_is_stored(
    base: Base, tmp_path: Path, text: str, more: dict[str, Any], said: str
) -> None:
    assert said in base.reason(command(*script(tmp_path, text), **more))


DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({pid!r}, "w").write(str(os.getpid()))
        {work}
        time.sleep(300)
    os._exit(0)
os.wait()
while not os.path.exists({pid!r}) or not open({pid!r}).read():
    time.sleep(0.01)
{end}
"""


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("work", "end", "more", "said"),
    [
        ("pass", "print('said')", {}, "goes on writing to its output"),
        ("kept = open('late', 'w')", "open('early', 'w').write('x')", {"produces": "folder"}, "still had files open"),
        ("pass", "time.sleep(300)", {"time_limit": "2s"}, "took longer than its limit"),
    ],
)
def test_a_program_that_writes_on_leaves_no_copy_and_is_ended(
    base: Base, tmp_path: Path, work: str, end: str, more: dict[str, Any], said: str
) -> None:
    pid = tmp_path / "pid"
    argv = script(tmp_path, DAEMON.format(pid=str(pid), work=work, end=end))
    try:
        assert said in base.reason(command(*argv, **more))
        assert wait_until(lambda: is_gone(int(pid.read_text())), 10)
    finally:
        if not is_gone(int(pid.read_text())):
            os.kill(int(pid.read_text()), signal.SIGKILL)


def test_what_it_leaves_at_work_with_nothing_of_the_copy_is_ended_and_told(base: Base, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    work = "null = os.open(os.devnull, os.O_RDWR); [os.dup2(null, number) for number in range(3)]"
    argv = script(tmp_path, DAEMON.format(pid=str(pid), work=work, end="print('said')"))
    result = base.dump(command(*argv))
    assert not result["failures"] and "ended what it left at work" in " ".join(result["notes"])
    assert wait_until(lambda: is_gone(int(pid.read_text())), 10)


def test_what_it_says_on_stderr_is_recorded(base: Base, tmp_path: Path) -> None:
    argv = script(tmp_path, "import sys; print('fine'); sys.stderr.write('a warning\\n')")
    result = base.dump(command(*argv))
    assert result["tarballs"][0]["record"]["stderr"] == "a warning"
    assert "a warning" in " ".join(result["notes"])


@needs_root
def test_it_runs_as_the_given_user_without_root_s_rights(tmp_path: Path) -> None:
    text = "import os; print(os.getuid(), os.getgroups(), open('/proc/self/status').read().split('CapEff:')[1].split()[0], os.environ['HOME'])"
    with nobodys_home() as home:
        tarball = Base(home.parent / "base").dump_one(command("/usr/bin/python3", "-c", text, user="nobody"))
        top = unpack(tarball, tmp_path / "out")
    assert (top / "output").read_text() == "65534 [65534] 0000000000000000 /nonexistent\n"


@needs_root
def test_a_base_that_the_user_cannot_reach_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert "let others pass through the folders above it" in Base(tmp_path / "base").reason(
        command("/bin/echo", "x", user="nobody")
    )


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"user": "no-such-user"}, "does not exist on this node"),
        ({"argv": ["/no/such/program"]}, "is not there"),
        ({"argv": "/bin/echo a"}, "no shell is called"),
        ({"argv": ["echo"]}, "absolute path"),
        ({"path": "/etc"}, "nothing at a path"),
        ({"produces": "mail"}, "neither output nor folder"),
        ({"time_limit": "soon"}, "not a duration"),
        ({"size_limit": "-1"}, "not a size"),
        ({"user": None}, "'user' is missing"),
    ],
)
def test_what_cannot_be_meant_is_refused(base: Base, more: dict[str, Any], said: str) -> None:
    assert said in base.reason({**command("/bin/echo", "x"), **more})


def test_check_mode_runs_nothing(base: Base, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    result = base.dump(command("/usr/bin/touch", str(ran)), check_mode=True)
    assert not result["failures"] and not ran.exists()
    assert "no program is run in check mode" in " ".join(result["notes"])


@pytest.mark.parametrize(
    ("verify", "good"), [(["/bin/grep", "-q", "word"], True), (["/bin/grep", "-q", "other"], False)]
)
def test_verify_gets_the_output_on_stdin(base: Base, tmp_path: Path, verify: list[str], good: bool) -> None:
    tarball = base.dump_one(command("/bin/echo", "a word"))
    if good:
        assert drill_one(base, tarball, tmp_path / "scratch", verify=verify)["facts"]["verify"] == "grep"
    else:
        with pytest.raises(ProofFailed, match="exit code 1"):
            drill_one(base, tarball, tmp_path / "scratch", verify=verify)


def test_verify_gets_the_folder_in_the_sandbox(base: Base, tmp_path: Path) -> None:
    tarball = base.dump_one(command(*script(tmp_path, "open('a', 'w').write('x')"), produces="folder"))
    seen = [
        "/usr/bin/python3",
        "-c",
        "import os, sys; sys.exit(os.listdir(sys.argv[1]) != ['a'] or os.path.exists('/run/utmp') or os.getuid() == 0)",
    ]
    proof = drill_one(base, tarball, tmp_path / "scratch", verify=[*seen, "{folder}"])
    assert proof["facts"]["files"] == 1


def test_without_verify_the_proof_says_that_it_shows_less(base: Base, tmp_path: Path) -> None:
    tarball = base.dump_one(command("/bin/echo", "a word"))
    proof = drill_one(base, tarball, tmp_path / "scratch")
    assert any("has no verify" in note for note in proof["notes"])
    with pytest.raises(ProofFailed, match="digest"):
        drill_one(base, tarball, tmp_path / "scratch", record={**tarball["record"], "digest": "0" * 64})
    with pytest.raises(ToolMissing, match="is to verify it"):
        drill_one(base, tarball, tmp_path / "scratch", verify=["/no/such"])


def test_time_is_not_up_too_early(base: Base) -> None:
    start = time.monotonic()
    base.dump_one(command("/bin/sh", "-c", "sleep 1; echo late", time_limit="50s"))
    assert time.monotonic() - start >= 1
