"""Calls of rsync and ssh: no prompt, no endless silence, no shell that interprets a path."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.original_trees import put
from helpers.trees import make_tool

from ansible_collections.altbackup.core.plugins.module_utils.synchronize import send
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import listing
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.send import (
    Peer,
    parse_peer,
    rsync_command,
    ssh_command,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput, ToolFailed
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.ssh import seal
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")

PEER = Peer(
    "cms01",
    "/copies/.altbackup/incoming/dayabay",
    host="192.0.2.10",
    port=2222,
    user="backup",
    ssh_key="/home/scm/.ssh/altbackup",
    ssh_args=("-o", "ProxyJump=gate.example.org"),
    connect_timeout=7.4,
    io_timeout=61,
)


def test_ssh_never_asks_and_never_waits_without_end() -> None:
    words = ssh_command(PEER)
    assert {
        "-oBatchMode=yes",
        "-oStrictHostKeyChecking=yes",
        "-oConnectTimeout=7",
        "-oServerAliveInterval=20",
        "-oServerAliveCountMax=3",
        "-oIdentitiesOnly=yes",
        "-oControlMaster=no",
    } <= set(words)
    assert words[-2:] == ["-o", "ProxyJump=gate.example.org"]
    for pair in (["-p", "2222"], ["-i", "/home/scm/.ssh/altbackup"]):
        assert words[words.index(pair[0]) + 1] == pair[1]


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


def test_peer_is_what_a_plan_has_or_refused() -> None:
    value = {"node": "cms01", "folder": "/x", "host": "h", "port": "22", "io_timeout": "5"}
    assert parse_peer(value, seal(["-v"])) == Peer("cms01", "/x", "h", 22, ssh_args=("-v",), io_timeout=5.0)
    assert parse_peer({"node": "a", "folder": "/x", "ssh_key": "~/key"}).ssh_key == os.path.expanduser("~/key")
    for wrong in (
        {"node": "cms01"},
        {**value, "port": "ssh"},
        {**value, "pasword": "x"},
        {**value, "ssh_args": ["-v"]},
    ):
        with pytest.raises(InvalidInput, match="peer 'cms01'"):
            parse_peer(wrong)


def test_failure_has_the_way_the_exit_code_and_the_words_of_ssh(tmp_path: Path) -> None:
    (tmp_path / "base" / ".altbackup").mkdir(parents=True)
    put(tmp_path / "base", "folders/notes/2013/05/10/104701/notes.tar")
    tarballs = listing(str(tmp_path / "base"), moment=NOW, records=True)["tarballs"]
    peer = Peer("cms01", "/x", "127.0.0.1", 1, "backup", "/nowhere/key", connect_timeout=5)
    result = send.send(str(tmp_path / "base"), [(peer, tarballs)], Deadline(30))
    (failure,) = result["failures"]
    assert failure["delegate"] == "cms01"
    assert failure["rc"]
    for word in (
        "sending to cms01",
        "backup@127.0.0.1 port 1, key /nowhere/key",
        "rsync exit code",
        "Connection refused",
    ):
        assert word in failure["reason"]
    assert list((tmp_path / "base" / ".altbackup" / "outgoing").iterdir()) == []


def test_each_stamp_is_an_rsync_of_its_own_in_the_order_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tmp_path / "base"
    (base / ".altbackup").mkdir(parents=True)
    days = ("10", "08", "09")
    for day in days:
        put(base, f"folders/notes/2013/05/{day}/104701/notes.tar", day.encode())
    put(base, "folders/notes/2013/05/07/104701/notes.tar", b"10")  # travelled already
    tarballs = sorted(
        listing(str(base), moment=NOW, records=True)["tarballs"],
        key=lambda entry: [*days, "07"].index(entry["stamp"][8:10]),
    )
    make_tool(tmp_path / "bin", "rsync", f"tr '\\0' ' ' >> {tmp_path}/lists; echo >> {tmp_path}/lists")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    assert send.send(str(base), [(Peer("cms01", "/x"), tarballs)], Deadline(30))["failures"] == []
    said = [line.split() for line in (tmp_path / "lists").read_text().splitlines()]
    assert said == [[f"sha256-{entry['dig']}"] for entry in tarballs[:3]]


@pytest.mark.parametrize(
    ("codes", "tried"),
    [((23, 0, 0), 3), ((24, 0, 23), 3), ((0, 12, 0), 2), ((23, 12, 0), 2)],
)
def test_files_that_cannot_be_read_keep_no_older_stamp_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codes: tuple[int, ...], tried: int
) -> None:
    base = tmp_path / "base"
    (base / ".altbackup").mkdir(parents=True)
    for day in range(len(codes)):
        put(base, f"folders/notes/2013/05/0{day + 1}/104701/notes.tar", b"%d" % day)
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    told = f"cd {tmp_path}; echo x >> calls; number=$(wc -l < calls); code=$(sed -n ${{number}}p codes)"
    make_tool(tmp_path / "bin", "rsync", f'{told}; [ $code = 0 ] || echo "word $number" >&2; exit $code')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    result = send.send(str(base), [(Peer("cms01", "/x"), listing(str(base), moment=NOW)["tarballs"])], Deadline(30))
    (failure,) = result["failures"]
    bad = [(number, code) for number, code in enumerate(codes[:tried], 1) if code]
    assert len((tmp_path / "calls").read_text().splitlines()) == tried
    assert failure["reason"].splitlines() == [
        f"sending to cms01 (this machine) failed: rsync exit code {code}: word {number}" for number, code in bad
    ]
    assert (failure["rc"], failure["stderr"].split()[1::2]) == (bad[-1][1], [str(number) for number, _ in bad])


@pytest.mark.parametrize("fetched", [False, True])
def test_tarball_that_cannot_be_linked_keeps_no_other_back(tmp_path: Path, fetched: bool) -> None:
    base = tmp_path / "base"
    (base / ".altbackup").mkdir(parents=True)
    (tmp_path / "incoming" / "basis").mkdir(parents=True)
    for day in ("08", "09", "10"):
        put(base, f"folders/notes/2013/05/{day}/104701/notes.tar", day.encode())
    put(base, "folders/notes/2013/05/07/104701/notes.tar", b"08")  # the same content as one that is gone
    tarballs = listing(str(base), moment=NOW)["tarballs"]
    gone = [base / f"folders/notes/2013/05/{day}/104701/notes.tar" for day in ("08", "09")]
    for path in gone:
        path.unlink()
    peer = Peer("cms01", str(tmp_path / "incoming"))
    pairs = {"deliveries": [], "offers": [("cms01", tarballs)]} if fetched else {"deliveries": [(peer, tarballs)]}
    (failure,) = send.send(str(base), deadline=Deadline(30), **pairs)["failures"]
    assert failure["reason"] == (
        "folders/notes/2013/05/09/104701/notes.tar cannot be sent: no link to it can be made: "
        f"{gone[1]}: No such file or directory"
    )
    assert (failure["delegate"], failure["category"], failure["name"]) == ("cms01", "folders", "notes")
    folder = base / ".altbackup" / "outgoing" / "cms01" if fetched else tmp_path / "incoming"
    assert sorted(path.read_text() for path in folder.iterdir() if path.is_file()) == ["08", "10"]


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
        send.reach(peer, Deadline(30), fetch=True)
    else:
        with pytest.raises(
            ToolFailed, match=r"dayabay cannot be reached from this node as backup@192\.0\.2\.10 port 2222"
        ):
            send.reach(peer, Deadline(30), fetch=True)
    with pytest.raises(ToolFailed):
        send.reach(peer, Deadline(30))


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
    monkeypatch.setattr(send, "_PAUSES", (pause,))
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
    assert send.carry(peer, str(tmp_path / "here"), ["file"], Deadline(60), fetch=fetch) > 0
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
        send.reach(peer, Deadline(60))
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
        send.reach(PEER, Deadline(30))
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
        send.reach(peer, Deadline(30))
