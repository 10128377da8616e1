"""Contests: the order of measurements, and which contenders are left out."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks.contest import Bench, Contender, Contest, Row, run_row
from benchmarks.meter import Step, StepFailed
from benchmarks.rows import SIZES


def bench_of(folder: Path) -> Bench:
    lab: Any = SimpleNamespace(hosts={}, record=SimpleNamespace(device=None))
    return Bench(lab, SIZES["small"], folder, folder)


def says(folder: Path, word: str) -> Step:
    return Step(word, ["sh", "-c", f"echo {word} >>{folder}/said"], {"PATH": os.environ["PATH"]})


def test_contenders_take_turns_after_each_change_and_the_first_night_is_told_apart(tmp_path: Path) -> None:
    said = tmp_path / "said"

    def note(word: str) -> None:
        said.write_text(f"{said.read_text() if said.exists() else ''}{word}\n")

    def contender(name: str) -> Contender:
        return Contender(
            name,
            lambda: [says(tmp_path, name), says(tmp_path, f"more-{name}")],
            before=lambda: note(f"before-{name}"),
            after=lambda: {"stored": len(said.read_text())},
        )

    contest = Contest([contender("a"), contender("b")], lambda: note("change"), first=True, turns=2)
    result = run_row(Row("row", "work", lambda _: contest), bench_of(tmp_path))
    turn = ["before-a", "a", "more-a", "before-b", "b", "more-b"]
    assert said.read_text().split() == [*turn, "change", *turn, "change", *turn]
    assert {name: len(turns) for name, turns in result.turns.items()} == {"a": 2, "b": 2}
    assert set(result.first) == {"a", "b"}
    assert result.turns["a"][0]["stored"] < result.turns["b"][0]["stored"]
    assert set(result.parts["b"][1]) == {"b", "more-b"}
    assert result.ours == "a"


def test_a_yardstick_that_is_not_installed_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.contest.PATH", str(tmp_path))
    contest = Contest([Contender("a", lambda: [says(tmp_path, "a")]), Contender("borg", list, needs="borg")])
    result = run_row(Row("row", "work", lambda _: contest), bench_of(tmp_path))
    assert set(result.turns) == {"a"}
    assert result.absent == {"borg": "borg is not installed: install the package borgbackup"}


def test_a_contender_that_fails_ends_its_row(tmp_path: Path) -> None:
    broken = Step("broken", ["sh", "-c", "echo no room; exit 1"], {"PATH": os.environ["PATH"]})
    with pytest.raises(StepFailed, match="no room"):
        run_row(Row("row", "work", lambda _: Contest([Contender("a", lambda: [broken])])), bench_of(tmp_path))
