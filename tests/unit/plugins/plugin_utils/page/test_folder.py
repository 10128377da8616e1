"""The folder of a page: whole files, with the folder's permissions, and no foreign file touched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.plugin_utils.page.folder import LIST, Refused, write_folder

ONE, TWO = "one-0123456789ab.html", "two-0123456789ab.html"


def write(folder: Path, *names: str, inventory: str = "/hosts.yml", text: str = "text") -> None:
    """Write a page with these items."""
    write_folder(str(folder), [inventory], "items", [(name, text) for name in names], iter([("index.html", text)]))


def files(folder: Path) -> list[str]:
    """Return the files in a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def modes(folder: Path) -> set[str]:
    """Return the modes of everything for readers."""
    return {f"{path.stat().st_mode & 0o777:o}" for path in [folder, *folder.rglob("*")] if path.name != LIST}


def test_a_folder_that_is_missing_is_made_for_its_user_alone(tmp_path: Path) -> None:
    write(tmp_path / "page", ONE)
    assert files(tmp_path / "page") == [LIST, "index.html", f"items/{ONE}"]
    assert modes(tmp_path / "page") == {"700", "600"}


@pytest.mark.parametrize(
    ("mode", "wanted"), [(0o755, {"755", "644"}), (0o750, {"750", "640"}), (0o700, {"700", "600"})]
)
def test_files_are_as_open_as_the_folder(tmp_path: Path, mode: int, wanted: set[str]) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page").chmod(mode)
    for _ in range(2):
        write(tmp_path / "page", ONE)
        assert modes(tmp_path / "page") == wanted
    assert (tmp_path / "page" / LIST).stat().st_mode & 0o777 == 0o600


def test_a_folder_that_was_closed_closes_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir(mode=0o755)
    write(tmp_path / "page", ONE)
    (tmp_path / "page").chmod(0o700)
    write(tmp_path / "page", ONE)
    assert modes(tmp_path / "page") == {"700", "600"}


def test_the_page_of_an_item_that_is_gone_goes_and_what_others_put_there_stays(tmp_path: Path) -> None:
    write(tmp_path / "page", ONE, TWO)
    (tmp_path / "page" / "items" / "three-0123456789ab.html").touch()
    (tmp_path / "page" / "robots.txt").touch()
    write(tmp_path / "page", TWO)
    assert files(tmp_path / "page") == [
        LIST,
        "index.html",
        "items/three-0123456789ab.html",
        f"items/{TWO}",
        "robots.txt",
    ]


@pytest.mark.parametrize("name", ["index.html", ".profile", LIST])
def test_a_folder_with_other_things_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(Refused, match="name an"):
        write(tmp_path, ONE)
    assert files(tmp_path) == [name] and (tmp_path / name).read_text() == "mine"


def test_the_page_of_another_inventory_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "page", ONE, inventory="/one")
    with pytest.raises(Refused, match="another inventory, /one"):
        write(tmp_path / "page", TWO, inventory="/two")
    assert f"items/{ONE}" in files(tmp_path / "page")


@pytest.mark.parametrize("name", ["../../victim", "victim", "/victim", f"../{ONE}"])
def test_a_list_that_somebody_changed_removes_nothing_else(tmp_path: Path, name: str) -> None:
    write(tmp_path / "page", ONE)
    (tmp_path / "page" / "items" / "victim").touch()
    (tmp_path / "victim").touch()
    told = json.loads((tmp_path / "page" / LIST).read_text())
    (tmp_path / "page" / LIST).write_text(json.dumps({**told, "items": [name]}))
    write(tmp_path / "page", TWO)
    assert (tmp_path / "victim").exists() and (tmp_path / "page" / "items" / "victim").exists()


def test_a_link_leads_nowhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    write(tmp_path / "page", ONE)
    for name in ("index.html", f"items/{ONE}"):
        (tmp_path / "page" / name).unlink()
        (tmp_path / "page" / name).symlink_to(victim)
    write(tmp_path / "page", ONE)
    assert victim.read_text() == "mine"
    assert (tmp_path / "page" / "index.html").read_text() == "text"
    (tmp_path / "page" / "items" / ONE).unlink()
    (tmp_path / "page" / "items").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "page" / "items").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="items"):
        write(tmp_path / "page", ONE)
    assert files(tmp_path / "elsewhere") == []


def test_what_fails_in_the_midst_leaves_whole_pages_and_no_half_ones(tmp_path: Path) -> None:
    write(tmp_path / "page", ONE, text="old")

    def broken() -> Iterator[tuple[str, str]]:
        yield ONE, "new"
        raise AltbackupError("no more")

    with pytest.raises(AltbackupError, match="no more"):
        write_folder(str(tmp_path / "page"), ["/hosts.yml"], "items", broken(), iter([("index.html", "new")]))
    assert files(tmp_path / "page") == [LIST, "index.html", f"items/{ONE}"]
    assert (tmp_path / "page" / "index.html").read_text() == "old"
    write(tmp_path / "page", ONE, text="new")
    assert (tmp_path / "page" / "index.html").read_text() == "new"


def test_what_a_killed_run_left_is_in_nobodys_way(tmp_path: Path) -> None:
    write(tmp_path / "page", ONE)
    (tmp_path / "page" / f".index.html.{os.getpid()}").write_text("half")
    write(tmp_path / "page", ONE)
    assert files(tmp_path / "page") == [LIST, "index.html", f"items/{ONE}"]
