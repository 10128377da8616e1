"""Preflight reports what is missing, with numbers, before anything is changed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from helpers.original_trees import bound_by_modes

from ansible_collections.altbackup.core.plugins.module_utils.stages import preflight
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.peers import Peer
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree import watching


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A marked base."""
    folder = tmp_path / "base"
    (folder / ".altbackup").mkdir(parents=True)
    return folder


def reasons(result: dict) -> list[str]:
    """Return why inspection failed."""
    return [entry["reason"] for entry in result["failures"]]


def test_ready_node_has_no_failures(base: Path) -> None:
    result = preflight.inspect(preflight.Demands([str(base)], tools=["tar"], ext=".tar.zst", now=time.time()))
    assert (result["failures"], result["usable"]) == ([], True)
    assert result["free"][str(base)] > 0


def test_base_without_marker_is_not_usable(tmp_path: Path) -> None:
    result = preflight.inspect(preflight.Demands([str(tmp_path)]))
    assert result["usable"] is False
    assert "mkdir" in reasons(result)[0]


def test_one_base_without_marker_leaves_the_others_usable(base: Path, tmp_path: Path) -> None:
    result = preflight.inspect(preflight.Demands([str(base), str(tmp_path / "copies")]))
    assert (result["usable"], result["unusable"]) == (True, [str(tmp_path / "copies")])
    assert len(result["failures"]) == 1


def test_missing_tool_names_its_package(base: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("ansible_collections.altbackup.core.plugins.module_utils.system.programs._SYSTEM_FOLDERS", ())
    found = reasons(
        preflight.inspect(
            preflight.Demands([str(base)], tools=["rsync", "ssh"], programs=["age", "rclone"], ext=".tar.zst")
        )
    )
    assert [
        word
        for word in ("rsync", "openssh-client", "zstd", "age", "rclone")
        if not any(f"package {word}" in text for text in found)
    ] == []


@pytest.mark.parametrize(
    ("offset", "failures", "notes"),
    [(0, 0, 0), (50, 0, 0), (-50, 0, 0), (1800, 0, 1), (-1800, 0, 1), (4000, 1, 0), (-4000, 1, 0)],
)
def test_clocks_more_than_an_hour_apart_are_a_failure_and_more_than_a_minute_a_note(
    base: Path, offset: int, failures: int, notes: int
) -> None:
    result = preflight.inspect(preflight.Demands([str(base)], now=time.time() - offset))
    assert (len(reasons(result)), len(result["notes"])) == (failures, notes)


def test_both_clocks_are_named() -> None:
    for here in (1368182821.0, 1368182821.0 - 2 * 86400):
        (told,), notes = preflight.clocks(here, 1368182821.0 - 86400)
        assert notes == []
        assert "the clocks are 86400 s apart: this node's says 2013-05-" in told
        assert "the controller's 2013-05-09 10:47:01 UTC" in told
    assert preflight.clocks(0.0, None) == ([], [])


def test_base_that_cannot_be_read_does_not_take_the_other_findings_along(base: Path) -> None:
    base.chmod(0o300)
    with bound_by_modes():
        result = preflight.inspect(
            preflight.Demands([str(base)], now=0, trees=[{"base": str(base), "keys": ["svn/x"]}])
        )
    assert [text.partition(" ")[0] for text in reasons(result)] == ["the", "folder"]


def test_peer_that_cannot_be_reached_is_named_with_the_words_of_ssh(base: Path) -> None:
    peer = Peer("cms01", "/copies/.altbackup/incoming/dayabay", "127.0.0.1", 1, "backup", "/nowhere/key")
    result = preflight.inspect(preflight.Demands([str(base)], peers=[peer], deadline=Deadline(30)))
    assert (result["unreachable_peers"], result["usable"]) == (["cms01"], True)
    (entry,) = result["failures"]
    assert entry["delegate"] == "cms01"
    for word in ("cms01", "backup@127.0.0.1", "port 1", "/nowhere/key", "refused"):
        assert word in entry["reason"], word


def test_tree_on_a_target_that_was_copied_with_the_marker_of_its_source_is_not_usable(base: Path) -> None:
    (base / "dayabay" / ".altbackup").mkdir(parents=True)
    trees = [{"base": str(base / "dayabay"), "keys": ["folders/notes"]}]
    result = preflight.inspect(preflight.Demands([f"{base}/"], trees=trees, locks=[str(base / "dayabay")]))
    (failure,) = result["failures"]
    assert f"Only {base} is to be marked here: remove {base}/dayabay/.altbackup" in failure["reason"]
    assert (result["usable"], result["unusable"]) == (True, [f"{base}/dayabay"])
    assert list((base / "dayabay" / ".altbackup").iterdir()) == [], "nothing was locked"
    (base / "dayabay" / ".altbackup").rmdir()
    assert (
        preflight.inspect(preflight.Demands([str(base)], trees=trees, locks=[str(base / "dayabay")]))["unusable"] == []
    )


@pytest.mark.parametrize("claim", [False, True])
@pytest.mark.parametrize("writable", [False, True])
def test_base_of_a_source_that_is_not_there_though_its_parent_has_a_marker(
    base: Path, claim: bool, writable: bool
) -> None:
    missing = base / "typing-error"
    owners = [{"base": str(missing), "role": "source", "name": "dayabay"}]
    result = preflight.inspect(preflight.Demands([str(missing)], owners=owners, claim=claim, writable=writable))
    assert reasons(result) == [f"base {missing} does not exist: is its disk mounted? A run never creates a base"]
    assert (result["usable"], result["unusable"]) == (False, [str(missing)])
    assert not missing.exists()
    missing.mkdir()
    assert (
        reasons(preflight.inspect(preflight.Demands([str(missing)], owners=owners, claim=claim, writable=writable)))
        == []
    )


@pytest.mark.parametrize(
    ("mail", "sendmail", "noted"),
    [
        ({"to": "a@example.org"}, False, True),
        ({"to": "a@example.org"}, True, False),
        ({"to": "a@example.org", "host": "mail.example.org"}, False, False),
        ({}, False, False),
    ],
)
def test_it_is_noted_that_the_own_check_of_a_target_has_no_way_to_mail(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mail: dict[str, str], sendmail: bool, noted: bool
) -> None:
    program = tmp_path / "sendmail"
    program.touch(mode=0o700)
    monkeypatch.setattr(watching, "_SENDMAILS", (str(program),) if sendmail else ())
    tree = {"base": str(base / "dayabay"), "keys": [], "keeps": {}, "rules": {}}
    told = {"source": "dayabay", "target": "cms01", "items": ["svn/x"], "max_age": 3600.0, "timezone": "UTC"}
    demands = preflight.Demands([str(base)], trees=[tree], space=False, claim=True, watch={**told, "mail": mail})
    found = preflight.inspect(demands)
    assert reasons(found) == []
    assert any("altbackup_watch_mail_host is not set" in note for note in found["notes"]) is noted


def test_a_target_is_told_what_to_watch_and_its_silence_is_a_failure(base: Path) -> None:
    path = base / ".altbackup" / "state" / "dayabay" / "watch.json"
    tree = {"base": str(base / "dayabay"), "keys": [], "keeps": {}, "rules": {}}
    told = {"source": "dayabay", "target": "cms01", "items": ["svn/x"], "max_age": 3600.0, "timezone": "UTC"}

    def inspected(watch: dict | None, *, claim: bool = True) -> list[str]:
        demands = preflight.Demands([str(base)], trees=[tree], space=False, claim=claim, watch=watch)
        return reasons(preflight.inspect(demands))

    assert inspected(told, claim=False) == []
    assert not path.exists(), "a prediction leaves nothing"
    assert inspected(told) == []
    value = json.loads(path.read_text())
    assert (value["items"], path.stat().st_mode & 0o777) == (["svn/x"], 0o600)
    path.write_text(json.dumps({**value, "since": value["since"] - 7200}))
    (said,) = inspected(told)
    assert "did not run at all" in said and "--cron-line cms01" in said
    assert inspected(None) == []
    assert path.exists()
    assert inspected({}) == []
    assert not path.exists()
