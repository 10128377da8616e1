"""Free space for drills: several at once share it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.restore.drill_space import SpaceAllowance
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError, DeadlineExceeded
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline


def test_who_needs_more_than_is_left_waits_and_who_needs_more_than_there_is_is_refused(tmp_path: Path) -> None:
    allowance = SpaceAllowance(str(tmp_path), 100)
    order: list[str] = []

    def second() -> None:
        with allowance.reserved(60, Deadline(60)):
            order.append("second in")

    waiting = threading.Thread(target=second)
    with allowance.reserved(60, Deadline(60)):
        waiting.start()
        with allowance.reserved(40, Deadline(60)):
            order.append("small in")
        with pytest.raises(DeadlineExceeded), allowance.reserved(60, Deadline(0.05, "drill")):
            pass
        order.append("first out")
    waiting.join(60)
    assert order == ["small in", "first out", "second in"]
    with (
        pytest.raises(AltbackupError, match=r"101 bytes are needed .* altbackup_drill_limit is 100"),
        allowance.reserved(101, Deadline(60)),
    ):
        pass
