"""Runs are pinged as they begin and end, in every mood of the receiver, and no result depends on it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.entry_point import REPOSITORY, Desk
from helpers.mail_server import serving
from helpers.web_receivers import CHECK, MOODS, RID, TOKEN, WebReceiver, receiving

GOOD = {"name": "Say something", "ansible.builtin.debug": {"msg": "hello"}}
BAD = {"name": "Break", "ansible.builtin.fail": {"msg": "it broke, after {{ lookup('env', 'ALTBACKUP_PING_URL') }}"}}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A user's desk, whose failures are mailed, and whose runs of night.yml are pinged."""
    with serving("accepts") as server:
        made = Desk(tmp_path)
        made.mail_to(server)
        made.environment |= {"ALTBACKUP_PING_PLAYBOOKS": "night.yml", "no_proxy": "127.0.0.1"}
        yield made


def ping_to(desk: Desk, receiver: WebReceiver) -> None:
    """Have the runs of a desk pinged; the address of the check is in a file."""
    path = desk.folder / "check"
    path.write_text(receiver.check)
    path.chmod(0o600)
    desk.environment |= {"ALTBACKUP_PING_URL_FILE": str(path), "ALTBACKUP_PUSH_URL": receiver.monitor}


def test_good_run_is_pinged_as_it_begins_and_ends(desk: Desk, tmp_path: Path) -> None:
    with receiving("accepts") as receiver, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        ping_to(desk, receiver)
        journal.bind(str(tmp_path / "journal"))
        journal.settimeout(5)
        desk.environment["ALTBACKUP_JOURNAL"] = journal.getsockname()
        desk.write_playbook("night.yml", GOOD)
        done = desk.call("run", "play/night.yml")
        assert (done.returncode, done.stderr) == (0, "")
        assert receiver.signals() == ["start", "0"]
        rids = {taken.query["rid"] for taken in receiver.taken if CHECK in taken.path}
        assert len(rids) == 1 and RID.fullmatch(rids.pop())
        (push,) = [taken.query for taken in receiver.taken if TOKEN in taken.path]
        assert (push["status"], push["msg"]) == ("up", "night.yml: good")
        assert int(push["ping"]) > 100
        assert all(taken.body == b"" for taken in receiver.taken), "the summary is private unless it is asked for"
        fields = dict(line.split("=", 1) for line in journal.recv(1 << 16).decode().splitlines())
        assert (fields["SYSLOG_IDENTIFIER"], fields["PRIORITY"]) == ("altbackup", "6")
        told = json.loads(fields["MESSAGE"])
        assert (told["event"], told["playbook"], told["state"], told["bad"]) == ("run", "night.yml", "good", False)
    assert desk.result()["pings"] == []


@pytest.mark.full
def test_failed_run_is_pinged_with_its_exit_code_and_its_summary_and_the_address_is_told_nowhere(desk: Desk) -> None:
    with receiving("accepts") as receiver:
        ping_to(desk, receiver)
        desk.environment["ALTBACKUP_PING_URL"] = receiver.check
        desk.environment["ALTBACKUP_PING_BODY"] = "yes"
        desk.write_playbook("night.yml", BAD)
        desk.write_playbook("other.yml", GOOD)
        done = desk.call("run", "play/night.yml")
        assert done.returncode == 2
        assert receiver.signals() == ["start", "2"]
        assert desk.call("run", "play/other.yml").returncode == 0
        assert desk.call("run", "play/night.yml", "--check").returncode == 2
        assert len(receiver.signals()) == 2, "other playbooks, and predictions, say nothing"
        (end,) = [taken for taken in receiver.taken if taken.path.endswith("/2")]
        assert b"it broke" in end.body
        (push,) = [taken.query for taken in receiver.taken if TOKEN in taken.path]
        assert push["status"] == "down" and "it broke" in push["msg"]
    files = [path for folder in (desk.state, desk.spool) for path in folder.rglob("*") if path.is_file()]
    texts = [
        done.stdout,
        done.stderr,
        push["msg"],
        end.body.decode(),
        *(path.read_bytes().decode("utf-8", "replace") for path in files),
    ]
    assert len(files) > 5
    for text in texts:
        assert CHECK not in text
        assert TOKEN not in text


@pytest.mark.full
@pytest.mark.parametrize("mood", MOODS[1:])
def test_whoever_does_not_take_pings_changes_no_result_and_is_noted(desk: Desk, mood: str) -> None:
    with receiving(mood) as receiver:
        ping_to(desk, receiver)
        desk.write_playbook("night.yml", GOOD)
        done = desk.call("run", "play/night.yml", ALTBACKUP_PING_TIMEOUT="5s")
    assert done.returncode == 0
    noted = desk.result()["pings"]
    assert len(noted) == 3, noted
    for sentence in noted:
        assert f"altbackup: {sentence}" in done.stderr
        assert "/***" in sentence and CHECK not in sentence and TOKEN not in sentence


@pytest.mark.full
def test_run_that_cannot_start_is_pinged(desk: Desk) -> None:
    with receiving("accepts") as receiver:
        ping_to(desk, receiver)
        assert desk.call("run", "night.yml", "-i", "nowhere").returncode == 4
        assert receiver.signals() == ["4"]


@pytest.mark.full
@pytest.mark.parametrize(("task", "signal"), [(GOOD, "success"), (BAD, "fail")])
def test_plain_ansible_playbook_is_pinged_too(desk: Desk, task: dict[str, object], signal: str) -> None:
    with receiving("accepts") as receiver:
        ping_to(desk, receiver)
        desk.write_playbook("night.yml", task)
        done = subprocess.run(
            [sys.executable, "-m", "ansible", "playbook", "-i", "hosts.yml", "play/night.yml"],
            cwd=desk.folder,
            env={**desk.environment, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert receiver.signals() == ["start", signal], json.dumps([done.stdout, done.stderr])
