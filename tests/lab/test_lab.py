"""The lab does what its README says, on real hosts over real ssh."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .errors import LabError
from .inventory import write_inventory
from .lab import Lab
from .lab_fixture import lab_fixture, make_lab, needs_namespaces
from .processes import wait_until
from .pythons import pythons

__all__ = ["make_lab"]
pytestmark = needs_namespaces
MEGABYTE = 1_000_000

three = lab_fixture(["dayabay", "cms01", "sdu"], sources=["dayabay"])


def ansible(inventory: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}
    argv = [sys.executable, "-m", "ansible", "adhoc", "-i", str(inventory), *arguments]
    return subprocess.run(argv, env=environment, cwd=home, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("count", [3, 6])
def test_lab_is_up_and_down_in_seconds(make_lab: Callable[..., Lab], count: int) -> None:
    lab = make_lab([f"host{number}" for number in range(count)])
    assert all(host.answers() for host in lab.hosts.values())
    began = time.monotonic()
    lab.close()
    print(f"{count} hosts: up in {lab.seconds_up:.2f} s, down in {time.monotonic() - began:.2f} s")
    assert not lab.folder.exists()


def test_ansible_reaches_every_host_with_its_key_checked(three: Lab, tmp_path: Path) -> None:
    inventory = write_inventory(
        three,
        tmp_path / "inventory",
        groups={"sources": ["dayabay"], "targets": ["cms01", "sdu"], "sites": ["sources", "targets"]},
        host_vars={"sdu": {"place": "Jinan"}},
        group_vars={"targets": {"role": "target of {{ place | default('nowhere') }}"}},
    )
    done = ansible(inventory, tmp_path, "sites", "-m", "ansible.builtin.ping")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count('"ping": "pong"') == 3
    shown = ansible(inventory, tmp_path, "targets", "-m", "debug", "-a", "var=role").stdout
    assert "target of Jinan" in shown and "target of nowhere" in shown


def test_wrong_host_key_is_refused(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    lab = make_lab(["dayabay", "cms01"], sources=["dayabay"])
    inventory = write_inventory(lab, tmp_path / "inventory")
    lab["cms01"].change_host_key()
    assert "Host key verification failed" in lab.ssh("cms01", "true").stderr
    assert "Host key verification failed" in lab["dayabay"].run(["ssh", "-o", "BatchMode=yes", "cms01", "true"]).stderr
    done = ansible(inventory, tmp_path, "all", "-m", "ansible.builtin.ping")
    assert done.returncode and "Host key verification failed" in done.stdout
    assert done.stdout.count('"ping": "pong"') == 1


def test_hosts_have_names_homes_and_data_of_their_own(three: Lab) -> None:
    for name, host in three.hosts.items():
        (host.data / "mine").write_text(name, encoding="utf-8")
        assert three.ssh(name, "hostname").stdout == f"{name}\n"
        assert three.ssh(name, "cat", str(host.data / "mine")).stdout == name
        assert three.ssh(name, "echo ~").stdout == f"{host.home}\n"
        assert host.run(["hostname"]).stdout == f"{name}\n"
        others = [str(other.data) for other in three.hosts.values() if other is not host]
        assert three.ssh(name, "ls", *others).returncode == 2
        assert three.ssh(name, f"ls {host.folder.parent}").stdout == f"{name}\n"
    boots = {host.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout for host in three.hosts.values()}
    assert len(boots) == 3


def test_source_reaches_target_with_its_key_and_target_reaches_nobody(three: Lab) -> None:
    source, target = three["dayabay"], three["cms01"]
    assert source.run(["ssh", "-o", "BatchMode=yes", "cms01", "hostname"]).stdout == "cms01\n"
    assert source.run(["ssh", *source.ssh_options, target.address, "hostname"]).stdout == "cms01\n"
    assert "Permission denied" in target.run(["ssh", "-o", "BatchMode=yes", "dayabay", "hostname"]).stderr
    assert "Name or service not known" in source.run(["ssh", "-o", "BatchMode=yes", "nowhere", "true"]).stderr


def test_cut_link_is_silence_until_restored(three: Lab) -> None:
    options = ["-o", "ConnectTimeout=1"]
    three["sdu"].cut()
    try:
        for words in (
            three.ssh("sdu", "true", options=options).stderr,
            three["dayabay"].run(["ssh", *options, "sdu", "true"]).stderr,
            three["sdu"].run(["ssh", *options, three["cms01"].address, "true"]).stderr,
        ):
            assert "timed out" in words
        assert three.ssh("cms01", "true").returncode == 0
    finally:
        three["sdu"].restore()
    assert three.ssh("sdu", "true", options=options).returncode == 0


def test_session_survives_a_short_cut(three: Lab) -> None:
    host = three["sdu"]
    command = ["ssh", "-F", str(three.ssh_config), "sdu", "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdin and session.stdout
        session.stdin.write(b"before\n")
        session.stdin.flush()
        assert session.stdout.readline() == b"before\n"
        host.cut()
        session.stdin.write(b"after\n")
        session.stdin.close()
        host.restore()
        assert session.stdout.readline() == b"after\n"


def test_stopped_sshd_refuses_and_ends_its_sessions(three: Lab) -> None:
    host = three["sdu"]
    command = ["ssh", "-F", str(three.ssh_config), "sdu", "echo ready; cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as session:
        assert session.stdout and session.stdout.readline() == b"ready\n"
        host.stop_sshd()
        assert session.wait(10) == 255
    assert "Connection refused" in three.ssh("sdu", "true").stderr
    host.start_sshd()
    assert three.ssh("sdu", "true").returncode == 0


def test_counters_move_by_the_bytes_of_an_rsync(three: Lab) -> None:
    source, target = three["dayabay"], three["cms01"]
    (source.data / "five").write_bytes(os.urandom(5 * MEGABYTE))
    sent, received, other = source.bytes_sent(), target.bytes_received(), three["sdu"].bytes_received()
    source.run(["rsync", "-a", f"{source.data}/five", f"cms01:{target.data}/"], check=True)
    assert (target.data / "five").read_bytes() == (source.data / "five").read_bytes()
    for moved in (source.bytes_sent() - sent, target.bytes_received() - received):
        assert 5 * MEGABYTE < moved < 5.3 * MEGABYTE
    assert three["sdu"].bytes_received() - other < 10_000


def test_limited_link_is_slow_both_ways(three: Lab) -> None:
    source, target = three["dayabay"], three["sdu"]
    (source.data / "two").write_bytes(os.urandom(2 * MEGABYTE))
    target.limit_rate(MEGABYTE)
    try:
        for command in (["two", f"sdu:{target.data}/"], [f"sdu:{target.data}/two", "back"]):
            began = time.monotonic()
            source.run(["rsync", *command], cwd=source.data, check=True)
            assert time.monotonic() - began > 1.5
    finally:
        target.limit_rate(None)


def test_small_disk_runs_full_and_is_seen_by_its_host_only(three: Lab) -> None:
    host = three["cms01"]
    disk = host.small_disk(4 * 1024 * 1024)
    assert "No space left" in host.run(["dd", "if=/dev/zero", f"of={disk}/big", "bs=1M", "count=8"]).stderr
    assert (host.outside(disk) / "big").stat().st_size == 4 * 1024 * 1024
    assert list(disk.iterdir()) == []
    (host.outside(disk) / "big").unlink()
    host.fill_disk(disk, leave=65536)
    assert host.disk_free(disk) == 65536
    assert "No space left" in three.ssh("cms01", f"head -c 100000 /dev/zero > {disk}/more").stderr
    host.free_disk(disk)
    assert three.ssh("cms01", f"head -c 100000 /dev/zero > {disk}/more").returncode == 0
    host.unmount(disk)
    assert three.ssh("cms01", f"ls {disk}").stdout == ""


def test_readonly_disk_and_folder_refuse_writing(three: Lab) -> None:
    host = three["cms01"]
    for path in (host.small_disk(MEGABYTE), host.data):
        host.remount_readonly(path)
        assert "Read-only file system" in three.ssh("cms01", f"touch {path}/x").stderr
        host.remount_writable(path)
        assert three.ssh("cms01", f"touch {path}/x").returncode == 0


def test_time_zone_is_the_hosts_own(three: Lab) -> None:
    three["sdu"].set_timezone("Asia/Taipei")
    try:
        assert three.ssh("sdu", "date +%z").stdout == "+0800\n"
        assert three["sdu"].run(["date", "+%Z"]).stdout == "CST\n"
        assert three.ssh("cms01", "date +%z").stdout == "+0000\n"
    finally:
        three["sdu"].set_timezone("Etc/UTC")


def test_clock_is_skewed_on_one_host(three: Lab) -> None:
    def clock(name: str) -> int:
        return int(three.ssh(name, f"{three[name].python} -c 'import time; print(int(time.time()))'").stdout)

    three["sdu"].skew_clock(3600)
    try:
        assert abs(clock("sdu") - time.time() - 3600) < 30
        assert abs(clock("cms01") - time.time()) < 30
    finally:
        three["sdu"].skew_clock(0)
    assert abs(clock("sdu") - time.time()) < 30


@pytest.mark.sampled(2)
@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_ansible_uses_the_python_asked_for(make_lab: Callable[..., Lab], tmp_path: Path, which: str) -> None:
    version, _ = next(iter(pythons().items() if which == "oldest" else reversed(pythons().items())))
    lab = make_lab(["dayabay"], pythons={"dayabay": which})
    inventory = write_inventory(lab, tmp_path / "inventory")
    done = ansible(inventory, tmp_path, "all", "-m", "ansible.builtin.setup", "-a", "filter=ansible_python_version")
    assert f'"ansible_python_version": "{version}.' in done.stdout, done.stdout + done.stderr


def test_login_shell_and_port_are_the_hosts_own(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(["dayabay", "cms01"], sources=["dayabay"], ports={"cms01": 2222})
    assert lab.ssh("cms01", "true").returncode == 0
    assert lab["dayabay"].run(["ssh", "-p", "2222", "cms01", "hostname"]).stdout == "cms01\n"
    lab["cms01"].set_login_shell("/usr/sbin/nologin")
    assert "This account is currently not available" in lab.ssh("cms01", "true").stdout
    assert lab.ssh("dayabay", "true").returncode == 0


def test_processes_of_a_host_are_found_and_ended_with_a_timeout(three: Lab) -> None:
    host = three["cms01"]
    with pytest.raises(subprocess.TimeoutExpired):
        host.run(["sh", "-c", "sleep 1000 & wait"], timeout=0.5)
    wait_until(lambda: not host.processes("sleep"), 10, "the end of sleep")
    with host.popen(["sleep", "1000"]) as process:
        wait_until(lambda: len(host.processes("sleep")) == 1, 10, "the start of sleep")
        os.kill(host.processes("sleep")[0].pid, signal.SIGKILL)
    assert process.returncode
    assert three["sdu"].processes("sleep") == []


def test_two_labs_at_once_do_not_meet(make_lab: Callable[..., Lab], three: Lab) -> None:
    other = make_lab(["dayabay", "cms01"], sources=["dayabay"])
    (other["cms01"].data / "here").touch()
    assert three.ssh("cms01", f"ls {three['cms01'].data}/here").returncode == 2
    assert other["dayabay"].run(["ssh", "cms01", "hostname"]).stdout == "cms01\n"
    foreign = three["dayabay"].run(["ssh", "-o", "ConnectTimeout=2", other["cms01"].address, "true"])
    assert "Network is unreachable" in foreign.stderr
    other.close()
    assert three.ssh("cms01", "true").returncode == 0


def test_a_lab_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="sshd"):
        Lab(["dayabay"], tmp_path, sshd_options={"NoSuchOption": "1"}).start()
    assert list(tmp_path.iterdir()) == []
