"""Tables in a pipe and on a terminal, with rich and without."""

from __future__ import annotations

import importlib.util
import io
import os
import re
import sys
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.cli import screen
from ansible_collections.altbackup.core.plugins.plugin_utils.cli.screen import Table, fitted, plain_lines, show

TABLE = Table(
    ("ITEM", "BYTES", "ON"), [["a", "1", "x"], ["bb\x1b[31m[b]", "1,000", "y\nz"]], right=(1,), bad=frozenset({1})
)


class Screen(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def on(
    out: io.StringIO, table: Table, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int] = (80, 24), **more: Any
) -> str:
    """Show a table; return the output."""
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size(size))
    monkeypatch.setenv("COLUMNS", str(size[0]))
    show(table, out, **more)
    return out.getvalue()


def test_in_a_pipe_it_is_plain_and_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    said = on(io.StringIO(), TABLE, monkeypatch)
    assert said.splitlines() == ["ITEM           BYTES  ON", "a                  1  x", "bb\\x1b[31m[b]  1,000  y\\nz"]
    many = Table(("N",), [[str(number)] for number in range(100)])
    assert len(on(io.StringIO(), many, monkeypatch).splitlines()) == 101


@pytest.mark.parametrize("with_rich", [True, False])
def test_on_a_terminal_names_steer_nothing_and_bad_rows_are_red(
    with_rich: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said = on(Screen(), TABLE, monkeypatch)
    first, second, third = said.splitlines()
    assert "\x1b[31m" in third and "\x1b[31m" not in second
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert "\x1b" not in plain and "bb\\x1b[31m[b]" in plain


def test_a_screen_that_is_too_short_has_bad_rows_first_and_says_how_many_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    table = Table(("N",), [[str(number)] for number in range(100)], bad=frozenset({70}))
    lines = on(Screen(), table, monkeypatch, (80, 20)).splitlines()
    assert lines[1] == "\x1b[31m70\x1b[0m" and lines[2] == "0"
    assert (len(lines), lines[-1]) == (16, "... and 86 more: --all shows them")
    assert len(on(Screen(), table, monkeypatch, (80, 20), everything=True).splitlines()) == 101


@pytest.mark.parametrize(
    ("width", "found"),
    [
        (60, ["dayabay/svn/a-long-name-of-it", "12 KiB"]),
        (25, ["dayab\u2026-name-of-it", "12 KiB"]),
        (5, ["dayab\u2026name-of-it"[:4] + "\u2026e-of-it", "12 KiB"]),
    ],
)
def test_a_cell_is_shortened_in_its_middle(width: int, found: list[str]) -> None:
    (row,) = fitted([["dayabay/svn/a-long-name-of-it", "12 KiB"]], width, (0,))
    assert row[1] == "12 KiB"
    assert len(row[0]) == min(29, max(12, width - 8))
    assert row[0] == found[0] or (row[0].startswith("daya") and row[0].endswith("of-it") and "\u2026" in row[0])


@pytest.mark.parametrize("with_rich", [True, False])
def test_what_one_types_is_never_shortened(with_rich: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if with_rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    name, long = "dayabay/folders/" + "x" * 40, "cms01, " * 9
    table = Table(("ITEM", "ON", "PATH"), [[name, long, name]], cut=(1,), whole=(2,), below={0: ["why " * 50]})
    said = re.sub(r"\x1b\[[0-9;]*m", "", on(Screen(), table, monkeypatch))
    assert said.count(name) == 2 and long not in said and "why " * 49 in said


def test_nothing_is_no_line() -> None:
    assert plain_lines([]) == []


def test_a_table_on_a_terminal_is_in_colour_and_tells_the_same(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    rows = [screen.Row(("x\x1b[0m[bold]", "1")), screen.Row(("y", "22"), True, ("why",))]
    screen.show(screen.table_of(("a", "number"), rows, (1,)), sys.stdout, everything=True)
    out = capsys.readouterr().out
    assert "\x1b[31my" in out and "\x1b[31m  why" in out
    assert "x\\x1b[0m[bold]" in out, "what names say is text"


WHY = "/var/backups/altbackup does not exist; if it lies on a disk of its own, mount that first"


@pytest.mark.parametrize("with_rich", [True, False])
@pytest.mark.parametrize("width", [60, 80, 100, 140, 20])
def test_what_has_to_be_read_is_whole_on_every_screen(
    with_rich: bool, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = [["1", "wrong", "dayabay", WHY], ["2", "unknown", "dayabay -> cms01", "it said nothing"]]
    table = Table(
        ("", "state", "where", "why"), rows, right=(0,), bad=frozenset({0}), below={1: ["more"]}, wrap_last=True
    )
    said = re.sub(r"\x1b\[[0-9;]*m", "", on(Screen(), table, monkeypatch, (width, 24)))
    lines = said.splitlines()
    assert " ".join(WHY.split()) in " ".join(said.split())
    assert "\u2026" not in said and "it said nothing" in " ".join(said.split()) and "more" in said
    assert ("1  wrong    dayabay" in lines[1]) and (WHY in lines[1]) is (width == 140)
    if width >= 60:
        assert max(map(len, lines)) <= width
