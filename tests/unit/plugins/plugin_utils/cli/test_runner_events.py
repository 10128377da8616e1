"""Events of ansible-runner: cleaned, shown, and read again."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import runner_events
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.runner_events import Listener
from ansible_collections.altbackup.core.plugins.plugin_utils.report.secrecy import MASK


def event(kind: str, **data: Any) -> dict[str, Any]:
    """Return an event as ansible-runner sends it."""
    told = {
        "host": "one",
        "task": "Do it",
        "task_uuid": "u",
        "task_action": "command",
        "play": "p",
        "task_path": "/x:1",
    }
    return {"event": kind, "event_data": {**told, **data}}


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        ("a swordfish", f"a {MASK}"),
        ({"db_password": "x", "name": "swordfish"}, {"db_password": MASK, "name": MASK}),
        ({"password_file": "", "token": 3, "secret": None}, {"password_file": "", "token": 3, "secret": None}),
        ([("swordfish",)], [[MASK]]),
        ("see https://me:pw@x.org/", f"see https://me:{MASK}@x.org/"),
        (3, 3),
    ],
)
def test_values_are_scrubbed(value: Any, clean: Any) -> None:
    assert runner_events.scrubbed(value, ["swordfish"]) == clean


def test_listener_writes_shows_and_cleans(tmp_path: Path) -> None:
    shown = io.StringIO()
    listener = Listener(tmp_path / "log", ["swordfish"], shown)
    taken = {"event": "verbose", "stdout": "db swordfish", "uuid": "u"}
    assert listener.take(taken)
    listener.close()
    assert taken["stdout"] == f"db {MASK}"
    assert (tmp_path / "log").read_text() == shown.getvalue() == f"db {MASK}\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


OWN = {"task_path": f"{Path(runner_events.__file__).resolve().parents[3]}/roles/dump/tasks/main.yml:2"}


def test_quiet_listener_shows_a_line_for_a_stage_and_writes_all(tmp_path: Path) -> None:
    shown = io.StringIO()
    listener = Listener(tmp_path / "log", [], shown, quiet=True)
    own = {**OWN, "resolved_role": "altbackup.core.dump", "task_action": "altbackup.core.tarball_dump"}
    made = {"tarballs": [{"relpath": "svn/a/2013/05/10/104701/a.tar", "size": 2048, "name": "a"}]}
    for number, told in enumerate(
        [
            {"event": "playbook_on_play_start", "event_data": {"play": "p"}},
            event("playbook_on_task_start", **own),
            event("runner_on_start", **own),
            event("runner_on_ok", **own, res=made),
            {"event": "warning", "event_data": {}},
            {"event": "playbook_on_play_start", "event_data": {"play": "q"}},
            event("runner_on_ok", res={}),
            {"event": "playbook_on_stats", "event_data": {}},
        ]
    ):
        listener.take({**told, "stdout": f"text {number}"})
    listener.close()
    assert (tmp_path / "log").read_text().splitlines() == [f"text {number}" for number in range(8)]
    first, warning, *rest = shown.getvalue().splitlines()
    assert warning.startswith("one: dump: 1 tarball, 2.0 KiB, ")
    assert [first, *rest] == ["text 4", "text 5", "text 6", "text 7"]
    assert listener.quiet and listener.quiet.own and listener.quiet.strange


def test_quiet_listener_survives_odd_events(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "log", [], io.StringIO(), quiet=True)
    for name in ("runner_on_ok", "runner_on_start", "playbook_on_stats", "playbook_on_play_start", "x"):
        for odd in ({}, 3, {"task_path": 5}, {"task_path": "/x", "res": 7, "host": None}, None):
            assert listener.take({"event": name, "event_data": odd, "stdout": "a"})
    listener.close()
    assert (tmp_path / "log").read_text() == 25 * "a\n"


def test_listener_survives_a_closed_terminal_and_odd_events(tmp_path: Path) -> None:
    shown = io.StringIO()
    shown.close()
    listener = Listener(tmp_path / "log", [], shown)
    for odd in (
        {"stdout": "a"},
        {"event_data": 3, "stdout": "b"},
        {"event": "runner_on_ok", "event_data": {"res": []}, "stdout": "c"},
    ):
        assert listener.take(dict(odd))
    listener.close()
    assert (tmp_path / "log").read_text() == "a\nb\nc\n"


def test_listener_knows_what_runs_and_what_was_asked(tmp_path: Path) -> None:
    listener = Listener(tmp_path / "log", [])
    assert not listener.began
    listener.take(event("runner_on_start"))
    listener.take(event("runner_on_start", host="two"))
    listener.take(event("runner_on_ok", res={}))
    assert (listener.began, list(listener.running.values()), listener.stats) == (True, ["Do it"], None)
    listener.take(event("playbook_on_vars_prompt", varname="colour"))
    listener.take({"event": "playbook_on_stats", "event_data": {"ok": {"one": 1}}})
    listener.close()
    assert (listener.asks, listener.stats) == ("colour", {"ok": {"one": 1}})


def test_secrets_that_come_to_light_are_removed_from_what_was_written(tmp_path: Path) -> None:
    source = tmp_path / "play.yml"
    source.write_text("- name: Literal name\n- name: Use {{ word }}\n")
    listener = Listener(tmp_path / "log", [])
    listener.take({"event": "playbook_on_task_start", "stdout": "TASK [Use hunter22] and swordfish, Literal name"})
    listener.take(event("runner_on_ok", res={"invocation": {"module_args": {"api_token": "swordfish"}}}))
    for task in ("Use hunter22", "Literal name"):
        listener.take(event("runner_on_ok", task=task, task_path=f"{source}:2", res={"censored": "hidden"}))
    listener.close()
    (tmp_path / "1.json").write_text(json.dumps({"a": ["swordfish", 3]}))
    runner_events.clean_files([tmp_path / "log", tmp_path / "1.json", tmp_path / "none"], listener.late)
    assert (tmp_path / "log").read_text() == f"TASK [{MASK}] and {MASK}, Literal name\n"
    assert json.loads((tmp_path / "1.json").read_text()) == {"a": [MASK, 3]}


STATS = {"processed": {"one": 1, "two": 1}, "ok": {"one": 2}, "failures": {"one": 1}, "dark": {"two": 1}}


def test_failures_are_collected_from_events() -> None:
    events = [
        event("playbook_on_play_start", name="p"),
        event("runner_on_start"),
        event("runner_on_failed", res={"msg": "ignored"}, ignore_errors=True),
        event("runner_on_ok", res={"changed": True}),
        event("runner_item_on_ok", res={}),
        event("runner_on_failed", task_uuid="v", res={"rc": 3, "stderr": "it broke", "msg": "non-zero return code"}),
        event("runner_on_unreachable", host="two", res={"msg": "no route", "unreachable": True}),
        event("nonsense"),
    ]
    fields = runner_events.collect(events, STATS)
    assert [(failure.host, failure.kind, failure.headline) for failure in fields["failures"]] == [
        ("one", "failed", "non-zero return code (rc 3): it broke"),
        ("two", "unreachable", "no route"),
    ]
    assert fields["recap"] == {"one": {"ok": 2, "failures": 1}, "two": {"unreachable": 1}}
    assert not runner_events.only_unreachable(fields["failures"])
    assert runner_events.only_unreachable(fields["failures"][1:])
    assert not runner_events.only_unreachable(())


def test_ignored_unreachable_is_known_by_the_counts() -> None:
    gone = [event("runner_on_unreachable", host="two", res={"msg": "no route", "unreachable": True})]
    gone.insert(0, event("runner_on_start", host="two"))
    assert runner_events.collect(gone, {"ok": {"two": 1}})["failures"] == ()
    assert len(runner_events.collect(gone, None)["failures"]) == 1


def test_delegate_of_a_failure_is_named() -> None:
    failed = event("runner_on_failed", res={"msg": "x", "_ansible_delegated_vars": {"ansible_delegated_host": "cms01"}})
    (failure,) = runner_events.collect([failed], {"failures": {"one": 1}})["failures"]
    assert failure.title == "one -> cms01"


def test_nothing_done_is_a_failure() -> None:
    nothing = event("playbook_on_no_hosts_matched", play_pattern="nobody")
    (failure,) = runner_events.collect([nothing], {})["failures"]
    assert failure.headline == "nothing was done: no host of the inventory matched 'nobody'"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("", ""),
        ("starting\n\x1b[0;31m[ERROR]: conflicting\nOrigin: x\n\n3 y\n\x1b[0m", "conflicting\nOrigin: x"),
        ("[WARNING]: a\nERROR! the playbook: x could not be found\n", "the playbook: x could not be found"),
        ("usage: ansible-playbook [-h]\n          [-k]\nansible-playbook: error: no such option\n", "no such option"),
        ("Traceback\nKeyError: 'x'\n\n", "KeyError: 'x'"),
        (
            "[WARNING]: Could not match supplied host pattern, ignoring: there\n[ERROR]: no hosts to target.\n",
            "no hosts to target. (Could not match supplied host pattern, ignoring: there)",
        ),
    ],
)
def test_ansibles_own_words_are_found(log: str, said: str) -> None:
    assert runner_events.start_error(log) == said


@pytest.mark.parametrize(("line", "hidden"), [(1, False), (2, True), (5, False), (7, True), (9, False), ("x", False)])
def test_no_log_of_a_task_is_seen_in_its_file(line: int | str, hidden: bool, tmp_path: Path) -> None:
    path = tmp_path / "play.yml"
    path.write_text(
        "- hosts: all\n- name: a\n\n  no_log: true\n- name: b\n  debug:\n- no_log: true\n  debug:\n- name: c\n"
    )
    listener = Listener(tmp_path / "log", [])
    listener.take(event("playbook_on_task_start", task="became this", task_path=f"{path}:{line}", stdout=""))
    listener.close()
    assert ("became this" in listener.late) is hidden


def test_quiet_listener_shows_how_far_a_call_is(tmp_path: Path) -> None:
    shown = io.StringIO()
    listener = Listener(tmp_path / "log", [], shown, quiet=True)
    own = {**OWN, "resolved_role": "altbackup.core.dump", "task_action": "altbackup.core.tarball_dump"}
    line = "one: dump: svn/a 1.0 GiB of about 4.0 GiB written (25 %), 32 MiB/s"
    for text in (line, "something else that was said"):
        listener.take({**event("verbose", **own), "stdout": text})
    listener.close()
    assert shown.getvalue().splitlines() == [line]


def test_run_that_came_to_no_end_tells_what_it_had_done() -> None:
    of_dump = {**OWN, "role": "altbackup.core.dump", "task_action": "altbackup.core.tarball_dump"}
    of_check = {**OWN, "role": "altbackup.core.check", "task_action": "altbackup.core.tarball_check"}
    made = {"tarballs": [{"relpath": "svn/x/2013/05/10/104701/x-1.tar", "size": 2048, "dig": "aa"}]}
    events = [
        {**event("runner_on_start", **of_dump), "created": "2013-05-10T10:47:01.000000+00:00"},
        {**event("runner_on_ok", **of_dump, res=made), "created": "2013-05-10T10:47:03.000000+00:00"},
        {**event("runner_on_start", **of_check), "created": "2013-05-10T10:47:04.000000+00:00"},
    ]
    assert runner_events.collect(events, None)["fine"] == ("one: dump: 1 tarball, 2.0 KiB, 3.0 s",)
    assert runner_events.collect(events, STATS)["fine"] == ()
    assert (
        runner_events.collect([{"event": "runner_on_ok", "created": 3, "event_data": {"res": 7, **OWN}}], None)["fine"]
        == ()
    )
