"""The everyday commands, as people type them: over two nights of a small site, in a pipe, and on a terminal where they ask."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from helpers.entry_point import PROGRAM
from integration.site import LOCAL, Site, call, commit_svn, without_marks

NIGHTS = ("2026/11/23/013000", "2026/11/24/013000")
"""A Monday and a Tuesday"""
SETUP, SVN = "dayabay/folders/svnsetup", "dayabay/svn/dybsvn"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A source with a folder and a repository, a target, and a host beside them: two nights, between which both items changed."""
    made = Site(tmp_path_factory.mktemp("commands"))
    with without_marks(made.folder):
        (made.live / "folder").mkdir(parents=True)
        (made.folder / "home").mkdir()
        call("svnadmin", "create", made.live / "svn")
        items = [
            {"kind": "folder", "name": "svnsetup", "path": str(made.live / "folder")},
            {"kind": "svn", "name": "dybsvn", "path": str(made.live / "svn")},
        ]
        made.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items)
        made.add_target("cms01")
        made.hosts["another"], made.groups["ungrouped"] = LOCAL, ["another"]
        for number, night in enumerate(NIGHTS):
            commit_svn(made.live / "svn", f"file{number}", "content\n")
            (made.live / "folder" / "users.conf").write_text(f"{number}\n" * 10)
            (made.live / "folder" / f"odd\x1b[31m{number}").write_text("x")
            done = made.run("backup", stamp=night)
            assert done.rc == 0, done.message
        made.write_inventory()
        yield made


def environment(site: Site) -> dict[str, str]:
    """Return the environment of a user who has named the inventory in it."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(site.folder / "home"),
        "ALTBACKUP_INVENTORY": str(site.folder / "inventory"),
        "ALTBACKUP_HISTORY": str(site.folder / "history"),
        "ALTBACKUP_MAIL_TO": "nobody@example.org",
        "ALTBACKUP_MAIL_HOST": "127.0.0.1",
        "ALTBACKUP_MAIL_PORT": "1",
        "LANG": "C.UTF-8",
        "TERM": "xterm",
    }


def type_in(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """Call the program in a pipe; its output must not steer a terminal."""
    done = subprocess.run(
        [str(PROGRAM), *words],
        env=environment(site),
        cwd=site.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )
    assert "\x1b" not in done.stdout + done.stderr
    return done


def answer(site: Site, *words: str) -> dict[str, Any]:
    """Call a reading command; return its answer as JSON."""
    done = type_in(site, *words, "--json")
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["format"], told["version"], told["exit_code"]) == (f"altbackup {words[0]}", 1, 0)
    assert told["inventory"] == [str(site.folder / "inventory")]
    return told


def test_what_there_is_and_the_last_good_night_are_listed(site: Site) -> None:
    done = type_in(site, "list")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["ITEM", "LAST", "GOOD", "AGE", "NIGHTS", "SIZE", "ON"]
    assert [line.split()[:2] for line in lines[1:3]] == [[SETUP, NIGHTS[1]], [SVN, NIGHTS[1]]]
    assert all(line.endswith("dayabay, cms01") for line in lines[1:3])
    assert [re.sub(r"[\d.]+ \w+ (?=used|free)", "N ", line) for line in lines[3:]] == [
        f"{node}: 4 copies of 2 items, N used, N free" for node in ("cms01", "dayabay")
    ]
    told = answer(site, "list", "setup")
    assert told["item"] == SETUP
    assert [(night["stamp"], [copy["node"] for copy in night["copies"]]) for night in told["nights"]] == [
        (night, ["dayabay", "cms01"]) for night in reversed(NIGHTS)
    ]
    state = site.folder / "home" / ".local" / "state" / "altbackup"
    assert not (state / "runs").exists(), "questions are no nights"
    assert list((state / "asked").iterdir()) == []


@pytest.mark.full
def test_a_folder_of_a_tarball_is_shown(site: Site) -> None:
    done = type_in(site, "ls", "svnsetup", "--at", NIGHTS[0])
    assert done.returncode == 0, done.stderr
    first, _, *rows, last = done.stdout.splitlines()
    assert first == f"{SETUP} of {NIGHTS[0]}, on cms01"
    assert [row.split()[-1] for row in rows] == ["odd%1B[31m0", "users.conf"]
    assert last == "2 entries, 21 bytes"
    told = answer(site, "ls", "svn/dybsvn", "--at", NIGHTS[1][:10], "conf")
    assert [entry["path"] for entry in told["entries"]][:2] == ["conf/authz", "conf/hooks-env.tmpl"]
    assert told["tarballs"][0]["relpath"].endswith("dybsvn-2.tar.zst")
    done = type_in(site, "ls", "svn/dybsvn", "conv", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"], "entries" in told) == (2, 2, False)
    assert "'conv' is not in it" in told["failures"][0]
    assert "'conv' is not in it, did you mean 'conf'?" in done.stderr
    (kept,) = (site.folder / "home" / ".local" / "state" / "altbackup" / "asked").iterdir()
    assert str(kept) in done.stderr, "the log of what failed is kept"
    assert not (site.folder / "home" / ".altbackup" / "spool").exists(), "who asks is mailed nothing"
    runs = json.loads(type_in(site, "runs", "--json").stdout)["runs"]
    assert [run["playbook"] for run in runs if run["playbook"] == "contents.yml"] == [], (
        "a question is no news of backups"
    )


@pytest.mark.full
def test_a_name_is_found_over_items_and_nights(site: Site) -> None:
    versions = answer(site, "find", "users.conf")["versions"]
    assert [(version["item"], version["path"], version["nights"]) for version in versions] == [
        (SETUP, "users.conf", [NIGHTS[1]]),
        (SETUP, "users.conf", [NIGHTS[0]]),
    ]
    done = type_in(site, "find", "format", "--item", "svn")
    assert done.stdout.splitlines()[-1] == "4 found in 2 tarballs"
    assert f"{NIGHTS[0][:10]} .. {NIGHTS[1][:10]} (2)" not in done.stdout or "format" in done.stdout


@pytest.mark.full
def test_what_changed_between_two_nights_is_told(site: Site) -> None:
    done = type_in(site, "diff", "svn/dybsvn")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{SVN}: {NIGHTS[0]} -> {NIGHTS[1]}, on cms01: ")
    assert "revision: 1 -> 2" in lines
    assert any(line.split() == ["added", "101", "db/revprops/0/2"] for line in lines)
    told = answer(site, "diff", "svnsetup", NIGHTS[1][:10], NIGHTS[0][:10])
    assert [(entry["what"], entry["path"]) for entry in told["entries"]] == [
        ("added", "odd%1B[31m1"),
        ("changed", "users.conf"),
    ]
    assert (told["totals"]["added"], told["totals"]["changed"], told["totals"]["same"]) == (1, 1, 2)
    done = type_in(site, "diff", "svnsetup", "2026/11/22")
    assert done.returncode == 2
    assert (
        f"no node has a verified tarball of folders/svnsetup of dayabay of 2026/11/22; the newest are of {NIGHTS[0]}"
        in done.stderr
    )


@pytest.mark.full
def test_a_restore_shows_what_stands_there_and_asks(site: Site) -> None:
    live = site.live / "folder" / "users.conf"
    live.write_text("mine\n")
    words = ["restore", "svnsetup", "--file", "users.conf", "--at", NIGHTS[0]]
    assert type_in(site, *words).returncode == 4
    for reply, code in (("", 4), ("y", 0)):
        child = pexpect.spawn(
            str(PROGRAM),
            words,
            env=environment(site),
            cwd=str(site.folder),
            timeout=300,
            encoding="utf-8",
            dimensions=(50, 160),
        )
        child.expect(r"there is a file of 5 bytes, changed .* UTC\r\n")
        child.expect(r"Restore to \S+users.conf on dayabay, and move aside what stands there.*\? ")
        assert live.read_text() == "mine\n"
        child.sendline(reply)
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == code, child.before
    assert live.read_text() == "0\n" * 10
    (aside,) = live.parent.glob("users.conf.2*")
    assert aside.read_text() == "mine\n"


@pytest.mark.full
def test_a_restore_to_another_place_need_not_ask(site: Site) -> None:
    place = site.folder / "brought" / "dybsvn"
    place.parent.mkdir()
    done = type_in(site, "restore", "svn/dybsvn", "--to-host", "cms01", "--to", str(place))
    assert done.returncode == 0, done.stderr
    assert call("svnlook", "youngest", place).strip() == "2"


@pytest.mark.full
def test_a_night_is_held_and_released_by_its_day(site: Site) -> None:
    done = type_in(site, "hold", "svnsetup", "--at", NIGHTS[0][:10], "before the move")
    assert done.returncode == 0, done.stderr
    copies = answer(site, "list", "svnsetup")["nights"][1]["copies"]
    assert [copy["hold"] for copy in copies] == ["before the move"] * 2
    done = type_in(site, "release", "svnsetup")
    assert done.returncode == 0, done.stderr
    assert not any(copy["hold"] for night in answer(site, "list", "svnsetup")["nights"] for copy in night["copies"])
