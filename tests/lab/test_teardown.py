"""A lab never outlives its owner, however that ended, and a detached one ends when it is told to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import registry
from .errors import NamespacesNeeded
from .lab import Lab
from .lab_fixture import make_lab, needs_namespaces
from .processes import command_line, descendants, start_of, wait_until
from .state import attach

__all__ = ["make_lab"]
PACKAGE = __package__ or "lab"
ROOT = Path(__file__).parents[len(PACKAGE.split("."))]
OWNER = f"""
import signal
import sys
from pathlib import Path
from {PACKAGE}.lab import Lab
from {PACKAGE}.state import save
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored, as in a shell's background job
with Lab(["dayabay", "cms01"], Path(sys.argv[1]), sources=["dayabay"], loopback=sys.argv[2] == "loopback") as lab:
    lab["dayabay"].popen(["ssh", *lab["dayabay"].ssh_options, "-p", str(lab["cms01"].port),
                          lab["cms01"].address, "echo started; sleep 1000"]).stdout.readline()
    if lab.record.namespaces:
        lab["cms01"].small_disk(1000000)
    save(lab, Path(sys.argv[1], "state.json"))
    print("up", flush=True)
    sys.stdin.read()
    raise RuntimeError("this test of the owner failed")
"""


@contextlib.contextmanager
def owner(folder: Path, mode: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """Start a process that owns a lab; yield the process and the state of its lab."""
    argv = [sys.executable, "-c", OWNER, str(folder), mode]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=ROOT, text=True, start_new_session=True, **pipes) as process:
        try:
            assert process.stdin and process.stdout
            assert "up\n" in iter(process.stdout.readline, "")
            yield process, json.loads((folder / "state.json").read_text(encoding="utf-8"))
        finally:
            process.kill()


def processes_of(state: dict[str, Any]) -> set[tuple[int, str | None]]:
    """Return pid and start of every process of a lab, the sleeper among them."""
    keeper = state["record"]["keeper"]["pid"]
    wait_until(lambda: any("sleep" in command_line(pid) for pid in descendants(keeper)), 10, "the sleeper")
    return {(pid, start_of(pid)) for pid in [keeper, *descendants(keeper)]}


def is_gone(state: dict[str, Any], processes: set[tuple[int, str | None]]) -> bool:
    """Return whether nothing of a lab is left: processes, mounts, device, folder, record, sockets."""
    device = state["record"]["device"]
    return not (
        any(start and start_of(pid) == start for pid, start in processes)
        or state["folder"] in Path("/proc/self/mounts").read_text(encoding="utf-8")
        or (device and Path("/sys/class/net", device).exists())
        or Path(state["folder"]).exists()
        or list(registry.directory().glob(f"{state['id']}*"))
    )


@pytest.mark.parametrize("mode", [pytest.param("namespaces", marks=needs_namespaces), "loopback"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, None])
def test_nothing_is_left_of_a_lab_whose_owner_died(tmp_path: Path, number: signal.Signals | None, mode: str) -> None:
    with owner(tmp_path, mode) as (process, state):
        processes = processes_of(state)
        assert len(processes) > 4 and not is_gone(state, processes)
        if number is None:
            assert "this test of the owner failed" in process.communicate("")[1]
        else:
            process.send_signal(number)
            process.wait(10)
        wait_until(lambda: is_gone(state, processes), 10, "the end of the lab")


@needs_namespaces
def test_killed_keeper_takes_every_process_along_and_the_next_lab_reaps_the_rest(
    tmp_path: Path, make_lab: Callable[..., Lab]
) -> None:
    with owner(tmp_path, "namespaces") as (process, state):
        processes = processes_of(state)
        os.kill(process.pid, signal.SIGSTOP)
        os.kill(state["record"]["keeper"]["pid"], signal.SIGKILL)
        wait_until(lambda: not any(start_of(pid) == start for pid, start in processes), 10, "the end of the processes")
        assert Path(state["folder"]).exists()
        process.kill()
        process.wait()
        make_lab(["sdu"])
        assert is_gone(state, processes)


@pytest.mark.parametrize("mode", [pytest.param("namespaces", marks=needs_namespaces), "loopback"])
def test_detached_lab_runs_until_it_is_told_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_lab: Callable[..., Lab], mode: str
) -> None:
    monkeypatch.setenv("ALTBACKUP_LAB", mode)
    state = tmp_path / "state.json"

    def lab(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", PACKAGE, verb, "--state", str(state), *arguments]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    options = ["--hosts", "dayabay,cms01", "--sources", "dayabay", "--inventory", str(tmp_path / "inventory")]
    done = lab("up", *options, "--group", "targets=cms01")
    try:
        assert done.returncode == 0, done.stderr
        assert lab("up", *options).returncode == 1
        make_lab(["sdu"])
        assert lab("status").returncode == 0
        attached = attach(state)
        assert attached.ssh("cms01", "echo here").stdout == "here\n"
        assert lab("exec", "dayabay", "--", "cat", str(attached["dayabay"].folder / "sshd_config")).stdout
        assert "targets" in (tmp_path / "inventory/hosts.yml").read_text(encoding="utf-8")
        assert lab("stop-sshd", "cms01").returncode == 0
        assert lab("status").returncode == 3
        assert lab("start-sshd", "cms01").returncode == 0
        assert lab("status").returncode == 0
    finally:
        assert lab("down").returncode == 0
    assert not attached.folder.exists() and not state.exists() and not attached.record.path.exists()
    assert lab("down").returncode == 0
    assert lab("status").returncode == 3


def test_loopback_lab_says_why_and_refuses_what_it_cannot(
    tmp_path: Path, make_lab: Callable[..., Lab], capsys: pytest.CaptureFixture[str]
) -> None:
    lab = make_lab(["dayabay", "cms01"], sources=["dayabay"], loopback=True)
    assert lab.reason == "loopback ports were asked for"
    assert f"no namespaces ({lab.reason})" in capsys.readouterr().out
    source, target = lab["dayabay"], lab["cms01"]
    assert lab.ssh("cms01", "echo here").stdout == "here\n"
    command = ["ssh", *source.ssh_options, "-p", str(target.port), target.address, "echo there"]
    assert source.run(command).stdout == "there\n"
    target.stop_sshd()
    assert "Connection refused" in lab.ssh("cms01", "true").stderr
    target.change_host_key()
    assert "Host key verification failed" in lab.ssh("cms01", "true").stderr
    for function in (target.cut, target.restore, target.bytes_sent, target.processes):
        with pytest.raises(NamespacesNeeded, match="loopback ports were asked for"):
            function()
    with pytest.raises(NamespacesNeeded):
        target.small_disk(1000)
