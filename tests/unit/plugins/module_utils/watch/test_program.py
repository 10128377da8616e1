"""A target's own check, as the single file that runs leave there: its findings, whom it tells and how often, and what it refuses."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from helpers.mail_server import MailServer, serving, text_of
from helpers.trees import needs_root, small_disk
from helpers.web_receivers import receiving
from lab.pythons import find_python

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.tree import watching
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import Dna, serialize
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import stamp_at
from ansible_collections.altbackup.core.plugins.module_utils.watch import program
from ansible_collections.altbackup.core.plugins.module_utils.watch.clock import Reading
from ansible_collections.altbackup.core.plugins.plugin_utils.calls.watch_program import build, needed

HOUR = 3600.0
KEY = "folders/notes"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use no proxy and no journal, with enough time on a busy machine."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("ALTBACKUP_JOURNAL", "none")
    monkeypatch.setattr(program, "_SECONDS", 120.0)


class Target:
    """A target with the tree of a source, and its program."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "copies"
        (self.base / ".altbackup").mkdir(parents=True, mode=0o700)
        (self.base / "dayabay").mkdir()
        self.folder = self.base / ".altbackup" / watching.FOLDER

    def leave(self, secrets: Mapping[str, str] | None = None, **more: Any) -> None:
        """Write the files of a run."""
        given = {"source": "dayabay", "target": "cms01", "items": [KEY], "max_age": 36 * HOUR, "timezone": "UTC"}
        program = base64.b64encode(build()).decode()
        watching.leave_watched(open_tree(str(self.base / "dayabay")), {**given, **more}, secrets or {}, program)

    def add_copy(self, moment: float) -> Path:
        """Add a verified tarball of a time; return it."""
        path = self.base / "dayabay" / KEY / stamp_at(moment, "UTC") / "notes.tar"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
        Path(f"{path}.dna").write_text(serialize(Dna("0" * 64, 1)))
        return path

    def check(self, now: float, running: float = 0.0) -> int:
        """Check at a time, as its program does; return the exit code."""
        reading = Reading(now, running or now, "a")
        return program.check(str(self.base), reading, str(self.folder / watching.PROGRAM))

    def run(self, *words: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
        """Run the program itself, as cron does."""
        command = [python, "-I", str(self.folder / watching.PROGRAM), *(words or (str(self.base),))]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={"ALTBACKUP_JOURNAL": "none"})


@pytest.fixture
def target(tmp_path: Path) -> Target:
    """A target."""
    return Target(tmp_path)


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server that accepts."""
    with serving("accepts") as running:
        yield running


def mail_to(server: MailServer) -> dict[str, str]:
    """Return the mail settings of a target for a server."""
    return {"to": "admins@example.org", "from": "cms01@example.org", "host": server.host, "port": str(server.port)}


def test_a_source_that_does_not_come_is_mailed_once_and_again_after_a_day_and_so_is_its_coming(
    target: Target, server: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    target.add_copy(now)
    target.leave(mail=mail_to(server))
    heard = {}
    for hour in (0, 35, 37, 38, 60, 62, 63):
        before = len(server.mails)
        if hour == 63:
            target.add_copy(now + 62.5 * HOUR)
        code = target.check(now + hour * HOUR)
        heard[hour] = (code, len(server.mails) - before)
    assert heard == {0: (0, 0), 35: (0, 0), 37: (1, 1), 38: (1, 0), 60: (1, 0), 62: (1, 1), 63: (0, 1)}
    first, _, last = server.messages()
    assert first["Subject"] == (
        "[altbackup] WATCH cms01: dayabay: folders/notes: its newest verified copy is 37 h old (at most 36 h)"
    )
    assert "dayabay: the last run that came here was 37 h ago" in text_of(first)
    assert last["Subject"] == "[altbackup] WATCH cms01: all is well"
    assert capsys.readouterr().err == ""


def test_pings_beat_while_all_is_well_and_tell_a_fault_once(target: Target) -> None:
    now = time.time()
    target.add_copy(now)
    with receiving("accepts") as receiver:
        target.leave(secrets={"ping_url": receiver.check, "push_url": receiver.monitor})
        for hour in (0, 37, 38):
            target.check(now + hour * HOUR)
        assert receiver.signals() == ["success", "fail"]
        pushed = [taken.query["status"] for taken in receiver.taken if "api/push" in taken.path]
        assert pushed == ["up", "down"]


def test_what_could_not_be_told_is_tried_again_by_the_next_check_and_said_to_cron_once_a_day(
    target: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    target.add_copy(now - 40 * HOUR)
    with serving("refuses for now") as server:
        target.leave(mail={**mail_to(server)}, secrets={"password": ""})
        assert target.check(now) == 1
        said = capsys.readouterr().err
        assert said.startswith("altbackup-watch: the mail by 127.0.0.1 could not be sent: 451")
        server.mood = "accepts"
        assert target.check(now + HOUR) == 1
        assert len(server.mails) == 1
        assert capsys.readouterr().err == ""


def test_a_mail_that_no_way_leads_out_of_the_target_is_said_with_the_setting_that_gives_one(
    target: Target, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watching, "_SENDMAILS", ())
    now = time.time()
    target.add_copy(now - 40 * HOUR)
    target.leave(mail={"to": "admins@example.org"})
    assert target.check(now) == 1
    assert capsys.readouterr().err == (
        "altbackup-watch: no mail to admins@example.org: altbackup_watch_mail_host is not set, and there is no sendmail on this machine\n"
    )


def test_without_anybody_to_tell_cron_is_told(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    now = time.time()
    target.add_copy(now - 40 * HOUR)
    target.leave()
    assert target.check(now) == 1
    assert "dayabay: folders/notes: its newest verified copy is 40 h old" in capsys.readouterr().err
    assert target.check(now + HOUR) == 1
    assert capsys.readouterr().err == "", "what lasts is not said every hour"
    target.add_copy(now + HOUR)
    assert target.check(now + 2 * HOUR) == 0
    assert "cms01: all is well" in capsys.readouterr().err, "but each change is, whenever it comes"


@pytest.mark.full
def test_a_way_that_fails_is_tried_again_without_telling_the_others_twice(
    target: Target, server: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    now = time.time()
    target.add_copy(now - 40 * HOUR)
    with receiving("refuses") as receiver:
        target.leave(mail=mail_to(server), secrets={"ping_url": receiver.check})
        for hour in range(3):
            assert target.check(now + hour * HOUR) == 1
            receiver.mood = "accepts" if hour == 1 else receiver.mood
        assert len(server.mails) == 1
        assert receiver.signals() == ["fail"]
        assert len(receiver.asked) == 3
    assert capsys.readouterr().err.count("could not be sent: the service says: not found") == 1, "once a day"


def test_the_program_is_one_file_that_runs_by_itself(target: Target) -> None:
    target.add_copy(time.time())
    target.leave()
    done = target.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert abs(watching.last_check(str(target.base / ".altbackup")) - time.time()) < 600
    assert (target.folder / watching.PROGRAM).stat().st_mode & 0o777 == 0o700
    for path in target.folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    assert target.run("--help").returncode == 2
    assert target.run(str(target.base / "dayabay")).returncode == 2


def test_the_program_runs_with_the_oldest_python(target: Target) -> None:
    target.add_copy(time.time() - 40 * HOUR)
    target.leave()
    done = target.run(python=find_python("oldest") or sys.executable)
    assert done.returncode == 1
    assert "its newest verified copy is 40 h old (at most 36 h)" in done.stderr


def test_the_program_needs_little_and_nothing_of_pypi() -> None:
    assert all(name.partition("/")[0] in ("system", "tree", "watch") for name in needed())
    assert len(build()) < 150_000
    assert build() == build.__wrapped__(), "it is the same wherever it is built"


def test_a_program_that_others_could_replace_is_not_used(target: Target) -> None:
    target.leave()
    path = target.folder / watching.PROGRAM
    path.chmod(0o722)
    done = target.run()
    assert done.returncode == 2 and "or others can write it" in done.stderr
    path.chmod(0o700)
    target.folder.chmod(0o777)
    done = target.run()
    assert done.returncode == 2 and "others could replace it" in done.stderr


@needs_root
def test_root_does_not_run_what_is_another_users(target: Target) -> None:
    target.leave()
    os.chown(target.folder / watching.PROGRAM, 65534, 65534)
    done = target.run()
    assert done.returncode == 2 and "it is for its owner, not for root" in done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda value: "{", "it is no JSON"),
        (lambda value: "[" * 100_000, "it is no JSON"),
        (lambda value: [], "not what a run writes"),
        (lambda value: {**value, "items": ["../../etc"]}, "no list of category/name"),
        (lambda value: {**value, "items": "svn/x"}, "no list of category/name"),
        (lambda value: {**value, "max_age": 1}, "its max_age"),
        (lambda value: {**value, "max_age": "36h"}, "its max_age"),
        (lambda value: {**value, "written": -1}, "its written"),
        (lambda value: {**value, "pause_until": 1e300}, "its pause_until"),
        (lambda value: {**value, "source": "../x"}, "its source"),
        (lambda value: {**value, "mail": {"to": "a\nb"}}, "a text in it"),
        (lambda value: {**value, "target": "x" * 5000}, "a text in it"),
        (lambda value: {**value, "source": "lingao"}, "is of 'lingao', not of 'dayabay'"),
    ],
)
def test_what_a_run_did_not_write_is_a_fault_and_never_obeyed(
    target: Target, change: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target.leave()
    path = Path(watching.watched_path(open_tree(str(target.base / "dayabay"))))
    value = change(json.loads(path.read_text()))
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    assert target.check(time.time()) == 1
    assert said in capsys.readouterr().err


def test_what_others_may_read_is_not_used(target: Target) -> None:
    target.leave()
    path = watching.watched_path(open_tree(str(target.base / "dayabay")))
    assert os.stat(path).st_mode & 0o777 == 0o600
    os.chmod(path, 0o644)
    with pytest.raises(AltbackupError, match="others may read it"):
        watching.read_watched(path)


def test_items_that_are_not_known_now_stay_watched_and_an_empty_word_ends_it(target: Target) -> None:
    path = watching.watched_path(open_tree(str(target.base / "dayabay")))
    target.leave(items=[KEY, "svn/found"])
    first = watching.read_watched(path)
    target.leave(items=[KEY], complete=False)
    assert watching.read_watched(path).items == (KEY, "svn/found")
    target.leave(items=[KEY])
    found = watching.read_watched(path)
    assert found.items == (KEY,)
    assert found.since == first.since
    watching.leave_watched(open_tree(str(target.base / "dayabay")), {}, {}, "")
    assert not os.path.exists(path)


def test_a_check_that_does_not_run_is_noticed_after_max_age(target: Target) -> None:
    tree = open_tree(str(target.base / "dayabay"))
    assert watching.silence(tree, time.time()) == "", "nobody watches here"
    target.leave()
    now = time.time()
    assert watching.silence(tree, now + 35 * HOUR) == "", "it is new"
    assert "did not run at all" in watching.silence(tree, now + 37 * HOUR)
    watching.note_check(tree.private, now)
    assert watching.silence(tree, now + 35 * HOUR) == ""
    said = watching.silence(tree, now + 37 * HOUR)
    assert "did not run since" in said and "--cron-line cms01" in said


def test_two_checks_at_once_tell_once(target: Target, server: MailServer) -> None:
    now = time.time()
    target.add_copy(now - 40 * HOUR)
    target.leave(mail=mail_to(server))
    watching.note_check(str(target.base / ".altbackup"), now)
    with program._alone(str(target.folder)) as first:
        assert first
        assert target.check(now) == 0
    assert server.mails == []


def test_a_check_that_hangs_is_missed_though_others_begin_beside_it(target: Target) -> None:
    now = time.time()
    target.leave()
    private = str(target.base / ".altbackup")
    watching.note_check(private, now - 40 * HOUR)
    with program._alone(str(target.folder)):
        assert target.check(now) == 0
    assert watching.last_check(private) == pytest.approx(now - 40 * HOUR)


@pytest.mark.parametrize(
    ("mail", "refused"),
    [
        ({"host": "mail.example.org", "username": "me"}, True),
        ({"host": "mail.example.org", "username": "me", "security": "starttls"}, False),
        ({"host": "localhost", "username": "me"}, False),
        ({"host": "mail.example.org"}, False),
    ],
)
def test_no_password_is_shown_to_the_network(mail: dict[str, str], refused: bool) -> None:
    assert bool(program._refused(program._way(mail))) is refused


@pytest.mark.full
def test_a_ping_that_is_never_answered_ends(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"ping": ["healthchecks", "", "success", ""]}
    target.leave()
    with receiving("never answers") as receiver:
        job["ping"][1] = receiver.check
        monkeypatch.setattr(program, "_SECONDS", 1.0)
        said = program._handed_over(job, str(target.folder / watching.PROGRAM))
    assert said.startswith(f"the ping to http://127.0.0.1:{receiver.port}/*** could not be sent")


def test_a_ping_that_is_refused_says_why(target: Target) -> None:
    with receiving("refuses") as receiver:
        target.leave(secrets={"ping_url": receiver.check})
        said = program._handed_over(
            {"ping": ["healthchecks", receiver.check, "success", ""]}, str(target.folder / watching.PROGRAM)
        )
    assert said.endswith("could not be sent: the service says: not found")


@needs_root
def test_a_full_disk_is_told_and_keeps_nobody_silent(tmp_path: Path, server: MailServer) -> None:
    with small_disk(tmp_path / "disk", "size=2m") as disk:
        target = Target(disk)
        now = time.time()
        target.add_copy(now)
        target.leave(mail=mail_to(server))
        assert target.check(now) == 0
        with contextlib.suppress(OSError), open(disk / "rest", "wb", buffering=0) as stream:
            while stream.write(b"x" * 4096):
                pass
        assert target.check(now + HOUR) == 1
        (mail,) = server.messages()
        assert "what this check has to keep cannot be written" in str(mail["Subject"])
