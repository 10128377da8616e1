"""Print the fixed cost of a night: an unchanged one over `ansible -m ping` of the same hosts, its calls and its tasks.

It judges nothing. All hosts are this machine, on local connections: sources with one small folder each, and a target for all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / ".collections")]

from integration.site import CACHE, Site  # noqa: E402

COUNTER = '''
import json
import os

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    """Writes how many tasks began in each play, and how many calls of this collection's modules ran, and changed anything."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "counter"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        super().__init__()
        self.tasks, self.calls, self.changed = [], 0, 0

    def v2_playbook_on_play_start(self, play):
        self.tasks.append(0)

    def v2_playbook_on_task_start(self, task, is_conditional):
        self.tasks[-1] += 1

    def v2_runner_on_ok(self, result):
        returned = result._result
        if result._task.action.startswith("altbackup.core.") and not {"results", "skipped"} & returned.keys():
            self.calls += 1
            self.changed += bool(returned.get("changed"))

    v2_runner_on_failed = v2_runner_item_on_ok = v2_runner_item_on_failed = v2_runner_on_unreachable = v2_runner_on_ok

    def v2_playbook_on_stats(self, stats):
        with open(os.environ["COUNTED"], "w") as stream:
            json.dump({"tasks": self.tasks, "calls": self.calls, "changed": self.changed}, stream)
'''


def make_site(folder: Path, count: int) -> Site:
    """Make `count` sources with a small folder each, and their target."""
    site = Site(folder)
    site.add_target("target")
    for number in range(count):
        name = f"source{number:02}"
        live = site.live / name
        live.mkdir(parents=True)
        (live / "data").write_bytes(os.urandom(10_000))
        items = [{"kind": "folder", "name": "data", "path": str(live)}]
        site.add_source(name, altbackup_targets=["target"], altbackup_items=items)
    return site


class Desk:
    """Runs Ansible's programs on a site, with the collection of a checkout."""

    def __init__(self, site: Site, checkout: Path) -> None:
        self._checkout = checkout
        self._inventory = site.write_inventory()
        self._counted = site.folder / "counted.json"
        plugins = site.folder / "callbacks"
        plugins.mkdir()
        (plugins / "counter.py").write_text(COUNTER)
        # byte code is cached, as for users, but outside of the checkout
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._environment = {
            **kept,
            **CACHE,
            **site.mail,
            "PYTHONPYCACHEPREFIX": str(site.folder / "byte code"),
            "ANSIBLE_CONFIG": str(checkout / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(plugins),
            "ANSIBLE_CALLBACKS_ENABLED": "altbackup.core.error_mail,counter",
            "COUNTED": str(self._counted),
            "ALTBACKUP_HISTORY": str(site.folder / "history"),
        }

    def ping(self) -> float:
        """Return the seconds of a ping of all hosts."""
        return self._seconds("ansible", "all", "-m", "ping")

    def night(self, second: int) -> tuple[float, dict[str, Any]]:
        """Return the seconds of a night, and its counts; `second` is the second of its stamp."""
        playbook = self._checkout / "playbooks" / "backup.yml"
        seconds = self._seconds("ansible-playbook", str(playbook), "-e", f"altbackup_stamp=2013/05/10/1047{second:02}")
        return seconds, json.loads(self._counted.read_text())

    def _seconds(self, program: str, *words: str) -> float:
        argv = [str(Path(sys.executable).with_name(program)), "-i", str(self._inventory), *words]
        began = time.monotonic()
        done = subprocess.run(argv, cwd=self._checkout, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"fixed cost: {program} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return time.monotonic() - began


def measure(folder: Path, count: int, times: int, checkout: Path) -> str:
    """Return a table line for `count` sources: the quickest ping and the quickest unchanged night of several each."""
    desk = Desk(make_site(folder, count), checkout)
    desk.ping()
    desk.night(0)
    pings, nights = [], []
    for second in range(1, times + 1):
        pings.append(desk.ping())
        seconds, counted = desk.night(second)
        nights.append(seconds)
        if counted["changed"]:
            sys.exit(f"fixed cost: {counted['changed']} calls of an unchanged night changed something")
    ping, night, tasks = min(pings), min(nights), counted["tasks"]
    figures = f"{ping:8.2f} {night:8.2f} {night / ping:8.1f} {night / count:9.2f}"
    return f"{count:7} {figures} {counted['calls'] / count:10.1f} {tasks[1] / count:10.1f} {sum(tasks):9}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--sources", type=int, nargs="+", default=[1, 10, 50], help="how many; a line of the table for each"
    )
    parser.add_argument("--times", type=int, default=1, help="pings and unchanged nights, of which the quickest counts")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose nights are measured, to compare versions")
    options = parser.parse_args()
    print("seconds; calls of modules, and tasks of the second play, of a source; tasks of the whole run")
    print("sources     ping    night    ratio  s/source calls/source tasks/source     tasks", flush=True)
    for count in options.sources:
        with tempfile.TemporaryDirectory(prefix="altbackup-fixed-cost-") as name:
            print(measure(Path(name), count, options.times, options.checkout.resolve()), flush=True)


if __name__ == "__main__":
    main()
