"""The log has all events, bounded, and nothing that no_log hides."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.run_log import (
    RunLog,
    banner,
    entry,
    item_label,
    log_text,
)

HIDDEN = {"censored": "the output has been hidden", "changed": True, "stdout": "swordfish"}


def test_log_keeps_beginning_and_end() -> None:
    log = RunLog(1000)
    for number in range(10_000):
        log.add(f"line {number}")
    text = log_text(log.entries())
    assert len(text) < 1500
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 9998\nline 9999\n")
    assert "entries left out" in text


def test_huge_entry_is_cut() -> None:
    log = RunLog(1000)
    log.add("a" * 5_000_000)
    log.add("end")
    text = log_text(log.entries())
    assert len(text) < 1200
    assert text.endswith("end\n")


def test_log_of_some_hosts_has_what_concerns_all() -> None:
    log = RunLog(1000)
    log.add("PLAY")
    log.add("ok: [a]", "a")
    log.add("ok: [b]", "b")
    assert log_text(log.entries(), {"b"}) == "PLAY\nok: [b]\n"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (HIDDEN, "fatal: [a]: FAILED! => (hidden, because of no_log)"),
        ({"_ansible_no_log": True, "stdout": "swordfish"}, "fatal: [a]: FAILED! => (hidden, because of no_log)"),
        ({"msg": "one\ntwo\n", "rc": 1}, "fatal: [a]: FAILED!\n    msg:\n        one\n        two\n    rc: 1"),
        ({"invocation": {"x": 1}, "stdout_lines": ["x"], "stdout": "", "_ansible_x": 1}, "fatal: [a]: FAILED!"),
        (
            {"out": {"password": "swordfish"}},
            'fatal: [a]: FAILED!\n    out:\n        {\n         "password": "********"\n        }',
        ),
        (None, "fatal: [a]: FAILED!"),
        ("text", "fatal: [a]: FAILED!"),
    ],
)
def test_result_is_shown(result: Any, text: str) -> None:
    assert entry("fatal", "a", result, more="FAILED!", full=True) == text


def test_good_result_is_one_line_unless_it_is_verbose() -> None:
    assert entry("ok", "a", {"stdout": "x"}) == "ok: [a]"
    assert (
        entry("ok", "a", {"msg": "x", "_ansible_verbose_always": True}, label="one")
        == "ok: [a] => (item=one)\n    msg: x"
    )


@pytest.mark.parametrize(
    ("item", "label"),
    [
        ({"_ansible_item_label": "one", "item": "two"}, "one"),
        ({"ansible_loop_var": "d", "d": {"node": "cms01"}}, '{ "node": "cms01" }'),
        ({"item": "a\nb"}, "a b"),
        ({}, ""),
        (HIDDEN | {"item": "swordfish"}, ""),
        ({"item": "swordfish", "invocation": {"module_args": {"password": "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}}}, ""),
        ({"item": {"name": "x", "password": "swordfish"}}, '{ "name": "x", "password": "********" }'),
    ],
)
def test_item_has_a_label_unless_it_is_a_secret(item: dict[str, Any], label: str) -> None:
    assert item_label(item) == label


def test_banner_is_that_of_the_terminal() -> None:
    assert banner("TASK", "role : name", "02:00:00").startswith("\nTASK [role : name] ****")
    assert banner("PLAY RECAP", "").startswith("\nPLAY RECAP ****")
