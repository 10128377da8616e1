"""Where a restore goes: what options say, or what a person answers who was shown what stands there."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli.main import main
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.supervised_run import SupervisedRun

PLACE = "/etc/apache2/svnsetup"
IN_THE_WAY = f"{PLACE} is there already, and a restore replaces nothing by itself"
DOWN = "cms01 could not be reached"
ITEM = {"source": "dayabay", "kind": "folder", "name": "svnsetup"}
ASIDE = {"replace": "move_aside", "consent": True}


class Terminal(io.StringIO):
    """Standard input or output of a person."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def ask(hosts: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that restores on a terminal; it returns (exit code, what is predicted and then done)."""

    def restore(words: str, reply: str, foreseen: list[str]) -> tuple[int, list[tuple[bool, dict[str, Any]]]]:
        ran: list[tuple[bool, dict[str, Any]]] = []

        def run(self: SupervisedRun, playbook: str, options: list[str], *_: object) -> int:
            del playbook
            ((order,),) = json.loads(options[options.index("-e") + 1]).values()
            ran.append(("--check" in options, {name: value for name, value in order.items() if name not in ITEM}))
            self.last = SimpleNamespace(result={"failures": [{"message": text} for text in foreseen]})  # type: ignore[assignment]
            return 2 if foreseen and "--check" in options else 0

        monkeypatch.setattr(SupervisedRun, "run", run)
        monkeypatch.setattr(sys, "stdin", Terminal(reply))
        monkeypatch.setattr(sys, "stdout", Terminal())
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
    words: str, reply: str, foreseen: list[str], code: int, done: dict[str, Any] | None, ask: Any
) -> None:
    ended, ((is_predicted, predicted), *ran) = ask(words, reply, foreseen)
    assert (ended, is_predicted) == (code, True)
    assert predicted == {"to": f"{PLACE}/{words}" if words else PLACE, **({"member": f"./{words}"} if words else {})}
    assert ran == ([(False, done)] if done else [])


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
    assert main(words.split()) == 4
    said = capsys.readouterr()
    assert why in said.err and said.out == ""
    assert not (hosts.parent / "state").exists()
