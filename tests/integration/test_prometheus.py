"""Metrics of controller and nodes, and the example alert rules, by Prometheus' own tools."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.stages.metrics import leave_metrics
from ansible_collections.altbackup.core.plugins.module_utils.system.exposition import write
from ansible_collections.altbackup.core.plugins.plugin_utils.history.metrics import as_text
from ansible_collections.altbackup.core.plugins.plugin_utils.history.standing import Base, Standing, State

RULES = Path(__file__).resolve().parents[2] / "docs" / "alerts.yml"
NOW = 1_800_000_000.0
COPY = Standing("dayabay", "cms01", "target", "svn", 'dyb"sv\\n\né', "2027/01/15/013000", 100.0, 200.0, 1000)
RUN: dict[str, Any] = {"playbook": "backup.yml", "started": NOW - 90, "ended": NOW - 30, "state": "good"}
STATE = State((COPY,), (Base("dayabay", "cms01", "target", "/b", 5 << 40, 7),), (RUN,))

pytestmark = pytest.mark.full


def tool(name: str, package: str) -> str:
    """Return the path of a Debian tool, which must be installed."""
    path = shutil.which(name)
    assert path, f"{name} is not installed: apt-get install --no-install-recommends {package}"
    return path


def node_metrics(folder: Path, base: Path, inventory: str = "/mine") -> None:
    """Write a node's metrics of a tree with one item."""
    (base / ".altbackup").mkdir(parents=True, exist_ok=True)
    wanted = {"folder": str(folder), "node": "cms01", "source": "dayabay", "inventory": inventory, "max_age": 129600.0}
    newest = [{"relpath": "svn/dybsvn/2027/01/15/013000/dybsvn-4.tar.zst", "size": 5}]
    result = {"newest": newest, "suspects": {}, "failures": [], "free": 12345}
    assert leave_metrics(wanted, str(base), result, "UTC") == []


def test_promtool_finds_nothing_to_mend(tmp_path: Path) -> None:
    promtool = tool("promtool", "prometheus")
    node_metrics(tmp_path, tmp_path / "base")
    write(str(tmp_path), "altbackup-1.prom", as_text(STATE, NOW, "/inventory/mine"))
    for path in tmp_path.glob("*.prom"):
        done = subprocess.run([promtool, "check", "metrics"], input=path.read_bytes(), capture_output=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), path.name


def samples_of(text: str) -> list[dict[str, str]]:
    """Return samples of an hour in the form of promtool's tests."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return [{"series": line.rpartition(" ")[0], "values": f"{line.rpartition(' ')[2]}x3000"} for line in lines]


def alerts(labels: str, text: str, at: str, name: str, tmp_path: Path) -> None:
    """Let promtool check whether an alert fires at a time after 1970, with labels (JSON), or with empty ones does not."""
    expected = [{"exp_labels": json.loads(labels)}] if labels else []
    case = {"eval_time": at, "alertname": name, "exp_alerts": expected}
    test = {"interval": "1m", "input_series": samples_of(text), "alert_rule_test": [case]}
    path = tmp_path / "test.yml"
    rules = yaml.safe_load(RULES.read_text())
    for rule in rules["groups"][0]["rules"]:
        rule.pop("annotations", None)
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    path.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(
        [tool("promtool", "prometheus"), "test", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


LABELS = {
    "source": "dayabay",
    "target": "cms01",
    "category": "svn",
    "name": "x",
    "inventory": "/mine",
    "by": "controller",
}


@pytest.mark.parametrize(
    ("age", "status", "at", "name", "fires"),
    [
        (0, 1, "35h", "AltbackupCopyTooOld", False),
        (0, 1, "36h5m", "AltbackupCopyTooOld", False),
        (0, 1, "36h20m", "AltbackupCopyTooOld", True),
        (0, 0, "1m", "AltbackupNotWell", True),
        (0, 1, "1m", "AltbackupNotWell", False),
    ],
)
def test_rules_fire_by_age(age: float, status: int, at: str, name: str, fires: bool, tmp_path: Path) -> None:
    problem = "it broke" if not status else ""
    copy = replace(COPY, name="x", age=age, proof_age=None, problem=problem)
    text = as_text(State((copy,), (), ()), 0.0, "/mine")
    alerts(json.dumps(LABELS) if fires else "", text, at, name, tmp_path)


def test_rules_fire_where_nobody_tells_anything(tmp_path: Path) -> None:
    text = as_text(State((), (), ({**RUN, "started": 0, "ended": 0},)), 0.0, "/mine")
    alerts("", text, "35h", "AltbackupNoRun", tmp_path)
    run = {"playbook": "backup.yml", "inventory": "/mine", "by": "controller"}
    alerts(json.dumps(run), text, "37h", "AltbackupNoRun", tmp_path)
    alerts("{}", "other{} 1", "2h", "AltbackupNoMetrics", tmp_path)


def test_node_exporter_serves_what_controller_and_nodes_leave_in_one_folder(tmp_path: Path) -> None:
    exporter = tool("prometheus-node-exporter", "prometheus-node-exporter")
    folder = tmp_path / "metrics"
    folder.mkdir()
    for number in ("1", "2"):
        node_metrics(folder, tmp_path / number / "dayabay", f"/{number}")
    write(str(folder), "altbackup-1.prom", as_text(STATE, NOW, "/inventory/mine"))
    write(str(folder), "altbackup-2.prom", as_text(STATE, NOW, "/inventory/other"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            *(exporter, "--collector.disable-defaults", "--collector.textfile"),
            *(f"--collector.textfile.directory={folder}", f"--web.listen-address=127.0.0.1:{port}"),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        found: list[str] = []

        def answers() -> bool:
            try:
                with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
                    f"http://127.0.0.1:{port}/metrics", timeout=60
                ) as answer:
                    found[:] = answer.read().decode().splitlines()
            except OSError:
                return False
            return True

        assert wait_until(answers, 120)
    finally:
        process.terminate()
        process.wait(60)
    assert "node_textfile_scrape_error 0" in found
    told = [line for line in found if line.startswith("altbackup_last_success_timestamp_seconds{")]
    assert {line.partition('inventory="')[2].partition('"')[0] for line in told} == {
        "/1",
        "/2",
        "/inventory/mine",
        "/inventory/other",
    }
