"""The state of copies as a file for Prometheus."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
from ansible_collections.altbackup.core.plugins.plugin_utils.history.metrics import as_text, write_metrics
from ansible_collections.altbackup.core.plugins.plugin_utils.history.standing import Base, Standing, State
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record, write_records

NOW = 1_800_000_000.0
GOOD = Standing("dayabay", "cms01", "target", "svn", "dybsvn", "2027/01/15/013000", 100.0, 200.0, 1000)
PAGE = Path(__file__).resolve().parents[5] / "docs" / "monitoring.md"


def state(*copies: Standing) -> State:
    """Return a state with these copies."""
    run: dict[str, Any] = {"playbook": "backup.yml", "started": NOW - 90, "ended": NOW - 30, "state": "failed"}
    bases = (Base("dayabay", "cms01", "target", "/b", 5 << 40, 7), Base("dayabay", "dayabay", "source", "/b", None))
    return State(tuple(copies), bases, (run,))


def samples(text: str) -> dict[str, str]:
    """Return {series: number} of a text, each line of which must be valid for Prometheus."""
    label = r'[a-z_]+="(?:[^"\\\n]|\\[\\"n])*"'
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            match = re.fullmatch(rf"([a-z_]+\{{{label}(?:,{label})*\}}) (-?[0-9.e+]+)", line)
            assert match, line
            assert match[1] not in found
            found[match[1]] = match[2]
    return found


def test_a_good_copy_its_base_and_the_last_chain_are_told() -> None:
    more = 'inventory="/inventory/mine",by="controller"'
    item = f'{{source="dayabay",target="cms01",category="svn",name="dybsvn",{more}}}'
    base = f'{{source="dayabay",target="cms01",{more}}}'
    chain = f'{{playbook="backup.yml",{more}}}'
    assert samples(as_text(state(GOOD), NOW, "/inventory/mine")) == {
        f"altbackup_last_success_timestamp_seconds{item}": "1799999900",
        f"altbackup_last_proof_timestamp_seconds{item}": "1799999800",
        f"altbackup_status{item}": "1",
        f"altbackup_size_bytes{item}": "1000",
        f"altbackup_suspects{item}": "0",
        f"altbackup_max_age_seconds{item}": "129600",
        f"altbackup_sent_bytes{base}": "7",
        f"altbackup_free_bytes{base}": "5497558138880",
        f"altbackup_duration_seconds{chain}": "60",
        f"altbackup_run_timestamp_seconds{chain}": "1799999970",
        f"altbackup_run_status{chain}": "0",
    }


def test_what_is_not_there_has_no_time_and_is_not_well() -> None:
    text = as_text(state(replace(GOOD, stamp="", age=None, proof_age=None, size=None, suspect="it shrank")), NOW)
    found = samples(text)
    assert not any("last_" in series or "size" in series for series in found)
    assert [found[series] for series in found if "status{source" in series or "suspects" in series] == ["0", "1"]
    assert "last_success" not in text, "a metric without a series has no head"


def test_any_name_is_a_label() -> None:
    text = as_text(state(replace(GOOD, name='a"b\\c\nd\udc80é')), NOW)
    assert 'name="a\\"b\\\\c\\nd\\\\udc80é"' in text
    samples(text)


def test_each_metric_has_its_head_once_and_is_documented() -> None:
    text = as_text(state(GOOD, replace(GOOD, name="other")), NOW)
    heads = re.findall(r"^# TYPE (\w+) gauge$", text, re.MULTILINE)
    assert len(heads) == len(set(heads)) == text.count("# HELP ")
    assert set(heads) == set(
        re.findall(r"`(altbackup_\w+?)`", PAGE.read_text().partition("## Metrics")[2].partition("\n\n`target`")[0])
    ) - {"altbackup_metrics_dir", "altbackup_node_metrics_dir"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for metrics, with an inventory that has a history."""
    monkeypatch.setenv(store.PLACE, str(tmp_path / "history"))
    (tmp_path / "hosts.yml").touch()
    (tmp_path / "metrics").mkdir()
    place = {"node": "dayabay", "source": "dayabay", "role": "source"}
    copy = {**place, "category": "svn", "name": "dybsvn", "stamp": "2027/01/15/013000", "size": 5}
    record = Record({"token": "one", "started": NOW, "state": "good"}, [{**place, "whole": 1}], [copy])
    assert write_records(str(tmp_path / "hosts.yml"), [record], 400, NOW) == []
    return tmp_path / "metrics"


def test_the_file_is_for_all_to_read_and_the_only_one(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert write_metrics(str(folder), str(tmp_path / "hosts.yml"), NOW) == []
    (path,) = folder.iterdir()
    assert re.fullmatch(r"altbackup-[0-9a-f]{8}\.prom", path.name)
    assert path.stat().st_mode & 0o777 == 0o644
    labels = f'source="dayabay",target="dayabay",category="svn",name="dybsvn",inventory="{tmp_path}/hosts.yml",by="controller"'
    assert f"altbackup_size_bytes{{{labels}}} 5\n" in path.read_text()


def test_what_cannot_be_put_in_place_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    write_metrics(str(folder), str(tmp_path / "hosts.yml"), NOW)
    (path,) = folder.iterdir()
    path.unlink()
    path.mkdir()
    assert len(write_metrics(str(folder), str(tmp_path / "hosts.yml"), NOW)) == 1
    assert list(folder.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_a_note(folder: Path, tmp_path: Path) -> None:
    (note,) = write_metrics(str(folder / "none"), str(tmp_path / "hosts.yml"), NOW)
    assert note.startswith(f"metrics were not written to {folder}/none/altbackup-") and "No such file" in note
    assert list(folder.iterdir()) == []
