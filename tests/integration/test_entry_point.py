"""`bin/altbackup` as cron calls it: what it runs, prints and mails, and that it leaves nothing running."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import ansible_runner
import pexpect
import pytest
from helpers.entry_point import (
    GONE,
    LOCAL,
    PROGRAM,
    REPOSITORY,
    TO,
    Desk,
    ansible_of,
    sleeper,
    wait_asleep,
    whole_texts,
)
from helpers.mail_server import PASSWORD, USERNAME, MailServer, make_certificate, read_mail, serving, text_of
from helpers.trees import needs_root
from helpers.waiting import wait_until
from integration.site import Site

GOOD = {"name": "Say something", "ansible.builtin.debug": {"msg": "hello"}}
BAD = {"name": "Break", "ansible.builtin.command": {"argv": ["sh", "-c", "echo it broke, größer als 日本 >&2; exit 3"]}}


@pytest.fixture
def server() -> Iterator[MailServer]:
    """A mail server that takes everything."""
    with serving("accepts") as running:
        yield running


@pytest.fixture
def desk(tmp_path: Path, server: MailServer) -> Desk:
    """A user's desk, whose failures are mailed by that server."""
    made = Desk(tmp_path)
    made.mail_to(server)
    return made


def only_mail(server: MailServer) -> tuple[str, str]:
    """Return subject and text of the only mail."""
    (message,) = server.messages()
    return str(message["Subject"]), text_of(message)


def test_good_run_is_silent_and_keeps_its_folder(desk: Desk, server: MailServer) -> None:
    desk.write_playbook("good.yml", GOOD)
    done = desk.call("run", "play/good.yml")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (folder,) = desk.runs()
    assert sorted(path.name for path in folder.iterdir()) == [
        *("command.json", "events", "exit_code", "mail.json", "result.json", "stdout"),
    ]
    assert (folder / "exit_code").read_text() == "0\n"
    assert "TASK [Say something]" in (folder / "stdout").read_text()
    assert "\x1b" not in (folder / "stdout").read_text()
    assert any("runner_on_ok" in path.read_text() for path in (folder / "events").iterdir())
    result = desk.result()
    assert (result["state"], result["exit_code"], result["hosts"]) == ("good", 0, {"one": {"ok": 1}})
    for path in [*desk.state.rglob("*"), desk.state]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    assert server.mails == []


def test_failed_run_says_a_few_lines_and_is_mailed_once_by_the_callback(desk: Desk, server: MailServer) -> None:
    desk.write_inventory(one=LOCAL, two=GONE)
    desk.write_playbook("bad.yml", BAD)
    done = desk.call("run", "play/bad.yml", LANG="C")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("altbackup: bad.yml: failed (exit code 2): two: Failed to connect")
    assert lines[1] == "altbackup: and 1 more"
    assert str(desk.runs()[0] / "stdout") in lines[2]
    subject, text = only_mail(server)
    assert subject.startswith("[altbackup] FAILED bad.yml: ")
    assert f"{PROGRAM} run play/bad.yml -i hosts.yml" in text
    assert "it broke, größer als 日本" in text
    assert {failure["host"]: failure["kind"] for failure in desk.result()["failures"]} == {
        "one": "failed",
        "two": "unreachable",
    }
    assert desk.result()["mail"]["delivered"] == 1


def test_nothing_but_unreachable_hosts_has_an_exit_code_of_its_own(desk: Desk, server: MailServer) -> None:
    desk.write_inventory(one=LOCAL, two=GONE)
    desk.write_playbook("good.yml", {"name": "Ping", "ansible.builtin.ping": {}})
    assert desk.call("run", "play/good.yml").returncode == 3
    assert "two" in only_mail(server)[0]


def test_ignored_and_rescued_failures_are_good(desk: Desk, server: MailServer) -> None:
    desk.write_inventory(one=LOCAL, two=GONE)
    gone = {"name": "Ping", "ansible.builtin.ping": {}, "ignore_unreachable": True}
    desk.write_playbook(
        "good.yml", {**BAD, "ignore_errors": True}, {"block": [BAD], "rescue": [GOOD]}, gone, hosts="one"
    )
    assert desk.call("run", "play/good.yml").returncode == 0
    desk.write_playbook("gone.yml", gone)
    assert desk.call("run", "play/gone.yml").returncode == 0
    assert server.mails == []


def test_the_first_good_run_after_a_failure_that_no_callback_saw_is_told(desk: Desk, server: MailServer) -> None:
    (desk.folder / "play" / "night.yml").write_text("- hosts: all\n  tasks: {\n")
    assert [desk.call("run", "play/night.yml").returncode for _ in range(2)] == [4, 4]
    desk.write_playbook("night.yml", GOOD)
    assert [desk.call("run", "play/night.yml").returncode for _ in range(2)] == [0, 0]
    statuses = [message["X-Altbackup-Status"] for message in server.messages()]
    assert statuses == ["failed", "failed", "recovered"]
    assert "still failing since" in text_of(server.messages()[1])


def test_callback_and_entry_point_know_a_job_by_the_same_key(desk: Desk, server: MailServer) -> None:
    options = ("--limit", "one,", "--tags", "b,a,always", "--skip-tags", "c", "-C")
    (desk.folder / "play" / "night.yml").write_text("- hosts: all\n  tasks: {\n")
    assert desk.call("run", "play/night.yml", *options).returncode == 4
    desk.write_playbook("night.yml", {**BAD, "check_mode": False})
    assert desk.call("run", "play/night.yml", *options).returncode == 4
    desk.write_playbook("night.yml", {**BAD, "check_mode": False, "tags": ["a"]})
    assert desk.call("run", "play/night.yml", *options).returncode == 2
    assert len(json.loads((desk.spool / "memory.json").read_text())) == 1


def vault(desk: Desk) -> None:
    """Write a playbook with a vaulted variable whose password is unknown."""
    word = desk.folder / "word"
    word.write_text("open sesame\n")
    command = [
        str(Path(sys.executable).with_name("ansible-vault")),
        "encrypt_string",
        "--vault-password-file",
        str(word),
        "hidden",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=desk.folder)
    value = "\n".join(f"      {line.strip()}" for line in done.stdout.splitlines()[1:])
    text = f"- hosts: all\n  gather_facts: false\n  vars_files: [vault.yml]\n  vars:\n    word: !vault |\n{value}\n"
    (desk.folder / "play" / "x.yml").write_text(text + "  tasks:\n    - ansible.builtin.debug: {msg: '{{ word }}'}\n")
    encrypt = [command[0], "encrypt", "--vault-password-file", str(word), str(desk.folder / "play" / "vault.yml")]
    (desk.folder / "play" / "vault.yml").write_text("a: 1\n")
    subprocess.run(encrypt, capture_output=True, check=True)


SITUATIONS: dict[str, tuple[str | None, list[str], str]] = {
    "syntax error": ("- hosts: all\n  tasks:\n    - debug: {}\n      nonsense: 1\n", [], "nonsense"),
    "YAML error": ("- hosts: all\n  tasks: {\n", [], "YAML"),
    "unknown module": ("- hosts: all\n  tasks:\n    - no.such.module: {}\n", [], "no.such.module"),
    "missing playbook": (None, [], "does not exist"),
    "missing inventory": ("[]", ["-i", "nowhere"], "nowhere does not exist"),
    "broken inventory": ("[]", ["-i", "play/x.yml"], ""),
    "unknown host": ("- hosts: all\n", ["--limit", "elsewhere"], "elsewhere"),
    "no hosts": ("- hosts: nobody\n  tasks: [{debug: {}}]\n", [], "nobody"),
    "no tasks": ("- hosts: all\n  gather_facts: false\n", [], "nothing was done"),
    "vault password missing": ("", [], "vault"),
    "unknown option": ("[]", ["--no-such-option"], "no-such-option"),
    "asks for a password": ("[]", ["-Kv"], "--ask-become-pass asks"),
    "asks for a variable": ("- hosts: all\n  vars_prompt: [{name: colour}]\n", [], "asks for colour"),
    "unusable limit": ("[]", ["--time-limit", "soon"], "soon"),
    "unusable number": ("[]", ["--keep-runs", "0"], "'0'"),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_could_not_start_is_mailed_once_in_the_same_form(situation: str, desk: Desk, server: MailServer) -> None:
    text, options, words = SITUATIONS[situation]
    if situation == "vault password missing":
        vault(desk)
    elif text is not None:
        (desk.folder / "play" / "x.yml").write_text(text)
    done = desk.call("run", "play/x.yml", *options)
    assert done.returncode == 4, done.stderr
    subject, told = only_mail(server)
    assert subject.startswith("[altbackup] FAILED ")
    assert words.lower() in told.lower()
    assert "play/x.yml" in told
    assert words.lower() in done.stderr.lower()
    assert desk.left() == []


def fake_checkout(folder: Path, *missing: str) -> Path:
    """Make a checkout with a Python that has all but these packages, and no programs; return its entry point."""
    site = Path(sysconfig.get_paths()["purelib"])
    home = folder / "checkout" / ".venv"
    packages = home / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.mkdir(parents=True)
    (home / "bin").mkdir()
    (home / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    settings = f"home = {Path(sys.executable).resolve().parent}\ninclude-system-site-packages = false\n"
    (home / "pyvenv.cfg").write_text(settings)
    for path in site.iterdir():
        if path.name not in missing and "*" not in missing:
            (packages / path.name).symlink_to(path)
    (folder / "checkout" / "bin").mkdir()
    shutil.copy(PROGRAM, folder / "checkout" / "bin" / "altbackup")
    (folder / "checkout" / "plugins").symlink_to(REPOSITORY / "plugins")
    return folder / "checkout" / "bin" / "altbackup"


@pytest.mark.parametrize(
    ("missing", "there", "words"),
    [
        ("", False, "ansible-playbook is not installed"),
        ("*", False, "ansible-playbook is not installed"),
        ("*", True, "pip install ansible-runner"),
        ("ansible_runner", True, "pip install ansible-runner"),
    ],
)
def test_what_is_not_installed_is_named_and_mailed(
    missing: str, there: bool, words: str, desk: Desk, server: MailServer, tmp_path: Path
) -> None:
    desk.write_playbook("good.yml", GOOD)
    program = fake_checkout(tmp_path, missing)
    if there:
        (program.parents[1] / ".venv" / "bin" / "ansible-playbook").symlink_to("/bin/true")
    for name in [name for name in desk.environment if name.startswith("ALTBACKUP_MAIL_")]:
        del desk.environment[name]
    settings = f"[callback_error_mail]\nto = {TO}\nhost = {server.host}\nport = {server.port}\n"
    (desk.folder / "ansible.cfg").write_text(settings)
    options = ("-e", '{"a_password": "swordfish"}')
    done = desk.call("run", "play/good.yml", *options, program=program, ANSIBLE_CONFIG=str(desk.folder / "ansible.cfg"))
    assert done.returncode == 4
    assert words in done.stderr
    assert words in only_mail(server)[1]
    assert "swordfish" not in whole_texts(server.mails[0])


def test_time_limit_ends_every_process_and_tells_what_was_running(desk: Desk, server: MailServer) -> None:
    desk.write_inventory(one=LOCAL, two=LOCAL)
    desk.write_playbook("slow.yml", {**BAD, "when": "inventory_hostname == 'two'"}, sleeper(desk.folder))
    started = time.monotonic()
    done = desk.call("run", "play/slow.yml", "--time-limit", "8s")
    assert (done.returncode, desk.left()) == (5, [])
    assert (desk.folder / "asleep").exists()
    assert 8 <= time.monotonic() - started < 40
    subject, text = only_mail(server)
    assert "took longer than its limit of 8s" in subject
    assert "one: Sleep" in text
    assert "it broke" in text
    assert "time limit (exit code 5)" in text
    assert desk.result()["state"] == "time limit"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_end_it_ends_every_process(number: int, desk: Desk, server: MailServer) -> None:
    desk.write_playbook("slow.yml", sleeper(desk.folder))
    with desk.going("run", "play/slow.yml") as process:
        wait_asleep(desk.folder)
        process.send_signal(number)
        process.send_signal(signal.SIGTERM)  # impatient: no grace
        assert process.wait(40) == 7
        assert desk.left() == []
    assert f"told to end by {signal.Signals(number).name}" in only_mail(server)[0]
    assert desk.result()["state"] == "interrupted"


def run_killed_by(number: signal.Signals, desk: Desk) -> None:
    """Start a long run, and kill its ansible-playbook."""
    desk.write_playbook("slow.yml", sleeper(desk.folder))
    with desk.going("run", "play/slow.yml") as process:
        wait_asleep(desk.folder)
        os.kill(ansible_of(process.pid), number)
        assert process.wait(40) == 7
        assert desk.left() == []


def test_killed_ansible_playbook_is_told_and_what_it_left_is_ended(desk: Desk, server: MailServer) -> None:
    run_killed_by(signal.SIGKILL, desk)
    subject, text = only_mail(server)
    assert "killed by SIGKILL" in subject
    assert "memory" in subject
    assert "one: Sleep" in text


def test_killed_worker_is_told_in_one_mail_with_what_failed_before(desk: Desk, server: MailServer) -> None:
    desk.write_inventory(one=LOCAL, two=LOCAL)
    kill = {
        "name": "Kill it",
        "ansible.builtin.debug": {"msg": "{{ lookup('ansible.builtin.pipe', 'kill -9 $PPID') }}"},
    }
    desk.write_playbook("dead.yml", {**BAD, "when": "inventory_hostname == 'two'"}, kill)
    done = desk.call("run", "play/dead.yml")
    assert done.returncode == 2
    _, text = only_mail(server)
    assert "dead state" in text
    assert "two: non-zero return code (rc 3): it broke" in text


def test_killed_entry_point_is_told_by_the_next_run_which_ends_what_it_left(desk: Desk, server: MailServer) -> None:
    desk.write_playbook("slow.yml", sleeper(desk.folder))
    with desk.going("run", "play/slow.yml") as process:
        wait_asleep(desk.folder)
        process.kill()
        process.wait()
        assert desk.left() != []
        said = desk.call("last").stdout
        assert "slow.yml: ended without a word" in said
        desk.write_playbook("slow.yml", GOOD)
        done = desk.call("run", "play/slow.yml")
        assert (done.returncode, desk.left()) == (0, [])
    first, *others = server.messages()
    assert "ended without a word: altbackup itself was killed" in str(first["Subject"])
    assert [message["X-Altbackup-Status"] for message in others] == ["recovered"]
    assert [desk.result(number)["state"] for number in (0, 1)] == ["killed", "good"]
    assert desk.call("run", "play/slow.yml").returncode == 0
    assert len(server.mails) == 2


def test_second_run_of_a_going_job_ends_at_once_and_is_told_once(desk: Desk, server: MailServer) -> None:
    script = f"echo > '{desk.folder}/asleep'; while [ ! -e '{desk.folder}/go' ]; do sleep 0.1; done"
    desk.write_playbook("slow.yml", {"name": "Wait", "ansible.builtin.command": {"argv": ["sh", "-c", script]}})
    desk.write_playbook("other.yml", GOOD)
    with desk.going("run", "play/slow.yml") as process:
        wait_asleep(desk.folder)
        for _ in range(2):
            done = desk.call("run", "play/slow.yml", "--limit", "one")
            assert done.returncode == 6
            assert re.search(rf"already running since \d{{4}}-.*, pid {process.pid}\b", done.stderr)
        assert desk.call("run", "play/slow.yml").returncode == 6
        assert "already running since" in only_mail(server)[0]
        assert desk.call("run", "play/other.yml").returncode == 0
        assert json.loads(desk.call("last", "play/slow.yml", "--json").stdout)["state"] == "running"
        (desk.folder / "go").touch()
        assert process.wait(40) == 0
    assert desk.call("run", "play/slow.yml").returncode == 0
    assert len(server.mails) == 1  # as the job has not failed, it has not recovered


def test_first_to_find_a_going_run_tells_and_the_job_does_not_count_as_failed(desk: Desk, server: MailServer) -> None:
    desk.write_playbook("slow.yml", sleeper(desk.folder))
    with desk.going("run", "play/slow.yml") as process:
        wait_asleep(desk.folder)
        assert desk.call("run", "play/slow.yml").returncode == 6
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.wait(40) == 7
    told = [str(message["Subject"]) for message in server.messages()]
    assert ["already running" in subject for subject in told] == [True, False]
    assert "No longer failing" not in text_of(server.messages()[1])


def test_environment_of_the_run_is_that_of_ansible_playbook(desk: Desk) -> None:
    desk.write_playbook(
        "env.yml",
        {"name": "Print it", "ansible.builtin.command": {"argv": ["env"]}, "register": "it"},
        {"name": "Show it", "ansible.builtin.debug": {"var": "it.stdout_lines"}},
    )
    assert desk.call("run", "play/env.yml").returncode == 0
    lines = [line.strip("- ") for line in (desk.runs()[0] / "stdout").read_text().splitlines()]
    assert "ANSIBLE_HOST_KEY_CHECKING=True" in lines
    assert f"ANSIBLE_CONFIG={REPOSITORY}/ansible.cfg" in lines
    assert not [line for line in lines if line.startswith("ANSIBLE_CACHE_PLUGIN")]


def test_silent_server_does_not_hold_up_and_the_next_run_delivers(desk: Desk, server: MailServer) -> None:
    (desk.folder / "play" / "x.yml").write_text("- hosts: all\n  tasks: {\n")
    with serving("never answers") as silent:
        desk.mail_to(silent)
        started = time.monotonic()
        done = desk.call("run", "play/x.yml", ALTBACKUP_MAIL_TIMEOUT="2s")
        assert time.monotonic() - started < 20
    assert done.returncode == 4
    assert "could not be sent" in done.stderr
    assert len(desk.spooled()) == 1
    desk.mail_to(server)
    desk.write_playbook("good.yml", GOOD)
    assert desk.call("run", "play/good.yml").returncode == 0
    assert (len(server.mails), desk.spooled()) == (1, [])


def test_mail_of_the_callback_that_was_not_sent_is_told_on_stderr(desk: Desk) -> None:
    desk.write_playbook("bad.yml", BAD)
    with serving("refuses for now") as refusing:
        desk.mail_to(refusing)
        done = desk.call("run", "play/bad.yml")
    assert done.returncode == 2
    (kept,) = desk.spooled()
    assert f"it is kept as {kept}" in done.stderr


def test_mail_test_and_flush_say_what_became_of_it(desk: Desk, server: MailServer) -> None:
    done = desk.call("mail", "--test")
    assert done.returncode == 0, done.stderr
    assert f"to admin@example.org by 127.0.0.1:{server.port}" in done.stdout
    assert "taken over" in done.stdout
    assert server.messages()[0]["X-Altbackup-Status"] == "test"
    (desk.folder / "play" / "x.yml").write_text("{")
    with serving("refuses for now") as refusing:
        desk.mail_to(refusing)
        done = desk.call("mail", "--test")
        assert (done.returncode, desk.spooled()) == (1, [])
        assert "451" in done.stderr
        assert desk.call("run", "play/x.yml").returncode == 4
        done = desk.call("mail", "--flush")
        assert (done.returncode, len(desk.spooled())) == (1, 1)
        assert "451" in done.stderr
    desk.mail_to(server)
    done = desk.call("mail", "--flush")
    assert (done.returncode, desk.spooled(), len(server.mails)) == (0, [], 2)
    assert "1 of 1 mail\n" in done.stdout
    assert desk.call("mail", "--test", ALTBACKUP_MAIL_TO="").returncode == 1


def test_last_tells_of_the_last_run(desk: Desk) -> None:
    assert desk.call("last").returncode == 1
    desk.write_playbook("bad.yml", BAD)
    desk.call("run", "play/bad.yml")
    done = desk.call("last", "play/bad.yml")
    assert done.returncode == 0
    assert done.stdout.startswith("bad.yml: failed (exit code 2)\n")
    assert "  one: non-zero return code (rc 3): it broke" in done.stdout
    told = json.loads(desk.call("last", "--json").stdout)
    assert (told["exit_code"], told["folder"]) == (2, str(desk.runs()[0]))
    assert desk.call("last", "backup").returncode == 1


def test_old_runs_are_removed(desk: Desk) -> None:
    desk.write_playbook("good.yml", GOOD)
    (desk.state / "runs" / "mine").mkdir(parents=True)
    for _ in range(3):
        assert desk.call("run", "play/good.yml", "--keep-runs", "1").returncode == 0
    assert len(desk.runs()) == 2
    assert (desk.state / "runs" / "mine").is_dir()


def test_nobody_to_tell_fails_a_run_that_nobody_watches(desk: Desk) -> None:
    desk.write_playbook("good.yml", GOOD)
    done = desk.call("run", "play/good.yml", ALTBACKUP_MAIL_TO="")
    assert done.returncode == 2
    assert done.stderr.startswith("altbackup: nobody would be told of failures: no recipient is set")
    assert desk.call("run", "play/good.yml", ALTBACKUP_MAIL_TO="none").returncode == 0


def test_a_list_and_a_prediction_may_go_unwatched(desk: Desk, site: Site) -> None:
    inventory = str(site.write_inventory())
    for words, code in ((("list",), 0), (("backup", "--check"), 0), (("check",), 2)):
        done = desk.call("run", *words, "-i", inventory, ALTBACKUP_MAIL_TO="")
        assert done.returncode == code, (words, done.stderr)
        assert ("nobody would be told of failures" in done.stderr) == bool(code)


def test_artifacts_go_where_they_are_wanted(desk: Desk, tmp_path: Path) -> None:
    desk.write_playbook("good.yml", GOOD)
    assert desk.call("run", "play/good.yml", "--artifacts", str(tmp_path / "a")).returncode == 0
    assert desk.call("run", "play/good.yml", ALTBACKUP_ARTIFACTS=str(tmp_path / "b")).returncode == 0
    assert desk.call("run", "play/good.yml", XDG_STATE_HOME=str(tmp_path / "c")).returncode == 0
    assert [len(list((tmp_path / name / "runs").iterdir())) for name in ("a", "b", "c/altbackup")] == [1, 1, 1]
    assert not (desk.state / "runs").exists()
    (tmp_path / "file").touch()
    assert desk.call("run", "play/good.yml", "--artifacts", str(tmp_path / "file")).returncode == 4


def test_a_link_and_a_locale_that_is_not_there_are_no_obstacle(desk: Desk, tmp_path: Path) -> None:
    desk.write_playbook("good.yml", {"name": "größe 日本", "ansible.builtin.debug": {"msg": "größe"}})
    (tmp_path / "one").symlink_to(PROGRAM)
    (tmp_path / "altbackup").symlink_to("one")
    for more in ({"LANG": "C"}, {"LC_ALL": "C"}, {"LANG": "zh_CN.GB18030"}, {"LANG": "C.UTF-8"}):
        done = desk.call("run", "play/good.yml", program=tmp_path / "altbackup", **more)
        assert done.returncode == 0, done.stderr
        assert "größe 日本" in (desk.runs()[-1] / "stdout").read_text(encoding="utf-8")


def test_own_playbook_runs_by_name_with_the_settings_of_the_checkout(desk: Desk, server: MailServer) -> None:
    done = desk.call("run", "list", "--time-limit", "2m")
    assert done.returncode == 2
    subject, text = only_mail(server)
    assert subject.startswith("[altbackup] FAILED list.yml: ")
    assert "group sources is missing or empty" in text


def test_whole_chain_runs_by_name_and_its_mail_has_the_command_for_the_rest(
    desk: Desk, server: MailServer, site: Site
) -> None:
    site.add_source("lingao", altbackup_targets=["cms01"], **GONE)
    inventory = str(site.write_inventory())
    done = desk.call("run", "backup", "-i", inventory)
    assert done.returncode == 3, done.stderr
    subject, text = only_mail(server)
    assert "lingao" in subject
    assert re.search(rf"{PROGRAM} run backup -i {inventory} -e altbackup_stamp=\d{{4}}/", text)
    assert {failure["kind"] for failure in desk.result()["failures"]} == {"unreachable"}
    site.groups["sources"].remove("lingao")
    site.hosts["dayabay"]["altbackup_items"].append({"kind": "folder", "name": "gone", "path": "/nowhere/at/all"})
    assert desk.call("run", "backup.yml", "-i", str(site.write_inventory())).returncode == 2
    assert "/nowhere/at/all" in text_of(server.messages()[1])
    assert len(server.mails) == 2


def test_full_disk_is_said(desk: Desk) -> None:
    desk.write_playbook("good.yml", GOOD)
    words = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *desk.command("run", "play/good.yml")]
    done = subprocess.run(words, cwd=desk.folder, env=desk.environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert "runs cannot be kept in" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_shows_the_run_as_it_goes(desk: Desk) -> None:
    desk.write_playbook("bad.yml", GOOD, BAD)
    environment = {**desk.environment, "TERM": "xterm", "ALTBACKUP_MAIL_TO": ""}
    words = desk.command("run", "play/bad.yml")
    child = pexpect.spawn(words[0], words[1:], cwd=str(desk.folder), env=environment, encoding="utf-8", timeout=60)
    child.expect("altbackup: bad.yml of .*; its log is ")
    child.expect(r"TASK \[Say something\]")
    child.expect("\x1b\\[0;32m.*ok: \\[one\\]")
    child.expect("it broke")
    child.expect("PLAY RECAP")
    child.expect(r"altbackup: bad.yml: failed \(exit code 2\)")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 2
    desk.write_playbook("good.yml", GOOD)
    words = desk.command("run", "play/good.yml")
    child = pexpect.spawn(words[0], words[1:], cwd=str(desk.folder), env=environment, encoding="utf-8", timeout=60)
    child.expect("altbackup: good.yml was good and took 0:00:")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def told(raw: bytes) -> list[str]:
    """Return a mail's text, without what belongs to a single run."""
    own = re.compile(r"  (?:command|folder|started|took|ended): |    cd /")
    return [line for line in text_of(read_mail(raw)).splitlines() if not own.match(line)]


def test_ansible_playbook_runner_and_entry_point_give_the_same_mail(
    desk: Desk, server: MailServer, tmp_path: Path
) -> None:
    desk.write_inventory(one=LOCAL, two=LOCAL, three=GONE)
    playbook = desk.write_playbook("bad.yml", GOOD, {**BAD, "loop": ["a", "b"]})
    environment = {**desk.environment, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", str(playbook)]
    more = {"PATH": path, "ALTBACKUP_MAIL_SPOOL": str(tmp_path / "spool-1")}
    subprocess.run(command, cwd=desk.folder, env={**environment, **more}, capture_output=True, check=False)
    (tmp_path / "runner").mkdir()
    ansible_runner.run(
        private_data_dir=str(tmp_path / "runner"),
        project_dir=str(desk.folder),
        playbook=str(playbook),
        inventory=str(desk.folder / "hosts.yml"),
        envvars={
            **environment,
            **more,
            "ALTBACKUP_MAIL_SPOOL": str(tmp_path / "spool-2"),
            "ANSIBLE_HOST_KEY_CHECKING": "True",
        },
        quiet=True,
    )
    desk.call("run", str(playbook))
    first, second, third = server.mails
    assert told(first) == told(second) == told(third)
    assert "3 hosts" in "\n".join(told(first)) or "three" in "\n".join(told(first))


def forms(secrets: Iterable[str]) -> set[str]:
    """Return secrets as they appear in texts and in JSON."""
    plain = list(secrets)
    return {
        *plain,
        *(json.dumps(word)[1:-1] for word in plain),
        *(json.dumps(word, ensure_ascii=False)[1:-1] for word in plain),
    }


def test_no_secret_is_in_any_mail_or_file(desk: Desk, tmp_path: Path) -> None:
    secrets = {
        name: f'{name}-X7!s€cr"et'
        for name in ("extra", "environment", "hidden", "named", "argument", "url", "vault", "looped")
    }
    (tmp_path / "word").write_text(f"{secrets['vault']}\n")
    desk.write_inventory(one={**LOCAL, **{name: secrets[name] for name in ("hidden", "named", "looped")}})
    quoted = json.dumps({"db_password": secrets["extra"]})
    tasks = [
        {"name": "Use {{ named }}", "ansible.builtin.debug": {"msg": "{{ hidden }}"}, "no_log": True},
        {"name": "Print the environment", "ansible.builtin.command": {"argv": ["env"]}},
        {"name": "Show the facts", "ansible.builtin.setup": {"gather_subset": ["!all", "min"]}},
        {"name": "Say {{ db_password }}", "ansible.builtin.debug": {"msg": "{{ db_password }}"}},
        {
            "name": "Take an argument",
            "ansible.builtin.uri": {
                "url": "http://127.0.0.1:1/",
                "url_username": "me",
                "url_password": secrets["argument"],
            },
            "ignore_errors": True,
        },
        {
            "name": "Loop",
            "ansible.builtin.debug": {"msg": "{{ item }}"},
            "loop": ["{{ looped }}"],
            "no_log": True,
        },
        {
            "name": "Break",
            "ansible.builtin.command": {
                "argv": ["sh", "-c", f"echo cannot reach https://me:{secrets['url'].replace('/', '')}@x.org; exit 1"]
            },
        },
    ]
    desk.write_playbook("bad.yml", *tasks)
    desk.write_playbook("sleep.yml", *tasks[:6], sleeper(desk.folder))
    options = ("-e", quoted, "--vault-password-file", str(tmp_path / "word"))
    environment = {
        "API_TOKEN": secrets["environment"],
        "ALTBACKUP_MAIL_PASSWORD": PASSWORD,
        "ALTBACKUP_MAIL_USERNAME": USERNAME,
    }
    certificate = make_certificate(tmp_path)
    with serving("TLS and login", certificate) as server:
        desk.mail_to(server)
        desk.environment |= {**environment, "ALTBACKUP_MAIL_SECURITY": "starttls", "SSL_CERT_FILE": str(certificate)}
        assert desk.call("run", "play/bad.yml", *options).returncode == 2
        with desk.going("run", "play/sleep.yml", *options) as process:
            wait_asleep(desk.folder)
            kept = {path: path.read_text(errors="replace") for path in desk.state.rglob("*") if path.is_file()}
            assert {where for where, text in kept.items() for word in forms(secrets.values()) if word in text} == set()
            process.send_signal(signal.SIGTERM)
            assert process.wait(40) == 7
        assert desk.call("run", "play/none.yml", *options).returncode == 4
        mails = list(server.mails)
        with serving("never answers") as silent:
            desk.mail_to(silent)
            assert desk.call("run", "play/none.yml", *options, ALTBACKUP_MAIL_TIMEOUT="1s").returncode == 4
    assert (len(mails), len(desk.spooled())) == (3, 1)
    assert "Print the environment" in (desk.runs()[0] / "stdout").read_text()
    texts = {f"mail {number}": whole_texts(raw) for number, raw in enumerate(mails)}
    texts |= {path.name: whole_texts(path.read_bytes()) for path in desk.spooled()}
    for path in (tmp_path / "home").rglob("*"):
        if path.is_file() and path.suffix != ".eml":
            texts[str(path)] = path.read_text(errors="replace")
    found = [
        (where, word) for where, text in texts.items() for word in forms([*secrets.values(), PASSWORD]) if word in text
    ]
    assert found == []


def test_memory_of_the_kernel_is_asked_when_ansible_is_killed(desk: Desk, server: MailServer) -> None:
    run_killed_by(signal.SIGTERM, desk)
    subject, _ = only_mail(server)
    assert "killed by SIGTERM" in subject
    assert "memory" not in subject


@pytest.mark.root
@pytest.mark.slow
@needs_root
def test_real_cron_runs_it_and_a_failure_is_mailed(desk: Desk, server: MailServer, tmp_path: Path) -> None:
    desk.write_playbook("bad.yml", BAD)
    for name in ("crontabs", "cron.d", "run"):
        (tmp_path / name).mkdir()
    (tmp_path / "crontab").touch()
    table = tmp_path / "crontabs" / "root"
    settings = {name: value for name, value in desk.environment.items() if name.startswith("ALTBACKUP_")}
    settings |= {"HOME": desk.environment["HOME"], "MAILTO": '""'}
    lines = [f"{name}={value}" for name, value in settings.items()]
    table.write_text(
        "\n".join([*lines, f"* * * * * cd '{tmp_path}' && {PROGRAM} run play/bad.yml -i hosts.yml >> said 2>&1", ""])
    )
    table.chmod(0o600)
    hide = {"crontabs": "/var/spool/cron/crontabs", "cron.d": "/etc/cron.d", "crontab": "/etc/crontab", "run": "/run"}
    mounts = " && ".join(
        f"mount --bind '{tmp_path / name}' {place}" for name, place in hide.items() if os.path.exists(place)
    )
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{mounts} && exec cron -f"]
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with subprocess.Popen(
        command, env=path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as cron:
        try:
            assert wait_until(lambda: bool(server.mails) or cron.poll() is not None, 90)
            assert cron.poll() is None, cron.stdout.read() if cron.stdout else ""
            assert wait_until(lambda: bool(desk.runs()) and desk.result()["state"] == "failed", 20)
        finally:
            cron.kill()
    assert only_mail(server)[0].startswith("[altbackup] FAILED bad.yml: one: ")
    assert "bad.yml: failed (exit code 2)" in (tmp_path / "said").read_text()
    environment = json.loads((desk.runs()[0] / "command.json").read_text())["environment"]
    assert "LANG" not in environment
