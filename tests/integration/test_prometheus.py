"""Metrics of controller and nodes, and the example alert rules, by Prometheus' own tools."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.waiting import wait_until
from integration.site import Site
from lab.lab import free_port

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


def read(url: str) -> str:
    """Return what a server on this machine answers, or nothing before it listens; ten times a second at most, as it works meanwhile."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    time.sleep(0.1)
    try:
        with opener.open(url, timeout=60) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


@contextmanager
def serving(ready: str, program: str, package: str, *words: str) -> Iterator[str]:
    """Run a Debian server on a free port of the loopback until the end of the block; yield its address once `ready` is answered."""
    port = free_port()
    process = subprocess.Popen(
        [tool(program, package), *words, f"--web.listen-address=127.0.0.1:{port}"], stderr=subprocess.DEVNULL
    )
    try:
        assert wait_until(lambda: bool(read(f"http://127.0.0.1:{port}/{ready}")), 120), program
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def exporting(folder: Path) -> Iterator[str]:
    """Run node-exporter over a folder of metrics; yield its address."""
    words = ("--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}")
    with serving("metrics", "prometheus-node-exporter", "prometheus-node-exporter", *words) as address:
        yield address


def test_node_exporter_serves_what_controller_and_nodes_leave_in_one_folder(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    for number in ("1", "2"):
        node_metrics(folder, tmp_path / number / "dayabay", f"/{number}")
    write(str(folder), "altbackup-1.prom", as_text(STATE, NOW, "/inventory/mine"))
    write(str(folder), "altbackup-2.prom", as_text(STATE, NOW, "/inventory/other"))
    with exporting(folder) as address:
        found = read(f"http://{address}/metrics").splitlines()
    assert "node_textfile_scrape_error 0" in found
    told = [line for line in found if line.startswith("altbackup_last_success_timestamp_seconds{")]
    assert {line.partition('inventory="')[2].partition('"')[0] for line in told} == {
        "/1",
        "/2",
        "/inventory/mine",
        "/inventory/other",
    }


@contextmanager
def prometheus(folder: Path, exporter: str) -> Iterator[str]:
    """Run Prometheus, which reads an exporter every three seconds, with the example rules, whose waits are a second; yield its API."""
    rules = re.sub(r"\bfor: \w+", "for: 1s", RULES.read_text())
    (folder / "rules.yml").write_text(rules)
    whole = {
        "global": {"scrape_interval": "3s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [exporter]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(whole))
    words = (f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}")
    with serving("-/ready", "prometheus", "prometheus", *words) as address:
        yield f"http://{address}/api/v1"


def asked(api: str, what: str, **query: str) -> Any:
    """Return the data of an answer of Prometheus' API."""
    told = json.loads(read(f"{api}/{what}?{urllib.parse.urlencode(query)}"))
    assert told["status"] == "success", told
    return told["data"]


def firing(api: str) -> dict[tuple[str, ...], str]:
    """Return {(alert, item, node, who tells it): its summary} of what fires, once all rules were evaluated anew, without error."""
    begun = time.time()

    def evaluated() -> bool:
        (group,) = asked(api, "rules")["groups"]
        assert [rule["health"] for rule in group["rules"] if rule["health"] not in ("ok", "unknown")] == [], group
        return all(datetime.fromisoformat(rule["lastEvaluation"]).timestamp() > begun + 3 for rule in group["rules"])

    assert wait_until(evaluated, 120)
    told = [alert for alert in asked(api, "alerts")["alerts"] if alert["state"] == "firing"]
    names = ("alertname", "name", "target", "by")
    return {
        tuple(alert["labels"].get(name, "") for name in names): alert["annotations"].get("summary", "")
        for alert in told
    }


def comes_to_fire(api: str, wanted: set[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Wait until just these alerts fire; return them."""
    found: dict[tuple[str, ...], str] = {}

    def fires() -> bool:
        found.clear()
        found.update(firing(api))
        return set(found) == wanted

    assert wait_until(fires, 120), found
    return found


def test_prometheus_fires_when_the_metrics_of_a_run_grow_old(bare_site: Site, tmp_path: Path) -> None:
    folder, live, own = tmp_path / "metrics", tmp_path / "live", tmp_path / "prometheus"
    for made in (folder, live, own):
        made.mkdir()
    (live / "text").write_text("x\n")
    items = [{"kind": "folder", "name": "notes", "path": str(live)}]
    where = {"altbackup_metrics_dir": str(folder), "altbackup_node_metrics_dir": str(folder)}
    bare_site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=items, **where)
    bare_site.add_target("cms01", **where)
    assert bare_site.run("backup").rc == 0
    copies = [(node, by) for node in ("cms01", "dayabay") for by in ("controller", "node")]
    with exporting(folder) as exporter, prometheus(own, exporter) as api:

        def scraped() -> bool:
            found = asked(api, "query", query="altbackup_last_success_timestamp_seconds")["result"]
            return sorted((each["metric"]["target"], each["metric"]["by"]) for each in found) == copies

        assert wait_until(scraped, 120)
        comes_to_fire(api, set())
        for path in folder.glob("*.prom"):
            text = re.sub(
                r"(?m)(?<=timestamp_seconds)({.*} )(\S+)$",
                lambda match: f"{match[1]}{float(match[2]) - 37 * 3600:.0f}",
                path.read_text(),
            )
            write(str(folder), path.name, text)
        old = {("AltbackupCopyTooOld", "notes", *copy) for copy in copies}
        told = comes_to_fire(api, {*old, ("AltbackupNoRun", "", "", "controller")})
        assert {re.sub(r"1d 13h \d+m \d+s$", "AGE", told[alert]) for alert in old} == {
            f"dayabay/folders/notes on {node}: no good copy for AGE" for node in ("cms01", "dayabay")
        }
        for path in folder.glob("*.prom"):
            path.unlink()
        comes_to_fire(api, {("AltbackupNoMetrics", "", "", "")})
