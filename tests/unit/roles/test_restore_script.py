"""restore.sh, which lies on each target: it works in any POSIX shell, with nothing of this project and no Python."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.archives import write_archive
from helpers.hostile import folder, member, stream
from helpers.original_trees import modern_text, original_text, original_tree
from helpers.repositories import make_git, make_subversion, references, run
from helpers.restore_disk import SCRIPT, Disk, archive, put_pair
from helpers.trees import (
    NIGHTS,
    as_nobody,
    describe_tree,
    link_tools,
    make_odd_tree,
    make_siblings,
    make_tool,
    needs_root,
    nobodys_folder,
)
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat, Part
from ansible_collections.altbackup.core.plugins.module_utils.kinds.base import walk
from ansible_collections.altbackup.core.plugins.module_utils.system import names
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.units import readable
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import read_state

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}
FIRST, SECOND, THIRD, FOURTH = NIGHTS
BUSYBOX = shutil.which("busybox") or ""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    """Each of the shells."""
    return SHELLS[request.param]


PLAIN: list[tuple[str, bytes | str | None]] = [("thing", None), ("thing/file", b"content")]


@pytest.fixture
def disk(tmp_path: Path, shell: list[str]) -> Disk:
    """A disk, used by one of the shells; its path has characters on which shells stumble."""
    return Disk(tmp_path / "-a $(disk) 'of' \"ours\" *", shell)


def folder_item(tmp_path: Path, name: str = "thing") -> dict[str, Any]:
    """Return an item that is a folder with a file."""
    live = tmp_path / "live" / name
    live.mkdir(parents=True, exist_ok=True)
    (live / "file").write_text(f"content of {name}")
    return {"kind": "folder", "name": name, "path": str(live)}


def left_beside(destination: Path) -> list[str]:
    """Return the names beside a destination."""
    return sorted(path.name for path in destination.parent.iterdir())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder to restore into."""
    path = tmp_path / "place"
    path.mkdir()
    return path


def size(path: Path) -> list[str]:
    """Return the shown words of a file's size."""
    return readable(path.stat().st_size).split()


def test_list_shows_item_stamp_size_state_and_file_and_marks_the_newest(disk: Disk, tmp_path: Path) -> None:
    (old,) = disk.dump(folder_item(tmp_path), stamp=FIRST)
    (tmp_path / "live" / "thing" / "file").write_text("another one")
    (new,) = disk.dump(folder_item(tmp_path), stamp=SECOND)
    torn = disk.put(stamp=THIRD, dna="")
    assert disk.lines("list") == [
        ["dayabay/folders/thing", FIRST, *size(old), "verified", "thing.tar.zst"],
        ["*", "dayabay/folders/thing", SECOND, *size(new), "verified", "thing.tar.zst"],
        ["dayabay/folders/thing", THIRD, *size(torn), "no", "dna", "thing.tar"],
    ]
    total = sum(path.stat().st_size for path in (old, new, torn))
    assert (
        disk.well("list")
        .splitlines()[-1]
        .startswith(f"3 tarballs of 1 items, 2 of them verified, {readable(total)} (*")
    )


def test_what_is_dated_later_than_this_machines_clock_has_no_star_and_is_said(disk: Disk, place: Path) -> None:
    disk.put(PLAIN, stamp=FIRST)
    disk.put([("thing", None), ("thing/file", b"planted")], stamp="2999/01/01/000000")
    disk.put(PLAIN, stamp="2999/01/02/000000", dna="")
    lines = [line for line in disk.lines("list") if "dayabay/folders/thing" in line]
    assert [(line[0], line[line.index("dayabay/folders/thing") + 1]) for line in lines] == [
        ("*", FIRST),
        ("dayabay/folders/thing", "2999/01/01/000000"),
        ("dayabay/folders/thing", "2999/01/02/000000"),
    ]
    assert lines[1][-3:] == ["(of", "the", "future)"]
    listed = disk.call("list")
    assert listed.returncode == 0
    assert "2 tarballs are dated later than the clock of this machine" in listed.stderr
    restored = disk.call("restore", "dayabay/folders/thing", str(place / "new"))
    assert (restored.returncode, (place / "new" / "file").read_bytes()) == (0, b"content")
    assert "thing.tar of 2999/01/01/000000 is passed over: it is dated later than the clock" in restored.stderr
    disk.well("restore", "dayabay/folders/thing", str(place / "named"), "2999/01/01")
    assert (place / "named" / "file").read_bytes() == b"planted"


def put_nights(disk: Disk, last: str) -> Path:
    """Add a tarball of each night to a disk, and point `last` somewhere."""
    for stamp in NIGHTS:
        disk.put([("thing", None), ("thing/file", stamp.encode())], stamp=stamp)
    link = disk.path / "dayabay" / "folders" / "thing" / "last"
    link.symlink_to(last)
    return link


def test_what_is_later_than_last_has_no_star_and_is_restored_by_its_whole_stamp_alone(disk: Disk, place: Path) -> None:
    link = put_nights(disk, SECOND)
    lines = [line for line in disk.lines("list") if "dayabay/folders/thing" in line]
    later = ["(later", "than", "last)"]
    assert [(line[0] == "*", line[-3:] == later) for line in lines] == [
        (False, False),
        (True, False),
        (False, True),
        (False, True),
    ]
    listed = disk.call("list")
    assert listed.returncode == 0
    assert "2 tarballs are later than the link last of their item has it" in listed.stderr
    for number, words in enumerate([[], [FIRST[:4]]]):
        restored = disk.call("restore", "dayabay/folders/thing", str(place / f"{number}"), *words)
        assert (restored.returncode, (place / f"{number}" / "file").read_text()) == (0, SECOND)
        assert (
            f"leads to {SECOND}, and to none that is suspect: thing.tar of {THIRD}, thing.tar of {FOURTH}."
            in restored.stderr
        )
        assert restored.stderr.splitlines()[0].endswith(f"give its date and time as STAMP: {FOURTH}")
    disk.well("restore", "dayabay/folders/thing", str(place / "named"), THIRD)
    assert (place / "named" / "file").read_text() == THIRD
    shutil.rmtree(disk.path / "dayabay" / "folders" / "thing" / FIRST)
    shutil.rmtree(disk.path / "dayabay" / "folders" / "thing" / SECOND)
    assert "has no other verified tarball: nothing was restored" in disk.badly(
        "restore", "dayabay/folders/thing", str(place / "none")
    )
    assert disk.call("list").stdout.count("*") == 1  # that of the legend
    link.unlink()
    disk.well("restore", "dayabay/folders/thing", str(place / "newest"))
    assert (place / "newest" / "file").read_text() == FOURTH


@pytest.mark.parametrize("last", [FOURTH, "elsewhere", "../../2013/05/08/020000", "$(touch x)"])
def test_where_last_leads_to_the_newest_or_to_no_stamp_the_newest_is_taken(disk: Disk, place: Path, last: str) -> None:
    put_nights(disk, last)
    assert "later" not in disk.well("list")
    disk.well("restore", "dayabay/folders/thing", str(place / "new"))
    assert (place / "new" / "file").read_text() == FOURTH


def test_a_clock_that_stands_before_all_stamps_asks_for_one(disk: Disk, place: Path) -> None:
    disk.put(PLAIN, stamp="2999/01/01/000000")
    assert "that is not dated later than the clock of this machine" in disk.badly(
        "restore", "dayabay/folders/thing", str(place / "new")
    )
    assert not list(place.iterdir())


@pytest.mark.parametrize("hours", [13, 15])
def test_stamps_of_any_time_zone_are_no_future(disk: Disk, hours: int) -> None:
    stamp = time.strftime("%Y/%m/%d/%H%M%S", time.gmtime(time.time() + 3600 * hours))
    disk.put(PLAIN, stamp=stamp)
    assert (disk.lines("list")[0][0] == "*") is (hours < 14)


def test_sizes_are_told_as_everywhere_else(shell: list[str]) -> None:
    script = SCRIPT.read_text()
    function = script[script.index("make_readable() {") :].partition("\n}\n")[0] + "\n}\n"
    draw = random.Random(5)
    odd = [
        draw.randrange(1 << exponent) | 1 for exponent in range(4, 58) for _ in range(4)
    ]  # none is rounded from a half
    edges = [
        value * 1024**power // 1000 + near
        for value in (999, 1000, 9949, 9951, 9994, 9995, 9996, 99_499, 99_501, 999_499, 999_500, 999_501)
        for power in range(1, 5)
        for near in (-1, 1)
    ]
    sizes = [0, 1, 2, 9, 10, 99, 100, 999, 1000, 1023, 1024, 1025, *odd, *(edge for edge in edges if edge % 2)]
    loop = f'{function}for size in {" ".join(map(str, sizes))}; do make_readable "$size"; echo "$shown"; done'
    done = subprocess.run([*shell, "-c", loop], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [readable(each) for each in sizes]


def test_list_of_an_empty_disk_fails(disk: Disk) -> None:
    assert disk.badly("list").startswith("0 tarballs of 0 items")
    assert disk.badly("verify").startswith("0 tarballs")


def test_list_reads_no_tarball(disk: Disk) -> None:
    path = disk.put(PLAIN)
    with open(path, "r+b") as stream:
        stream.truncate(5 << 30)
    Path(f"{path}.dna").write_text('{"dig": "%s", "size": %d, "alg": "sha256"}' % ("0" * 64, 5 << 30))
    assert disk.lines("list") == [["*", "dayabay/folders/thing", FIRST, "5.0", "GiB", "verified", "thing.tar"]]
    assert " verified, 5.0 GiB (* " in disk.well("list").splitlines()[-1]


def test_private_state_other_files_and_links_are_passed_over(disk: Disk, tmp_path: Path) -> None:
    tarball = disk.put(PLAIN)
    Path(f"{tarball}.proof").write_text("$(touch ran)")
    shutil.copytree(disk.path / "dayabay", disk.path / ".altbackup" / "quarantine" / "dayabay")
    shutil.copytree(disk.path / "dayabay", disk.path / "lost+found")
    shutil.copytree(disk.path / "dayabay" / "folders", disk.path / "dayabay" / "folders.LOCKED")
    (disk.path / "elsewhere").symlink_to(disk.path / "dayabay")
    (disk.path / "dayabay" / "folders" / "thing" / "last").symlink_to(FIRST)
    (tarball.parent / ".altbackup-tmp-1-thing.tar").write_text("x")
    assert len(disk.lines("list")) == 1
    assert len(disk.lines("verify")) == 1


def test_verify_tells_good_and_bad_tarballs_apart(disk: Disk, tmp_path: Path) -> None:
    disk.put(PLAIN, key="folders/good")
    changed = disk.put(PLAIN, key="folders/changed")
    with open(changed, "r+b") as stream:
        stream.seek(700)
        stream.write(b"X")
    shorter = disk.put(PLAIN, key="folders/shorter")
    os.truncate(shorter, 10240 - 512)
    disk.put(PLAIN, key="folders/without", dna="")
    disk.put(PLAIN, key="folders/odd", dna="{'dig': 'x'}")
    disk.put(PLAIN, key="folders/gone").unlink()
    verdicts = {line[-5 if "(" in " ".join(line) else -1]: line[0] for line in disk.lines("verify")}
    out = disk.badly("verify")
    words = {line.split("  ")[0].strip(): line for line in out.splitlines()[:-1]}
    assert sorted(words) == ["BAD", "MALFORMED", "NO DNA", "NO TARBALL", "OK"], verdicts
    assert out.count("\nBAD ") + out.startswith("BAD ") == 2
    assert "folders/changed" in out and f"its dna says {hashlib.sha256(archive(PLAIN)).hexdigest()}" in out
    assert "it has 9728 bytes, its dna says 10240" in out
    assert out.splitlines()[-1] == "6 tarballs, 1 of them OK"
    assert disk.well("verify", "dayabay/folders/good").splitlines()[-1] == "1 tarballs, 1 of them OK"
    assert "BAD" in disk.badly("verify", "dayabay/folders/changed")


def test_verify_finds_the_damage_of_a_file_under_several_stamps_in_each(disk: Disk) -> None:
    path = disk.put(PLAIN)
    later = disk.put(PLAIN, stamp=SECOND)
    later.unlink()
    os.link(path, later)
    assert disk.well("verify").count("OK  ") == 2
    with open(path, "r+b") as stream:
        stream.write(b"X")
    assert disk.badly("verify").count("BAD") == 2


def test_trees_of_the_original_scripts_are_read(disk: Disk) -> None:
    relpaths = original_tree(disk.path / "dayabay")
    assert disk.well("verify").count("OK  ") == len(relpaths)
    assert {line[-1] for line in disk.lines("list")} == {relpath.rsplit("/", 1)[1] for relpath in relpaths}


CONTENT = archive(PLAIN)
DIG = {name: hashlib.new(name, CONTENT).hexdigest() for name in ("md5", "sha256", "sha512")}
SIZE = len(CONTENT)
MORE = '"dig": "%s", "size": %d' % (DIG["md5"], SIZE)
SIDECARS = [
    original_text(CONTENT),
    modern_text(CONTENT),
    "{'size': %dL, 'dig': '%s'}\r\n" % (SIZE, DIG["md5"]),
    '{\'dig\': "%s", "size": %d,}' % (DIG["md5"].upper(), SIZE),
    '{"alg": "sha512", "size": %d, "dig": "%s"}' % (SIZE, DIG["sha512"]),
    "  {\t'dig' :'%s' ,\n 'size':%d , 'alg':'md5' } \n\n" % (DIG["md5"], SIZE),
    '{%s, "base": "a \\"quoted\\\\\\" na\\u00efve/$(touch ran).tar", "base_dig": "%s"}' % (MORE, DIG["sha512"]),
    '{%s, "base": "%s", "base_dig": "%s"}' % (MORE, "b" * (4096 - 150 - len(MORE)), DIG["md5"]),
    *(
        "",
        "\n",
        "{}",
        "{%s" % MORE,
        "%s}" % MORE,
        "{%s}}" % MORE,
        "{%s} x" % MORE,
        "[{%s}]" % MORE,
        "{%s,,}" % MORE,
        "{,%s}" % MORE,
    ),
    *(
        '{"dig": "%s", "size": %s}' % (DIG["md5"], size)
        for size in ("-1", "0", "1.0", "1e3", "true", '"5"', "05", "9" * 40, "5LL", "L", "")
    ),
    *(
        '{"dig": %s, "size": %d}' % (dig, SIZE)
        for dig in ("1", "null", '""', '"%s"' % DIG["md5"][1:], '"%sg"' % DIG["md5"][1:])
    ),
    *('{%s, "alg": %s}' % (MORE, alg) for alg in ('""', '"crc32"', "null", '"sha256"', "['md5']")),
    *(
        "{%s, %s}" % (MORE, more)
        for more in ('"size": 5', '"dig": "x"', '"path": "x"', "'alg': 'md5', 'alg': 'md5'", "x")
    ),
    *(
        '{%s, "base": %s, "base_dig": "%s"}' % (MORE, name, DIG["md5"])
        for name in ('""', '"/x"', '"../x"', '"a/./b"', '"a//b"', "null", "5")
    ),
    '{%s, "base": "x"}' % MORE,
    '{%s, "base_dig": "%s"}' % (MORE, DIG["md5"]),
    '{%s, "base": "x", "base_dig": "%s"}' % (MORE, DIG["md5"][1:]),
    "{'dig': '%s', 'size': %d, 'base': 'a\\'', 'base_dig': '%s'}" % (DIG["md5"], SIZE, DIG["md5"]),
    "{'dig\": '%s', 'size': %d}" % (DIG["md5"], SIZE),
    "{'dig': '%s' 'size': %d}" % (DIG["md5"], SIZE),
    "%s  thing.tar" % DIG["md5"],
    "{%s}%s" % (MORE, " " * 5000),
    "{%s}\0" % MORE,
    "\ufeff{%s}" % MORE,
    "[" * 4000,
]


@pytest.mark.sampled(3)
def test_sidecars_are_judged_as_the_modules_judge_them(disk: Disk) -> None:
    expected = {}
    for number, text in enumerate(SIDECARS):
        path = disk.put(content=CONTENT, key=f"folders/{number}", dna="x")
        Path(f"{path}.dna").write_bytes(text.encode())
        expected[f"dayabay/folders/{number}"] = read_state(str(path), path.stat().st_size)[2]
    assert Counter(expected.values()) == {"verified": 6, "malformed": len(SIDECARS) - 6}
    found = [line[-6:] for line in disk.lines("list")]
    assert {item: state for item, _, _, _, state, _ in found} == expected
    verdicts = {line[1]: line[0] for line in disk.lines("verify")}
    assert verdicts == {item: "OK" if state == "verified" else "MALFORMED" for item, state in expected.items()}


PAYLOADS = [
    "$(touch ran)",
    "`touch ran`",
    "'; touch ran; '",
    '"; touch ran; "',
    "a[$(touch ran)]",
    "-e",
    "%s%n",
    "*",
    "\\$(touch ran)",
    "\n touch ran\n",
]


FORMS = (
    "{}",
    "{{'dig': '{}', 'size': 10240}}",
    '{{"dig": "0", "size": {}}}',
    '{{"{}": 5}}',
    '{{"alg": "{}", "size": 10240, "dig": "%s"}}' % DIG["md5"],
    '{{"base": "{}", "base_dig": "%s", "size": 10240, "dig": "%s"}}' % (DIG["md5"], DIG["md5"]),
)


@pytest.mark.sampled(3)
def test_text_of_a_sidecar_is_never_executed(disk: Disk, place: Path) -> None:
    texts = [form.format(payload) for form in FORMS for payload in PAYLOADS]
    for number, text in enumerate(texts):
        disk.put(content=CONTENT, key=f"folders/{number}", dna=text)
    calls = [["list"], ["verify"], *(["restore", f"dayabay/folders/{number}", "out"] for number in range(len(texts)))]
    for words in calls:
        done = disk.call(*words, cwd=place)
        complaints = [line for line in done.stderr.splitlines() if not line.startswith("restore.sh: ")]
        assert (done.returncode != 0 or words == ["list"]) and complaints == []
    assert list(place.iterdir()) == []
    assert not (disk.path / "ran").exists()


@pytest.mark.sampled(3)
def test_restore_of_a_subversion_repository_and_of_git(disk: Disk, tmp_path: Path, place: Path) -> None:
    (tmp_path / "live").mkdir()
    svn = make_subversion(tmp_path / "live" / "dybsvn", 4)
    git = make_git(tmp_path / "live" / "toolbox.git")
    disk.dump(
        {"kind": "svn", "name": "dybsvn", "path": str(svn)},
        {"kind": "git", "name": "toolbox", "path": str(git)},
    )
    out = disk.well("restore", "dayabay/svn/dybsvn", place / "dybsvn")
    assert f"svnadmin verify '{place / 'dybsvn'}'" in out
    run("svnadmin", "verify", "-q", place / "dybsvn")
    assert run("svnadmin", "dump", "-q", place / "dybsvn") == run("svnadmin", "dump", "-q", svn)
    disk.well("restore", "dayabay/git/toolbox", place / "toolbox.git")
    assert references(place / "toolbox.git") == references(git)
    run("git", "-C", place / "toolbox.git", "fsck", "--full")


def test_restore_of_a_git_repository_with_a_working_tree(disk: Disk, tmp_path: Path, place: Path) -> None:
    live = tmp_path / "live"
    run("git", "clone", "--quiet", make_git(tmp_path / "origin.git"), live)
    disk.dump({"kind": "git", "name": "toolbox", "path": str(live)})
    out = disk.well("restore", "dayabay/git/toolbox", place / "tool box")
    assert f"git -C '{place / 'tool box'}' reset --hard" in out
    assert references(place / "tool box" / ".git") == references(live / ".git")
    run("git", "-C", place / "tool box", "reset", "--quiet", "--hard")
    assert run("git", "-C", place / "tool box", "status", "--porcelain") == ""


def test_restore_gives_back_odd_trees_with_modes_links_and_attributes(disk: Disk, tmp_path: Path, place: Path) -> None:
    live = make_odd_tree(tmp_path / "live")
    disk.dump({"kind": "folder", "name": "odd $HOME 'x' %2F", "path": str(live)})
    disk.well("restore", "--special-modes", "dayabay/folders/odd $HOME 'x' %2F", place / "out")
    before, after = describe_tree(live), describe_tree(place / "out")
    for name in [name for name in before if name not in after]:
        del before[name]  # sockets
        assert b"socket" in name
    assert after == before


def test_restore_of_an_older_tarball_gives_back_the_times_of_folders(disk: Disk, tmp_path: Path, place: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    make_siblings(live)
    parts = [Part(str(live), sorted(walk(str(live))[0]))]  # siblings stand between a folder and its content
    write_archive(str(tmp_path / "x.tar"), parts, top="thing", form=ArchiveFormat(".tar"), deadline=Deadline(60))
    disk.put(content=(tmp_path / "x.tar").read_bytes())
    disk.well("restore", "dayabay/folders/thing", place / "out")
    assert describe_tree(place / "out") == describe_tree(live)


@pytest.mark.sampled(84)
@pytest.mark.parametrize(
    "name", ["-rf", "a b", "$(touch ran)", "group%2Fproject", "*", "\"'", "nai\u0308ve", "a\\b", "ends\\"]
)
@pytest.mark.parametrize("extension", [".tar", ".tar.gz", ".tar.zst"])
def test_odd_names_of_items_and_destinations(
    disk: Disk, tmp_path: Path, place: Path, name: str, extension: str
) -> None:
    disk.dump(folder_item(tmp_path, name), form=ArchiveFormat(extension))
    assert disk.well("verify", f"dayabay/folders/{name}").startswith("OK ")
    disk.well("restore", f"dayabay/folders/{name}", f"{name}/" if name != "*" else "*", cwd=place)
    assert left_beside(place / name) == [name]
    assert (place / name / "file").read_text() == f"content of {name}"


def test_restore_takes_the_newest_verified_tarball_or_that_of_a_stamp_or_day(disk: Disk, place: Path) -> None:
    item = "dayabay/folders/thing"
    for stamp in (FIRST, f"{FIRST[:10]}/200000", SECOND):
        disk.put([("thing", None), ("thing/file", stamp.encode())], stamp=stamp)

    def restored(*wanted: str) -> str:
        destination = place / f"of {'-'.join(wanted).replace('/', '-')}"
        disk.well("restore", item, destination, *wanted)
        return (destination / "file").read_text()

    assert restored() == SECOND
    assert restored(FIRST) == FIRST
    assert restored(f"{FIRST[:10]}") == f"{FIRST[:10]}/200000"
    assert restored(f"{FIRST[:8]}") == SECOND
    assert f"{item} has no verified tarball of 2013/05/1:" in disk.badly("restore", item, place / "out", "2013/05/1")
    disk.put(PLAIN, stamp=THIRD, dna="")
    assert "passed over: no dna" in disk.badly("restore", item, place / "out", THIRD)
    assert not (place / "out").exists()


@pytest.mark.parametrize("kind", ["folder", "file", "dangling link"])
def test_an_existing_destination_is_refused_and_not_touched(disk: Disk, place: Path, kind: str) -> None:
    disk.put(PLAIN)
    out = place / "out"
    if kind == "folder":
        out.mkdir()
    elif kind == "file":
        out.write_text("mine")
    else:
        out.symlink_to("nowhere")
    before = describe_tree(place)
    assert "exists: choose another DEST" in disk.badly("restore", "dayabay/folders/thing", out)
    assert describe_tree(place) == before


def test_destinations_that_cannot_be_are_refused(disk: Disk, place: Path) -> None:
    disk.put(PLAIN)
    item = "dayabay/folders/thing"
    assert "there is no folder" in disk.badly("restore", item, place / "no" / "out")
    assert "among the backups" in disk.badly("restore", item, disk.path / "out")
    assert "among the backups" in disk.badly("restore", item, disk.path / "dayabay" / "out")
    for destination in (place / ".", place / "..", "/", "."):
        assert "exists" in disk.badly("restore", item, str(destination))
    assert "DEST is empty" in disk.badly("restore", item, "", status=2)
    assert not list(place.iterdir())


NO_ITEMS = [
    *("", "dayabay", "dayabay/folders", "dayabay/folders/other", "dayabay/folders/thing/2013", "../x/y"),
    *("/dayabay/folders/thing", "dayabay//folders/thing", "dayabay/folders/..", ".altbackup/incoming/dayabay"),
]


@pytest.mark.parametrize("item", NO_ITEMS)
def test_an_item_that_is_none_is_refused(disk: Disk, place: Path, item: str) -> None:
    disk.put(PLAIN)
    assert "there is no item" in disk.badly("restore", item, place / "out")
    assert "there is no item" in disk.badly("verify", item)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["lost"],
        ["list", "x"],
        ["verify", "a", "b"],
        ["restore"],
        ["restore", "a"],
        ["restore", "a", "b", "c", "d"],
        ["restore", "--special-modes", "a"],
    ],
)
def test_wrong_usage_is_exit_2_and_shows_the_usage(disk: Disk, words: list[str]) -> None:
    assert "Usage: sh restore.sh list" in disk.badly(*words, status=2)
    assert disk.well("help").startswith("Usage: ")


@pytest.mark.parametrize("offset", [0, 1024])
def test_a_damaged_tarball_is_not_unpacked(disk: Disk, place: Path, offset: int) -> None:
    path = disk.put(PLAIN)
    with open(path, "r+b") as stream:
        stream.seek(offset)
        stream.write(b"X")
    assert "is damaged" in disk.badly("restore", "dayabay/folders/thing", place / "out")
    assert not list(place.iterdir())


@pytest.mark.parametrize("extension", [".tar.zst", ".tar.gz"])
def test_damage_that_only_the_decompressor_sees_is_seen(
    disk: Disk, tmp_path: Path, place: Path, extension: str
) -> None:
    (path,) = disk.dump(folder_item(tmp_path), form=ArchiveFormat(extension))
    content = bytearray(path.read_bytes())
    content[-6 if extension == ".tar.gz" else -1] ^= 1
    path.write_bytes(content)
    Path(f"{path}.dna").write_text(modern_text(content))
    assert disk.well("verify").startswith("OK")
    assert "cannot be read as an archive" in disk.badly("restore", "dayabay/folders/thing", place / "out")
    assert not list(place.iterdir())


@pytest.mark.parametrize("tar", ["GNU tar", "busybox tar"])
def test_what_follows_the_end_of_an_archive_does_not_matter(disk: Disk, tmp_path: Path, place: Path, tar: str) -> None:
    if tar == "busybox tar":
        only_busybox_tar(disk, tmp_path)
    disk.put(content=archive(PLAIN) + bytes(1 << 20))
    disk.well("restore", "dayabay/folders/thing", place / "out")
    assert (place / "out" / "file").read_text() == "content"


HOSTILE: dict[str, list[tuple[str, bytes | str | None]]] = {
    "up": [*PLAIN, ("../escaped", b"x")],
    "up within": [*PLAIN, ("thing/../../escaped", b"x")],
    "up at the end": [*PLAIN, ("thing/..", None)],
    "absolute": [*PLAIN, ("{place}/escaped", b"x")],
    "absolute only": [("{place}/escaped", b"x")],
    "two folders": [*PLAIN, ("other", None)],
    "dot": [(".", None), ("./file", b"x")],
    "nothing": [],
    "no name": [("", b"x")],
    "no name after others": [*PLAIN, ("", b"x")],
    "a file": [("thing", b"x")],
    "a link": [("thing", "/etc")],
    "a link as folder": [("thing", "{place}"), ("thing/escaped", b"x")],
    "through a link": [*PLAIN, ("thing/link", "{place}"), ("thing/link/escaped", b"x")],
    "through a relative link": [*PLAIN, ("thing/link", "../.."), ("thing/link/escaped", b"x")],
    "over a hard link": [*PLAIN, ("thing/link", "hard:{place}/victim"), ("thing/link", b"escaped")],
    "over a link": [*PLAIN, ("thing/link", "{place}/victim"), ("thing/link", b"escaped")],
}


@pytest.mark.parametrize("tar", ["GNU tar", "busybox tar"])
@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_gets_out_of_the_destination(disk: Disk, tmp_path: Path, place: Path, name: str, tar: str) -> None:
    if tar == "busybox tar":
        only_busybox_tar(disk, tmp_path)
    (place / "victim").write_text("untouched")
    disk.put(
        [
            (member.format(place=place), content.format(place=place) if isinstance(content, str) else content)
            for member, content in HOSTILE[name]
        ]
    )
    done = disk.call("restore", "dayabay/folders/thing", place / "out")
    assert (place / "victim").read_text() == "untouched"
    assert (place / "victim").stat().st_nlink == 1
    assert not (tmp_path / "escaped").exists()
    if done.returncode:
        assert left_beside(place / "out") == ["victim"], done
    else:
        assert left_beside(place / "out") == ["out", "victim"], done
        assert name.startswith("over a")
    if name in ("up", "up within", "up at the end", "absolute", "absolute only", "two folders", "dot", "nothing"):
        assert "nothing was unpacked" in done.stderr


def only_busybox_tar(disk: Disk, tmp_path: Path) -> None:
    """Leave restore.sh only busybox's tar."""
    tools = tmp_path / "tools"
    link_tools(
        tools,
        [
            "zstd",
            "gzip",
            "find",
            "head",
            "id",
            "dd",
            "ls",
            "tr",
            "mkdir",
            "rm",
            "rmdir",
            "mv",
            "chmod",
            "cat",
            "grep",
            "awk",
            "sha256sum",
            "md5sum",
            "mawk",
        ],
    )
    (tools / "tar").symlink_to(BUSYBOX)
    disk.environment["PATH"] = str(tools)
    disk.shell = [shutil.which(disk.shell[0]) or "", *disk.shell[1:]]


@pytest.mark.sampled(3)
@pytest.mark.root
@needs_root
@pytest.mark.parametrize("tool", ["gnu", "busybox"])
def test_owners_are_those_of_their_names_unless_numbers_are_asked_for(
    disk: Disk, tmp_path: Path, place: Path, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = folder_item(tmp_path)
    live = Path(item["path"])
    (live / "other").touch()
    os.chown(live / "file", 50001, 50002)
    os.chown(live / "other", 50003, 50003)
    names_there = {50001: "daemon", 50002: "daemon", 50003: "never heard of"}
    with monkeypatch.context() as there:
        there.setattr(names, "_user_name", lambda uid: names_there.get(uid, ""))
        there.setattr(names, "_group_name", lambda gid: names_there.get(gid, ""))
        disk.dump(item)
    if tool == "busybox":
        only_busybox_tar(disk, tmp_path)
    said = disk.well("restore", "dayabay/folders/thing", place / "named")
    assert "by name where this machine knows the name" in said
    status = (place / "named" / "file").stat()
    assert (status.st_uid, status.st_gid) == (pwd.getpwnam("daemon").pw_uid, grp.getgrnam("daemon").gr_gid)
    assert (place / "named" / "other").stat().st_uid == 50003
    said = disk.well("restore", "--special-modes", "--numeric", "dayabay/folders/thing", place / "numbered")
    assert "are those of the backup, by number" in said
    status = (place / "numbered" / "file").stat()
    assert (status.st_uid, status.st_gid) == (50001, 50002)


def test_busybox_tar_restores_what_it_understands(disk: Disk, tmp_path: Path, place: Path) -> None:
    only_busybox_tar(disk, tmp_path)
    item = folder_item(tmp_path)
    live = Path(item["path"])
    (live / ("n" * 200)).write_text("a long name")
    (live / "link").symlink_to("file")
    (live / "file").chmod(0o4711)
    disk.dump(item)
    said = disk.well("restore", "--special-modes", "dayabay/folders/thing", place / "out")
    assert "attributes and ACLs" in said
    assert describe_tree(place / "out", times=False) == describe_tree(live, times=False)


@pytest.mark.sampled(10)
@pytest.mark.parametrize("what", ["sparse file", "long link", "line break"])
def test_busybox_tar_does_not_spoil_what_it_does_not_understand(
    disk: Disk, tmp_path: Path, place: Path, what: str
) -> None:
    item = folder_item(tmp_path)
    live = Path(item["path"])
    if what == "sparse file":
        with open(live / "sparse", "wb") as stream:
            stream.truncate(1 << 20)
            stream.seek(1 << 19)
            stream.write(b"in the middle")
    elif what == "long link":
        (live / "link").symlink_to("t" * 300)
    else:
        (live / "line\nbreak").write_text("x")
    disk.dump(item)
    disk.well("restore", "dayabay/folders/thing", place / "gnu")
    assert describe_tree(place / "gnu", times=False) == describe_tree(live, times=False)
    only_busybox_tar(disk, tmp_path)
    assert "GNU tar" in disk.badly("restore", "dayabay/folders/thing", place / "out")
    assert left_beside(place / "out") == ["gnu"]


def test_a_differential_is_restored_after_its_full_one(disk: Disk, tmp_path: Path, place: Path) -> None:
    live = put_pair(disk, tmp_path)
    disk.well("verify")
    disk.well("restore", "dayabay/folders/thing", place / "out")
    assert describe_tree(place / "out") == describe_tree(live)
    disk.well("restore", "dayabay/folders/thing", place / "full", FIRST)
    assert (place / "full" / "goes").exists()


def put_hostile_pair(disk: Disk, full: list[Any], differential: list[Any]) -> None:
    """Add a full tarball and a differential of these members."""
    first = stream(full)
    disk.put(content=first)
    more = {"base": f"{FIRST}/thing.tar", "base_dig": hashlib.sha256(first).hexdigest()}
    disk.put(content=stream(differential), stamp=SECOND, extension=".diff.tar", **more)


def symlink(name: str, target: str) -> Any:
    return member(name, kind=tarfile.SYMTYPE, link=target)


def listing(*entries: str) -> dict[str, str]:
    """Return the pax header of a differential's folder, which lists its entries."""
    return {"GNU__dumpdir": "".join(f"{entry}\0" for entry in entries) + "\0"}


PAIRS: dict[str, list[Any]] = {
    "file": [folder(**listing("Nx")), member("thing/x/evil", b"x")],
    "no dumpdir": [folder(), member("thing/x/evil", b"x")],
    "odd name": [folder(**listing("Nx")), member("thing/.//x//evil", b"x")],
    "escaped name": [folder(**listing("Nx")), member("thing/ %s\\é/evil", b"x")],
    "line break": [folder(**listing("Nx")), member("thing/line\nbreak/evil", b"x")],
    "below, then folder": [folder(**listing("Nx")), member("thing/x/evil", b"x"), folder("thing/x")],
    "link again": [folder(**listing("Nx")), symlink("thing/x", "{place}"), member("thing/x/evil", b"x")],
    "link to a link": [folder(**listing("Nx")), symlink("thing/y", "x"), member("thing/y/evil", b"x")],
    "below a link, then that": [folder(**listing("Nx")), member("thing/y/evil", b"x"), symlink("thing/y", "x")],
    "hard link": [folder(**listing("Nx")), member("thing/hard", kind=tarfile.LNKTYPE, link="thing/x/victim")],
    "hard link of an odd name": [
        folder(**listing("Nx")),
        member("thing/a link to b", kind=tarfile.LNKTYPE, link="/thing//x/victim"),
    ],
    "rename through": [folder(**listing("Nx", "Rthing/x/sub", "Tthing/taken"))],
    "rename to": [folder(**listing("Nx", "Dd", "Rthing/d", "Tthing/x/d"))],
    "rename of the link": [folder(**listing("Rthing/x", "Tthing/y")), member("thing/y/evil", b"x")],
    "rename through an escaped name": [folder(**listing("Rthing/ %s\\é/sub", "Tthing/taken"))],
    "rename through a line break": [folder(**listing("Rthing/line\nbreak/sub", "Tthing/taken"))],
    "rename out": [folder(**listing("R../sub", "Tthing/taken"))],
    "temporary folder": [folder(**listing("Xthing/x", "Rthing/d", "T", "R", "Tthing/e"))],
    "temporary folder without a name": [folder(**listing("X", "Rthing/d", "T"))],
    "renamed with its folder": [folder(**listing("De", "Rthing/d", "Tthing/e")), member("thing/e/x/evil", b"x")],
    "renamed twice": [
        folder(**listing("De", "Xthing", "Rthing/d", "T", "Rthing/full", "Tthing/d", "R", "Tthing/e")),
        member("thing/e/x/evil", b"x"),
    ],
    "rename that fails": [folder(**listing("Dd", "Rthing/d", "Tthing/full")), member("thing/d/x/evil", b"x")],
    "late rename": [
        folder(),
        folder("thing/s", **listing("Rthing/d", "Tthing/e")),
        member("thing/e/x/evil", b"x"),
    ],
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", PAIRS)
def test_a_differential_writes_nothing_through_links_of_its_full_one(disk: Disk, place: Path, name: str) -> None:
    away = place.parent / "away"
    (away / "sub").mkdir(parents=True)
    (away / "victim").write_text("untouched")
    before = describe_tree(away)
    links = ["thing/x", "thing/d/x", "thing/ %s\\é", *(["thing/line\nbreak"] if "line break" in name else [])]
    first = [folder(), folder("thing/d"), *(symlink(link, str(away)) for link in links)]
    put_hostile_pair(disk, [*first, folder("thing/full"), member("thing/full/file", b"x")], PAIRS[name])
    said = disk.badly("restore", "dayabay/folders/thing", place / "out")
    assert ("line breaks in names" if name == "rename through a line break" else "is a symbolic link or may") in said
    assert describe_tree(away) == before
    assert not list(place.iterdir())


def test_a_folder_that_was_a_link_is_restored(disk: Disk, tmp_path: Path, place: Path) -> None:
    live = put_pair(disk, tmp_path, links=("goes to", "below/ %s\\é", "was/in"))
    disk.well("restore", "dayabay/folders/thing", place / "out")
    assert describe_tree(place / "out") == describe_tree(live)


def test_a_differential_needs_its_full_one_and_gnu_tar(disk: Disk, tmp_path: Path, place: Path) -> None:
    put_pair(disk, tmp_path)
    full = disk.path / "dayabay/folders/thing" / FIRST / "thing.tar"
    item = "dayabay/folders/thing"
    path = disk.environment["PATH"]
    only_busybox_tar(disk, tmp_path)
    assert "only GNU tar unpacks" in disk.badly("restore", item, place / "out")
    disk.environment["PATH"] = path
    content = full.read_bytes()
    full.write_bytes(b"X" + content[1:])
    assert "is damaged" in disk.badly("restore", item, place / "out")
    disk.put(PLAIN)
    assert "the full tarball" in disk.badly("restore", item, place / "out", SECOND)
    full.unlink()
    assert "the full tarball" in disk.badly("restore", item, place / "out", SECOND)
    assert not list(place.iterdir())


def test_a_differential_without_its_full_one_is_told_and_passed_over(disk: Disk, tmp_path: Path, place: Path) -> None:
    put_pair(disk, tmp_path)
    item = "dayabay/folders/thing"
    full = disk.path / item / FIRST / "thing.tar"
    disk.put(PLAIN)
    assert "no full" in next(line for line in disk.well("list").splitlines() if SECOND in line)
    assert "NO FULL" in disk.badly("verify")
    done = disk.call("restore", item, place / "older")
    assert done.returncode == 0 and "thing.diff.tar of 2013/05/11/104701 is passed over: no full" in done.stderr
    full.unlink()
    assert "no full" in disk.badly("restore", item, place / "out")


def test_any_tarball_of_the_digest_serves_a_differential(disk: Disk, tmp_path: Path, place: Path) -> None:
    live = put_pair(disk, tmp_path)
    folder = disk.path / "dayabay/folders/thing"
    (folder / "2013/05/20").mkdir()
    (folder / FIRST).rename(folder / "2013/05/20/104701")
    disk.well("verify")
    disk.well("restore", "dayabay/folders/thing", place / "out", SECOND)
    assert describe_tree(place / "out") == describe_tree(live)


@pytest.mark.sampled(3)
def test_nights_of_dumps_with_differentials_come_back(disk: Disk, tmp_path: Path, place: Path) -> None:
    live = tmp_path / "live"
    (live / "sub").mkdir(parents=True)
    for name in ("stays", "goes", "sub/file"):
        (live / name).write_bytes(os.urandom(20_000))
    (live / "link").symlink_to("sub")
    mine = {"kind": "folder", "name": "thing", "path": str(live)}
    disk.dump(mine, full_every=7)
    (live / "goes").unlink()
    (live / "link").unlink()
    (live / "sub").rename(live / "link")
    (live / "new").write_text("new")
    (path,) = disk.dump(mine, stamp=SECOND, full_every=7)
    assert path.name == "thing.diff.tar.zst"
    disk.well("verify")
    disk.well("restore", "dayabay/folders/thing", place / "out")
    assert describe_tree(place / "out") == describe_tree(live)


def test_it_is_called_from_anywhere_and_writes_nothing_to_its_disk(disk: Disk, tmp_path: Path, place: Path) -> None:
    disk.put(PLAIN)
    (disk.path / "link").symlink_to("restore.sh")
    before = describe_tree(disk.path)
    inside = disk.path / "dayabay" / "folders"
    for cwd, script in (
        (disk.path, "restore.sh"),
        (disk.path, "./restore.sh"),
        (inside, "../../restore.sh"),
        (place, ""),
    ):
        assert len(disk.well("list", cwd=cwd, script=script).splitlines()) == 2
        assert disk.well("verify", cwd=cwd, script=script).startswith("OK")
    disk.well("restore", "dayabay/folders/thing", "../../../place/out", cwd=inside, script="../../restore.sh")
    assert (place / "out" / "file").read_text() == "content"
    assert describe_tree(disk.path) == before


@pytest.mark.parametrize(
    ("tool", "package"), [("zstd", "zstd"), ("sha256sum", "coreutils"), ("tar", "tar"), ("awk", "mawk")]
)
def test_a_missing_tool_is_named_with_its_package(tmp_path: Path, place: Path, tool: str, package: str) -> None:
    disk = Disk(tmp_path / "disk", [shutil.which("dash") or ""])
    disk.dump(folder_item(tmp_path))
    only_busybox_tar(disk, tmp_path)
    for name in {tool, "mawk" if tool == "awk" else tool}:
        (tmp_path / "tools" / name).unlink()
    out = disk.badly("restore", "dayabay/folders/thing", place / "out")
    assert f"the program {tool} is not installed here: install the package {package}" in out
    assert not list(place.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_restore_leaves_nothing(tmp_path: Path, place: Path, shell: list[str], number: int) -> None:
    disk = Disk(tmp_path / "disk", shell)
    content = random.Random(1).randbytes(1 << 20)
    disk.put([*PLAIN, *((f"thing/{index}", content) for index in range(10))])
    tools = tmp_path / "tools"
    tools.mkdir()
    tar = shutil.which("tar")
    make_tool(tools, "tar", f'case "$*" in *-x*) : >"{tmp_path}/unpacking"; sleep 0.5 ;; esac\nexec {tar} "$@"')
    disk.environment["PATH"] = f"{tools}:{disk.environment['PATH']}"
    # the tests' parent may have set signals to be ignored, as shells do for background jobs
    heeding = (
        "import os, signal, sys; signal.signal(int(sys.argv[1]), signal.SIG_DFL); os.execvp(sys.argv[2], sys.argv[2:])"
    )
    words = [*shell, str(disk.path / "restore.sh"), "restore", "dayabay/folders/thing", str(place / "out")]
    process = subprocess.Popen(
        [sys.executable, "-c", heeding, str(int(number)), *words],
        env=disk.environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert wait_until((tmp_path / "unpacking").exists, 60)
        assert left_beside(place / "out") == [f".altbackup-restore-{process.pid}"]
        os.killpg(process.pid, number)
        assert process.wait(30) in (128 + number, -number)
    finally:
        process.kill()
        process.wait()
    assert not list(place.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path: Path, place: Path, shell: list[str]) -> None:
    disk = Disk(tmp_path / "disk", shell)
    disk.put([*PLAIN, ("thing/big", bytes(1 << 20))])
    tools = tmp_path / "tools"
    tools.mkdir()
    tar = shutil.which("tar")
    make_tool(tools, "tar", f'case "$*" in *-x*) ulimit -f 100 ;; esac\nexec {tar} "$@"')
    disk.environment["PATH"] = f"{tools}:{disk.environment['PATH']}"
    assert "could not be unpacked: nothing was restored" in disk.badly(
        "restore", "dayabay/folders/thing", place / "out"
    )
    assert not list(place.iterdir())


@needs_root
def test_what_cannot_be_read_is_a_failure(tmp_path: Path, shell: list[str]) -> None:
    with nobodys_folder() as folder:
        disk = Disk(folder / "disk", shell)
        disk.put(PLAIN)
        disk.put(PLAIN, key="svn/thing")
        (disk.path / "dayabay" / "svn").chmod(0o700)
        with as_nobody():
            for command in ("list", "verify"):
                out = disk.badly(command)
                assert "dayabay/svn cannot be read by this user, uid 65534: become root" in out
                assert "dayabay/folders/thing" in out
            assert "there is no item" in disk.badly("restore", "dayabay/svn/thing", folder / "out")


@needs_root
def test_who_is_not_root_restores_folders_that_nobody_may_write_to(tmp_path: Path, shell: list[str]) -> None:
    with nobodys_folder() as folder:
        item = folder_item(tmp_path)
        (Path(item["path"]) / "locked").mkdir()
        (Path(item["path"]) / "locked" / "file").touch()
        (Path(item["path"]) / "locked").chmod(0o555)
        Path(item["path"]).chmod(0o555)
        disk = Disk(folder / "disk", shell)
        for path in disk.dump(item):
            os.chown(path, 65534, 65534)
            os.chown(f"{path}.dna", 65534, 65534)
        for path in [path for path in disk.path.rglob("*") if path.is_dir()]:
            path.chmod(0o755)
        with as_nobody():
            disk.well("restore", "dayabay/folders/thing", folder / "out")
            assert sorted(os.listdir(folder)) == ["disk", "out"]
            assert {path.stat().st_mode & 0o777 for path in (folder / "out", folder / "out" / "locked")} == {0o555}
            (folder / "tools").mkdir()
            make_tool(folder / "tools", "mv", "exit 1")
            disk.environment["PATH"] = f"{folder}/tools:{disk.environment['PATH']}"
            if shell[0] != "busybox":  # its mv is its own
                assert "cannot make" in disk.badly("restore", "dayabay/folders/thing", folder / "again")
                assert sorted(os.listdir(folder)) == ["disk", "out", "tools"]
