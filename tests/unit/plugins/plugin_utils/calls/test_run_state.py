"""What a run knows of each host lies in a file a host, whatever the host is called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import run_state


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of the run."""
    monkeypatch.setattr(run_state.constants, "DEFAULT_LOCAL_TMP", str(tmp_path))
    return tmp_path


def test_nothing_is_known_at_first() -> None:
    assert run_state.load("dayabay") == {}


NAMES = ["dayabay", "", "../../etc/passwd", "a/b", "x" * 5000, "é", "\udcff", "a\nb", "{{ x }}"]


@pytest.mark.parametrize("host", NAMES, ids=lambda name: ascii(name)[:20])
def test_what_is_known_of_a_host_is_kept_below_the_folder(host: str, folder: Path) -> None:
    run_state.save(host, {"notes": ["one", "\udcff"]})
    run_state.save(host, {"notes": ["two"]})
    assert run_state.load(host) == {"notes": ["two"]}
    (path,) = folder.iterdir()
    assert path.name.endswith(".altbackup-state")


def test_each_host_has_its_own(folder: Path) -> None:
    for number, host in enumerate(NAMES):
        run_state.save(host, {"number": number})
    assert [run_state.load(host)["number"] for host in NAMES] == list(range(len(NAMES)))
    assert len(list(folder.iterdir())) == len(NAMES)


def test_what_cannot_be_written_leaves_what_was_known(folder: Path) -> None:
    run_state.save("dayabay", {"notes": ["one"]})
    with pytest.raises(TypeError):
        run_state.save("dayabay", {"notes": [object()]})
    assert run_state.load("dayabay") == {"notes": ["one"]}


def test_a_file_that_was_cut_is_no_empty_state(folder: Path) -> None:
    run_state.save("dayabay", {"failures": [{"reason": "x"}]})
    (path,) = folder.iterdir()
    path.write_text(path.read_text()[:-3])
    with pytest.raises(json.JSONDecodeError):
        run_state.load("dayabay")
