"""Failures in a run's events: every row of what Ansible really sends, and results that hold anything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.report.model import (
    Failure,
    Place,
    Report,
    describe,
    heading,
    redacted,
    with_places,
)

TASK = Place(uuid="1", name="Do it", path="/x/play.yml:7", play="Play")
REFUSED = "Failed to connect to the host via ssh: Connection refused"


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"msg": "no space left"}, "no space left"),
        ({"msg": "Task failed: Module failed: boom"}, "Module failed: boom"),
        ({"msg": "first\nsecond"}, "first\nsecond"),
        (
            {"msg": "non-zero return code", "rc": 2, "stderr": "a\nls: no such file\n"},
            "non-zero return code (rc 2): ls: no such file",
        ),
        ({"msg": "non-zero return code", "rc": 2, "stdout": "out"}, "non-zero return code (rc 2): out"),
        ({"msg": "", "rc": 0, "failed_when_result": True, "stdout": "hi"}, "its failed_when is true: hi"),
        ({"failed_when_result": True}, "its failed_when is true"),
        ({"msg": True}, "it said nothing"),
        ({"msg": b"caf\xc3\xa9 \xff"}, "café \\xff"),
        ({"msg": {"a": [1]}}, '{\n "a": [\n  1\n ]\n}'),
        ({"msg": None, "rc": None}, "it said nothing"),
        ({"reason": "Could not find nope.yml"}, "Could not find nope.yml"),
        ({"assertion": "1 == 2", "evaluated_to": False, "msg": "Assertion failed"}, "Assertion failed: 1 == 2"),
        ({"assertion": "x", "msg": "our own words"}, "our own words"),
        (
            {
                "msg": "MODULE FAILURE\nSee stdout/stderr for the exact error",
                "rc": 1,
                "module_stderr": "Traceback\nRuntimeError: boom\n",
            },
            "MODULE FAILURE (rc 1): RuntimeError: boom\nSee stdout/stderr for the exact error",
        ),
        (
            {"msg": "Module result deserialization failed: No start of json", "rc": 137, "module_stderr": "Killed\n"},
            "Module result deserialization failed: No start of json (rc 137): Killed",
        ),
        (
            {"msg": f"Failed to connect to the host via ssh: {'@' * 59}\n@  WARNING: CHANGED!  @\n{'@' * 59}\nIT IS"},
            "Failed to connect to the host via ssh: WARNING: CHANGED!\nIT IS",
        ),
        ({"exception": "Traceback (most recent call last):\n  x\nValueError: odd"}, "ValueError: odd"),
        ({"exception": "(traceback unavailable)", "msg": "wrapped"}, "wrapped"),
        ({"msg": "Timed out after 1 second(s).", "timedout": {"period": 1}}, "Timed out after 1 second(s)."),
        ({"msg": "boom", "attempts": 3}, "boom (after 3 attempts)"),
        ({"censored": "hidden", "msg": "hushpuppy"}, "its output is hidden by no_log"),
        (
            {"_ansible_no_log": True, "stdout": "hushpuppy", "attempts": 2},
            "its output is hidden by no_log (after 2 attempts)",
        ),
        ({}, "it said nothing"),
        (None, "None"),
        ("text", "text"),
        ([], "[]"),
        ({"msg": "x", "results": "no list"}, "x"),
        ({"msg": "x", "results": [1, None, "y"], "deprecations": [{"msg": "d"}], "warnings": [None]}, "x"),
    ],
)
def test_message_says_what_is_wrong(result: Any, message: str) -> None:
    assert describe(result)[0] == message


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"failed": True, "msg": "a", "item": 1}, {"item": 2}], "item 1: a"),
        (
            [{"failed": True, "msg": "a", "_ansible_item_label": "one"}, {"failed": True, "msg": "b\nc", "item": 2}],
            "2 of 2 items failed: item one: a\nitem 2: b\nc",
        ),
        ([{"failed": True, "msg": "a", "ansible_loop_var": "d", "d": "x"}], "item x: a"),
        ([{"unreachable": True, "msg": REFUSED, "item": "gone"}], f"item gone: {REFUSED}"),
        (
            [{"censored": "x"}, {"censored": "y"}],
            "2 of 2 items failed: item number 1: its output is hidden by no_log\nitem number 2: its output is hidden by no_log",
        ),
        ([{"failed_when_result": True, "rc": 0}], "item number 1: its failed_when is true"),
        ([{"failed": True, "msg": "a\r\nBcc: x@y", "item": "b\nc"}], "item b c: a\nBcc: x@y"),
    ],
)
def test_items_of_a_loop_are_told_once(items: list[dict[str, Any]], message: str) -> None:
    assert describe({"results": items, "msg": "One or more items failed"})[0] == message


def test_outputs_are_told_with_their_ends() -> None:
    result = {
        "msg": "non-zero return code",
        "rc": 3,
        "cmd": ["sh", "-c", "x"],
        "stdout": "x" * 5_000_000 + "\nthe end",
        "stderr": b"bad \xff\n",
        "exception": "Traceback (most recent call last)\nValueError: x",
        "invocation": {"module_args": {"password": "hushpuppy"}},
    }
    outputs = dict(describe(result)[1])
    assert {name: outputs[name] for name in ("return code", "command", "stderr")} == {
        "return code": "3",
        "command": "sh -c x",
        "stderr": "bad \\xff",
    }
    assert outputs["stdout"].endswith("\nthe end")
    assert len(str(outputs)) < 20_000
    assert "ValueError" in outputs["traceback"]
    assert "hushpuppy" not in str(outputs)


def test_no_log_hides_outputs_whatever_the_result_says() -> None:
    hidden = replace(TASK, no_log=True)
    for result in ({"msg": "hushpuppy", "stdout": "hushpuppy"}, {"results": [{"failed": True, "msg": "hushpuppy"}]}):
        assert "hushpuppy" not in str(describe(result, hidden))


def test_secrets_are_taken_out_of_everything_that_was_said() -> None:
    failure = Failure(
        "a", "say hushpuppy", place=replace(TASK, name="hushpuppy"), outputs=(("x", "hushpuppy"),), before="hushpuppy"
    )
    shown = redacted(
        Report(
            "p",
            (failure,),
            notes=("hushpuppy",),
            fine=("hushpuppy",),
            log=(("a", "hushpuppy"),),
            secrets=("hushpuppy",),
        )
    )
    assert "hushpuppy" not in str(shown)
    assert str(shown).count("********") == 7


def test_command_line_of_any_bytes_can_be_mailed() -> None:
    shown = redacted(Report("p", command="play \udcff", rerun="play \udcff", folder="/\udcff", inventory=("\udcff",)))
    assert (shown.command, shown.rerun, shown.folder, shown.inventory) == (
        "play \\xff",
        "play \\xff",
        "/\\xff",
        ("\\xff",),
    )


def test_headline_has_short_digests() -> None:
    digest = "0123456789abcdef" * 4
    failure = Failure("a", f"x does not match its dna: sha256 is {digest}, expected {digest[::-1]}; 123456789012345678")
    assert failure.headline == (
        "x does not match its dna: sha256 is 0123456789ab..., expected fedcba987654...; 123456789012345678"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            "value of altbackup_x must be one of: , cron, systemd, got: crno",
            "altbackup_x must be empty, cron or systemd, but is 'crno'",
        ),
        (
            "value of altbackup_x must be one of: a, b, got: password=hush",
            "altbackup_x must be a or b, but is 'password=********'",
        ),
        (
            "argument 'altbackup_keep' is of type str and we were unable",
            "altbackup_keep is of type str and we were unable",
        ),
        ("missing required arguments: altbackup_y", "missing required arguments: altbackup_y"),
    ],
)
def test_wrong_values_of_variables_are_said_first_and_in_words(error: str, message: str) -> None:
    assert describe({"msg": f"Validation of arguments failed:\n{error}\n{error}"})[0] == f"{message}\n{message}"


SETTINGS = Place(name="Stop at errors", role="altbackup.core.altbackup", run_once=True)


@pytest.mark.parametrize(
    ("message", "hosts", "told"),
    [
        ("a: altbackup_x is wrong", ("a",), "a: altbackup_x is wrong"),
        ("b, c: altbackup_x is wrong", ("a",), "b, c: altbackup_x is wrong"),
        ("all hosts: altbackup_x is wrong\nmore", ("a",), "all hosts: altbackup_x is wrong"),
        ("altbackup_x must be 1", ("a", "b"), "a, b: altbackup_x must be 1"),
        ("no host: something else", ("a",), "a: no host: something else"),
    ],
)
def test_heading_names_each_host_once(message: str, hosts: tuple[str, ...], told: str) -> None:
    assert heading([Failure(host, message, place=SETTINGS) for host in hosts]) == told


def test_heading_of_other_failures_repeats_no_host() -> None:
    assert heading([Failure("a", "a: it broke")]) == "a: it broke"
    assert heading([Failure("a", "b: altbackup_x is wrong"), Failure("c", "b: altbackup_x is wrong")]).startswith(
        "a, c: b: "
    )


def test_place_of_a_wrong_variable_is_named_if_there_is_one() -> None:
    known = {"altbackup_x": ["f.yml:3"], "altbackup_y": ["f.yml:3", "g.yml:4"]}
    of_inventory = Failure("a", "a: altbackup_x is wrong\na: altbackup_y is\nnothing", place=SETTINGS)
    other = Failure("a", "altbackup_x")
    found = with_places([of_inventory, other], lambda name: known.get(name, []))
    assert [failure.message for failure in found] == [
        "a: altbackup_x is wrong (f.yml:3)\na: altbackup_y is\nnothing",
        "altbackup_x",
    ]
