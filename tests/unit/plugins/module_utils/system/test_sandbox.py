"""Programs that read possibly hostile data run as an unprivileged user, without network, within limits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.trees import needs_root
from helpers.waiting import count_running

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import (
    DeadlineExceeded,
    InvalidInput,
    ToolFailed,
)
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox, chown_tree


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Return a scratch folder."""
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


@needs_root
@pytest.mark.parametrize(("user", "said"), [("root", "is root"), ("no-such-user", "does not exist on this node")])
def test_user_of_proofs_is_one_without_rights(user: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        Sandbox(user=user).identity()


def test_a_program_in_the_sandbox_reaches_nothing(scratch: Path, tmp_path: Path) -> None:
    """A hole in svnadmin, git or SQLite would let an archive do the same."""
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o777)
    outside.chmod(0o777)
    chown_tree(str(scratch), Sandbox().identity())
    script = f"""
        touch inside
        touch {outside}/new /tmp/../var/tmp/new /dev/shm/new
        (: > /dev/tcp/127.0.0.1/22) 2>/dev/null && touch connected
        mknod device c 1 3; cp /bin/true ./true; chmod 4755 true; ./true && touch started
        kill -0 {os.getpid()} && touch signalled
        grep -q 'NoNewPrivs:.*1' /proc/self/status || touch privileges
        grep -q 'CapBnd:.*[1-9a-f]' /proc/self/status && touch capabilities
        mount -t tmpfs none . ; unshare --user true && unshare --user --map-root-user mount -t tmpfs none .
        head -c 3000000 /dev/zero > large
        exit 0
    """
    Sandbox(file_size=1 << 20).run(["/bin/bash", "-c", script], str(scratch), what="trying", deadline=Deadline(60))
    assert list(outside.iterdir()) == []
    assert not Path("/dev/shm/new").exists() and not Path("/var/tmp/new").exists()
    assert {path.name for path in scratch.iterdir()} - {"true"} == {"inside", "large"}
    assert (scratch / "large").stat().st_size <= 1 << 20


def test_a_program_that_wants_too_much_is_ended(scratch: Path) -> None:
    chown_tree(str(scratch), Sandbox().identity())
    for sandbox, shell, script in (
        (Sandbox(memory=64 << 20), "/bin/bash", "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo done > finished"),
        (Sandbox(processes=20), "/bin/dash", "for i in $(seq 100); do sleep 60 & done; echo done > finished"),
    ):
        with pytest.raises(ToolFailed):
            sandbox.run([shell, "-c", script], str(scratch), what="trying", deadline=Deadline(60))
        assert not (scratch / "finished").exists()


@pytest.mark.full
def test_the_programs_of_a_proof_end_at_the_deadline(scratch: Path) -> None:
    chown_tree(str(scratch), Sandbox().identity())
    seconds = str(10**6 + os.getpid())
    script = f"(trap '' TERM; sleep {seconds}) & trap '' TERM; touch begun; sleep {seconds}"
    with pytest.raises(DeadlineExceeded):
        Sandbox().run(["/bin/bash", "-c", script], str(scratch), what="sleeping", deadline=Deadline(3, "proof"))
    assert (scratch / "begun").exists()
    assert count_running("sleep", seconds) == 0
