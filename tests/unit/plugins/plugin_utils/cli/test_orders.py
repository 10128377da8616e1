"""What each command stands for: words that a person wrote become a playbook with variables."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import inventory, orders
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.commands import COMMANDS, take_rest
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.job import Job
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import _arguments, main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.orders import Order

HOSTS: dict[str, Any] = {
    "sources": {
        "hosts": {
            "dayabay": {
                "altbackup_items": [
                    {"kind": "svn", "name": "dybsvn", "path": "/home/scm/svn/dybsvn"},
                    {"kind": "trac", "name": "dybsvn", "path": "/home/scm/tracs/dybsvn"},
                    {"kind": "folder", "name": "svnsetup", "path": "/etc/apache2/svnsetup"},
                    {"kind": "folder", "name": "it's $HOME `id`", "path": "/srv/odd"},
                ]
            }
        }
    },
    "targets": {"hosts": {"cms01": {}}},
}
STAMP = "2013/05/10/104701"
SVN = {"source": "dayabay", "kind": "svn", "name": "dybsvn"}
SETUP = {"source": "dayabay", "kind": "folder", "name": "svnsetup"}


LOADED: dict[str, Any] = {}


def once(job: Job, *more: Any, load: Any = inventory.load_site) -> Any:
    """Read an inventory as the program does, but each text once: ansible-inventory takes its time."""
    text = Path(job.inventory[0]).read_text()
    if text not in LOADED:
        LOADED[text] = load(job, *more)
    return LOADED[text]


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an inventory, which is the one that is meant, and let runs be kept in a folder of the test."""
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump(HOSTS))
    monkeypatch.setattr(inventory, "load_site", once)
    monkeypatch.setenv("ALTBACKUP_INVENTORY", str(path))
    monkeypatch.setenv("ALTBACKUP_ARTIFACTS", str(tmp_path / "state"))
    return path


def shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Call the program with --show; return the words that it shows, as a shell reads them, behind the program."""
    assert main([words[0], "--show", *words[1:]]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    return shlex.split(line)[1:]


@pytest.mark.parametrize(
    ("words", "playbook", "variables", "more"),
    [
        ("list", "list.yml", {}, []),
        ("list svnsetup --at tue", "list.yml", {}, []),
        (
            "ls svnsetup",
            "contents.yml",
            {"altbackup_contents": {"step": "list", "item": "dayabay/folders/svnsetup"}},
            [],
        ),
        (
            f"ls svn/dybsvn --at {STAMP} conf -R",
            "contents.yml",
            {
                "altbackup_contents": {
                    "step": "list",
                    "item": "dayabay/svn/dybsvn",
                    "at": STAMP,
                    "path": "conf",
                    "recursive": True,
                }
            },
            [],
        ),
        (
            f"find passwd --item svn/dybsvn --at {STAMP} --from cms01",
            "contents.yml",
            {
                "altbackup_contents": {
                    "step": "find",
                    "item": "dayabay/svn/dybsvn",
                    "name": "passwd",
                    "at": STAMP,
                    "from": "cms01",
                }
            },
            [],
        ),
        (
            "diff svn/dybsvn 2013/05/10 2013/05/11",
            "contents.yml",
            {
                "altbackup_contents": {
                    "step": "diff",
                    "item": "dayabay/svn/dybsvn",
                    "at": "2013/05/10",
                    "other": "2013/05/11",
                }
            },
            [],
        ),
        ("restore svn/dybsvn --in-place", "restore.yml", {"altbackup_restore": [SVN]}, []),
        (
            f"restore svn/dybsvn --to-host cms01 --to /srv/dybsvn --at {STAMP} --check",
            "restore.yml",
            {"altbackup_restore": [{**SVN, "at": STAMP, "to_host": "cms01", "to": "/srv/dybsvn"}]},
            ["--check"],
        ),
        (
            "restore svnsetup --to /tmp/users.conf users.conf --aside",
            "restore.yml",
            {
                "altbackup_restore": [
                    {
                        **SETUP,
                        "to": "/tmp/users.conf",
                        "member": "./users.conf",
                        "replace": "move_aside",
                        "consent": True,
                    }
                ]
            },
            [],
        ),
        (
            "restore svnsetup --file /etc/apache2/svnsetup/users.conf --in-place",
            "restore.yml",
            {"altbackup_restore": [{**SETUP, "to": "/etc/apache2/svnsetup/users.conf", "member": "./users.conf"}]},
            [],
        ),
        (
            "restore svnsetup --into wiki --aside --at " + STAMP,
            "restore.yml",
            {"altbackup_restore": [{**SETUP, "at": STAMP, "into": {"database": "wiki"}, "replace": "move_aside"}]},
            [],
        ),
        (
            "restore svnsetup --into '{database: wiki, globals: true}' --to-host new --end-sessions --to /data/x",
            "restore.yml",
            {
                "altbackup_restore": [
                    {
                        **SETUP,
                        "to_host": "new",
                        "to": "/data/x",
                        "into": {"database": "wiki", "globals": True},
                        "consent": True,
                    }
                ]
            },
            [],
        ),
        (
            "adopt svnsetup svn/dybsvn",
            "restore.yml",
            {"altbackup_adopt": ["dayabay/folders/svnsetup", "dayabay/svn/dybsvn"]},
            [],
        ),
        ("accept svnsetup", "mark.yml", {"altbackup_accept": ["dayabay/folders/svnsetup"]}, []),
        (f"accept svnsetup --at {STAMP}", "mark.yml", {"altbackup_accept": [f"dayabay/folders/svnsetup/{STAMP}"]}, []),
        (
            f"hold svnsetup --at {STAMP} before-the-move",
            "mark.yml",
            {"altbackup_hold": {f"dayabay/folders/svnsetup/{STAMP}": "before-the-move"}},
            [],
        ),
        (
            f"release svnsetup --at {STAMP}",
            "mark.yml",
            {"altbackup_release": [f"dayabay/folders/svnsetup/{STAMP}"]},
            [],
        ),
        (
            "retire svnsetup --since 2026/11/23",
            "mark.yml",
            {"altbackup_retired": {"folders/svnsetup": "2026/11/23"}},
            ["--limit", "dayabay"],
        ),
        ("retire svnsetup --undo", "mark.yml", {"altbackup_retired": {"folders/svnsetup": ""}}, ["--limit", "dayabay"]),
        ("drill", "drill.yml", {}, []),
        ("drill cms01 dayabay", "drill.yml", {}, ["--limit", "cms01,dayabay"]),
        ("check", "check.yml", {}, []),
        (
            "check cms01 --at 2013/05/10 --everything",
            "check.yml",
            {"altbackup_day": "2013/05/10", "altbackup_check_scope": "all"},
            ["--limit", "cms01"],
        ),
    ],
)
def test_a_command_stands_for_a_playbook_with_variables(
    words: str,
    playbook: str,
    variables: dict[str, Any],
    more: list[str],
    hosts: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = shown(shlex.split(words), capsys)
    given = ["-e", json.dumps(variables)] if variables else []
    assert said == ["run", playbook, "-i", str(hosts), *more, *given]
    assert not (hosts.parent / "state").exists(), "nothing was done"


def test_what_is_shown_is_quoted_for_a_shell(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(["accept", "it's $HOME `id`", "--", "--vault-password-file", "a b; id"], capsys)
    variables = {"altbackup_accept": ["dayabay/folders/it's $HOME `id`"]}
    assert said[-4:] == ["-e", json.dumps(variables), "--vault-password-file", "a b; id"]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("ls dybsvn", "may be 2 items: dayabay/svn/dybsvn, dayabay/tracs/dybsvn"),
        ("ls svn/dybsvn --at someday", "'someday' is no night"),
        ("restore svnsetup", "--to PATH, or --in-place for /etc/apache2/svnsetup on dayabay"),
        ("restore svnsetup --file /etc/passwd --to /tmp/x", "is not in the item, which is /etc/apache2/svnsetup"),
        ("restore svnsetup --to x", "--to x is not an absolute path"),
        ("restore svnsetup a --to /x --file b", "one file or folder at a time, but there are a and --file b"),
        ("adopt cms01", "cms01 is a node"),
        ("adopt", "say which items are adopted"),
        ("accept svnsetup --at -1", "--at takes the stamp"),
        ("diff svnsetup -1 -2 -3", "two nights are compared"),
        ("ls svnsetup conf --jsn", "unknown: --jsn"),
        ("list --most 0", "'0' is not a whole number above 0"),
        ("list -i /nowhere", "the inventory /nowhere does not exist"),
    ],
)
def test_what_cannot_be_done_says_what_to_write(
    words: str, why: str, hosts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words.split()) == 4
    said = capsys.readouterr()
    assert why in said.err and said.out == ""
    assert not (hosts.parent / "state").exists()


def test_without_an_inventory_nothing_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("ALTBACKUP_INVENTORY", raising=False)
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(["ls", "x"]) == 4
    assert "no inventory is named" in capsys.readouterr().err


def test_where_items_are_discovered_the_whole_name_is_taken_without_asking(
    hosts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {**HOSTS, "sources": {"hosts": {"dayabay": {"altbackup_discover": {"git": "/srv/git"}}}}}
    hosts.write_text(yaml.safe_dump(found))
    assert "dayabay/git/group%2Fproject" in shown(["ls", "dayabay/git/group%2Fproject"], capsys)[-1]
    assert main(["ls", "project", "--show"]) == 4
    assert "for --show write the item as source/category/name" in capsys.readouterr().err
    inventory.keep_items(hosts.parent / "state", [str(hosts)], ["dayabay/git/group%2Fproject"])
    assert "dayabay/git/group%2Fproject" in shown(["ls", "project"], capsys)[-1]


@pytest.mark.parametrize(
    ("name", "text"),
    [("é", '{"altbackup_adopt": ["é"]}'), ("\u202e", '{"altbackup_adopt": ["\\u202e"]}')],
)
def test_variables_that_would_steer_a_terminal_are_escaped(name: str, text: str) -> None:
    assert orders.adopting([name]).words()[-1] == text


def test_an_order_has_inventories_limit_and_what_is_handed_on() -> None:
    order = Order("check.yml", limit="a,b", check=True)
    assert order.words(["x", "y"], ["-v"]) == [
        "run",
        "check.yml",
        "-i",
        "x",
        "-i",
        "y",
        "--limit",
        "a,b",
        "--check",
        "-v",
    ]


DAILY = Path(__file__).parents[5] / "docs" / "daily.md"
TABLE = DAILY.read_text().partition("| you want to know")[2].partition("\n\n")[0]


@pytest.mark.parametrize("line", re.findall(r"`(altbackup [^`]+)`", TABLE))
def test_each_question_of_a_day_is_a_short_line(line: str) -> None:
    assert len(line) <= 60
    arguments, rest = _arguments().parse_known_args(shlex.split(line)[1:])
    assert take_rest(arguments, rest) == []
    assert arguments.command in COMMANDS


def test_every_command_is_told_of() -> None:
    told = DAILY.read_text()
    assert [name for name in COMMANDS if f"altbackup {name}" not in told] == []
