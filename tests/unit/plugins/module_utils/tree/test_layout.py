"""Layout on disk, and scans of a tree."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers.original_trees import DAY, STAMP, bound_by_modes, link, marked, original_tree, put
from helpers.pairs import put_pairs, relpath_of

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import BaseUnusable, InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.tree import layout
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import parse

OTHER = "2013/05/09/104701"


def scan(base: Path, day: str = "", keys: set[str] | None = None, *, tolerate_unreadable: bool = False) -> layout.Scan:
    """Scan a tree."""
    return layout.scan(layout.open_tree(str(base)), day, keys, tolerate_unreadable=tolerate_unreadable)


def test_marker_in_the_base_or_its_parent_opens_it(tmp_path: Path) -> None:
    base = str(marked(tmp_path / "backup"))
    assert layout.open_tree(base + "//./") == layout.Tree(base, f"{base}/.altbackup")
    tree = layout.open_tree(f"{base}/dayabay")  # a source's tree on a target, not received yet
    assert tree == layout.Tree(f"{base}/dayabay", f"{base}/.altbackup", "dayabay")
    assert tree.private_path("records", "svn") == f"{base}/.altbackup/records/dayabay/svn"
    assert layout.open_tree(base).private_path("records", "svn") == f"{base}/.altbackup/records/svn"


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("backup", "is not an absolute path"),
        ("", "is not an absolute path"),
        ("{}/missing/base", "does not exist: is its disk mounted"),
        ("{}/bare", "has no marker .altbackup/ in itself or its parent.*mkdir .*/bare/.altbackup"),
        ("{}/marked/file", "is not a folder"),
        ("{}/marked/link", "is not a folder"),
        ("{}/marked/.altbackup", "has no marker"),
        ("{}/marked/a/b", "does not exist"),
    ],
)
def test_base_that_cannot_be_used_is_an_error_that_says_what_to_do(tmp_path: Path, base: str, why: str) -> None:
    (tmp_path / "bare").mkdir()
    (marked(tmp_path / "marked") / "file").write_text("")
    (tmp_path / "marked" / "link").symlink_to(tmp_path)
    with pytest.raises((BaseUnusable, InvalidInput), match=why):
        layout.open_tree(base.format(tmp_path))


@pytest.mark.parametrize(
    ("filename", "name", "parsed"),
    [
        ("svnsetup.tar.gz", "svnsetup", (None, ".tar.gz")),
        ("svnsetup.tar.zst", "svnsetup", (None, ".tar.zst")),
        ("svnsetup.tar", "svnsetup", (None, ".tar")),
        ("dybsvn-20496.tar.gz", "dybsvn", (20496, ".tar.gz")),
        ("dybsvn-20496-1.tar.gz", "dybsvn", (20496, ".tar.gz")),
        ("dybsvn-20496.diff.tar.zst", "dybsvn", (20496, ".diff.tar.zst")),
        ("my-repo-2-23.tar", "my-repo-2", (23, ".tar")),
        ("my-repo-2-23.tar", "my-repo", (2, ".tar")),
        ("a.b-0.tar", "a.b", (0, ".tar")),
        ("-rf-1.tar", "-rf", (1, ".tar")),
        ("x.tar.tar", "x.tar", (None, ".tar")),
        ("dybsvnextra-1.tar.gz", "dybsvn", None),
        ("dybsvn-extra.tar.gz", "dybsvn", None),
        ("dybsvn-.tar.gz", "dybsvn", None),
        ("dybsvn-1-2-3.tar.gz", "dybsvn", None),
        ("dybsvn-\u0661.tar.gz", "dybsvn", None),
        ("dybsvn.tar.bz2", "dybsvn", None),
        ("dybsvn.tgz", "dybsvn", None),
        ("dybsvn.tar.gz.dna", "dybsvn", None),
        ("dybsvn.tar.gz\n", "dybsvn", None),
        ("local.tar.gz", "svnsetup", None),
        ("aXb.tar", "a.b", None),
    ],
)
def test_file_name_belongs_to_an_item_exactly(filename: str, name: str, parsed: tuple[int | None, str] | None) -> None:
    assert layout.parse_filename(filename, name) == parsed
    if parsed and filename.count("-") - name.count("-") < 2 and ".diff" not in filename:
        assert layout.tarball_filename(name, *parsed) == filename


@pytest.mark.parametrize(
    "relpath",
    [
        "",
        "svn/dybsvn",
        f"svn/dybsvn/{STAMP}",
        f"svn/dybsvn/{STAMP}/other.tar",
        f"svn/dybsvn/{STAMP}/dybsvn.tar/x",
        f"svn/x\ny/{STAMP}/x\ny.tar",
        f"../dybsvn/{STAMP}/dybsvn.tar",
        f"svn/../{STAMP}/...tar",
        f"/svn/dybsvn/{STAMP}/dybsvn.tar",
        f".altbackup/dybsvn/{STAMP}/dybsvn.tar",
        "svn/dybsvn/2013/02/30/104701/dybsvn.tar",
        f"svn/dybsvn/{STAMP}/dybsvn.tar\0",
        f"svn//{STAMP}/.tar",
    ],
)
def test_what_is_no_relpath_is_an_error(relpath: str) -> None:
    assert layout.split_relpath(f"svn/a b/{STAMP}/a b-7.tar") == ("svn", "a b", STAMP, "a b-7.tar")
    with pytest.raises(InvalidInput, match="is not <category>/<name>/YYYY/MM/DD/HHMMSS/"):
        layout.split_relpath(relpath)


def test_tree_of_the_original_is_seen_whole(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    relpaths = original_tree(base, OTHER) + original_tree(base, STAMP)
    found = scan(base)
    assert sorted(tarball.relpath for tarball in found.verified()) == sorted(relpaths)
    assert found.tarballs == found.verified()
    assert (found.strange, found.orphans, found.temporaries, found.unreadable) == ([], [], [], [])
    tarball = next(
        tarball for tarball in found.tarballs if tarball.relpath == f"svn/dybsvn/{STAMP}/dybsvn-20496.tar.gz"
    )
    assert (tarball.key, tarball.stamp, tarball.filename) == ("svn/dybsvn", STAMP, "dybsvn-20496.tar.gz")
    assert (tarball.size, tarball.links, tarball.dna and tarball.dna.alg) == (1000, 1, "md5")


def test_day_and_keys_limit_what_is_looked_at(tmp_path: Path) -> None:
    base = marked(tmp_path / "dayabay")
    original_tree(base, OTHER)
    relpaths = original_tree(base, STAMP)
    assert sorted(tarball.relpath for tarball in scan(base, DAY).tarballs) == relpaths
    keys = {
        "svn/dybsvn",
        "svn/missing",
        "nowhere/x",
        "svn",
        "svn/",
        "svn/../tracs",
        "svn/.",
        "",
        "svn/dybsvn/2013",
        "svn/\0",
    }
    assert [tarball.key for tarball in scan(base, "", keys).tarballs] == ["svn/dybsvn"] * 2
    assert scan(base, "", set()).tarballs == []
    assert scan(base, "2013/05/08").tarballs == []


def test_a_base_that_was_not_received_yet_is_empty(tmp_path: Path) -> None:
    assert scan(marked(tmp_path / "target") / "dayabay") == layout.Scan()


def strange_tree(base: Path) -> dict[str, str]:
    """Put all kinds of foreign files into a base; return {relpath: part of why}."""
    put(base, f"svn/good/{STAMP}/good-1.tar")
    (base / "lost+found").mkdir()
    (base / "README").write_text("x")
    (base / "linked").symlink_to(base / "svn")
    (base / "svn" / "file").write_text("x")
    (base / "svn" / "link").symlink_to("good")
    for folder in (
        "x",
        "2013x",
        "\uff12\uff10\uff11\uff13",
        "20130",
        "2013/5",
        "2013/05/32/104701",
        "2013/02/30/104701",
        "2013/05/10/104760",
    ):
        (base / "svn" / "good" / folder).mkdir(parents=True)
    (base / "svn" / "good" / "notes").write_text("x")
    (base / "svn" / "good" / "2014").symlink_to("2013")
    (base / "svn" / "good" / "2013" / "06").write_text("x")
    (base / "svn" / "good" / "2013" / "05" / "11").symlink_to("10")
    (base / "svn" / "good" / DAY / "104702").symlink_to("104701")
    folder = base / "svn" / "good" / STAMP
    (folder / "notes.txt").write_text("x")
    (folder / "sub.tar").mkdir()
    (folder / "link.tar").symlink_to("good-1.tar")
    os.mkfifo(folder / "pipe.tar")
    os.mkdir(os.fsencode(base) + b"/svn/\xff")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.tar")).write_bytes(b"x")
    return {
        "README": "no folder",
        "linked": "symbolic link",
        "svn/file": "no folder",
        "svn/link": "symbolic link",
        "svn/\\xff": "not UTF-8",
        **{
            f"svn/good/{name}": "no part of a stamp"
            for name in ("x", "2013x", "\uff12\uff10\uff11\uff13", "20130", "2013/5")
        },
        **{
            f"svn/good/{name}": "no part of a stamp"
            for name in ("2013/05/32/104701", "2013/02/30/104701", "2013/05/10/104760")
        },
        "svn/good/notes": "does not belong",
        "svn/good/2014": "does not belong",
        "svn/good/2013/06": "no folder",
        "svn/good/2013/05/11": "symbolic link",
        "svn/good/2013/05/10/104702": "symbolic link",
        f"svn/good/{STAMP}/notes.txt": "neither a tarball nor a sidecar",
        f"svn/good/{STAMP}/sub.tar": "no plain file",
        f"svn/good/{STAMP}/link.tar": "no plain file",
        f"svn/good/{STAMP}/pipe.tar": "no plain file",
        f"svn/good/{STAMP}/\\xff.tar": "no plain file",
    }


def test_what_does_not_belong_is_named_with_why_and_not_followed(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    expected = strange_tree(base)
    found = scan(base)
    assert [tarball.relpath for tarball in found.tarballs] == [f"svn/good/{STAMP}/good-1.tar"]
    strange = dict(found.strange)
    assert sorted(strange) == sorted(expected)
    assert [relpath for relpath, why in expected.items() if why not in strange[relpath]] == []
    assert len(strange) == len(found.strange)


def test_of_one_day_only_what_is_strange_on_it_is_named(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    expected = strange_tree(base)
    seen = {relpath for relpath, _ in scan(base, DAY).strange}
    assert seen == {relpath for relpath in expected if DAY in relpath or relpath.count("/") < 2}
    assert [relpath for relpath, _ in scan(base, "2013/05/11").strange if "good" in relpath] == ["svn/good/2013/05/11"]


def test_folder_that_file_systems_bring_along_is_no_category(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    (base / "lost+found").mkdir(mode=0)
    with bound_by_modes():
        assert scan(base) == layout.Scan()


@pytest.mark.parametrize("day", ["", DAY])
def test_last_that_is_a_folder_is_named_and_not_counted(tmp_path: Path, day: str) -> None:
    base = marked(tmp_path / "b")
    put(base, f"svn/good/{STAMP}/good-1.tar")
    put(base, "svn/good/last/good-1.tar")
    found = scan(base, day)
    assert found.strange == [("svn/good/last", "it should be a link to the newest stamp, but is a real folder or file")]
    assert len(found.tarballs) == 1


def test_leftovers_and_sidecars_without_tarball_are_told_apart(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    folder = put(base, f"svn/good/{STAMP}/good-1.tar").parent
    for name in (
        "gone.tar.dna",
        "link.tar.dna",
        "folder.tar.dna",
        ".altbackup-tmp-7-good-1.tar",
        ".altbackup-tmp-7-x.dna",
    ):
        (folder / name).write_text("x")
    (folder / "link.tar").symlink_to("good-1.tar")
    (folder / "folder.tar").mkdir()
    found = scan(base, DAY)
    # a sidecar vouches for a plain file beside it, not for what a link points to
    assert found.orphans == [f"svn/good/{STAMP}/{name}.tar.dna" for name in ("folder", "gone", "link")]
    assert found.temporaries == [f"svn/good/{STAMP}/.altbackup-tmp-7-{name}" for name in ("good-1.tar", "x.dna")]


def test_hard_links_show_as_one_file(tmp_path: Path) -> None:
    base = marked(tmp_path / "b")
    put(base, f"svn/good/{OTHER}/good-1.tar")
    link(base, f"svn/good/{OTHER}/good-1.tar", f"svn/good/{STAMP}/good-1.tar")
    one, two = scan(base).tarballs
    assert one.inode == two.inode
    assert one.links == two.links == 2


@pytest.mark.parametrize(
    "folder", ["", "svn", "svn/bad", "svn/bad/2013", "svn/bad/2013/05", "svn/bad/2013/05/10", f"svn/bad/{STAMP}"]
)
@pytest.mark.parametrize("mode", [0o000, 0o600])
@pytest.mark.parametrize("day", ["", DAY])
@pytest.mark.parametrize("keys", [None, {"svn/bad", "tracs/good"}])
def test_folder_that_cannot_be_read_never_passes_for_an_empty_one(
    tmp_path: Path, folder: str, mode: int, day: str, keys: set[str] | None
) -> None:
    base = marked(tmp_path / "b")
    put(base, f"svn/bad/{STAMP}/bad-1.tar")
    put(base, f"tracs/good/{STAMP}/good.tar")
    tree = layout.open_tree(str(base))
    (base / folder).chmod(mode)
    try:
        with bound_by_modes():
            with pytest.raises((BaseUnusable, PermissionError), match="ermission denied"):
                layout.scan(tree, day, keys)
            if folder or mode:
                found = layout.scan(tree, day, keys, tolerate_unreadable=True)
                assert [tarball.key for tarball in found.verified()] == (["tracs/good"] if folder else [])
                assert {why for _, why in found.unreadable} == {" by uid 0: Permission denied"}
                assert all(folder.startswith(relpath) or relpath.startswith(folder) for relpath, _ in found.unreadable)
            else:
                with pytest.raises((BaseUnusable, PermissionError)):
                    layout.scan(tree, day, keys, tolerate_unreadable=True)
    finally:
        (base / folder).chmod(0o700)


def test_newest_good_tarball_of_an_item_is_found_without_reading_any(tmp_path: Path) -> None:
    base = marked(tmp_path / "backup")
    tree = layout.open_tree(str(base))
    assert layout.newest_verified(tree, "svn/dybsvn") == ""  # nothing there
    put(base, f"svn/dybsvn/{OTHER}/dybsvn-1.tar")
    put(base, f"svn/dybsvn/{STAMP}/dybsvn-2.tar")
    put(base, "svn/dybsvn/2013/05/11/000000/dybsvn-3.tar", dna=None)
    put(base, "svn/dybsvn/2013/05/12/000000/dybsvn-3.tar", dna="{'dig': '%032d', 'size': 1}" % 0)
    put(base, "svn/dybsvn/2013/05/13/000000/other.tar")
    (base / "svn/dybsvn/2014").symlink_to("2013")
    (base / "svn/dybsvn/last").symlink_to(OTHER)
    (base / "svn/dybsvn/2013/05/11/000000/x").mkdir()
    assert layout.newest_verified(tree, "svn/dybsvn") == STAMP
    assert layout.newest_verified(tree, "svn/dybsvn", latest=STAMP) == STAMP
    assert layout.newest_verified(tree, "svn/dybsvn", latest="2013/05/10/104700") == OTHER
    status = (base / f"svn/dybsvn/{STAMP}/dybsvn-2.tar").stat()
    assert layout.newest_verified(tree, "svn/dybsvn", without={(status.st_dev, status.st_ino)}) == OTHER
    assert layout.newest_verified(tree, "tracs/dybsvn") == ""


def test_differential_without_its_full_tarball_is_no_good_copy(tmp_path: Path) -> None:
    base = marked(tmp_path / "backup")
    full = put(base, f"svn/dybsvn/{OTHER}/dybsvn-1.tar", b"full")
    dig = parse(Path(f"{full}.dna").read_text()).dig
    dna = json.dumps({"dig": "0" * 64, "size": 4, "alg": "sha256", "base": f"{OTHER}/dybsvn-1.tar", "base_dig": dig})
    put(base, f"svn/dybsvn/{STAMP}/dybsvn-2.diff.tar", b"more", dna)
    tree = layout.open_tree(str(base))
    assert layout.newest_verified(tree, "svn/dybsvn") == STAMP
    full.write_bytes(b"longer")
    assert layout.newest_verified(tree, "svn/dybsvn") == ""
    full.unlink()
    assert layout.newest_verified(tree, "svn/dybsvn") == ""


def test_a_differential_whose_full_tarball_is_not_here_is_not_verified_whatever_is_looked_at(tmp_path: Path) -> None:
    base = marked(tmp_path / "backup")
    put_pairs(base, "08F 09D 10D", "svn/dybsvn")
    tree = layout.open_tree(str(base))
    for options in ({}, {"day": "2013/05/10"}, {"after": "2013/05/08/200000"}, {"keys": {"svn/dybsvn"}}):
        assert {one.state for one in layout.scan(tree, **options).tarballs} == {"verified"}  # type: ignore[arg-type]
    full = base / relpath_of("08F", "svn/dybsvn")
    link(base, relpath_of("08F", "svn/dybsvn"), relpath_of("07F", "svn/dybsvn"))
    full.unlink()
    assert {one.state for one in layout.scan(tree, "2013/05/10").tarballs} == {"verified"}  # another name of it serves
    (base / relpath_of("07F", "svn/dybsvn")).unlink()
    (alone,) = layout.scan(tree, "2013/05/10").tarballs
    assert alone.state == "alone"
    assert alone.problem.startswith("is a differential, and its full tarball 2013/05/08/104701/dybsvn.tar is not here")


@pytest.mark.parametrize(
    ("filename", "more"), [("x.diff.tar", {}), ("x.tar", {"base": "2013/05/01/104701/x.tar", "base_dig": "0" * 64})]
)
def test_a_name_and_a_dna_that_contradict_each_other_are_not_verified(
    tmp_path: Path, filename: str, more: dict[str, str]
) -> None:
    base = marked(tmp_path / "backup")
    put(
        base,
        f"folders/x/{STAMP}/{filename}",
        b"bytes",
        json.dumps({"dig": "0" * 64, "size": 5, "alg": "sha256", **more}),
    )
    (found,) = layout.scan(layout.open_tree(str(base))).tarballs
    assert found.state == "malformed"
    put(base, f"folders/x.diff/{STAMP}/x.diff.tar")
    assert layout.scan(layout.open_tree(str(base)), keys={"folders/x.diff"}).verified()


def test_newest_good_tarball_is_not_guessed_where_a_newer_folder_cannot_be_read(tmp_path: Path) -> None:
    base = marked(tmp_path / "backup")
    put(base, f"svn/dybsvn/{OTHER}/dybsvn-1.tar")
    put(base, f"svn/dybsvn/{STAMP}/dybsvn-2.tar")
    tree = layout.open_tree(str(base))
    with bound_by_modes():
        (base / "svn/dybsvn/2013/05/10").chmod(0)
        with pytest.raises(BaseUnusable, match="cannot be read by uid 0: Permission denied"):
            layout.newest_verified(tree, "svn/dybsvn")
        (base / "svn/dybsvn/2013/05/10").chmod(0o755)
        (base / "svn/dybsvn/2013/05/09").chmod(0)  # is older, and not looked at
        assert layout.newest_verified(tree, "svn/dybsvn") == STAMP
        (base / "svn/dybsvn/2013/05/09").chmod(0o755)
