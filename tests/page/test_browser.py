"""The page in a browser, from a file: at the widths of a phone and of a desktop, light and dark, printed, and by axe-core's rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from helpers.page_records import HOSTILE, LAST, NOW, night, site
from page.conftest import SHOTS, Look

from ansible_collections.altbackup.core.plugins.plugin_utils.history import store
from ansible_collections.altbackup.core.plugins.plugin_utils.history.store import Record, write_records
from ansible_collections.altbackup.core.plugins.plugin_utils.page.render import page_of
from ansible_collections.altbackup.core.plugins.plugin_utils.page.write import write_page

ITEM = ("dayabay", "svn", "dybsvn")
VIEWS = [(width, scheme) for width in (390, 1280) for scheme in ("light", "dark")]


def hostile() -> list[Record]:
    """Return records of nights in which everything from nodes is hostile."""
    items = [("dayabay", "folders", text) for text in HOSTILE] + [(text, "svn", "notes") for text in HOSTILE]
    failures = [{"node": text, "name": text, "category": "folders", "stage": text, "reason": text} for text in HOSTILE]
    bad = {("cms01", text): {"problem": text, "suspect": text} for text in HOSTILE}
    return [night(back, items, bad=bad, failed=failures, message=HOSTILE[0], state="failed") for back in (2, 1, 0)]


SITES = {
    "nothing": list,
    "one-night": lambda: [night(0, [ITEM])],
    "site": lambda: site(60, 12),
    "year": lambda: [night(back, [ITEM], ("cms01", "cms02")) for back in reversed(range(400))],
    "many": lambda: site(8, 500),
    "hostile": hostile,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Write the page of a site, once."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            above = tmp_path_factory.mktemp(name)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(store.PLACE, str(above / "history"))
                assert write_records("", SITES[name](), 500, NOW) == []
                write_page(str(above / "page"), (), NOW)
            made[name] = above / "page"
        return made[name]

    SHOTS.mkdir(parents=True, exist_ok=True)
    return folder


def pages(folder: Path) -> list[Path]:
    """Return the first page, and an item's, if there is one."""
    return [folder / "index.html", *sorted((folder / "items").iterdir())[-1:]]


def sound(found: Look) -> None:
    """Assert that a page logged nothing, loaded nothing else, and is not wider than the screen."""
    assert found.said == []
    assert found.asked == [found.page.url]
    wide, screen = found.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide <= screen, f"{found.page.url} is {wide} wide on a screen of {screen}"


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
@pytest.mark.parametrize("name", SITES)
def test_it_is_sound_and_accessible(folders: Any, look: Any, name: str, width: int, scheme: str) -> None:
    for number, path in enumerate(pages(folders(name))):
        found = look(path, width, scheme)
        found.page.screenshot(path=SHOTS / f"{name}-{number}-{width}-{scheme}.png", full_page=name != "many")
        sound(found)
        results = Axe().run(found.page).response
        assert [(each["id"], each["nodes"][0]["html"][:300]) for each in results["violations"]] == []


def test_without_scripts_it_tells_the_same(folders: Any, look: Any) -> None:
    path = folders("site") / "index.html"
    with_script, without = look(path), look(path, java_script_enabled=False)
    assert not without.page.locator("#find").is_visible() and not without.page.locator("#stale").is_visible()
    for words in ("NOT well: 36 copies", "Full in", "altbackup accept", "What failed"):
        assert without.page.get_by_text(words).count() == with_script.page.get_by_text(words).count() > 0


def test_a_page_that_is_too_old_says_so(folders: Any, look: Any) -> None:
    path = folders("one-night") / "index.html"
    found = look(path)
    found.page.clock.set_fixed_time(NOW + 35 * 3600)
    found.page.reload()
    assert not found.page.locator("#stale").is_visible()
    found.page.clock.set_fixed_time(NOW + 40 * 3600)
    found.page.reload()
    assert "This page is 40 h old: no run has come since" in found.page.locator("#stale").inner_text()


def test_items_are_found_by_a_part_of_their_name(folders: Any, look: Any) -> None:
    found = look(folders("many") / "index.html")
    rows = found.page.locator("table.state tbody tr:visible")
    assert rows.count() == 500
    found.page.get_by_label("Find").fill("ITEM49")
    assert rows.count() == 10 and "10 of 500" in found.page.locator("#find output").inner_text()
    found.page.get_by_label("Find").fill("")
    found.page.get_by_label("only what is not well").check()
    assert rows.count() == 2
    found.page.set_viewport_size({"width": 390, "height": 900})
    assert rows.count() == 2
    assert found.said == []


def test_a_link_leads_to_the_item_and_back(folders: Any, look: Any) -> None:
    found = look(folders("site") / "index.html")
    found.page.locator("table.state a").first.click()
    found.page.get_by_role("link", name="All items").click()
    assert found.page.url.endswith("/index.html") and found.said == []


def test_hostile_texts_do_nothing(folders: Any, look: Any) -> None:
    for path in (folders("hostile") / "index.html", *(folders("hostile") / "items").iterdir()):
        found = look(path, 390)
        sound(found)
        assert found.page.locator("script").count() == 1 and found.page.locator("img").count() == 0


def test_500_items_open_in_under_a_second(folders: Any, look: Any) -> None:
    path = folders("many") / "index.html"
    found = look(path)
    session = found.page.context.new_cdp_session(found.page)
    took = []
    for _ in range(5):
        found.page.reload()
        took.append(found.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    found.page.reload()
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    told = f"{path.stat().st_size / 1024:.0f} KiB, milliseconds {sorted(map(round, took))}, processor {metrics['TaskDuration']:.2f} s"
    print(f"500 items: {told}")
    assert min(took) < 1000 or metrics["TaskDuration"] < 1, told
    assert path.stat().st_size < 500_000


def test_a_year_on_three_nodes_is_small(folders: Any) -> None:
    assert (folders("year") / "items" / page_of(ITEM)).stat().st_size < 100_000


def test_printed_it_is_dark_on_white(folders: Any, look: Any) -> None:
    found = look(folders("site") / "index.html", scheme="dark")
    found.page.emulate_media(media="print", color_scheme="dark")
    body = "getComputedStyle(document.body)"
    assert found.page.evaluate(f"[{body}.backgroundColor, {body}.color]") == ["rgb(255, 255, 255)", "rgb(27, 31, 36)"]
    assert not found.page.locator("#find").is_visible()
    assert found.page.pdf(format="A4")[:5] == b"%PDF-"


def test_the_last_night_is_the_one_of_the_records(folders: Any, look: Any) -> None:
    found = look(folders("one-night") / "index.html")
    assert LAST.strftime("%Y-%m-%d %H:%M") in found.page.locator("#runs").inner_text()
