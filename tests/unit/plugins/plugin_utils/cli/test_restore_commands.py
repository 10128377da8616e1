"""Where a restore goes: what options say, or what a person answers who was shown what stands there."""

from __future__ import annotations

import io
import json
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ansible.utils.color  # noqa: F401 (it looks at the terminal as it is imported first)
import pytest
import yaml
from helpers.questions import refused, shown
from helpers.restores import HOSTS as RESTORE_HOSTS
from helpers.restores import plan_of

from ansible_collections.altbackup.core.plugins.module_utils.kinds.into import KEYS
from ansible_collections.altbackup.core.plugins.module_utils.kinds.registry import CATEGORIES
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.supervised_run import SupervisedRun, say
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.restore_entry import parse_entry

PLACE = "/etc/apache2/svnsetup"
STANDING = "a folder, changed 2026-11-23 01:30 UTC"
IN_THE_WAY = (
    f"restore: {PLACE} is there already, and a restore replaces nothing by itself: give --aside to have it moved aside, "
    f"or another path ({STANDING}, stands there)"
)
WOULD = "dayabay: would restore folders/svnsetup"
DOWN = "cms01 could not be reached"
ITEM = {"source": "dayabay", "kind": "folder", "name": "svnsetup"}
ASIDE = {"replace": "move_aside", "consent": True}


class Terminal(io.StringIO):
    """Standard input or output of a person."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal() -> Terminal:
    """What a person sees."""
    return Terminal()


@pytest.fixture
def ask(hosts: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that restores on a terminal; it returns (exit code, what is predicted and then done)."""

    def restore(words: str, reply: str, foreseen: list[str]) -> tuple[int, list[tuple[bool, dict[str, Any]]]]:
        ran: list[tuple[bool, dict[str, Any]]] = []

        def run(self: SupervisedRun, playbook: str, options: list[str], *_: object) -> int:
            del playbook
            ((order,),) = json.loads(options[options.index("-e") + 1]).values()
            ran.append(("--check" in options, {name: value for name, value in order.items() if name not in ITEM}))
            told = [{"event_data": {"res": {"ansible_facts": {"__report_outcome": {"fine": [WOULD]}}}}}]
            self.last = SimpleNamespace(  # type: ignore[assignment]
                result={"failures": [{"message": text} for text in foreseen]}, events=lambda: told
            )
            if foreseen and "--check" in options:
                say(f"restore.yml: failed (exit code 2): {foreseen[0]}")
            return 2 if foreseen and "--check" in options else 0

        monkeypatch.setattr(SupervisedRun, "run", run)
        monkeypatch.setattr(sys, "stdin", Terminal(reply))
        monkeypatch.setattr(sys, "stdout", terminal)
        return main(["restore", "svnsetup", *words.split()]), ran

    return restore


@pytest.mark.parametrize(
    ("words", "reply", "foreseen", "code", "done"),
    [
        ("", "y\n", [], 0, {"to": PLACE}),
        ("", "YES\n", [IN_THE_WAY], 0, {"to": PLACE, **ASIDE}),
        ("", "/srv/x\n", [IN_THE_WAY], 0, {"to": "/srv/x"}),
        ("", "\n", [], 4, None),
        ("", "no\n", [IN_THE_WAY], 4, None),
        ("", "", [IN_THE_WAY], 4, None),
        ("", "y\n", [DOWN], 2, None),
        ("", "y\n", [IN_THE_WAY, DOWN], 2, None),
        ("conf/a", "y\n", [], 0, {"to": f"{PLACE}/conf/a", "member": "./conf/a"}),
    ],
)
def test_a_person_is_shown_what_stands_there_and_says_where_to(
    words: str,
    reply: str,
    foreseen: list[str],
    code: int,
    done: dict[str, Any] | None,
    ask: Any,
    terminal: Terminal,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended, ((is_predicted, predicted), *ran) = ask(words, reply, foreseen)
    assert (ended, is_predicted) == (code, True)
    assert predicted == {"to": f"{PLACE}/{words}" if words else PLACE, **({"member": f"./{words}"} if words else {})}
    assert ran == ([(False, done)] if done else [])
    is_in_the_way = foreseen == [IN_THE_WAY]
    seen, said = terminal.getvalue(), capsys.readouterr().err
    assert (f"there is {STANDING}\n" in seen, f"{WOULD}\n" in seen) == (is_in_the_way, not foreseen)
    assert ("exit code 2" in said) == (DOWN in foreseen)
    assert f"Restore to {PLACE}" in seen or DOWN in foreseen


@pytest.mark.parametrize(
    ("words", "done"),
    [
        ("--in-place", {}),
        ("conf/a --in-place", {"to": f"{PLACE}/conf/a", "member": "./conf/a"}),
        ("--to /srv/x --aside", {"to": "/srv/x", **ASIDE}),
        ("--into wiki", {"into": {"database": "wiki"}}),
    ],
)
def test_where_options_say_it_nothing_is_predicted_or_asked(words: str, done: dict[str, Any], ask: Any) -> None:
    assert ask(words, "", []) == (0, [(False, done)])


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("restore svnsetup", "--to PATH, or --in-place for /etc/apache2/svnsetup on dayabay"),
        ("restore svnsetup --file /etc/passwd --to /tmp/x", "is not in the item, which is /etc/apache2/svnsetup"),
        ("restore svnsetup --to x", "--to x is not an absolute path"),
        ("restore svnsetup a --to /x --file b", "one file or folder at a time, but there are a and --file b"),
        ("adopt cms01", "cms01 is a node"),
        ("restore svnsetup a --into wiki", "--into takes all of an item"),
    ],
)
def test_what_cannot_be_restored_says_what_to_write(
    words: str, why: str, hosts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert why in refused(words, hosts, capsys)


DATABASES = [
    {"kind": "sqlite", "name": "journal", "path": "/srv/journal.sqlite"},
    {"kind": "postgresql", "name": "main", "user": "postgres"},
    {"kind": "mysql", "name": "wiki", "user": "backup"},
    {"kind": "ldap", "name": "directory", "path": "/etc/ldap/slapd.d"},
]


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "known-to-the-plan"])
@pytest.mark.parametrize("item", DATABASES, ids=[item["kind"] for item in DATABASES])
def test_a_database_comes_back_as_what_the_inventory_says_it_is(
    item: dict[str, Any], is_known: bool, hosts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    declared = DATABASES if is_known else "{{ shared }}"
    sources = {"hosts": {"dayabay": {"altbackup_items": declared}}}
    hosts.write_text(yaml.safe_dump({"sources": sources, "targets": {"hosts": {"cms01": {}}}}))
    into = "{folder: /etc/ldap/slapd.d, user: openldap}" if item["kind"] == "ldap" else "wiki"
    way = ["--into", into] if item["kind"] in KEYS else ["--to", "/srv/restored"]
    words = shown(["restore", f"dayabay/databases/{item['name']}", *way], capsys)
    (entry,) = json.loads(words[words.index("-e") + 1])["altbackup_restore"]
    order = parse_entry(entry, plan_of(items=DATABASES), RESTORE_HOSTS)
    assert (order["kind"], bool(order["into"])) == (item["kind"], item["kind"] in KEYS)
    assert entry["kind"] == item["kind"] or not is_known


def test_every_kind_of_databases_is_among_them() -> None:
    assert {item["kind"] for item in DATABASES} == {kind for kind, name in CATEGORIES.items() if name == "databases"}


def test_what_stands_at_a_discovered_item_is_shown_too(hosts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sources = {"hosts": {"dayabay": {"altbackup_discover": {"git": "/srv/git"}}}}
    hosts.write_text(yaml.safe_dump({"sources": sources, "targets": {"hosts": {"cms01": {}}}}))
    item = "dayabay/git/group%2Fproject"
    assert "--in-place for /srv/git/group/project on dayabay" in refused(f"restore {item}", hosts, capsys)
    words = shown(shlex.split(f"restore {item} --file /srv/git/group/project/config --in-place"), capsys)
    (entry,) = json.loads(words[words.index("-e") + 1])["altbackup_restore"]
    assert (entry["to"], entry["member"]) == ("/srv/git/group/project/config", "./config")
