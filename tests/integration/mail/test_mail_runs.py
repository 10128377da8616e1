"""Real runs: a silent server delays none, the next run delivers, and no run goes unwatched silently."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
import yaml
from helpers.mail_server import PASSWORD, make_certificate, read_mail, serving, text_of
from helpers.waiting import wait_until
from integration.mail.runs import REPOSITORY, Ran, environment, run
from integration.mail.situations import Situation, command, fails, play

PLAIN = fails("plain", command("one"))
GOOD = Situation("good", play("    - ansible.builtin.debug: {msg: fine}\n"), exit_code=0, hosts=())
TO = {"TO": "admins@example.org"}
TIMEOUT = 2.0


def to(server: Any) -> dict[str, str]:
    """Return the mail options for a server."""
    return {
        **TO,
        **{name.upper(): str(value) for name, value in server.options().items() if value},
        "TIMEOUT": str(TIMEOUT),
    }


def again(ran: Ran, options: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the playbook of an earlier run again, with other options."""
    folder = ran.spool.parent
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml", *arguments],
        cwd=folder,
        env=environment(folder, options),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_silent_server_holds_no_run_up_and_the_next_run_delivers(tmp_path: Path) -> None:
    quiet = run(tmp_path / "quiet", PLAIN, {"TO": "none"})
    with serving("dribbles") as server:
        held = run(tmp_path / "held", PLAIN, to(server))
    assert held.exit_code == 2
    assert held.seconds < quiet.seconds * 2 + TIMEOUT + 3
    (kept,) = held.spool.glob("*.eml")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert f"no answer within {TIMEOUT:g} s" in " ".join(held.said.split())
    raw = kept.read_bytes()
    (held.spool.parent / "play.yml").write_text(GOOD.playbook)
    with serving("accepts") as server:
        assert again(held, to(server)).returncode == 0
    assert server.mails[0] == raw
    assert "RECOVERED" in read_mail(server.mails[1])["Subject"]
    assert (len(server.mails), list(held.spool.glob("*.eml"))) == (2, [])


def test_mail_goes_out_encrypted_after_a_login(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with serving("TLS and login", certificate) as server:
        options = to(server)
        folder = tmp_path / "run"
        ran = run(folder, PLAIN, {**TO, "HOST": "127.0.0.1", "PORT": "1"})
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"],
            cwd=folder,
            env=environment(folder, options) | {"SSL_CERT_FILE": str(certificate)},
            capture_output=True,
            text=True,
        )
    assert ran.exit_code == done.returncode == 2
    assert len(server.mails) == 2
    assert not [raw for raw in server.mails if PASSWORD.encode() in raw]
    assert PASSWORD not in done.stdout + done.stderr


def test_same_failure_says_since_when(tmp_path: Path) -> None:
    with serving("accepts") as server:
        ran = run(tmp_path / "run", PLAIN, to(server))
        again(ran, to(server))
        again(ran, to(server), "--limit", "alpha")
    texts = [text_of(message) for message in server.messages()]
    assert ["2 runs" in text for text in texts] == [False, True, False]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_runner_sends_the_same_mail(locale: str, tmp_path: Path) -> None:
    with serving("accepts") as server:
        ran = run(tmp_path / "run", fails("unicode", "    - ansible.builtin.fail: {msg: 大亚湾}\n"), to(server))
        folder = ran.spool.parent
        (tmp_path / "runner").mkdir()
        done = ansible_runner.run(
            private_data_dir=str(tmp_path / "runner"),
            project_dir=str(folder),
            playbook=str(folder / "play.yml"),
            inventory=str(folder / "hosts.yml"),
            envvars=environment(folder, {**to(server), "SPOOL": str(tmp_path / "spool")}) | {"LANG": locale},
            quiet=True,
        )
    done.stdout.close()
    assert (done.rc, done.status) == (2, "failed")
    first, second = server.messages()
    assert first["Subject"] == second["Subject"]
    parts = [text_of(message).partition("The run")[0] for message in (first, second)]
    assert parts[0] == parts[1]
    assert "大亚湾" in parts[0]


def test_interrupted_run_tells_what_had_failed(tmp_path: Path) -> None:
    tasks = command("one") + "    - ansible.builtin.command: sh -c 'touch {{ playbook_dir }}/begun; exec sleep 60'\n"
    situation = fails("interrupted", tasks, on="alpha:beta").playbook.replace(
        "      ansible.builtin.command", "      when: inventory_hostname == 'alpha'\n      ansible.builtin.command"
    )
    with serving("accepts") as server:
        folder = tmp_path / "run"
        ran = run(folder, GOOD, {"TO": "none"})
        assert ran.exit_code == 0
        (folder / "play.yml").write_text(situation)
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml"],
            cwd=folder,
            env=environment(folder, to(server)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert wait_until((folder / "begun").exists, 30)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
    assert "broken pipe of one" in text_of(server.messages()[0])
    assert "ended early" in text_of(server.messages()[0])


WATCHED = """
- hosts: all,localhost
  gather_facts: false
  roles:
    - role: altbackup.core.altbackup
      vars: {__altbackup_roles: [sources]}
- hosts: all,localhost
  gather_facts: false
  roles: [altbackup.core.report]
"""


@pytest.fixture
def watched(tmp_path: Path) -> list[str]:
    """A run of the controller's plays, which do only what all playbooks do at start and end."""
    (tmp_path / "play.yml").write_text(WATCHED)
    sources = {
        "hosts": {
            "alpha": {
                "altbackup_base": "/x",
                "altbackup_targets": ["beta"],
                "altbackup_items": [{"kind": "folder", "name": "x", "path": "/x"}],
            }
        }
    }
    inventory = {"sources": sources, "targets": {"hosts": {"beta": {"altbackup_target_base": "/y"}}}}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(inventory))
    return [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "-i",
        str(tmp_path / "hosts.yml"),
        str(tmp_path / "play.yml"),
    ]


@pytest.mark.parametrize(
    ("options", "more", "exit_code", "words"),
    [
        ({}, {}, 2, "no recipient is set"),
        ({"TO": "none"}, {}, 0, ""),
        ({"HOST": "127.0.0.1"}, {"MAILTO": "cron@example.org"}, 0, ""),
        ({**TO, "HOST": "127.0.0.1", "PORT": "smtp"}, {}, 2, "'smtp'"),
        ({**TO, "HOST": "127.0.0.1"}, {"ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.tree"}, 2, "not enabled"),
    ],
)
def test_run_that_nobody_watches_says_so_and_fails(
    options: dict[str, str], more: dict[str, str], exit_code: int, words: str, watched: list[str], tmp_path: Path
) -> None:
    own = environment(tmp_path, options) | more
    done = subprocess.run(watched, cwd=tmp_path, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == exit_code, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert ("Nobody would be told of failures" in said) == bool(words)
    assert words in said
    if words:
        assert said.index("Nobody would be told") < said.index("stamp") < said.rindex("Nobody would be told")


def test_spool_older_than_a_day_fails_the_run_and_is_told_once_it_is_sent(watched: list[str], tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "1000000000000-1-1.eml").write_bytes(b"From: a@b\r\nTo: a@b\r\nSubject: old\r\n\r\n")
    own = environment(tmp_path, {**TO, "HOST": "127.0.0.1", "PORT": "1", "TIMEOUT": "1"})
    done = subprocess.run(watched, cwd=tmp_path, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 2
    assert "could not be sent for more than a day" in " ".join(done.stdout.split())
    with serving("accepts") as server:
        own = environment(tmp_path, to(server))
        done = subprocess.run(watched, cwd=tmp_path, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    subjects = [str(message["Subject"]) for message in server.messages()]
    assert subjects[0] == "old"
    assert "FAILED play.yml" in subjects[1]
    assert "RECOVERED play.yml" in subjects[2]


def test_terminal_is_enough_to_watch_a_run(watched: list[str], tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        watched,
        cwd=tmp_path,
        env=environment(tmp_path, {}),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    said, _ = process.communicate(timeout=60)
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 0, said
    assert "no recipient is set" in " ".join(said.split())


def test_checkout_enables_the_callback_by_its_full_name() -> None:
    assert "\ncallbacks_enabled = altbackup.core.error_mail\n" in (REPOSITORY / "ansible.cfg").read_text()
