"""Programs that tell somebody something end when their time is over, with all that they started."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.plugin_utils.mail import child

HEADER = "import json, os, signal, sys, time\njob = json.load(sys.stdin)\n"


def run(folder: Path, code: str, timeout: float = 5.0, **job: Any) -> tuple[list[dict[str, Any]], str]:
    """Run a program of this code with a job; return what it told, and why no more."""
    program = folder / "program.py"
    program.write_text(HEADER + code)
    return child.end(child.begin(str(program), {"timeout": timeout, **job}), timeout)


@pytest.mark.parametrize(
    ("code", "told", "reason"),
    [
        ("", [], "sending ended early"),
        ("print(json.dumps({'file': job['file']}))", [{"file": "é"}], "sending ended early"),
        ("print('{'); print('[1]'); print('7'); print('{}')", [{}], "sending ended early"),
        ("print('[' * 200000); print('{}')", [{}], "sending ended early"),
        ("sys.stdout.buffer.write(b'\\xff\\n{}\\n')", [{}], "sending ended early"),
        ("sys.exit('it broke')", [], "it broke"),
        ("print('{}'); sys.exit('x' * 2000)", [{}], "x" * 500),
        ("print('{}', flush=True); os.kill(os.getpid(), signal.SIGALRM)", [{}], "no answer within 5 s"),
        ("sys.stderr.buffer.write(b'\\xff')", [], "\ufffd"),
    ],
    ids=["silent", "a line", "odd lines", "too deep", "bytes", "broken", "long", "alarm", "no text"],
)
def test_what_a_program_told_is_read_as_far_as_it_is_some(
    code: str, told: list[dict[str, Any]], reason: str, tmp_path: Path
) -> None:
    assert run(tmp_path, code, file="é") == (told, reason)


def test_a_program_that_does_not_end_is_ended_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "_GRACE", 0.1)
    code = "pid = os.fork()\nif pid: open(job['pid'], 'w').write(str(pid)); print('{}', flush=True)\ntime.sleep(60)"
    began = time.monotonic()
    told, reason = run(tmp_path, code, 0.5, pid=str(tmp_path / "pid"))
    assert time.monotonic() - began < 20
    assert (told, reason) == ([{}], "no answer within 0.5 s")
    started = int((tmp_path / "pid").read_text())

    def is_gone() -> bool:
        try:
            return "State:\tZ" in Path(f"/proc/{started}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return True

    assert wait_until(is_gone)


def test_a_program_that_reads_nothing_is_no_error(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import os\nos.close(0)\nprint('{}')\n")
    process = child.begin(str(program), {"timeout": 5, "large": "x" * (1 << 20)})
    assert child.end(process, 5)[0] == [{}]


@pytest.mark.parametrize("isolated", [True, False])
def test_what_lies_beside_the_caller_is_no_library_of_a_program(
    isolated: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('stolen')")
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "program.py"
    program.write_text("import json\nprint(json.dumps({'ok': 1}))\n")
    assert child.end(child.begin(str(program), {"timeout": 5}, isolated=isolated), 5)[0] == [{"ok": 1}]
    assert os.getcwd() == str(tmp_path)
