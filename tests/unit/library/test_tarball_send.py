"""Module tarball_send, in process on real files: tarballs travel under transit names, to each target independently."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import STAMP, is_as_documented, marked, put, reasons, run_module, tree_hash

from ansible_collections.altbackup.core.plugins.module_utils.system.ssh import seal

CONTENT = b"a tarball"
RELPATH = f"folders/notes/{STAMP}/notes.tar"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
TARBALL = {"relpath": RELPATH, "size": len(CONTENT), "dig": DIGEST, "alg": "sha256"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a source's base with a tarball."""
    base = marked(tmp_path / "source")
    put(base, RELPATH, CONTENT)
    return base


def target(folder: Path, node: str = "cms01", **more: Any) -> dict[str, Any]:
    """Return a target on this machine, with its new incoming folder."""
    folder.mkdir()
    return {"peer": {"node": node, "folder": str(folder)}, "tarballs": [TARBALL], **more}


def send(base: Path, *targets: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Run the module."""
    result = run_module("tarball_send", base=str(base), targets=list(targets), **options)
    assert is_as_documented("tarball_send", result)
    return result


def test_each_target_gets_the_tarball_under_its_digest(base: Path, tmp_path: Path) -> None:
    folders = {node: tmp_path / node for node in ("cms01", "cms02")}
    result = send(base, *(target(folder, node) for node, folder in folders.items()))
    assert result["changed"] and not result["failures"]
    assert result["sent"] == dict.fromkeys(folders, len(CONTENT))
    assert set(result["wire"]) == set(folders)
    for folder in folders.values():
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {f"sha256-{DIGEST}": CONTENT}


def test_what_a_target_fetches_is_laid_out_for_it(base: Path, tmp_path: Path) -> None:
    result = send(base, target(tmp_path / "incoming", fetched=True))
    assert (set(result["offered"]), result["sent"]) == ({"cms01"}, {})
    assert [path.read_bytes() for path in Path(result["offered"]["cms01"]).iterdir()] == [CONTENT]
    assert not any((tmp_path / "incoming").iterdir())


def test_check_mode_sends_nothing(base: Path, tmp_path: Path) -> None:
    there = target(tmp_path / "incoming")
    before = tree_hash(tmp_path)
    result = send(base, there, check=True)
    assert (result["changed"], result["sent"], result["failures"]) == (True, {}, [])
    assert tree_hash(tmp_path) == before


@pytest.mark.parametrize("fail", [False, True])
def test_a_target_that_cannot_be_reached_is_a_failure_and_holds_up_no_other(
    base: Path, tmp_path: Path, fail: bool
) -> None:
    lost = {"node": "lost", "host": "127.0.0.1", "port": 1, "folder": "/x", "connect_timeout": 5}
    words = ["-o", "SetEnv=PASSWORD=hidden-word"]
    targets = ({"peer": lost, "tarballs": [TARBALL]}, target(tmp_path / "incoming"))
    result = send(base, *targets, ssh_args=seal(words), fail=fail)
    assert result.get("failed", False) is fail
    (failure,) = result["failures"]
    assert (failure["delegate"], failure["stage"]) == ("lost", "synchronize")
    assert "Connection refused" in failure["reason"]
    assert result["sent"]["cms01"] == len(CONTENT)
    assert "hidden-word" not in str(result) and seal(words) not in str(result)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"base": "/nowhere"}, "/nowhere"),
        ({"targets": [{"peer": {"node": "cms01"}, "tarballs": []}]}, "peer 'cms01'"),
        ({"run": {"pid": 1}}, "none that the plan of a playbook has"),
    ],
)
def test_bad_input_is_a_clear_message(base: Path, options: dict[str, Any], why: str) -> None:
    result = run_module("tarball_send", **{"base": str(base), "targets": [], **options})
    assert result["failed"] and why in reasons(result)[0]
    assert is_as_documented("tarball_send", result)
