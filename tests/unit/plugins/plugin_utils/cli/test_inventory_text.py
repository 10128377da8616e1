"""A first inventory as text: Ansible reads back the answers, and evaluates no discovered name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.inventory_text import (
    Answers,
    Host,
    arranged,
    files,
    parse_host,
    scalar,
)

EVIL = "/srv/git/{{ lookup('pipe', 'touch evil') }}: #'\".git"
HERE = Host("localhost")
FOUND = {"repositories": [{"kind": "git", "path": EVIL}, {"kind": "svn", "path": "/srv/svn/a"}], "folders": ["/etc"]}


def answers(**more: Any) -> Answers:
    alone = {"sources": [HERE], "targets": [HERE], "base": "/own", "target_base": "/copies", "mail": "ops@example.org"}
    return Answers("mine", **{**alone, **more})


def read_back(folder: Path, given: Answers) -> dict[str, Any]:
    """Write an inventory; return ansible-inventory's result on its hosts."""
    for name, text in files(given).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    program = str(Path(sys.executable).with_name("ansible-inventory"))
    done = subprocess.run([program, "-i", folder, "--list"], cwd=folder, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_names_that_were_found_are_read_back_as_they_are_and_never_evaluated(tmp_path: Path) -> None:
    found = read_back(tmp_path, answers(found={"localhost": FOUND}))
    paths = [item["path"] for item in found["_meta"]["hostvars"]["localhost"]["altbackup_items"]]
    shown = [path.get("__ansible_unsafe", path) if isinstance(path, dict) else path for path in paths]
    assert shown == [EVIL, "/srv/svn/a", "/etc"]
    assert not (tmp_path / "evil").exists()
    assert "!unsafe" in (tmp_path / "host_vars" / "localhost.yml").read_text()


def test_who_logs_in_as_root_becomes_nobody() -> None:
    assert [parse_host(text, "root", True).become for text in ("dayabay", "root@cms01", "scm@sdu")] == [
        False,
        False,
        True,
    ]
    assert parse_host("dayabay", "", True).become, "who logs in is not known"


def test_several_machines_have_files_of_their_own() -> None:
    dayabay, cms01 = parse_host("dayabay=scm@192.0.2.10:2200", "", True), parse_host("backup@cms01.example.org")
    written = files(answers(sources=[dayabay], targets=[cms01]))
    assert yaml.safe_load(written["hosts.yml"]) == {
        "sources": {"hosts": {"dayabay": None}},
        "targets": {"hosts": {"cms01.example.org": None}},
    }
    own = yaml.safe_load(written["host_vars/dayabay.yml"])
    assert own == {
        "ansible_host": "192.0.2.10",
        "ansible_port": 2200,
        "ansible_user": "scm",
        "ansible_become": True,
        "altbackup_items": [],
    }
    assert "did not answer" in written["host_vars/dayabay.yml"]
    assert yaml.safe_load(written["host_vars/cms01.example.org.yml"])["altbackup_watch"] is True
    given = files(answers(sources=[dayabay], targets=[cms01], mail_server={"host": "mail.example.org", "port": "587"}))
    own = yaml.safe_load(given["host_vars/cms01.example.org.yml"])
    assert (own["altbackup_watch_mail_host"], own["altbackup_watch_mail_port"]) == ("mail.example.org", 587)
    setup = yaml.safe_load(written["group_vars/all/setup.yml"])
    assert setup == {"altbackup_schedule": "cron", "altbackup_allow_root_filesystem": False}
    assert "group_vars/all/connection.yml" not in written


def test_one_machine_needs_no_ssh() -> None:
    written = files(answers(mail="none", allow_root=True))
    assert yaml.safe_load(written["group_vars/all/setup.yml"])["altbackup_allow_root_filesystem"] is True
    assert yaml.safe_load(written["group_vars/all/connection.yml"])["ansible_connection"] == "local"
    assert yaml.safe_load(written["group_vars/all/mail.yml"]) == {"altbackup_mail_to": "none"}
    assert "altbackup_watch" not in "".join(written.values()), "what would be dead with it does not watch it"


@pytest.mark.parametrize(
    ("paths", "discovered", "names"),
    [
        (["/srv/git/a.git", "/srv/git/b.git"], {"git": "/srv/git"}, []),
        (["/srv/git/a.git", "/srv/git/group/b.git"], {"git": "/srv/git"}, []),
        (["/srv/git/a.git"], {}, ["a"]),
        (["/home/x/a.git", "/home/y/a.git"], {}, ["a", "y-a"]),
        (["/srv/.hidden"], {}, ["srv-.hidden"]),
    ],
)  # fmt: skip
def test_repositories_of_one_folder_are_discovered_and_others_are_named(
    paths: list[str], discovered: dict[str, str], names: list[str]
) -> None:
    found, named = arranged([{"kind": "git", "path": path} for path in paths], [])
    assert (found, [name for _, name, _ in named]) == (discovered, names)


@pytest.mark.parametrize(
    "text", ["yes", "no", "null", "10", "a: b", "- x", "it's", "", "#x", "1e3", "é", "{{ x }}", "@x"]
)
def test_a_text_stays_that_text(text: str) -> None:
    assert yaml.safe_load(scalar(text).replace("!unsafe ", "")) == text


@pytest.mark.parametrize("text", ["", "a b", "user@", "-oProxyCommand=x", "a/b", "=x", "a:port", ".x=192.0.2.1"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_host(text)


def test_localhost_is_this_machine_and_a_name_for_it_is_not() -> None:
    assert parse_host("localhost") == HERE
    assert parse_host("me=localhost") == Host("me", "localhost")
