"""Drills in process: a clean scratch folder whatever happens."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import Copies
from helpers.original_trees import run_module
from helpers.trees import Base, item, needs_root, small_disk
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.archive import unpack
from ansible_collections.altbackup.core.plugins.module_utils.restore import drill as drill_module
from ansible_collections.altbackup.core.plugins.module_utils.restore.drill import drill
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, write_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")


@pytest.fixture
def copies(every_kind: Copies, tmp_path: Path) -> Copies:
    """Return a target's tree with one tarball of each kind."""
    return every_kind.copy(tmp_path / "copies")


@needs_root
def test_a_full_disk_is_told_with_the_numbers(copies: Copies, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=65600k") as disk:
        result = drill(
            str(copies.base), ["tracs/thing"], moment=NOW, sandbox=Sandbox(), deadline=Deadline(60), folder=str(disk)
        )
        assert list(disk.iterdir()) == []
        (failure,) = result["failures"]
        assert "are needed to unpack it, and 64 MiB have to stay free, but only 64 MiB are free" in failure["reason"]


@pytest.mark.sampled(2)
@needs_root
@pytest.mark.parametrize("recorded", [True, False])
def test_a_sparse_file_larger_than_the_disk_is_proved_where_its_data_fits(
    copies: Copies, tmp_path: Path, recorded: bool
) -> None:
    live = tmp_path / "live"
    live.mkdir()
    with open(live / "x", "wb") as stream:
        stream.write(b"begin")
        stream.truncate(512 << 20)
    base = Base(tmp_path / "own")
    base.dump_one(item("folder", live, "sparse"))
    if not recorded:
        shutil.rmtree(base.path / ".altbackup" / "records")
    with small_disk(tmp_path / "disk", "size=80m") as disk:
        result = drill(str(base.path), moment=NOW, sandbox=Sandbox(), deadline=Deadline(120), folder=str(disk))
    assert result["failures"] == [] and len(result["proved"]) == 1
    assert result["proved"][0]["facts"]["bytes"] == 512 << 20


@pytest.mark.full
@needs_root
def test_a_disk_that_others_fill_meanwhile_ends_the_unpacking(
    copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = drill_module.extract
    monkeypatch.setattr(unpack, "_LOOK_AGAIN", 0.0)

    def extract(*arguments: Any, **options: Any) -> None:
        with open(disk / "of somebody else", "wb") as stream:
            stream.write(bytes(75 << 20))
        real(*arguments, **options)

    monkeypatch.setattr(drill_module, "extract", extract)
    live = tmp_path / "live"
    live.mkdir()
    for number in range(3000):
        (live / f"{number}").write_text("x")
    base = Base(tmp_path / "own")
    base.dump_one(item("folder", live, "many"))
    with small_disk(tmp_path / "disk", "size=90m") as disk:
        result = drill(str(base.path), moment=NOW, sandbox=Sandbox(), deadline=Deadline(120), folder=str(disk))
        assert os.listdir(disk) == ["of somebody else"]
    (failure,) = result["failures"]
    assert re.search(
        r"only .* were left on the disk of .* while it was unpacked, less than the 16 MiB that stay free",
        failure["reason"],
    )


def test_a_bug_that_one_item_meets_stops_no_other_and_leaves_nothing(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = drill_module.prove

    def prove(kind: str, *arguments: object, **more: object) -> object:
        if kind == "git":
            raise ZeroDivisionError("a bug")
        return real(kind, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(drill_module, "prove", prove)
    result = drill(str(copies.base), moment=NOW, sandbox=Sandbox(), deadline=Deadline(120))
    assert [entry["reason"] for entry in result["failures"]] == [
        "git/thing/2013/05/10/104701/thing.tar.zst: unexpected ZeroDivisionError: a bug"
    ]
    assert len(result["proved"]) == 4
    assert not list(copies.private.glob("scratch/dayabay/drill"))


def test_a_drill_ends_at_its_deadline_and_leaves_nothing(copies: Copies) -> None:
    result = drill(str(copies.base), ["svn/thing"], moment=NOW, sandbox=Sandbox(), deadline=Deadline(0.05, "drill"))
    (failure,) = result["failures"]
    assert "limit" in failure["reason"]
    assert not list(copies.private.glob("scratch/dayabay/drill"))


_MODULE = """
import sys
sys.path[:0] = {path!r}
from helpers.original_trees import run_module
from ansible_collections.altbackup.core.plugins.module_utils.kinds import proofs
proofs.version_of = lambda *_: print("proving", flush=True) or sys.stdin.read()
run_module("tarball_drill", base={base!r}, names=["svn/thing"])
"""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_drill_leaves_nothing_or_is_cleaned_up_by_the_next(copies: Copies, number: signal.Signals) -> None:
    drilled = copies.private / "scratch" / "dayabay" / "drill"
    script = _MODULE.format(path=[path for path in sys.path if path], base=str(copies.base))
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as module:
        assert wait_until(lambda: any(drilled.glob("*/item/thing-12/db")), 60)
        os.kill(module.pid, number)
        module.wait(60)
    assert drilled.exists() == (number == signal.SIGKILL)
    result = run_module("tarball_drill", base=str(copies.base), names=["folders/thing"])  # waits for what still unpacks
    assert result["failures"] == []
    assert not drilled.exists()
    assert bool(result["notes"]) == (number == signal.SIGKILL)


@needs_root
@pytest.mark.parametrize("more", [{"alg": "crc"}, {"size": float("inf")}, {"size": "x"}, {"dig": None}])
def test_a_record_that_names_no_bytes_ends_no_drill(copies: Copies, tmp_path: Path, more: dict[str, Any]) -> None:
    tree = open_tree(str(copies.base))
    for tarball in scan(tree, keys={"folders/thing"}).verified():
        record = read_record(tree, tarball.key, tarball.stamp)
        write_record(tree, tarball.key, tarball.stamp, {**record, **more})
    result = drill(
        str(copies.base),
        ["folders/thing"],
        moment=NOW,
        sandbox=Sandbox(),
        deadline=Deadline(60),
        folder=str(tmp_path),
    )
    assert (result["failures"], len(result["proved"])) == ([], 1)
