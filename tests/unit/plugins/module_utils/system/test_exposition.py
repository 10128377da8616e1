"""The text that Prometheus reads: each metric with its head, whatever labels hold, and written whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.exposition import HELP, Sample, render, write

STATUS = "altbackup_status"
HEAD = f"# HELP {STATUS} {HELP[STATUS]}\n# TYPE {STATUS} gauge\n"


def test_without_samples_there_is_no_text() -> None:
    assert render([]) == ""


@pytest.mark.parametrize(
    ("sample", "line"),
    [
        ((STATUS, {}, 1), f"{STATUS}{{}} 1\n"),
        ((STATUS, {"item": "svn/x", "node": "cms01"}, 0), f'{STATUS}{{item="svn/x",node="cms01"}} 0\n'),
        ((STATUS, {"item": 'a"b'}, 1), f'{STATUS}{{item="a\\"b"}} 1\n'),
        ((STATUS, {"item": "a\\b"}, 1), f'{STATUS}{{item="a\\\\b"}} 1\n'),
        ((STATUS, {"item": "a\nb 1"}, 1), f'{STATUS}{{item="a\\nb 1"}} 1\n'),
        ((STATUS, {"item": "a\udcff"}, 1), f'{STATUS}{{item="a\\\\udcff"}} 1\n'),
        ((STATUS, {"item": "ä"}, 1), f'{STATUS}{{item="ä"}} 1\n'),
        ((STATUS, {}, 1368182821.25), f"{STATUS}{{}} 1368182821.25\n"),
        ((STATUS, {}, 999_999_999_999_999), f"{STATUS}{{}} 999999999999999\n"),
        ((STATUS, {}, float("nan")), f"{STATUS}{{}} nan\n"),
    ],
)
def test_a_sample_is_one_line(sample: Sample, line: str) -> None:
    assert render([sample]) == HEAD + line
    assert render([sample]).encode()


def test_samples_of_a_metric_stand_together_under_one_head() -> None:
    size = "altbackup_size_bytes"
    found = render([(size, {"item": "a"}, 5), (STATUS, {}, 1), (size, {"item": "b"}, 6)]).splitlines()
    assert [line.split("{")[0] for line in found if not line.startswith("#")] == [STATUS, size, size]
    assert sum(line.startswith("# TYPE") for line in found) == 2


def test_a_metric_that_is_not_known_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        render([("altbackup_unknown", {}, 1)])


def test_a_file_is_for_all_to_read_and_whole_or_as_it_was(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        write(str(tmp_path), "altbackup.prom", "one\n")
    finally:
        os.umask(old)
    path = tmp_path / "altbackup.prom"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("one\n", 0o644)
    with pytest.raises(UnicodeEncodeError):
        write(str(tmp_path), "altbackup.prom", "two \udcff")
    assert (path.read_text(), os.listdir(tmp_path)) == ("one\n", ["altbackup.prom"])


def test_what_a_killed_run_left_and_links_are_written_over_and_not_through(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("x")
    folder = tmp_path / "metrics"
    folder.mkdir()
    for name in ("altbackup.prom", f".altbackup.prom.{os.getpid()}"):
        (folder / name).symlink_to(precious)
    write(str(folder), "altbackup.prom", "new\n")
    assert (precious.read_text(), (folder / "altbackup.prom").is_symlink()) == ("x", False)
    assert os.listdir(folder) == ["altbackup.prom"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write(str(tmp_path / "none"), "altbackup.prom", "x")
