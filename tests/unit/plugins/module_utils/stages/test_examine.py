"""Facts of a node: whatever is asked, however odd, has an answer, and what cannot be looked at says why."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from helpers.original_trees import marked
from helpers.trees import make_tool, needs_root

from ansible_collections.altbackup.core.plugins.module_utils.kinds.registry import kind_of
from ansible_collections.altbackup.core.plugins.module_utils.stages import examine as room
from ansible_collections.altbackup.core.plugins.module_utils.stages.examine import Questions, examine
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


def base_of(path: Path | str, **more: Any) -> dict[str, Any]:
    """Return what is told of one base."""
    (found,) = examine(Questions(owners=[{"base": str(path), "role": "source", "name": "dayabay", **more}]))["bases"]
    return dict(found)


@pytest.mark.parametrize("base", ["", "relative", "relative/x", "./x", "/a\0b", "x\0"])
def test_a_base_that_is_no_absolute_path_is_told_and_not_looked_for(base: str) -> None:
    found = base_of(base)
    assert (found["there"], found["problem"]) == (False, f"base {os.path.normpath(base)!r} is not an absolute path")


def test_a_base_is_told_of_as_it_is(tmp_path: Path) -> None:
    base = marked(tmp_path / "base")
    base.chmod(0o750)
    found = base_of(f"{base}/")
    shown = {key: found[key] for key in ("base", "there", "mode", "uid", "marker", "marker_below", "problem", "taken")}
    assert shown == {
        "base": str(base),
        "there": True,
        "mode": "0750",
        "uid": os.geteuid(),
        "marker": True,
        "marker_below": False,
        "problem": "",
        "taken": "",
    }
    assert (found["writable"], found["read_only"], found["free"] > 0) == (True, False, True)


def test_a_base_that_is_not_there_or_no_folder_is_told_with_where_it_could_be_made(tmp_path: Path) -> None:
    found = base_of(tmp_path / "a" / "b")
    assert (found["there"], found["problem"], found["above"]["path"]) == (False, "", str(tmp_path))
    (tmp_path / "file").write_text("x")
    found = base_of(tmp_path / "file")
    assert not found["there"] and "no marker" in found["problem"]
    found = base_of(tmp_path / "file" / "below")
    assert "Not a directory" in found["problem"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", {"id": "", "id_like": "", "pretty_name": ""}, id="nothing"),
        pytest.param("ID=debian\n", {"id": "debian", "id_like": "", "pretty_name": ""}, id="one"),
        pytest.param(
            "ID=\"ol\"\nID_LIKE='fedora rhel'\nPRETTY_NAME=x\nVERSION_ID=9\n",
            {"id": "ol", "id_like": "fedora rhel", "pretty_name": "x"},
            id="in quotes",
        ),
        pytest.param("#ID=y\nID\nX=ID=z\n", {"id": "", "id_like": "", "pretty_name": ""}, id="no value"),
        pytest.param(f"ID={'x' * 300}", {"id": "x" * 200, "id_like": "", "pretty_name": ""}, id="long"),
    ],
)
def test_a_system_is_called_as_its_release_says(text: str, found: dict[str, str]) -> None:
    assert room._named(text) == found
    assert set(room._system()) == set(found)


@pytest.mark.parametrize(
    ("script", "version"),
    [
        ("echo tool 1.2; echo more", "tool 1.2"),
        ("echo; echo tool 1.2", "tool 1.2"),
        ("exit 1", "there"),
        ("echo only an error >&2", "there"),
        (r"printf 'tool \377\n'", "tool \ufffd"),
        ("printf %0300d 1", "0" * 200),
        ("kill -9 $$", "there"),
    ],
)
def test_a_program_tells_its_version_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, version: str
) -> None:
    make_tool(tmp_path / "bin", "tool", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.defpath}")
    assert room._version("tool") == version
    assert room._version("no-such-tool") == ""


def test_a_program_that_does_not_end_or_cannot_be_started_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tool(tmp_path / "bin", "slow", "exec sleep 60")
    make_tool(tmp_path / "bin", "odd", "")
    (tmp_path / "bin" / "odd").write_bytes(b"\x7fELF")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.defpath}")
    monkeypatch.setattr(room, "_SECONDS", 0.2)
    assert (room._version("slow"), room._version("odd")) == ("there", "there")


def test_each_program_that_is_needed_is_asked_for_once() -> None:
    asked = Questions(tools=["tar", "git", "tar"], kinds=["git", "folder", "git"])
    found = room._needed(asked)
    assert found[:2] == ["tar", "git"] and len(found) == len(set(found))
    assert {*kind_of("git").tools, *kind_of("folder").tools} <= set(found)


def test_items_that_are_none_are_left_to_the_plan(tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    good = {"kind": "folder", "name": "live", "path": str(tmp_path / "live")}
    bad: list[dict[str, Any]] = [{}, {"kind": "svm", "name": "x", "path": "/x"}, {**good, "path": "/a\0b"}]
    assert [found["key"] for found in examine(Questions(items=[*bad, good]))["items"]] == ["folders/live"]


@pytest.mark.parametrize(
    "more",
    [
        {"kind": "postgresql", "user": "postgres"},
        {"kind": "mysql", "user": "backup", "login": "reader"},
        {"kind": "command", "user": "backup", "argv": ["/usr/bin/true"]},
        {"kind": "set", "members": ["folders/live"]},
    ],
    ids=lambda more: more["kind"],
)
def test_an_item_without_a_path_lacks_none(tmp_path: Path, more: dict[str, Any]) -> None:
    live = {"kind": "folder", "name": "live", "path": str(tmp_path)}
    found = examine(Questions(items=[live, {"name": "main", **more}]))["items"]
    assert [(one["path"], one["problem"], one["keys"]) for one in found] == [(str(tmp_path), "", []), ("", "", [])]


@pytest.mark.parametrize("owner", ["none", "item", "set"])
def test_a_path_that_a_hook_makes_before_a_dump_is_not_missed_between_nights(tmp_path: Path, owner: str) -> None:
    hook = {"before": [["/usr/bin/true"]]}
    live = {"kind": "folder", "name": "live", "path": str(tmp_path / "snapshot"), **(hook if owner == "item" else {})}
    forge = {"kind": "set", "name": "forge", "members": ["folders/live"], **(hook if owner == "set" else {})}
    found = examine(Questions(items=[live, forge]))["items"]
    assert [one["problem"] for one in found] == ["No such file or directory" if owner == "none" else "", ""]


@needs_root
@pytest.mark.parametrize(("mode", "problem"), [(0o700, ""), (0o000, "")])
def test_root_can_read_what_is_sealed(tmp_path: Path, mode: int, problem: str) -> None:
    (tmp_path / "live").mkdir(mode=mode)
    items = [{"kind": "folder", "name": "live", "path": str(tmp_path / "live")}]
    (found,) = examine(Questions(items=items))["items"]
    assert (found["problem"], found["denied"]) == (problem, False)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (None, []),
        (b"", []),
        (b"# a comment\n\n  \nssh-ed25519 AAAA me\n", ["ssh-ed25519 AAAA me"]),
        (b"ssh-ed25519 \xff\n", ["ssh-ed25519 \ufffd"]),
        (b"ssh-rsa A\n" * 300, ["ssh-rsa A"] * 200),
    ],
)
def test_keys_of_an_account_are_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, lines: list[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir(mode=0o700)
    tmp_path.chmod(0o700)
    if content is not None:
        (tmp_path / ".ssh" / "authorized_keys").write_bytes(content)
        (tmp_path / ".ssh" / "authorized_keys").chmod(0o600)
    found = room._authorized("")
    assert (found["lines"], found["problem"], found["loose"]) == (lines, "", [])


def test_keys_behind_a_link_or_of_nobody_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir(mode=0o700)
    (tmp_path / ".ssh" / "authorized_keys").symlink_to("/etc/hostname")
    found = room._authorized("")
    assert found["lines"] == [] and "symbolic links" in found["problem"]
    assert room._authorized("no-such-user")["problem"] == "there is no user no-such-user"


def test_nothing_is_asked_and_nothing_fails() -> None:
    found = examine(Questions(deadline=Deadline(30, "examine")))
    assert (found["bases"], found["items"], found["peers"], found["discovered"], found["space"]) == ([], [], [], [], [])
    assert found["began"] <= found["ended"]
