"""Facts from /proc are parsed whatever a process's name, and a process that is gone is an OSError."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.proc import (
    BEGAN,
    NAME,
    PARENT,
    SESSION,
    STATE,
    boot_id,
    open_files,
    pids,
    position,
    stat_of,
    title_of,
)


def test_fields_are_found_behind_any_name(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "stat").write_text(f"7 (a) R (odd)) S 3 4 5 {' '.join('0' * 15)} 4711 0\n")
    known = stat_of(7, str(tmp_path))
    assert [known[index] for index in (NAME, STATE, PARENT, SESSION, BEGAN)] == ["a) R (odd)", "S", "3", "5", "4711"]


def test_own_process_is_among_them() -> None:
    known = stat_of(os.getpid())
    assert os.getpid() in pids()
    assert (int(known[PARENT]), int(known[SESSION])) == (os.getppid(), os.getsid(0))
    assert "python" in title_of(os.getpid())


def test_process_that_is_gone_is_an_error() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    for look in (stat_of, title_of, lambda pid: list(open_files(pid))):
        with pytest.raises(OSError, match=str(child.pid)):
            look(child.pid)


@pytest.mark.parametrize(("mode", "flag"), [("rb", os.O_RDONLY), ("wb", os.O_WRONLY), ("r+b", os.O_RDWR)])
def test_open_file_tells_how_it_is_used_and_up_to_where(mode: str, flag: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    with open(tmp_path / "file", mode, buffering=0) as stream:
        stream.seek(3)
        found = [descriptor for descriptor, path in open_files(os.getpid()) if path == str(tmp_path / "file")]
        assert found == [str(stream.fileno())]
        assert position(os.getpid(), found[0]) == (flag, 3)


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    assert (pids(str(tmp_path / "none")), boot_id(str(tmp_path))) == ([], "")
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
