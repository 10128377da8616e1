"""`bin/altbackup init`: a first inventory from a few answers, and from what exists."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pexpect
import pytest
import yaml
from integration.lab_site import environment
from integration.site import REPOSITORY

PROGRAM = str(REPOSITORY / "bin" / "altbackup")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home, with a repository whose name Ansible would evaluate."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("{{ lookup('pipe', 'touch evil') }}.git", "b.git"):
        subprocess.run(["git", "init", "-q", "--bare", tmp_path / "live" / "git" / name], check=True)
    return home


def around(home: Path) -> dict[str, str]:
    return {**environment(), "HOME": str(home), "ALTBACKUP_ARTIFACTS": str(home / "runs"), "TERM": "xterm"}


def init(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call it as a script would, in a folder of its own."""
    return subprocess.run(
        [PROGRAM, "init", *words],
        cwd=home,
        env=around(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
    )


def test_options_alone_make_an_inventory_of_what_is_there_and_nothing_is_replaced(home: Path, tmp_path: Path) -> None:
    below = str(tmp_path / "live")
    done = init(home, "mine", "--mail", "ops@example.org", "--look", below, "--base", f"{home}/own", "--no-doctor")
    assert done.returncode == 0, done.stderr
    made = home / "inventory" / "mine"
    assert sorted(path.name for path in made.parent.iterdir()) == ["mine"]
    variables = yaml.safe_load((made / "host_vars" / "localhost.yml").read_text())
    assert variables["altbackup_discover"]["git"] == f"{below}/git"
    assert yaml.safe_load((made / "group_vars/sources/storage.yml").read_text())["altbackup_base"] == f"{home}/own"
    assert yaml.safe_load((made / "group_vars/all/mail.yml").read_text()) == {"altbackup_mail_to": "ops@example.org"}
    assert not [*home.rglob("evil")]
    before = {path: path.read_bytes() for path in made.rglob("*.yml")}
    again = init(home, "mine", "--mail", "none")
    assert again.returncode == 4
    assert "is there already, and nothing is replaced" in again.stderr
    assert {path: path.read_bytes() for path in made.rglob("*.yml")} == before


def test_what_is_missing_is_not_asked_for_where_nobody_answers(home: Path) -> None:
    done = init(home, "mine")
    assert done.returncode == 4
    assert "--mail ADDRESS, or --mail none" in done.stderr
    assert not (home / "inventory").exists()


@pytest.mark.full
def test_one_machine_needs_two_answers_and_the_doctor_shows_what_is_left(home: Path, tmp_path: Path) -> None:
    words = [
        "init",
        "mine",
        "--look",
        str(tmp_path / "live"),
        "--base",
        f"{home}/own",
        "--target-base",
        f"{home}/copies",
    ]
    talk = pexpect.spawn(
        PROGRAM, words, cwd=str(home), env=around(home), encoding="utf-8", timeout=1500, dimensions=(60, 200)
    )
    talk.expect("Which machines")
    talk.sendline("")
    talk.expect("Who gets mail")
    talk.sendline("none")
    talk.expect(pexpect.EOF)
    talk.close()
    said = str(talk.before)
    assert talk.exitstatus == 0, said
    assert "base of the source" in said
    assert f"path={home}/own/.altbackup state=directory" in said, "a command is shown whole, whatever the width"
    assert (home / "inventory" / "mine" / "hosts.yml").exists()


@pytest.mark.full
def test_a_source_that_does_not_answer_is_told_of_and_written_all_the_same(home: Path) -> None:
    done = init(
        home, "./far", "--source", "dayabay=scm@192.0.2.1", "--target", "localhost", "--mail", "none", "--no-doctor"
    )
    assert done.returncode == 2, done.stderr
    assert "dayabay could not be looked at: " in done.stderr
    assert f"rm -r {home}/far), and run init again" in done.stderr
    assert yaml.safe_load((home / "far" / "host_vars" / "dayabay.yml").read_text())["altbackup_items"] == []
