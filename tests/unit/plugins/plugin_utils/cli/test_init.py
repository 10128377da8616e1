"""A first inventory: what options and answers say, what they cannot say, and what sources answer."""

from __future__ import annotations

import argparse
import io
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.plugin_utils.cli import command_context, doctor, init
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.inventory_text import Answers, Host

FACTS: dict[str, Any] = {"uid": 0, "repositories": [], "folders": [], "unseen": [], "cut": False}


def arguments(*words: str) -> argparse.Namespace:
    """Return what the parser makes of words."""
    parser = argparse.ArgumentParser()
    init.add(parser.add_subparsers())
    return parser.parse_args(["init", *words])


class Terminal(io.StringIO):
    """Standard input of somebody who answers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what lets somebody give these answers on a terminal."""

    def answer(*lines: str) -> None:
        monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    return answer


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", ([], [])),
        ("a -> b", (["a"], ["b"])),
        ("a b->c d", (["a", "b"], ["c", "d"])),
        ("  scm@a:22   ->  b ", (["scm@a:22"], ["b"])),
        ("a -> b -> c", (["a"], ["b", "->", "c"])),
    ],
)
def test_machines_are_sources_and_targets(text: str, hosts: tuple[list[str], list[str]]) -> None:
    assert init._split(text) == hosts


@pytest.mark.parametrize("text", ["a", "a b", "->", "a ->", "-> b", " -> "])
def test_who_receives_has_to_be_said(text: str) -> None:
    with pytest.raises(InvalidInput, match="which of them receive copies"):
        init._split(text)


@pytest.mark.parametrize(
    ("text", "recipients"),
    [
        ("none", "none"),
        ("NONE", "none"),
        ("a@example.org", "a@example.org"),
        ("a@example.org,b@example.org", "a@example.org, b@example.org"),
        ("a@example.org b@example.org", "a@example.org, b@example.org"),
    ],
)
def test_mail_goes_to_addresses_or_to_nobody(text: str, recipients: str) -> None:
    assert init._recipients(text) == recipients


@pytest.mark.parametrize("text", [",", "a@", "a@example.org, b@", "a\nb@example.org: x", "@x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no mail address; none is for nobody"):
        init._recipients(text)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "x/..", "x/.", "./", "/", "-x", ".x", "a b", "x" * 65, "é", "a\nb", "sub/.x"]
)
def test_an_inventory_has_a_plain_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match="is no name for an inventory"):
        init._place(name)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mine", "inventory/mine"),
        ("./mine", "mine"),
        ("a/b/mine", "a/b/mine"),
        ("mine.2", "inventory/mine.2"),
        ("x/", "x"),
    ],
)
def test_a_name_lies_below_inventory_and_a_path_where_it_says(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert init._place(name) == tmp_path / place


@pytest.mark.parametrize("what", ["folder", "file", "link"])
def test_nothing_is_replaced(what: str, tmp_path: Path) -> None:
    place = tmp_path / "mine"
    {"folder": place.mkdir, "file": place.touch, "link": lambda: place.symlink_to("nowhere")}[what]()
    with pytest.raises(InvalidInput, match="is there already, and nothing is replaced"):
        init._place(str(place))
    with (
        pytest.raises(InvalidInput, match="came into being meanwhile, and nothing is replaced"),
        init._making(place) as new,
    ):
        new.mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"], "what was begun is gone"


def test_a_host_is_one_way_everywhere() -> None:
    init._require_one_way([Host("a", "a", "scm"), Host("b"), Host("a", "a", "scm")])
    with pytest.raises(InvalidInput, match="a is named twice, in two ways"):
        init._require_one_way([Host("a", "a", "scm"), Host("a", "a", "root")])


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--mail", "none"], (["localhost"], ["localhost"])),
        (["--mail", "none", "--source", "scm@a"], (["a"], ["localhost"])),
        (["--mail", "none", "--source", "a", "--source", "b", "--target", "t=192.0.2.1:2222"], (["a", "b"], ["t"])),
    ],
)
def test_what_options_do_not_say_is_this_machine(words: list[str], expected: tuple[list[str], list[str]]) -> None:
    answers = init._answers(arguments("x", "--yes", *words), "x")
    assert ([host.name for host in answers.sources], [host.name for host in answers.targets]) == expected


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ([], "nobody is named who gets mail on failures"),
        (["--mail", "none", "--source", "a b"], "is no host"),
        (["--mail", "none", "--source", "scm@a", "--target", "root@a"], "a is named twice"),
        (["--mail", "none", "--base", "backup"], "'backup' is not an absolute path"),
        (["--mail", "none", "--target-base", "~/x"], "'~/x' is not an absolute path"),
        (["--mail", "none", "--source", "a:70000"], "is no host"),
        (["--mail", "none", "--source", "a:0"], "is no host"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert init.act(arguments(str(tmp_path / "x"), "--yes", *words)) == command_context.NOTHING_DONE
    assert why in capsys.readouterr().err and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("lines", "sources", "become", "mail"),
    [
        (["", "ops@example.org"], ["localhost"], False, "ops@example.org"),
        (["a -> b", "y", "", "none"], ["a"], True, "none"),
        (["a -> b", "", "y", "none"], ["a"], False, "none"),
        (["localhost -> b", "YES", "no", "none"], ["localhost"], True, "none"),
    ],
)
def test_on_a_terminal_it_is_asked(
    lines: list[str], sources: list[str], become: bool, mail: str, answering: Any
) -> None:
    answering(*lines)
    answers = init._answers(arguments("x"), "x")
    assert ([host.name for host in answers.sources], answers.mail) == (sources, mail)
    assert any(host.become for host in answers.hosts) is become
    assert answers.allow_root is (len(lines) == 2 or lines[2] == "y"), "on this machine alone it is what is meant"


def test_an_end_of_all_answers_is_no_answer(answering: Any) -> None:
    answering()
    with pytest.raises(InvalidInput, match="nobody is named who gets mail"):
        init._answers(arguments("x"), "x")


@pytest.mark.parametrize(
    ("result", "said", "is_found"),
    [
        ({"facts": FACTS}, "repositories: 0, folders: 0", True),
        ({"facts": {**FACTS, "uid": 7, "folders": ["/etc", "/srv"]}}, "folders: 0", True),
        ({"facts": {**FACTS, "folders": ["/etc", "/srv"]}}, "folders: 2", True),
        ({"facts": {**FACTS, "unseen": ["/x", "/y"]}}, "2 folders could not be seen, such as /x", True),
        ({"facts": {**FACTS, "cut": True}}, "there are more folders than are looked at", True),
        ({"unreachable": True, "msg": "no\n route"}, "could not be looked at: no route", False),
        ({}, "could not be looked at: it did not answer", False),
        (None, "could not be looked at: it did not answer", False),
        ({"facts": {"uid": 0}}, "could not be looked at: what it said is no answer", False),
        ({"facts": {**FACTS, "folders": 7}}, "could not be looked at: what it said is no answer", False),
        ({"facts": "all is well"}, "could not be looked at: what it said is no answer", False),
    ],
)
@pytest.mark.parametrize("target", ["pong", ""])
def test_what_a_source_answers_is_taken_or_told(
    result: Any,
    said: str,
    is_found: bool,
    target: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        command_context.CommandContext,
        "ask",
        lambda self, order: (0, {"a": result, "b": {"facts": FACTS}, "c": {"ping": target}}, {}),
    )
    answers = Answers("x", [Host("a", "a"), Host("b", "b")], [Host("c", "c")], "/b", "/t", "none")
    found, silent = init._looked_for(arguments("x"), Path("/x"), answers)
    assert set(found) == ({"a", "b"} if is_found else {"b"}), "the other one is taken all the same"
    assert silent == [*(["c"] if target != "pong" else []), *([] if is_found else ["a"])]
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("altbackup: a")]
    assert said in "\n".join(lines)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidInput, match="file/mine cannot be made: "), init._making(tmp_path / "file" / "mine"):
        raise AssertionError("nothing is begun")
    assert os.listdir(tmp_path) == ["file"]


def test_the_doctor_is_asked_with_all_that_it_can_be_told(tmp_path: Path) -> None:
    """An option that it gets some day is not to end init."""
    options = argparse.ArgumentParser()
    doctor.add_options(options)
    asked = vars(init._context_of(arguments("x"), tmp_path, "doctor").arguments)
    assert vars(options.parse_args([])).items() <= asked.items()
    assert (asked["inventory"], asked["show"]) == ([str(tmp_path)], False)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({"a": {"facts": FACTS}, "c": {"ping": "pong"}}, 0),
        ({"a": {"facts": FACTS}, "c": {"unreachable": True, "msg": "no route"}}, 2),
        ({"a": {"unreachable": True, "msg": "no route"}, "c": {"ping": "pong"}}, 2),
    ],
)
def test_a_host_that_is_silent_is_said_at_the_end_with_what_to_do(
    answer: dict[str, Any],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command_context.CommandContext, "ask", lambda self, order: (0, answer, {}))
    words = [
        "--source",
        "a",
        "--target",
        "c",
        "--mail",
        "none",
        "--yes",
        "--no-doctor",
        "--artifacts",
        str(tmp_path / "runs"),
    ]
    given = arguments(str(tmp_path / "mine"), *words)
    assert given.act(given) == code
    last = capsys.readouterr().err.splitlines()[-1]
    assert (f"rm -r {tmp_path}/mine), and run init again" in last) is bool(code)


@pytest.mark.parametrize(
    ("environment", "server"),
    [
        ({}, {}),
        ({"ALTBACKUP_MAIL_HOST": "mail.example.org"}, {"host": "mail.example.org"}),
        (
            {
                "ALTBACKUP_MAIL_HOST": "mail.example.org",
                "ALTBACKUP_MAIL_PORT": "587",
                "ALTBACKUP_MAIL_SECURITY": "starttls",
            },
            {"host": "mail.example.org", "port": "587", "security": "starttls"},
        ),
        ({"ALTBACKUP_MAIL_HOST": "localhost"}, {}),
        ({"ALTBACKUP_MAIL_HOST": "mail.example.org", "ALTBACKUP_MAIL_USERNAME": "scm"}, {}),
    ],
)
def test_a_mail_server_that_targets_can_use_is_theirs_too(environment: dict[str, str], server: dict[str, str]) -> None:
    assert init._server_elsewhere(environment) == server
