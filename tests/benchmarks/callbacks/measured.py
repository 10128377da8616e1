"""Writes as JSON which modules of the collection a run called, and how long each call took."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Notes the calls; BENCHMARK_CALLS names the file."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "measured"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._begun: dict[tuple[str, str], float] = {}
        self._calls: list[dict[str, Any]] = []

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        """Note when a host began a task."""
        self._begun[host.name, task._uuid] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a call that has ended, successfully or not."""
        module = result._task.action.removeprefix("altbackup.core.")
        if module != result._task.action and not {"results", "skipped"} & result._result.keys():
            host, task = result._host.name, result._task
            now = time.monotonic()
            began = self._begun.get((host, task._uuid), now)
            self._begun[host, task._uuid] = now  # the start of the next item of a loop
            delegate = task.delegate_to or ""
            node = host if not delegate or "{{" in delegate else delegate
            self._calls.append({"module": module, "host": node, "seconds": now - began})

    v2_runner_on_failed = v2_runner_item_on_ok = v2_runner_item_on_failed = v2_runner_on_unreachable = v2_runner_on_ok

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the notes."""
        with open(os.environ["BENCHMARK_CALLS"], "w", encoding="utf-8") as stream:
            json.dump(self._calls, stream)
