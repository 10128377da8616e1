"""Figures of processes, measured from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from benchmarks.meter import StepFailed, parse_cpu, parse_io, parse_peak, parse_sent

TESTS = Path(__file__).resolve().parents[2]
DEVICES = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      200       2    0    0    0     0       0          0
ablab7:12345678     10    0    0    0     0          0         0 87654321      20    0    0    0     0       0          0
"""
PROGRAM = """
import os, subprocess, sys, json
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from types import SimpleNamespace
from benchmarks.meter import Step, StepFailed, adopt_orphans, below, measure
adopt_orphans()
lab = SimpleNamespace(hosts={}, record=SimpleNamespace(device=None))
steps = [Step(str(number), argv, {"PATH": os.environ["PATH"]}) for number, argv in enumerate(json.loads(sys.argv[2]))]
try:
    figures, parts = measure(steps, lab, Path(sys.argv[3]))
    print(json.dumps({"figures": figures, "parts": list(parts), "left": list(below(os.getpid()))}))
except StepFailed as error:
    print(json.dumps({"failed": str(error)}))
"""

LARGE = """
import sys, time
x = b"x" * 200_000_000
open("done", "w").close()
time.sleep(float(sys.argv[1]))
"""


def measured(log: Path, *steps: list[str]) -> dict[str, Any]:
    """Measure commands in a process that does nothing else."""
    command = [sys.executable, "-c", PROGRAM, str(TESTS), json.dumps(steps), str(log)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_bytes_that_a_device_sent_are_found_also_where_the_name_touches_the_figure() -> None:
    assert parse_sent(DEVICES, "ablab7") == 87654321
    assert parse_sent(DEVICES, "lo") == 200
    with pytest.raises(StepFailed, match="there is no device eth0"):
        parse_sent(DEVICES, "eth0")


def test_the_files_of_proc_are_read() -> None:
    assert parse_io("rchar: 6976\nwchar: 12\nsyscr: 10\nread_bytes: 0\n") == (6976, 12)
    tick = os.sysconf("SC_CLK_TCK")
    stat = f"12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 {tick} {2 * tick} {4 * tick} {8 * tick} 20 0"
    assert parse_cpu(stat) == (3, 12)
    assert parse_peak("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n") == 2048 * 1024
    assert parse_peak("Name:\tx\nState:\tZ (zombie)\n") == 0


def test_bytes_and_processor_time_of_children_and_orphans_count_and_nothing_is_left_running(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(bytes(3_000_000))
    copy = f"cat {tmp_path}/data >{tmp_path}/copy"
    orphan = f"cat {tmp_path}/data >{tmp_path}/other; echo >{tmp_path}/done; sleep 60"
    found = measured(
        tmp_path / "log",
        ["sh", "-c", f"({copy}) & wait; (setsid sh -c '{orphan}' &)"],
        ["sh", "-c", f"while [ ! -s {tmp_path}/done ]; do sleep 0.1; done; {copy}"],
    )
    figures = found["figures"]
    assert 9_000_000 <= figures["read"] < 10_000_000
    assert 9_000_000 <= figures["written"] < 10_000_000
    assert (found["parts"], found["left"]) == (["0", "1"], [])
    assert 0 < figures["seconds"] < 50


@pytest.mark.parametrize(
    "words",
    ["{large} 0; true", "(setsid {large} 60 &); until [ -e done ]; do sleep 0.1; done; sleep 1"],
    ids=["awaited", "orphan"],
)
def test_the_peak_of_memory_is_that_of_the_largest_process(tmp_path: Path, words: str) -> None:
    (tmp_path / "large.py").write_text(LARGE)
    words = words.format(large=f"{sys.executable} large.py")
    figures = measured(tmp_path / "log", ["sh", "-c", f"cd {tmp_path}; {words}"])["figures"]
    assert 200_000_000 <= figures["memory"] < 260_000_000


def test_a_process_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    found = measured(tmp_path / "log", ["sh", "-c", "echo no room >&2; exit 3"])
    assert "ended with 3" in found["failed"]
    assert "no room" in found["failed"]
