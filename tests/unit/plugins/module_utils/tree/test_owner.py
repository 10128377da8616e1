"""A base has one owner: the first run that writes names it, and another owner's run fails with both names."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.stages import preflight
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable
from ansible_collections.altbackup.core.plugins.module_utils.tree import owner
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.owner import Owner

DAYABAY, LINGAO, CMS01 = Owner("source", "dayabay"), Owner("source", "lingao"), Owner("target", "cms01")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A marked base, whose marker is empty, as people make it."""
    folder = tmp_path / "base"
    (folder / ".altbackup").mkdir(parents=True, mode=0o700)
    return folder


def owned(*entries: tuple[Path, Owner]) -> list[dict[str, str]]:
    """Return the owners of bases as the module takes them."""
    return [{"base": str(base), "role": owner.role, "name": owner.name} for base, owner in entries]


def look(base: Path, owner: Owner, **options: object) -> dict:
    """Return the findings of an owner's preflight on a base."""
    return preflight.inspect(preflight.Demands([str(base)], owners=owned((base, owner)), **options))  # type: ignore[arg-type]


def test_first_writer_marks_the_base_and_finds_itself_again(base: Path) -> None:
    first = owner.identify(open_tree(str(base)), DAYABAY, claim=True)
    again = owner.identify(open_tree(str(base)), DAYABAY, claim=True)
    assert first == again
    assert len(first["id"]) == 32
    assert (first["role"], first["name"], first["inode"]) == ("source", "dayabay", base.stat().st_ino)
    assert oct((base / ".altbackup" / "owner").stat().st_mode & 0o777) == "0o600"


def test_who_only_reads_marks_nothing(base: Path) -> None:
    found = owner.identify(open_tree(str(base)), DAYABAY, claim=False)
    assert (found["id"], os.listdir(base / ".altbackup")) == ("", [])
    assert found["boot"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert (found["device"], found["inode"]) == (base.stat().st_dev, base.stat().st_ino)


@pytest.mark.parametrize("claim", [True, False])
@pytest.mark.parametrize(
    ("first", "second"), [(DAYABAY, LINGAO), (CMS01, Owner("target", "sdu")), (DAYABAY, CMS01), (CMS01, DAYABAY)]
)
def test_another_owner_is_told_both_names(base: Path, first: Owner, second: Owner, claim: bool) -> None:
    owner.identify(open_tree(str(base)), first, claim=True)
    with pytest.raises(BaseUnusable) as told:
        owner.identify(open_tree(str(base)), second, claim=claim)
    for word in (str(base), f"{first.role} {first.name}", f"{second.role} {second.name}", ".altbackup/owner"):
        assert word in str(told.value)


@pytest.mark.parametrize("name", ["n", "n" * 200])
def test_a_name_of_any_length_takes_the_place_of_the_old_one(base: Path, name: str) -> None:
    first = owner.identify(open_tree(str(base)), LINGAO, claim=True)
    renamed = Owner("source", name, ("lingao",))
    for _ in range(2):
        assert owner.identify(open_tree(str(base)), renamed, claim=True) == {**first, "name": name}


def test_an_owner_with_another_name_takes_its_base_over(base: Path) -> None:
    first = owner.identify(open_tree(str(base)), LINGAO, claim=True)
    renamed = owner.parse_owner({"role": "source", "name": "dayabay", "former_names": ["older", "lingao"]})
    assert owner.identify(open_tree(str(base)), renamed, claim=False)["id"] == first["id"]
    assert owner.source_of(open_tree(str(base))) == "lingao", "who only looks writes nothing"
    assert owner.identify(open_tree(str(base)), renamed, claim=True) == {**first, "name": "dayabay"}
    assert owner.identify(open_tree(str(base)), DAYABAY, claim=True) == {**first, "name": "dayabay"}
    with pytest.raises(BaseUnusable, match="altbackup_former_names: \\[dayabay\\]"):
        owner.identify(open_tree(str(base)), LINGAO, claim=True)
    with pytest.raises(BaseUnusable):
        owner.identify(open_tree(str(base)), Owner("target", "x", ("dayabay",)), claim=True)


def test_one_host_that_is_both_has_two_owners(base: Path) -> None:
    owner.identify(open_tree(str(base)), Owner("source", "cms01"), claim=True)
    with pytest.raises(BaseUnusable, match="source cms01"):
        owner.identify(open_tree(str(base)), CMS01, claim=True)


def test_base_behind_a_link_is_the_same_base(base: Path, tmp_path: Path) -> None:
    (tmp_path / "other").symlink_to(base)
    owner.identify(open_tree(str(base)), CMS01, claim=True)
    found = look(tmp_path / "other", Owner("target", "sdu"))
    assert found["unusable"] == [str(tmp_path / "other")]
    assert "cms01" in found["failures"][0]["reason"] and "sdu" in found["failures"][0]["reason"]


@pytest.mark.parametrize("torn", [b"", b"\0" * 64])
def test_a_torn_file_is_written_anew(base: Path, torn: bytes) -> None:
    (base / ".altbackup" / "owner").write_bytes(torn)
    assert owner.identify(open_tree(str(base)), DAYABAY, claim=False)["id"] == ""
    assert owner.identify(open_tree(str(base)), DAYABAY, claim=True)["id"]
    with pytest.raises(BaseUnusable):
        owner.identify(open_tree(str(base)), LINGAO, claim=True)


@pytest.mark.parametrize(
    "hostile",
    [
        b"x",
        b"[]",
        b"{" * 3000,
        b'{"id": 1, "role": "source", "name": "dayabay"}',
        b'{"id": "../../x", "role": "source", "name": "dayabay"}',
        b'{"id": "0123456789abcdef0123456789abcdef", "role": "king", "name": "dayabay"}',
        b'{"id": "0123456789abcdef0123456789abcdef", "role": "source", "name": ["dayabay"]}',
        b'{"id": "0123456789abcdef0123456789abcdef", "role": "source", "name": "' + b"d" * 9000 + b'"}',
    ],
)
@pytest.mark.parametrize("claim", [True, False])
def test_what_is_no_owner_is_named_and_kept(base: Path, hostile: bytes, claim: bool) -> None:
    path = base / ".altbackup" / "owner"
    path.write_bytes(hostile)
    with pytest.raises(BaseUnusable) as told:
        owner.identify(open_tree(str(base)), DAYABAY, claim=claim)
    assert str(path) in str(told.value) and len(str(told.value)) < 600
    assert path.read_bytes() == hostile


@pytest.mark.parametrize("claim", [True, False])
def test_no_link_or_pipe_is_followed(base: Path, tmp_path: Path, claim: bool) -> None:
    path = base / ".altbackup" / "owner"
    (tmp_path / "secret").write_text("secret")
    path.symlink_to(tmp_path / "secret")
    with pytest.raises((BaseUnusable, OSError)) as told:
        owner.identify(open_tree(str(base)), DAYABAY, claim=claim)
    assert "secret" not in str(told.value)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(BaseUnusable, match="owner"):
        owner.identify(open_tree(str(base)), DAYABAY, claim=claim)


def test_name_that_steers_a_terminal_is_shown(base: Path) -> None:
    entry = {"id": "0" * 32, "role": "source", "name": "\x1b[2Jdayabay\nFAKE"}
    (base / ".altbackup" / "owner").write_text(json.dumps(entry))
    (reason,) = [entry["reason"] for entry in look(base, DAYABAY)["failures"]]
    assert "\x1b" not in reason and "\n" not in reason


def test_full_disk_takes_no_owner_but_hinders_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(owner.os, "pwrite", full)
    assert owner.identify(open_tree(str(base)), DAYABAY, claim=True)["id"] == ""


def test_preflight_tells_whose_bases_are(base: Path) -> None:
    found = look(base, DAYABAY, claim=True)
    (identity,) = found["identities"]
    assert (identity["base"], identity["name"], found["failures"]) == (str(base), "dayabay", [])
    other = look(base, LINGAO, claim=True)
    assert (other["identities"], other["usable"], len(other["failures"])) == ([], False, 1)


def test_preflight_of_another_owner_neither_locks_nor_cleans(base: Path) -> None:
    look(base, DAYABAY, claim=True)
    left = base / ".altbackup" / "tmp" / ".altbackup-tmp-1"
    left.mkdir(parents=True)
    look(base, LINGAO, claim=True, locks=[str(base)])
    assert left.exists() and not (base / ".altbackup" / "lock").exists()


@pytest.mark.parametrize("source_first", [True, False])
def test_base_of_a_source_among_the_copies_of_a_target_is_named(base: Path, source_first: bool) -> None:
    tree = base / "dayabay"
    tree.mkdir()
    trees = [{"base": str(tree), "keys": []}]
    runs = [
        lambda: look(tree, DAYABAY, claim=True),
        lambda: look(base, CMS01, claim=True, trees=trees, space=False),
    ]
    first, second = (runs if source_first else runs[::-1])[0](), (runs if source_first else runs[::-1])[1]()
    assert first["failures"] == []
    (reason,) = [entry["reason"] for entry in second["failures"]]
    assert "source dayabay" in reason and "target cms01" in reason and str(tree) in second["unusable"]


def test_two_sources_below_one_marker_are_two(base: Path) -> None:
    for name in ("dayabay", "lingao"):
        (base / name).mkdir()
        assert look(base / name, Owner("source", name), claim=True)["failures"] == []
    assert len(look(base / "dayabay", LINGAO)["failures"]) == 1


def test_base_below_a_marker_need_not_be_there_yet_unless_it_is_that_of_a_source(base: Path) -> None:
    found = look(base / "copies", Owner("target", "sdu"), claim=True)
    assert (found["failures"], found["identities"][0]["boot"]) == ([], "")
    (failure,) = look(base / "dayabay", DAYABAY, claim=True)["failures"]
    assert "does not exist: is its disk mounted?" in failure["reason"]
