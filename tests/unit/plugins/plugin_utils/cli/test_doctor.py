"""Display of findings: faults first, their remedies below by number, and a line on the rest."""

from __future__ import annotations

import io
import shutil
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli.doctor import _at_once, _sheet, shown
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.job import PROGRAM
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.screen import Table, show


def finding(state: str, **more: str) -> dict[str, str]:
    return {
        "node": "cms01",
        "pair": "",
        "what": "marker",
        "state": state,
        "why": "why",
        "mend": "",
        "set_up": "",
        **more,
    }


FINDINGS = [finding("wrong", mend="mkdir x", pair="dayabay -> cms01"), finding("unknown"), finding("ok")]


def text(everything: bool) -> list[str]:
    out = io.StringIO()
    for each in shown(FINDINGS, everything):
        if isinstance(each, Table):
            show(each, out)
        else:
            print(each, file=out)
    return out.getvalue().splitlines()


def test_what_is_not_right_is_shown_with_what_mends_it_by_its_number() -> None:
    lines = text(everything=False)
    assert [line.split() for line in lines[1:3]] == [
        ["1", "wrong", "dayabay", "->", "cms01", "marker", "why"],
        ["2", "unknown", "cms01", "marker", "why"],
    ]
    assert lines[3:] == ["what mends it:", "  1  mkdir x", "1 ok, 1 wrong, 1 unknown"]


def test_all_is_shown_where_it_is_wanted() -> None:
    assert len(text(everything=True)) == len(text(everything=False)) + 1
    assert shown([finding("ok")], everything=False) == ["1 ok"]


@pytest.mark.parametrize(("count", "verb"), [(0, ""), (1, "1 of these is what"), (2, "2 of these are what")])
def test_set_up_is_named_for_what_it_mends_alone(count: int, verb: str) -> None:
    found = [finding("wrong", what="key"), finding("ok", set_up="yes"), *([finding("wrong", set_up="yes")] * count)]
    told = " ".join(map(str, _at_once(found, ["/inventory"])))
    assert told == (f"{verb} setup.yml mends: {PROGRAM} run setup -i /inventory" if count else "")
    told = " ".join(map(str, _at_once([*found, finding("wrong", what="inventory")], ["/inventory"])))
    assert ("once the inventory is right" in told) is bool(count), "set-up stops at its errors"


def test_the_recovery_sheet_is_printed_with_its_keys_as_a_picture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context: Any = SimpleNamespace(out=io.StringIO())
    assert _sheet("SHEET\n    dayabay ssh-ed25519 AAAAxyz\n", context) == 0
    said = context.out.getvalue()
    assert "ssh-ed25519 AAAAxyz" in said
    assert "\u2588" in said, "a QR code has blocks"
    monkeypatch.setattr(shutil, "which", lambda name: None)
    context = SimpleNamespace(out=io.StringIO())
    assert _sheet("SHEET\n", context) == 0
    assert "install the package qrencode" in capsys.readouterr().err
    assert _sheet("", context) != 0
    assert "nothing is encrypted" in capsys.readouterr().err
