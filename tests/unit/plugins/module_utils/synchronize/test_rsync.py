"""Calls of rsync: no endless silence, no shell that interprets a path."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.pair import PEER
from helpers.trees import make_tool

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import rsync
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer, ssh_command
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.rsync import rsync_command
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


@pytest.mark.parametrize("fetch", [False, True])
def test_rsync_reaches_the_folder_of_the_pair_in_its_direction(fetch: bool) -> None:
    words = rsync_command(PEER, "/here", fetch=fetch)
    there = "backup@192.0.2.10:/copies/.altbackup/incoming/dayabay/"
    assert words[-2:] == ([there, "/here/"] if fetch else ["/here/", there])
    assert {"--inplace", "--timeout=61", "--files-from=-", "--from0"} <= set(words)
    assert "--protect-args" not in words, "what a key bound by rrsync does not let through"


def test_file_that_has_no_second_name_is_sent_from_where_it_lies_under_its_digest() -> None:
    words = rsync_command(PEER, "/base/folders/a: b/b.tar", transit_name="sha256-ab")
    assert words[-2:] == [
        "/base/folders/a: b/b.tar",
        "backup@192.0.2.10:/copies/.altbackup/incoming/dayabay/sha256-ab",
    ]
    assert not {"--files-from=-", "--from0"} & set(words)


def test_option_that_starts_ssh_is_read_by_rsync_as_it_was_meant(tmp_path: Path) -> None:
    key = f'{tmp_path}/it\'s a "key"'
    make_tool(tmp_path / "bin", "ssh", f'for word; do printf "%s\\n" "$word"; done > {tmp_path}/words; exit 7')
    peer = replace(PEER, ssh_key=key)
    words = rsync_command(peer, str(tmp_path))
    rsh = next(word for word in words if word.startswith("--rsh="))
    done = subprocess.run(
        [words[0], rsh.replace(ssh_command(peer)[0], f"{tmp_path}/bin/ssh"), f"{tmp_path}/", "cms01:/x"],
        capture_output=True,
    )
    assert done.returncode
    assert key in (tmp_path / "words").read_text().splitlines()


def test_odd_folders_and_addresses_are_protected() -> None:
    assert "--protect-args" in rsync_command(replace(PEER, folder="/copies of $HOME/'x'"), "/here")
    assert rsync_command(replace(PEER, host="2001:db8::1"), "/here")[-1].startswith("backup@[2001:db8::1]:")


def test_one_machine_needs_no_ssh() -> None:
    words = rsync_command(Peer("sdu", "/copies/.altbackup/incoming/x"), "/here")
    assert not [word for word in words if "ssh" in word or word.startswith("--timeout")]
    assert words[-1] == "/copies/.altbackup/incoming/x/"


def test_limits_of_rate_and_priority_are_passed_on() -> None:
    words = rsync_command(replace(PEER, bwlimit="2048b", nice=10, ionice="best-effort:7"), "/here")
    assert "--bwlimit=2048b" in words
    assert "--rsync-path=nice -n 10 ionice -c 2 -n 7 rsync" in words


@pytest.mark.parametrize(
    ("said", "missing"),
    [
        ('rsync: [sender] change_dir "/x/outgoing/cms01" failed: No such file or directory (2)', True),
        ('rsync: [sender] change_dir "/y" failed: No such file or directory (2)', False),
        ("ssh: Could not resolve hostname dayabay: Name or service not known", False),
        ("", False),
    ],
)
def test_source_that_never_offered_anything_can_be_reached_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, missing: bool
) -> None:
    make_tool(tmp_path / "bin", "rsync", f"printf '%s\\n' {shlex.quote(said)} >&2; exit 3")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    peer = replace(PEER, node="dayabay", folder="/x/outgoing/cms01")
    if missing:
        rsync.reach(peer, Deadline(30), fetch=True)
    else:
        with pytest.raises(
            ToolFailed, match=r"dayabay cannot be reached from this node as backup@192\.0\.2\.10 port 2222"
        ):
            rsync.reach(peer, Deadline(30), fetch=True)
    with pytest.raises(ToolFailed):
        rsync.reach(peer, Deadline(30))


_SSH = """
echo x >> {folder}/tries
if [ "$(wc -l < {folder}/tries)" -le {times} ]; then
    echo 'ssh: Could not resolve hostname cms01: {said}' >&2
    exit 255
fi
while [ "$1" != rsync ]; do shift; done
exec "$@"
"""


def let_names_fail(folder: Path, monkeypatch: pytest.MonkeyPatch, said: str, times: int, pause: float) -> None:
    """Make ssh fail to resolve a host so many times; each try is a line in the file `tries`."""
    monkeypatch.setattr(rsync, "_PAUSES", (pause,))
    make_tool(folder / "bin", "ssh", _SSH.format(folder=folder, times=times, said=said))
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")


@pytest.mark.parametrize("fetch", [False, True])
@pytest.mark.parametrize("said", ["Temporary failure in name resolution", "Try again"])
def test_a_name_server_that_fails_for_a_moment_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, fetch: bool
) -> None:
    let_names_fail(tmp_path, monkeypatch, said, times=2, pause=0.01)
    for folder in ("there", "here"):
        (tmp_path / folder).mkdir()
    (tmp_path / ("there" if fetch else "here") / "file").write_text("content")
    peer = Peer("cms01", str(tmp_path / "there"), host="cms01", connect_timeout=30)
    assert rsync.carry(peer, str(tmp_path / "here"), ["file"], Deadline(60), fetch=fetch) > 0
    assert (tmp_path / ("here" if fetch else "there") / "file").read_text() == "content"
    assert (tmp_path / "tries").read_text() == "x\n" * 3


@pytest.mark.parametrize(
    ("said", "again"), [("Temporary failure in name resolution", True), ("Name or service not known", False)]
)
def test_a_name_that_stays_unknown_is_told_within_the_limit_of_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, again: bool
) -> None:
    let_names_fail(tmp_path, monkeypatch, said, times=1000, pause=0.2)
    peer = Peer("cms01", "/there", host="cms01", connect_timeout=1)
    with pytest.raises(ToolFailed) as raised:
        rsync.reach(peer, Deadline(60))
    tries = len((tmp_path / "tries").read_text().split())
    assert said in str(raised.value) and (tries > 1) == again
    assert (f"(tried {tries} times in 1 s)" in str(raised.value)) == again


@pytest.mark.parametrize(
    "said",
    [
        "sh: 1: rsync: not found",
        "bash: line 1: rsync: command not found\nrsync error: error in rsync protocol data stream (code 12) at io.c(231)",
        "zsh:1: command not found: rsync",
        "nice: 'rsync': No such file or directory",
        "sudo: rsync: command not found",
    ],
)
def test_a_target_without_rsync_was_reached_and_lacks_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    make_tool(tmp_path / "bin", "rsync", f"printf '%s\\n' {shlex.quote(said)} >&2; exit 12")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    with pytest.raises(
        ToolFailed, match=r"was reached from this node as .*, but has no rsync: install it there"
    ) as raised:
        rsync.reach(PEER, Deadline(30))
    assert "cannot be reached" not in str(raised.value)


@pytest.mark.parametrize("script", ["exec sleep 1000", "while sleep 0.05; do echo more; done"])
def test_folder_that_does_not_answer_is_said_so_be_there_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    make_tool(tmp_path / "bin", "rsync", script)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    peer = replace(PEER, connect_timeout=0.2, io_timeout=0.2, min_rate=0.0)
    with pytest.raises(
        ToolFailed, match=rf"no answer about {peer.folder} within 0\.6 s: is the server of its mount up"
    ):
        rsync.reach(peer, Deadline(30))


NOISE = (
    "rsync: connection unexpectedly closed (0 bytes received so far) [sender]\n"
    "rsync error: unexplained error (code 255) at io.c(285) [sender=3.2.7]"
)


@pytest.mark.parametrize(
    ("said", "told", "hinted"),
    [
        ("scm@cms01: Permission denied (publickey).", "scm@cms01: Permission denied (publickey).", True),
        ("Warning: x\nHost key verification failed.", "Warning: x\nHost key verification failed.", True),
        (
            "ssh: connect to host cms01 port 22: Connection refused",
            "ssh: connect to host cms01 port 22: Connection refused",
            False,
        ),
        ("Connection to cms01 closed by remote host.", f"Connection to cms01 closed by remote host.\n{NOISE}", False),
    ],
)
def test_refused_login_is_told_without_the_words_of_rsync_and_with_what_mends_it(
    said: str, told: str, hinted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = f"{said}\n{NOISE}"
    make_tool(tmp_path / "tools", "rsync", f"cat >&2 <<'END'\n{message}\nEND\nexit 255")
    monkeypatch.setenv("PATH", f"{tmp_path}/tools:{os.environ['PATH']}")
    with pytest.raises(ToolFailed) as failed:
        rsync.carry(PEER, str(tmp_path), ["a"], Deadline(20))
    assert failed.value.stderr == told
    hint = ". altbackup doctor tells what of this way is not in place, and setup.yml sets up keys and known hosts"
    assert str(failed.value).endswith(f"rsync exit code 255: {told}{hint if hinted else ''}")
