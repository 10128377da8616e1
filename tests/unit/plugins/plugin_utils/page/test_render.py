"""A page by real histories, read as HTML; tests/page looks at it in a browser."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta
from pathlib import Path

import pytest
from helpers.page_records import HOSTILE, LAST, night, site, stamp_of
from helpers.pages_written import ITEM, item, written

from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record
from ansible_collections.altbackup.core.plugins.plugin_utils.page.render import page_of, shown


@pytest.fixture(autouse=True)
def histories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of histories."""
    monkeypatch.setenv(store.PLACE, str(tmp_path / "history"))


def test_one_good_night(tmp_path: Path) -> None:
    pages = written(tmp_path, night(0, [ITEM]))
    index = pages["index.html"]
    assert "all is well: 2 copies of 1 item on 2 nodes, none older than 8 h" in index.text
    assert "What is not well" not in index.text
    assert "Too few nights are known to say when it will be full." in index.text
    assert "1 of 1 night since 2026/11/28 left a good copy" in item(pages).text


def test_only_backups_are_told_as_such(tmp_path: Path) -> None:
    others = ("setup.yml", "doctor.yml", "stores.yml", "list.yml", "synchronize.yml")
    nights = [night(back, [ITEM]) for back in (2, 1, 0)]
    more = [night(back, [ITEM], playbook=playbook, token=playbook) for back, playbook in enumerate(others)]
    own = night(0, [], playbook="restart-web.yml", token="own")
    text = written(tmp_path, *nights, *more, own)["index.html"].text
    assert "How long the last 3 backups took" in text and "What the last 3 backups sent" in text


def test_a_site_tells_what_is_wrong_first_and_what_to_do(tmp_path: Path) -> None:
    index = written(tmp_path, *site(45, 5))["index.html"]
    text = index.text
    places = [
        text.index(words)
        for words in (
            "NOT well: 15 copies",
            "What is not well",
            "Every item on every node",
            "Free space",
            "What failed",
        )
    ]
    assert places == sorted(places)
    card = text[text.index("What is not well") : text.index("Every item on every node")]
    assert (
        "ihep/svn/item000 is suspect: not what the nights before let expect on ihep (newest good copy 32 h old)" in card
    )
    assert "it has 12 files, and had 480" in card and "altbackup accept ihep/svn/item000" in card
    assert "has no new good copy and failed in the last run about it on cms01 (newest good copy 3 d old)" in card
    assert "Full in 33 days, on 2026-12-31, at the 3.0 GiB a day of the last 30 days." in text
    assert "hunter2" not in (tmp_path / "page" / "index.html").read_text()
    assert "hunter2" not in "".join(path.read_text() for path in (tmp_path / "page" / "items").iterdir())


def test_the_page_of_an_item_has_its_nights_sizes_failures_proofs_and_holds(tmp_path: Path) -> None:
    pages = written(tmp_path, *site(45, 5))
    last = item(pages, ("dayabay", "svn", "item004"))
    assert "cms01 : 42 of 45 nights since 2026/10/15 left a good copy" in last.text
    assert "2026/11/28 cms01 failed: rsync: connection unexpectedly closed" in last.text
    for words in ("Size of the copy", "Size of what is backed up", "Seconds that its dump took", "Bytes sent to cms02"):
        assert words in last.text
    labels = [value for tag, name, value in last.attributes if (tag, name) == ("svg", "aria-label")]
    assert len(labels) == 3 + 5, "three calendars and five plots"
    first = item(pages, ("ihep", "svn", "item000"))
    assert "2026/11/27/013000" in first.text, "it is held"
    assert "2026/11/28 ihep suspect: it has 12 files, and had 480" in first.text
    assert "2026-11-28T01:30:00Z on ihep, cms01, cms02" in first.text, "proved"


def test_a_year_is_one_path_of_good_nights(tmp_path: Path) -> None:
    pages = written(tmp_path, *(night(back, [ITEM]) for back in range(420)))
    assert "400 of 400 nights since 2025/10/25 left a good copy" in item(pages).text
    assert (tmp_path / "page" / "items" / page_of(ITEM)).stat().st_size < 80_000


def test_what_nobody_ran_is_a_gap_and_no_fault_of_a_night(tmp_path: Path) -> None:
    records = [night(back, [ITEM]) for back in (9, 8, 3, 0)]
    assert "4 of 4 nights since 2026/11/19 left a good copy" in item(written(tmp_path, *records)).text


def test_a_night_of_which_a_target_was_away_is_said_with_why(tmp_path: Path) -> None:
    stamp = stamp_of(LAST - timedelta(days=1))
    away = night(0, [ITEM], bad={("cms01", "dybsvn"): {"stamp": stamp}})
    trees = [{**tree, "problem": "no marker" if tree["node"] == "cms01" else ""} for tree in away.trees]
    pages = written(tmp_path, night(1, [ITEM]), Record(away.run, trees, away.copies))
    assert "2026/11/28 cms01 failed: no marker" in item(pages).text
    assert "dayabay -> cms01 could not be used no marker" in pages["index.html"].text


def test_a_host_that_is_its_own_target_has_both_columns(tmp_path: Path) -> None:
    record = night(0, [ITEM], targets=())
    own = {"role": "target", "problem": "it is damaged"}
    pages = written(
        tmp_path,
        Record(
            record.run,
            [*record.trees, {**record.trees[0], "role": "target"}],
            [*record.copies, {**record.copies[0], **own}],
        ),
    )
    assert "dayabay dayabay as target" in pages["index.html"].text
    assert pages["index.html"].text.count("it is damaged") == 1


@pytest.mark.parametrize("text", HOSTILE)
def test_what_nodes_say_is_text_and_nothing_else(tmp_path: Path, text: str) -> None:
    key = ("dayabay", "folders", text)
    source = (text, "folders", "notes")
    failure = {"node": "dayabay", "category": "folders", "name": text, "reason": text, "stage": text, "relpath": text}
    bad = {("cms01", text): {"problem": text, "suspect": text}}
    told = {"message": text, "state": text, "user": text, "controller": text, "playbook": "backup.yml"}
    pages = written(tmp_path, night(0, [key, source], bad=bad, failed=[failure], **told))
    assert len(pages) == 3
    index = pages["index.html"]
    assert index.scripts[0].startswith('"use strict"')
    whole = "".join((tmp_path / "page" / name).read_text() for name in pages)
    assert "\x1b" not in whole and "\x07" not in whole and "\u202e" not in whole
    assert "onerror" not in {name for page in pages.values() for _, name, _ in page.attributes}
    assert " ".join(shown(store._stored(text)).split()) in index.text
    assert "49" not in index.text if "7*7" in text else True


def test_the_policy_of_a_page_lets_in_its_own_script_and_style_alone(tmp_path: Path) -> None:
    written(tmp_path, night(0, [ITEM]))
    text = (tmp_path / "page" / "index.html").read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'")
    for tag in ("style", "script"):
        (held,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy.replace("&#43;", "+")


def test_names_of_pages_are_plain_and_each_has_its_own() -> None:
    names = [page_of(("dayabay", "folders", text)) for text in (*HOSTILE, "A", "a", "a/b", "a-b", "", "..")]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}\.html", name) for name in names)
    assert page_of(("a", "b", "c/d")) != page_of(("a", "b/c", "d"))


def test_an_item_that_is_gone_has_no_page_any_more(tmp_path: Path) -> None:
    other = ("dayabay", "svn", "toysvn")
    written(tmp_path, night(1, [ITEM, other]))
    assert list(written(tmp_path, night(0, [ITEM]))) == ["index.html", f"items/{page_of(ITEM)}"]
