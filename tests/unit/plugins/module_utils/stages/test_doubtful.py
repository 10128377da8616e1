"""Dumps night by night, some of which are suspect: an alarm in the first bad night, and in each until it is accepted."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.environments import execute
from helpers.trees import Base, file_digest, item, needs_root, small_disk, written

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump import dump
from ansible_collections.altbackup.core.plugins.module_utils.stages.purge import PurgeRequest, purge
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.doubt import Limits
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tree, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import keep_marks, marks_path
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

TEXTS = [path for folder in ("/usr/share/common-licenses", "/usr/share/perl") for path in Path(folder).rglob("*")]
KEY = "folders/thing"
LAST_BAD = 12


def stamp(night: int) -> str:
    return f"2026/11/{night:02}/013000"


class Nights:
    """One item, dumped night by night."""

    def __init__(self, folder: Path, kind: str, path: Path, **more: Any) -> None:
        self.base = Base(folder)
        self.item = item(kind, path, **more)
        self.key = f"{'folders' if kind == 'folder' else 'databases'}/thing"
        self.night = 0

    @property
    def tree(self) -> Tree:
        return open_tree(str(self.base.path))

    def dump(
        self, *, limits: Limits | None = None, again: bool = False, check_mode: bool = False, **form: Any
    ) -> dict[str, Any]:
        """Dump the item in the next night, or again under the last stamp; return the result."""
        self.night += not again
        options = {"deadline": Deadline(120, "dump")}
        where = str(self.base.path), [self.item], stamp(self.night), ArchiveFormat(**form), options
        return dump(*where, limits=limits, check_mode=check_mode)

    def good(self, nights: int = 1, **options: Any) -> None:
        for _ in range(nights):
            result = self.dump(**options)
            assert result["failures"] == []
            assert [entry["stamp"] for entry in result["tarballs"]] == [stamp(self.night)]

    def bad(self, **options: Any) -> str:
        """Dump the item, which must be suspect and kept; return the reasons."""
        result = self.dump(**options)
        (tarball,) = result["tarballs"]
        (failure,) = result["failures"]
        assert (failure["stage"], f"{failure['category']}/{failure['name']}") == ("dump", self.key)
        assert failure["relpath"] == tarball["relpath"]
        assert tarball["stamp"] == stamp(self.night)
        assert os.path.isfile(tarball["path"] + ".dna")
        record = self.record()
        assert record == tarball["record"]
        assert all(reason in failure["reason"] for reason in record["suspect"])
        return str(failure["reason"])

    def purge(self) -> None:
        """Purge after the night as a run with keep 3 does."""
        moment = Moment(stamp(self.night), stamp(self.night))
        result = purge(PurgeRequest(str(self.base.path), 3, moment=moment, made_now=[stamp(self.night)]))
        assert result["failures"] == []

    def there(self) -> list[int]:
        """Return the nights that have tarballs."""
        found = {tarball.stamp for tarball in scan(self.tree).verified()}
        return [night for night in range(self.night + 1) if stamp(night) in found]

    def record(self) -> dict[str, Any]:
        return read_record(self.tree, self.key, stamp(self.night))

    def last(self) -> str:
        return os.readlink(self.base.path / self.key / "last")

    def accept(self, night: int) -> None:
        keep_marks(self.tree, {"accepted": {self.key: stamp(night)}})

    def noted(self) -> list[str]:
        return sorted(os.listdir(self.base.path / ".altbackup" / "noted" / self.key))


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A folder of texts and sources, two thirds of them in a subfolder."""
    folder = tmp_path / "live"
    (folder / "sub").mkdir(parents=True)
    (folder / "few").mkdir()
    texts = [path for path in TEXTS if path.is_file() and not path.is_symlink() and path.stat().st_size < 100_000]
    for number, path in enumerate(texts[:150]):
        shutil.copyfile(path, folder / ("few" if number % 3 == 0 else "sub") / f"{number} {path.name}")
    return folder


@pytest.fixture
def nights(tmp_path: Path, live: Path) -> Nights:
    return Nights(tmp_path / "base", "folder", live)


def edit(live: Path, number: int) -> None:
    """Change as much as people do in a day."""
    files = sorted(path for path in live.rglob("*") if path.is_file())
    for path in files[number % 10 :: 10]:
        path.write_bytes(path.read_bytes() + b"one more line of day %d\n" % number)
    files[number].unlink()
    (live / f"new {number}").write_text("something new, and more of it\n" * 20)


def encrypt(live: Path) -> None:
    """Encrypt each file under another name, and remove the original, as an intruder does."""
    for path in [path for path in live.rglob("*") if path.is_file()]:
        argv = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "1", "-pass", "pass:x"]
        done = subprocess.run([*argv, "-in", path, "-out", f"{path}.locked"], capture_output=True)
        assert done.returncode == 0, done.stderr
        path.unlink()


# Histories in which good copies were lost in silence


def empty_a_subfolder(live: Path) -> None:
    shutil.rmtree(live / "sub")
    (live / "sub").mkdir()


def repoint(live: Path) -> None:
    other = live.with_name("other")
    other.mkdir()
    for number in range(200):
        (other / f"file {number}").write_text(f"something else {number}\n" * 500)
    live.rename(live.with_name("moved"))
    live.symlink_to("other")


def truncate_all(live: Path) -> None:
    for path in live.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("happen", "said"),
    [
        (
            empty_a_subfolder,
            r"entries fell from 1\d\d to \d\d \(\d\d(\.\d)? %, allowed 30 %\) since the largest of the last 3 good nights",
        ),
        (truncate_all, r"bytes fell from [\d.]+ [KM]iB to 0 bytes \(100 %, allowed 30 %\)"),
        (
            encrypt,
            r"of 1\d\d files of the last good night \(2026/11/03\) 1\d\d are gone .*, and what came in their place can hardly be compressed",
        ),
        (
            repoint,
            r"its path leads to \S+/other now, and led to \S+/live then; of 1\d\d files .* 1\d\d are gone or hold something else",
        ),
    ],
)
def test_a_folder_that_lost_what_it_held_is_told_in_the_first_night_and_in_each_after_it(
    nights: Nights, live: Path, happen: Callable[[Path], None], said: str
) -> None:
    for number in range(3):
        nights.good()
        edit(live, number)
    good, kept = nights.last(), nights.record()["dig"]
    happen(live)
    first = nights.bad()
    assert re.search(said, first)
    assert "altbackup accept SOURCE/folders/thing " in first
    nights.purge()
    while nights.night < LAST_BAD:
        assert re.search(said, nights.bad())
        nights.purge()
        assert nights.last() == good == stamp(3)
    assert nights.there() == [1, 2, 3, 4, LAST_BAD - 2, LAST_BAD - 1, LAST_BAD]
    assert file_digest(next((nights.base.path / KEY / good).glob("*.zst"))) == kept
    nights.accept(LAST_BAD)
    nights.good()
    nights.purge()
    assert nights.there()[-1] == LAST_BAD + 1


@pytest.mark.full
@needs_root
def test_a_service_that_wrote_into_an_unmounted_path_is_told_in_the_first_night(tmp_path: Path, live: Path) -> None:
    path = tmp_path / "mounted"
    with small_disk(path, "size=64m") as disk:
        shutil.copytree(live, disk, dirs_exist_ok=True)
        nights = Nights(tmp_path / "base", "folder", path)
        nights.good(3)
    shutil.copytree(live, path, dirs_exist_ok=True)
    (path / "few" / "log").write_text("started\n")
    said = nights.bad()
    assert re.search(
        r"the file system that its path is on is \S+ \S+ now, and was tmpfs tmpfs in the last good night \(2026/11/03\)",
        said,
    )
    while nights.night < LAST_BAD:
        assert nights.bad()
        nights.purge()
    assert nights.there()[:4] == [1, 2, 3, 4]
    with small_disk(tmp_path / "again", "size=64m") as disk:
        shutil.copytree(live, disk, dirs_exist_ok=True)
        (disk / "new").write_text("a day later")
        nights.item["path"] = str(disk)
        nights.good()


@needs_root
def test_a_folder_that_was_moved_to_another_disk_unchanged_is_not_suspect(tmp_path: Path, live: Path) -> None:
    nights = Nights(tmp_path / "base", "folder", live)
    nights.good()
    with small_disk(tmp_path / "disk", "size=64m") as disk:
        shutil.copytree(live, disk, dirs_exist_ok=True)
        live.rename(tmp_path / "old")
        live.symlink_to(disk)
        nights.good()
        edit(disk, 1)
        nights.good()


# Actions of people


@pytest.mark.full
def test_daily_edits_and_what_people_bring_are_not_suspect(nights: Nights, live: Path) -> None:
    for number in range(10):
        nights.good()
        edit(live, number)
    for path in [path for path in live.rglob("*") if path.is_file()]:
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    nights.good()
    for path in [path for path in live.rglob("*") if path.is_file()]:
        path.rename(path.with_name(f"renamed {path.name}"))
    nights.good()
    subprocess.run(["gzip", "-r", live], check=True)
    nights.good(limits=Limits(shrink=1.0))


@pytest.mark.full
def test_office_documents_may_all_be_written_anew_but_not_encrypted(nights: Nights, live: Path) -> None:
    shutil.rmtree(live)
    live.mkdir()
    words = Path("/usr/share/common-licenses/GPL-3").read_text().split()
    for night in range(3):
        chance = random.Random(night)
        for number in range(60):
            with zipfile.ZipFile(live / f"{number}.docx", "w", zipfile.ZIP_DEFLATED) as document:
                document.writestr("[Content_Types].xml", "<Types/>")
                document.writestr("word/document.xml", " ".join(chance.choices(words, k=3000)))
        nights.good()
    encrypt(live)
    assert re.search(
        r"of 60 files .* 60 are gone .* can hardly be compressed \(100 % of it looks like chance", nights.bad()
    )


def test_a_folder_of_what_looks_like_chance_is_never_told_to_be_encrypted(nights: Nights, live: Path) -> None:
    chance = random.Random(1)
    for _ in range(3):
        for path in [path for path in live.rglob("*") if path.is_file()]:
            path.write_bytes(chance.randbytes(3000))
        nights.good()


@pytest.mark.sampled(3)
@pytest.mark.parametrize("form", [{"extension": ".tar"}, {"extension": ".tar.gz"}, {"level": 19, "algorithm": "md5"}])
def test_encryption_is_seen_whatever_archives_are_made_of(nights: Nights, live: Path, form: dict[str, Any]) -> None:
    nights.good(**form)
    encrypt(live)
    assert "can hardly be compressed" in nights.bad(**form)


# The fate of a suspect


def test_an_accepted_suspect_is_what_later_nights_are_compared_with(nights: Nights, live: Path) -> None:
    nights.good(2)
    empty_a_subfolder(live)
    nights.bad()
    nights.accept(nights.night)
    assert nights.dump(again=True)["failures"] == []
    nights.good()
    assert nights.last() == stamp(4)
    shutil.rmtree(live / "few")
    (live / "one").write_text("x" * 5000)
    assert "since the largest of the last 2 good nights (2026/11/04)" in nights.bad()
    encrypt(live)
    nights.accept(nights.night - 1)
    assert nights.bad()


def test_a_suspect_is_told_again_by_a_rerun(nights: Nights, live: Path) -> None:
    nights.good()
    empty_a_subfolder(live)
    said = nights.bad()
    for check_mode in (True, False):
        again = nights.dump(again=True, check_mode=check_mode)
        assert [failure["reason"] for failure in again["failures"]] == [said]
        assert (again["changed"], nights.last()) == (False, stamp(1))


def test_what_is_as_it_was_is_good_again(nights: Nights, live: Path) -> None:
    nights.good()
    shutil.copytree(live, live.with_name("aside"))
    empty_a_subfolder(live)
    nights.bad()
    shutil.copytree(live.with_name("aside"), live, dirs_exist_ok=True)
    nights.good()
    assert nights.last() == stamp(3)


def test_nights_whose_copies_are_gone_still_count(nights: Nights, live: Path) -> None:
    for _ in range(2):
        nights.good()
        gone = sorted(path for path in live.rglob("*") if path.is_file())
        for path in gone[: len(gone) // 5]:
            path.unlink()
        shutil.rmtree(nights.base.path / KEY / "2026" / "11" / f"{nights.night - 1:02}", ignore_errors=True)
    assert "the largest of the last 2 good nights (2026/11/01)" in nights.bad()


def test_limits_of_an_item_go_before_those_of_all(tmp_path: Path, live: Path) -> None:
    for number, (own, common, is_good) in enumerate(
        [
            ({"shrink": "90%"}, None, True),
            ({"shrink": 0.9}, Limits(shrink=0.1), True),
            ({}, Limits(shrink=0.9), True),
            ({"shrink": 0.2}, Limits(shrink=0.9), False),
        ]
    ):
        folder = tmp_path / f"live {number}"
        shutil.copytree(live, folder)
        nights = Nights(tmp_path / f"base {number}", "folder", folder, **own)
        nights.good()
        empty_a_subfolder(folder)
        (nights.good if is_good else nights.bad)(limits=common)


def test_an_emptied_database_is_suspect(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    execute(path, "CREATE TABLE t (a)", *(f"INSERT INTO t VALUES ({number})" for number in range(500)))
    nights = Nights(tmp_path / "base", "sqlite", path)
    nights.good(2)
    execute(path, "DELETE FROM t WHERE a > 400")
    nights.good()
    execute(path, "DELETE FROM t")
    while nights.night < LAST_BAD:
        assert "rows fell from 500 to 0 (100 %, allowed 30 %)" in nights.bad()
        nights.purge()
    assert nights.there()[:4] == [1, 2, 3, 4]


# Knowledge of earlier nights


def test_an_unchanged_night_notes_nothing_anew_and_what_is_gone_is_forgotten(nights: Nights, live: Path) -> None:
    nights.good()
    (first,) = nights.noted()
    path = nights.base.path / ".altbackup" / "noted" / KEY / first
    before = written(path)
    nights.good()
    assert (nights.noted(), written(path)) == ([first], before)
    edit(live, 1)
    nights.good()
    assert len(nights.noted()) == 2
    for night in (1, 2):
        shutil.rmtree(nights.base.path / KEY / "2026" / "11" / f"{night:02}")
    nights.good()
    assert nights.noted() == sorted(nights.record()["noted"].values())
    files = len([path for path in live.rglob("*") if path.is_file()])
    assert (nights.base.path / ".altbackup" / "noted" / KEY / nights.noted()[0]).stat().st_size == 16 * files


def test_a_damaged_list_is_a_failure_that_names_it_and_says_what_to_do(nights: Nights, live: Path) -> None:
    nights.good()
    (name,) = nights.noted()
    path = nights.base.path / ".altbackup" / "noted" / KEY / name
    path.write_bytes(b"damaged")
    edit(live, 1)
    result = nights.dump()
    (failure,) = result["failures"]
    assert failure["reason"] == (
        f"{path}, which tells what {KEY} held, is damaged, so what changed since is not known: rm {path}   "
        "The next dump notes anew what it finds, and compares nothing with it"
    )
    assert result["tarballs"]
    path.unlink()
    edit(live, 2)
    nights.good()


def test_what_is_left_out_on_purpose_is_told_as_a_cause(nights: Nights, live: Path) -> None:
    nights.good()
    nights.item["exclude"] = ["/sub/"]
    assert "(2026/11/01); what is excluded of it was changed since\n" in nights.bad()


def test_where_no_record_is_left_it_is_told_that_nothing_was_compared(nights: Nights, live: Path) -> None:
    nights.good()
    (nights.base.path / ".altbackup" / "records" / KEY / f"{stamp(1)}.json").unlink()
    empty_a_subfolder(live)
    result = nights.dump()
    assert result["failures"] == []
    assert f"{KEY}: no earlier dump left a record, so this one was compared with nothing" in result["notes"]
    assert "compared" not in " ".join(nights.dump()["notes"])


def test_what_is_said_of_a_suspect_tells_what_to_do_in_either_case_in_a_rerun_too(nights: Nights, live: Path) -> None:
    nights.good(2)
    empty_a_subfolder(live)
    said = nights.bad()
    head, safe, look, accept, mend = said.split("\n")
    assert head.startswith("item folder 'thing': the new copy is suspect: entries fell from ")
    assert str(live) in safe and f"no good copy of {KEY} is removed on any node" in safe
    assert safe.endswith(f"{KEY}/{stamp(3)}/thing.tar.zst")
    assert "altbackup restore" in look and stamp(3) in look
    assert f"altbackup accept SOURCE/{KEY} " in accept
    assert str(live) in mend and "altbackup restore" in mend and stamp(2) in mend and stamp(3) not in mend
    (again,) = nights.dump(again=True)["failures"]
    assert again["reason"] == said


def test_a_damaged_record_is_a_failure_that_names_it(nights: Nights, live: Path) -> None:
    nights.good(2)
    path = nights.base.path / ".altbackup" / "records" / KEY / f"{stamp(2)}.json"
    path.write_text("damaged")
    empty_a_subfolder(live)
    result = nights.dump()
    assert [str(path) in failure["reason"] for failure in result["failures"]] == [True, False]
    assert "since the last good night (2026/11/01)" in result["failures"][1]["reason"]


def test_damaged_marks_accept_nothing_and_are_a_failure(nights: Nights, live: Path) -> None:
    nights.good()
    empty_a_subfolder(live)
    nights.bad()
    nights.accept(2)
    Path(marks_path(nights.tree)).write_text("damaged")
    reasons = [failure["reason"] for failure in nights.dump()["failures"]]
    assert len(reasons) == 2
    assert marks_path(nights.tree) in reasons[0]
    assert "is suspect" in reasons[1]


def test_records_of_an_older_version_are_what_the_first_night_is_compared_with(nights: Nights, live: Path) -> None:
    nights.good()
    path = nights.base.path / ".altbackup" / "records" / KEY / f"{stamp(1)}.json"
    record = json.loads(path.read_text())
    older = {
        key: value for key, value in record.items() if key not in ("identity", "measures", "place", "noted", "content")
    }
    path.write_text(json.dumps(older))
    nights.good()
    path.write_text(json.dumps({**older, "manifest": "x", "dig": "0" * 64}))
    shutil.rmtree(nights.base.path / KEY / "2026" / "11" / "02")
    empty_a_subfolder(live)
    assert "entries fell" in nights.bad()


def test_a_reader_cannot_say_that_a_dump_is_good_or_bad(
    nights: Nights, live: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ansible_collections.altbackup.core.plugins.module_utils.kinds import folder

    found = {
        "suspect": ["hostile"],
        "nights": [{"stamp": stamp(9), "measures": {"entries": 10**9}}],
        "noted": {"files": "f" * 64},
    }
    arrange = folder.KIND.arrange
    monkeypatch.setitem(folder.KIND.__dict__, "arrange", lambda *arguments: _hostile(arrange(*arguments), found))
    nights.good(2)
    assert "hostile" not in json.dumps(nights.record())


def _hostile(arrangement: Any, found: dict[str, Any]) -> Any:
    arrangement.known["found"].update(found)
    return arrangement
