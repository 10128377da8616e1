"""The playbook and variables that each command stands for."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from helpers.questions import shown

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import orders
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.orders import Order

STAMP = "2013/05/10/104701"
SVN = {"source": "dayabay", "kind": "svn", "name": "dybsvn"}
SETUP = {"source": "dayabay", "kind": "folder", "name": "svnsetup"}


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
        (f"check --at {STAMP}", "check.yml", {"altbackup_day": "2013/05/10"}, []),
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


@pytest.mark.parametrize(
    ("item", "into", "ending", "consent"),
    [
        ("dayabay/sets/forge", "{globals: true}", False, "files"),
        ("dayabay/sets/forge", "{globals: true}", True, True),
        ("dayabay/sets/forge", "", False, True),
        ("dayabay/databases/forge", "wiki", False, None),
        ("dayabay/databases/forge", "wiki", True, True),
    ],
)
def test_moving_a_set_aside_is_consent_to_its_folders_and_not_to_the_end_of_sessions(
    item: str, into: str, ending: bool, consent: Any
) -> None:
    order = orders.restoring(item, aside=True, into=into, ending=ending)
    (entry,) = order.variables["altbackup_restore"]
    assert entry.get("consent") == consent
