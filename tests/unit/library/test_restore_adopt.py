"""Module restore_adopt, in process on real files: it removes markers, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import is_as_documented, reasons, run_module, tree_hash

from ansible_collections.altbackup.core.plugins.module_utils.tree.restored import marker_path, serialize_marker


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a restored folder, with its marker, and an item in it."""
    live = tmp_path / "live"
    (live / "svn" / "docs").mkdir(parents=True)
    Path(marker_path(str(live))).write_text(serialize_marker({"path": str(live)}))
    return live


def adopt(*paths: object, **options: Any) -> dict[str, Any]:
    """Run the module."""
    result = run_module("restore_adopt", path=[str(path) for path in paths], **options)
    assert is_as_documented("restore_adopt", result)
    return result


def test_what_is_adopted_has_no_marker_and_is_told(live: Path) -> None:
    other = live.parent / "other"
    result = adopt(live, other)
    assert (result["changed"], result["adopted"]) == (True, [str(live)])
    assert result["notes"] == [
        f"adopted {live}: it is live data from now on",
        f"{other} has no marker of a restore: it is live data already",
    ]
    assert list(live.parent.iterdir()) == [live]
    assert not adopt(live)["changed"]


def test_an_item_is_adopted_with_the_folder_that_it_was_restored_in(live: Path) -> None:
    item = live / "svn" / "docs"
    result = adopt(item, live)
    assert result["adopted"] == [str(live)]
    assert result["notes"][0] == (
        f"adopted {live}: {item}, and all else that was restored there, is live data from now on"
    )


def test_check_mode_removes_nothing(live: Path) -> None:
    before = tree_hash(live.parent)
    result = adopt(live, check=True)
    assert (result["changed"], result["adopted"]) == (True, [str(live)])
    assert result["notes"] == [f"would adopt {live}: it is live data from now on"]
    assert tree_hash(live.parent) == before


@pytest.mark.parametrize("fail", [False, True])
def test_a_marker_that_is_no_file_is_a_failure_and_holds_up_no_other(live: Path, fail: bool) -> None:
    bad = live.parent / "bad"
    Path(marker_path(str(bad))).mkdir()
    result = adopt(bad, live, fail=fail)
    assert result.get("failed", False) is fail
    assert reasons(result) == [
        f"{marker_path(str(bad))} is no file, so no marker of a restore: look at it and move it away"
    ]
    assert result["adopted"] == [str(live)]
    assert not Path(marker_path(str(live))).exists()
