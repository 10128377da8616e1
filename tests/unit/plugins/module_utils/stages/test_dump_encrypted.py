"""Dumps to recipients: nothing readable but what has to be, unchanged items are links, and nothing becomes readable again unasked."""

from __future__ import annotations

import base64
import io
import json
import os
import random
import subprocess
import tarfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.age_keys import Key, age_key, ssh_key
from helpers.drills import make_item
from helpers.trees import FIRST, FOURTH, SECOND, THIRD, Base, item, written

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump import dump
from ansible_collections.altbackup.core.plugins.module_utils.synchronize.offer import listing
from ansible_collections.altbackup.core.plugins.module_utils.system import programs
from ansible_collections.altbackup.core.plugins.module_utils.system.age import Identities
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import opened, refused_at, shared
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.marks import keep_marks
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

MARKER = "planted-marker-4711"


class Site:
    """A source whose notes are encrypted to two recipients."""

    def __init__(self, folder: Path) -> None:
        self.keys = [age_key(folder, "one"), ssh_key(folder)]
        self.base = Base(folder / "base")
        self.live = folder / "live"
        self.live.mkdir()
        (self.live / f"{MARKER}.txt").write_text(f"{MARKER} content\n" * 9)
        self.form = ArchiveFormat(recipients=tuple(sorted(key.recipient for key in self.keys)))
        self.item = item("folder", self.live, "notes")

    def dump(self, stamp: str = FIRST, **options: Any) -> dict[str, Any]:
        """Dump it, which must succeed, and return its tarball."""
        return self.base.dump_one(options.pop("item", self.item), stamp=stamp, **{"form": self.form, **options})

    def record(self, stamp: str = FIRST) -> dict[str, Any]:
        """Return what the source keeps of a dump."""
        return read_record(open_tree(str(self.base.path)), "folders/notes", stamp)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return a source that encrypts."""
    return Site(tmp_path)


def names_in(key: Key, path: str) -> list[str]:
    """Return the members of an encrypted tarball."""
    plain = subprocess.run(["zstd", "-dcq"], input=key.opens(path), capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        return archive.getnames()


def test_each_recipient_can_read_what_is_stored(site: Site) -> None:
    tarball = site.dump()
    assert tarball["relpath"] == f"folders/notes/{FIRST}/notes.tar.zst.age"
    for key in site.keys:
        assert names_in(key, tarball["path"]) == ["notes", f"notes/{MARKER}.txt"]
    assert not age_key(site.live.parent, "other").is_for(tarball["path"])


def test_a_target_is_told_nothing_of_what_is_in_it(site: Site) -> None:
    (site.live / "empty").touch()
    site.dump()
    offer = listing(str(site.base.path), moment=Moment(FIRST, ""), records=True)["tarballs"][0]["record"]
    text = json.dumps(offer)
    record = site.record()
    for hidden in (
        str(site.live),
        MARKER,
        record["manifest"],
        record["owners"],
        record["plain"],
        "entries",
        "measures",
    ):
        assert hidden not in text, hidden
    assert sorted(offer) == [
        "alg",
        "content",
        "dig",
        "first",
        "kind",
        "relpath",
        "sealed",
        "signature",
        "signed",
        "size",
        "to",
    ]
    seen = opened(offer, Identities(site.keys[0].text), Deadline(60))
    assert (seen["path"], seen["entries"], seen["manifest"]) == (str(site.live), 3, record["manifest"])
    assert seen["content"] != record["content"] == offer["content"]
    assert b"zstd" not in base64.b64decode(offer["sealed"])


def test_why_a_copy_is_suspect_is_not_told(site: Site) -> None:
    told = shared({**site_record(), "suspect": [f"{MARKER} fell from 9 to 1"], "incomplete": [f"{MARKER} is missing"]})
    assert told["suspect"]
    assert told["incomplete"]
    assert MARKER not in json.dumps(told)
    assert shared({"kind": "folder", "relpath": "folders/a/x/a.tar.zst", "rows": 5})["rows"] == 5


def site_record() -> dict[str, Any]:
    """Return the record of an encrypted tarball."""
    return {"relpath": f"folders/notes/{FIRST}/notes.tar.zst.age", "to": ["age1"], "kind": "folder", "rows": 1}


def test_no_plaintext_is_left_on_the_disk(site: Site) -> None:
    site.dump()
    for parent, _, files in os.walk(site.base.path):
        for name in files:
            path = os.path.join(parent, name)
            with open(path, "rb") as stream:
                content = stream.read()
            if "/records/" not in path and "/noted/" not in path:
                assert MARKER.encode() not in content, path
                assert b"\x28\xb5\x2f\xfd" not in content[:4], path


def test_an_unchanged_item_is_a_link_that_cites_when_it_came(site: Site) -> None:
    first = site.dump()
    assert not site.base.dump(site.item, form=site.form)["changed"]
    before = written(first["path"])
    second = site.dump(SECOND)
    assert os.stat(second["path"]).st_ino == before[0]
    assert second["dig"] == first["dig"]
    assert site.record(SECOND)["first"] == FIRST
    third = site.dump(THIRD)
    assert (third["dig"], site.record(THIRD)["first"]) == (first["dig"], FIRST)
    signed = base64.b64decode(site.record(THIRD)["signed"]).decode()
    assert f"stamp {THIRD}\nfirst {FIRST}\n" in signed
    (site.live / "more").touch()
    fourth = site.dump(FOURTH)
    assert fourth["dig"] != first["dig"]
    assert site.record(FOURTH)["first"] == FOURTH


def test_one_day_has_one_copy(site: Site) -> None:
    first = site.dump()
    later = FIRST[:-6] + "235900"
    result = site.base.dump(site.item, form=site.form, stamp=later)
    assert not result["changed"]
    assert result["tarballs"][0]["relpath"] == first["relpath"]
    assert site.record(later) == {}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", ["svn", "git", "sqlite"])
def test_other_kinds_are_recognized_too(site: Site, kind: str, tmp_path: Path) -> None:
    mine = make_item(kind, tmp_path)
    first = site.dump(item=mine)
    second = site.dump(SECOND, item=mine)
    assert first["dig"] == second["dig"]
    assert first["relpath"].endswith(".tar.zst.age")
    assert site.keys[0].is_for(first["path"])


def test_a_lost_secret_costs_one_copy(site: Site) -> None:
    first = site.dump()
    (site.base.path / ".altbackup/encryption/secret").unlink()
    second = site.dump(SECOND)
    assert second["dig"] != first["dig"]
    assert site.dump(THIRD)["dig"] == second["dig"]


def test_a_damaged_copy_is_told_and_another_one_stored(site: Site) -> None:
    first = site.dump()
    with open(first["path"], "r+b") as stream:
        stream.seek(300)
        stream.write(b"rot")
    result = site.base.dump(site.item, form=site.form, stamp=SECOND)
    (failure,) = result["failures"]
    assert "an older copy is damaged" in failure["reason"]
    (second,) = result["tarballs"]
    assert site.keys[1].is_for(second["path"])
    assert (site.record(SECOND)["dig"], site.record(SECOND)["first"]) == (second["dig"], SECOND)
    assert site.dump(THIRD)["dig"] == second["dig"]


def test_new_recipients_get_a_copy_of_their_own_the_same_night(site: Site) -> None:
    first = site.dump()
    new = age_key(site.live.parent, "new")
    form = replace(site.form, recipients=tuple(sorted([site.keys[0].recipient, new.recipient])))
    second = site.dump(SECOND, form=form)
    assert second["dig"] != first["dig"]
    assert [key.is_for(second["path"]) for key in (*site.keys, new)] == [True, False, True]
    assert site.record(SECOND)["content"] == site.record()["content"], "it is the same content"
    assert site.dump(THIRD, form=form)["dig"] == second["dig"]


def test_differentials_have_the_recipients_of_their_full_tarball(site: Site, tmp_path: Path) -> None:
    rng = random.Random(1)
    (site.live / "large").write_bytes(rng.randbytes(200_000))
    full = site.dump(full_every=9)
    (site.live / "changed").write_text(MARKER)
    second = site.dump(SECOND, full_every=9)
    assert second["relpath"] == f"folders/notes/{SECOND}/notes.diff.tar.zst.age"
    assert (second["base"], second["base_dig"]) == (f"{FIRST}/notes.tar.zst.age", full["dig"])
    assert second["size"] < full["size"] / 10
    assert site.dump(THIRD, full_every=9)["dig"] == second["dig"]
    (site.live / "changed").unlink()
    os.utime(site.live, ns=(os.stat(site.live).st_mtime_ns,) * 2)
    new = age_key(tmp_path, "new")
    form = replace(site.form, recipients=tuple(sorted([site.keys[0].recipient, new.recipient])))
    fourth = site.dump(FOURTH, full_every=9, form=form)
    assert fourth["relpath"].endswith("/notes.tar.zst.age")


def test_what_the_full_tarball_holds_is_a_link_to_it(site: Site) -> None:
    (site.live / "large").write_bytes(random.Random(1).randbytes(100_000))
    full = site.dump(full_every=9)
    times = os.stat(site.live)
    (site.live / "changed").write_text(MARKER)
    site.dump(SECOND, full_every=9)
    (site.live / "changed").unlink()
    os.utime(site.live, ns=(times.st_atime_ns, times.st_mtime_ns))
    third = site.dump(THIRD, full_every=9)
    assert (third["dig"], third["relpath"]) == (full["dig"], f"folders/notes/{THIRD}/notes.tar.zst.age")
    assert (site.record(THIRD)["first"], site.record(THIRD)["plain"]) == (FIRST, site.record()["plain"])


def test_what_was_encrypted_does_not_become_readable_unasked(site: Site) -> None:
    plain = site.base.dump_one(site.item, stamp=FIRST)
    assert plain["relpath"].endswith(".tar.zst")
    site.dump(SECOND)
    for check_mode in (True, False):
        (failure,) = site.base.dump(site.item, stamp=THIRD, check_mode=check_mode)["failures"]
        assert f"it was encrypted until {SECOND}" in failure["reason"]
        assert "altbackup accept " in failure["reason"]
    assert not (site.base.path / "folders/notes" / THIRD).exists()
    keep_marks(open_tree(str(site.base.path)), {"accepted": {"folders/notes": THIRD}})
    assert site.base.dump_one(site.item, stamp=THIRD)["relpath"].endswith("notes.tar.zst")
    assert site.base.dump_one(site.item, stamp=FOURTH)["relpath"].endswith("notes.tar.zst")


def test_who_accepted_a_suspect_has_not_accepted_that_all_can_read_it(site: Site) -> None:
    site.dump(SECOND)
    tree = open_tree(str(site.base.path))
    keep_marks(tree, {"accepted": {"folders/notes": SECOND}})
    for check_mode in (True, False, False):
        (failure,) = site.base.dump(site.item, stamp=THIRD, check_mode=check_mode)["failures"]
        assert f"it was encrypted until {SECOND}" in failure["reason"]
        assert refused_at(tree, "folders/notes") == ("" if check_mode else THIRD)
    keep_marks(tree, {"accepted": {"folders/notes": THIRD}})
    site.dump(THIRD)
    (failure,) = site.base.dump(site.item, stamp=FOURTH)["failures"]
    assert f"it was encrypted until {THIRD}" in failure["reason"], "it was encrypted again since it was accepted"


def test_items_have_recipients_of_their_own(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    mine = {**item("folder", other, "open"), "encrypt_to": []}
    result = site.base.dump(site.item, mine, form=site.form)
    assert not result["failures"]
    assert sorted(os.path.basename(tarball["relpath"]) for tarball in result["tarballs"]) == [
        "notes.tar.zst.age",
        "open.tar.zst",
    ]
    key = age_key(tmp_path, "mine")
    theirs = {**item("folder", other, "own"), "encrypt_to": [key.recipient]}
    assert key.is_for(site.base.dump_one(theirs, stamp=SECOND)["path"])


@pytest.mark.parametrize("extension", [".tar", ".tar.gz"])
def test_every_form_of_archive_can_be_encrypted(site: Site, extension: str) -> None:
    form = replace(site.form, extension=extension)
    first = site.dump(form=form)
    assert first["relpath"].endswith(f"notes{extension}.age")
    assert site.keys[0].is_for(first["path"])
    assert site.dump(SECOND, form=form)["dig"] == first["dig"]


def test_the_source_signs_what_it_made(site: Site, tmp_path: Path) -> None:
    tarball = site.dump()
    record = site.record()
    public = (site.base.path / ".altbackup/encryption/signing_key.pub").read_text()
    (tmp_path / "allowed").write_text(f"base {public}")
    (tmp_path / "signature").write_bytes(base64.b64decode(record["signature"]))
    text = base64.b64decode(record["signed"])
    argv = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "base", "-n", "altbackup", "-s", "signature"]
    assert subprocess.run(argv, input=text, cwd=tmp_path, capture_output=True).returncode == 0
    assert subprocess.run(argv, input=text + b"\n", cwd=tmp_path, capture_output=True).returncode != 0
    lines = dict(line.split(" ", 1) for line in text.decode().splitlines())
    assert (lines["item"], lines["first"], lines["dig"]) == ("folders/notes", FIRST, tarball["dig"])


def test_another_signing_key_than_the_known_one_is_told(site: Site, tmp_path: Path) -> None:
    wrong = ssh_key(tmp_path, "wrong").recipient
    options = {"deadline": Deadline(60, "dump")}
    for check_mode in (True, False, True):
        result = dump(
            str(site.base.path), [site.item], FIRST, site.form, options, signing_key=wrong, check_mode=check_mode
        )
        (failure,) = result["failures"]
        assert f"but altbackup_signing_key is {wrong}" in failure["reason"]
        assert result["tarballs"] == []
        assert (site.base.path / ".altbackup/encryption").exists() or check_mode
    right = (site.base.path / ".altbackup/encryption/signing_key.pub").read_text()
    for check_mode in (True, False):
        result = dump(
            str(site.base.path), [site.item], FIRST, site.form, options, signing_key=right, check_mode=check_mode
        )
        assert (len(result["tarballs"]), result["failures"]) == (1, [])


def test_what_a_hook_is_to_mount_is_foretold_as_it_will_be(site: Site, tmp_path: Path) -> None:
    absent = {**site.item, "path": str(tmp_path / "mounted"), "before": [["/bin/true"]]}
    (tarball,) = site.base.dump(absent, form=site.form, check_mode=True)["tarballs"]
    assert tarball["relpath"] == f"folders/notes/{FIRST}/notes.tar.zst.age"
    site.dump()
    result = site.base.dump(absent, stamp=SECOND, check_mode=True)
    assert f"it was encrypted until {FIRST}" in result["failures"][0]["reason"]
    assert result["tarballs"] == []


def test_without_age_nothing_is_stored_readable(site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = programs.shutil.which
    monkeypatch.setattr(
        programs.shutil, "which", lambda name, path=None: None if name == "age" else real(name, path=path)
    )
    open_one = {**item("folder", site.live, "open"), "encrypt_to": []}
    result = site.base.dump(site.item, open_one, form=site.form)
    (failure,) = result["failures"]
    assert failure["reason"].startswith(
        "folders/notes: not dumped, as nothing can be encrypted here: age is not installed"
    )
    assert [tarball["name"] for tarball in result["tarballs"]] == ["open"]
    assert not (site.base.path / "folders/notes").exists()


@pytest.mark.parametrize("name", ["age", "zstd"])
def test_a_program_that_dies_leaves_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / name).write_text("#!/bin/sh\nhead -c 100 >/dev/null\necho 'it broke' >&2\nexit 3\n")
    (folder / name).chmod(0o755)
    (site.live / "large").write_bytes(random.Random(2).randbytes(5_000_000))
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    result = site.base.dump(site.item, form=site.form, seconds=30)
    (failure,) = result["failures"]
    assert result["tarballs"] == []
    assert "it broke" in failure["reason"]
    assert not (site.base.path / "folders/notes").exists()


@pytest.mark.full
def test_the_limit_of_time_holds(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "age").write_text("#!/bin/sh\nexec sleep 60\n")
    (folder / "age").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (site.live / "large").write_bytes(random.Random(2).randbytes(5_000_000))
    result = site.base.dump(site.item, form=site.form, seconds=3)
    assert "took longer than its limit" in result["failures"][0]["reason"]


def test_a_record_that_was_changed_is_told(site: Site) -> None:
    site.dump()
    told = shared(site.record())
    identities = Identities(site.keys[0].text)
    site.live.joinpath("x").touch()
    site.dump(SECOND)
    other = shared(site.record(SECOND))
    for changed, expected in (
        ({**told, "sealed": other["sealed"]}, "tells of another tarball"),
        ({**told, "sealed": "?"}, "is damaged"),
        ({**told, "sealed": told["sealed"][:400]}, "is damaged"),
        ({**told, "sealed": base64.b64encode(zlib.compress(b"{}")).decode()}, "is damaged"),
    ):
        with pytest.raises(Exception, match=expected):
            opened(changed, identities, Deadline(60))
