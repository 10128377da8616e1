"""Damage on either side: check.yml fails and names it; ad hoc, each module reports its share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.site import KINDS, Run, Site, item_of, make_live, tarballs_of

STAMP = "2013/05/10/104701"


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A source and a target after one good night."""
    folder = tmp_path_factory.mktemp("damage")
    make_live(folder / "live")
    site = Site(folder)
    site.add_source("dayabay", altbackup_targets=["cms01"])
    site.add_target("cms01")
    assert site.run("backup", stamp=STAMP).rc == 0
    for name in ("dayabay", "cms01"):
        shutil.copytree(folder / name, folder / f"{name}.good", symlinks=True)
    return site


def flip(path: Path) -> None:
    """Flip one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    """Cut to three quarters."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])


def lose_dna(path: Path) -> None:
    """Remove the sidecar."""
    Path(f"{path}.dna").unlink()


def spoil_dna(path: Path) -> None:
    """Write code into the sidecar: it is malformed, and nothing runs."""
    Path(f"{path}.dna").write_text(f"__import__('os').mkdir({str(path.parent / 'ran')!r})")


def lose_tarball(path: Path) -> None:
    """Remove the tarball and leave its sidecar."""
    path.unlink()


def add_stranger(path: Path) -> None:
    """Add a verified tarball of an unknown item."""
    stranger = path.parents[5] / "stranger" / Path(STAMP) / "stranger.tar.zst"
    stranger.parent.mkdir(parents=True)
    shutil.copy(path, stranger)
    shutil.copy(f"{path}.dna", f"{stranger}.dna")


def remove_item(path: Path) -> None:
    """Remove tarball and sidecar."""
    lose_dna(path)
    path.unlink()


DAMAGES: list[tuple[Callable[[Path], None], tuple[str, ...]]] = [
    (flip, ("does not match its dna",)),
    (
        truncate,
        ("bytes, but its dna says", "expecting 1 tarball for svnsetup of dayabay on 2013/05/10 but got 0"),
    ),
    (
        lose_dna,
        ("expecting 1 tarball for svnsetup of dayabay on 2013/05/10 but got 0", "has no dna"),
    ),
    (spoil_dna, ("has a malformed dna",)),
    (
        lose_tarball,
        ("is a dna without its tarball", "expecting 1 tarball for svnsetup"),
    ),
    (
        add_stranger,
        ("unexpected in dayabay on 2013/05/10: folders/stranger/2013/05/10/104701/stranger.tar.zst",),
    ),
    (remove_item, ("expecting 1 tarball for svnsetup of dayabay on 2013/05/10 but got 0",)),
]
QUICK = (flip,)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        pytest.param(*entry, id=entry[0].__name__, marks=[] if entry[0] in QUICK else pytest.mark.full)
        for entry in DAMAGES
    ],
)
def test_damage_on_either_side_is_found_and_named(
    backed_up: Site, damage: Callable[[Path], None], words: tuple[str, ...]
) -> None:
    bases = {
        "dayabay": backed_up.folder / "dayabay" / "backup",
        "cms01": backed_up.folder / "cms01" / "copies" / "dayabay",
    }
    for name in bases:
        shutil.rmtree(backed_up.folder / name)
        shutil.copytree(backed_up.folder / f"{name}.good", backed_up.folder / name, symlinks=True)
    good = len(tarballs_of(bases["cms01"]))
    assert good == len(KINDS)
    for base in bases.values():
        damage(item_of(base, "folder", "svnsetup")[0])
    run = backed_up.run("check", stamp=STAMP)
    assert run.rc != 0
    for word in words:
        assert run.message.count(word) >= len(bases), (word, run.message)
    for node in bases:
        assert node in run.message
        assert complaining(run, node) == {"tarball_check"}
    assert not list(backed_up.folder.rglob("ran"))


def complaining(run: Run, node: str) -> set[str]:
    """Return the modules that found something wrong on a node."""
    return {module for host, module, result in run.calls if host == node and result.get("failures")}


def test_the_founding_message_says_what_is_there_and_why_the_other_does_not_count(backed_up: Site) -> None:
    base = backed_up.folder / "cms01" / "copies" / "dayabay"
    for name in ("dayabay", "cms01"):
        shutil.rmtree(backed_up.folder / name)
        shutil.copytree(backed_up.folder / f"{name}.good", backed_up.folder / name, symlinks=True)
    lose_dna(item_of(base, "trac", "dybsvn")[0])
    run = backed_up.run("check", "--limit cms01", stamp=STAMP)
    expected = (
        "expecting 2 tarballs for dybsvn of dayabay on 2013/05/10 but got 1: svn/dybsvn/2013/05/10/104701/dybsvn-3.tar.zst\n"
        "(tracs/dybsvn/2013/05/10/104701/dybsvn.tar.zst has no dna: still arriving, or its transfer failed)"
    )
    assert expected in "\n".join(
        entry["reason"] for _, module, result in run.calls if module == "tarball_check" for entry in result["failures"]
    )
    assert "expecting 2 tarballs for dybsvn of dayabay on 2013/05/10 but got 1" in run.message
