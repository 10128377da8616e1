"""Module run_lock: leases of trees are taken for a run and released, each independently."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.dead_mount import dead_mount, run_apart
from helpers.original_trees import marked, reasons, run_module, tree_hash

from ansible_collections.altbackup.core.plugins.modules import run_lock

RUN: dict[str, Any] = {
    **{name: name for name in ("controller", "user", "command", "started", "host", "boot", "namespace")},
    "pid": 100,
    "ticks": 1000,
    "seconds": 600.0,
    "alive": ["100/1000"],
}
OTHER = {**RUN, "host": "another", "controller": "hep2"}


@pytest.fixture
def bases(tmp_path: Path) -> list[str]:
    return [str(marked(tmp_path / name)) for name in ("one", "two")]


def call(bases: list[str], run: dict[str, Any] | None, **options: Any) -> dict[str, Any]:
    return run_module("run_lock", bases=bases, run=run, **options)


def test_what_a_run_took_no_other_gets_until_it_is_given_back(bases: list[str]) -> None:
    assert not call(bases, RUN).get("failed")
    refused = call(bases, OTHER)
    assert refused["failed"]
    assert [text.split(" is in use by another run")[0] for text in reasons(refused)] == bases
    assert not call(bases, RUN, state="absent").get("failed")
    assert not call(bases, OTHER).get("failed")


def test_one_bad_tree_does_not_keep_the_others(bases: list[str]) -> None:
    call(bases[:1], OTHER)
    result = call([*bases, "/nonexistent"], RUN, fail=False)
    assert not result.get("failed")
    assert [text.split(" ")[0] for text in reasons(result)] == [bases[0], "base"]
    assert json.loads((Path(bases[1]) / ".altbackup" / "lock").read_text())["run"]["controller"] == "controller"


def test_tree_whose_server_is_silent_does_not_keep_the_others(bases: list[str], tmp_path: Path) -> None:
    with dead_mount(tmp_path / "dead"):
        result = run_apart(run_lock, {"bases": [str(tmp_path / "dead" / "base"), *bases], "run": RUN, "fail": False})
    assert reasons(result) == [f"{tmp_path}/dead/base does not answer within 3 s: is the server of its mount up?"]
    for base in bases:
        assert json.loads((Path(base) / ".altbackup" / "lock").read_text())["run"]["controller"] == "controller"


def test_other_runs_tree_is_not_given_back(bases: list[str]) -> None:
    call(bases, RUN)
    for run in (OTHER, None):
        assert call(bases, run, state="absent")["failed"]


def test_check_mode_takes_nothing(bases: list[str], tmp_path: Path) -> None:
    before = tree_hash(tmp_path)
    assert not call(bases, RUN, check=True).get("failed")
    assert tree_hash(tmp_path) == before


def test_links_by_which_tarballs_were_offered_go_with_the_run(bases: list[str]) -> None:
    offered = Path(bases[0]) / ".altbackup" / "outgoing" / "cms01"
    offered.mkdir(parents=True)
    (offered / "sha256-0").write_text("x")
    call(bases, RUN)
    call(bases, RUN, state="absent")
    assert list(offered.iterdir()) == []


def test_run_that_is_none_is_refused(bases: list[str]) -> None:
    assert "it is none that the plan of a playbook has" in call(bases, {"pid": 1})["msg"]
