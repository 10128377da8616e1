"""Module marked_base: a base with its marker is predicted, made once, refused, removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.original_trees import reasons, run_module


def call(base: Path | str, **options: Any) -> dict[str, Any]:
    return run_module("marked_base", base=str(base), allow_root_filesystem=True, **options)


def test_a_base_is_predicted_made_once_and_removed_while_it_is_empty(tmp_path: Path) -> None:
    base = tmp_path / "base"
    assert call(base, check=True)["changed"] and not base.exists()
    made = [call(base, tools=["no-such-program"]) for _ in range(2)]
    assert [(result["changed"], result["missing"], result["free"] > 0) for result in made] == [
        (True, ["no-such-program"], True),
        (False, ["no-such-program"], True),
    ]
    (base / "dayabay").mkdir()
    kept = call(base, state="absent")
    assert (kept["changed"], base.exists()) == (False, True) and "stays" in kept["notes"][0]
    (base / "dayabay").rmdir()
    assert [call(base, state="absent")["changed"] for _ in range(2)] == [True, False]


def test_a_base_of_an_unknown_user_is_refused(tmp_path: Path) -> None:
    assert "does not exist on this node" in reasons(call(tmp_path / "base", owner="nobody-of-that-name"))[0]
    assert not (tmp_path / "base").exists()
