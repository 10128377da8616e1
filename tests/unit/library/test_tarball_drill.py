"""Module tarball_drill: what it proves, its reasons where it cannot, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers import hostile
from helpers.drills import FOLDER, KINDS, SVN, Copies, add_differential
from helpers.hostile import compressed
from helpers.original_trees import link, modern_text, put, reasons, run_module, tree_hash
from helpers.trees import FIRST, NIGHTS, NOBODY, SECOND, as_nobody, describe_tree, needs_root, nobodys_folder

from ansible_collections.altbackup.core.plugins.module_utils.system import sandbox
from ansible_collections.altbackup.core.plugins.module_utils.tree.sidecar import parse


@pytest.fixture
def base(every_kind: Copies, tmp_path: Path) -> Path:
    """Return a target's tree with one tarball of each kind."""
    return every_kind.copy(tmp_path / "copies").base


def drill(base: Path, **options: Any) -> dict[str, Any]:
    """Run the module, first in check mode, which must write nothing; all that was unpacked must be removed."""
    before = tree_hash(base.parent)
    predicted = run_module("tarball_drill", check=True, base=str(base), **options)
    assert tree_hash(base.parent) == before
    result = run_module("tarball_drill", base=str(base), **options)
    if not result["failures"]:
        assert [entry["relpath"] for entry in predicted["proved"]] == [entry["relpath"] for entry in result["proved"]]
        assert predicted["left"] == result["left"]
    assert not list((base.parent / ".altbackup").glob("scratch/**/drill"))
    return result


def proof_of(base: Path, relpath: str) -> dict[str, Any]:
    """Return the proof beside a tarball."""
    text = (base / f"{relpath}.proof").read_text()
    assert text.count("\n") == 1
    return dict(json.loads(text))


@pytest.mark.full
def test_every_kind_is_proved_and_the_proof_kept(base: Path) -> None:
    result = drill(base)
    assert result["changed"] and result["failures"] == [] and result["notes"] == []
    assert {entry["kind"] for entry in result["proved"]} == set(KINDS)
    for entry in result["proved"]:
        proof = proof_of(base, entry["relpath"])
        dna = parse((base / f"{entry['relpath']}.dna").read_text())
        assert (proof["dig"], proof["size"], proof["alg"]) == (dna.dig, dna.size, dna.alg)
        assert proof["stamp"] == FIRST and proof["seconds"] > 0 and proof["versions"]["tar"]
        assert abs(time.time() - time.mktime(time.strptime(proof["when"], "%Y-%m-%dT%H:%M:%SZ")) + time.timezone) < 3600
        assert oct((base / f"{entry['relpath']}.proof").stat().st_mode) == "0o100600"
    assert proof_of(base, SVN)["facts"]["revision"] == 12
    assert proof_of(base, f"tracs/thing/{FIRST}/thing.tar.zst")["facts"]["attachments"] == 4


def test_only_the_newest_verified_of_each_item_is_proved(base: Path) -> None:
    for night in NIGHTS[1:3]:
        link(base, FOLDER, FOLDER.replace(FIRST, night))
    (base / f"{FOLDER.replace(FIRST, NIGHTS[2])}.dna").unlink()
    result = drill(base, names=["folders/thing"])
    assert [entry["stamp"] for entry in result["proved"]] == [SECOND]
    assert "its dump left no record" in result["notes"][0]


@pytest.mark.full
def test_a_share_takes_those_whose_proof_is_oldest(base: Path) -> None:
    keys = sorted(
        f"{entry['category']}/{entry['name']}"
        for entry in run_module("tarball_drill", check=True, base=str(base))["proved"]
    )
    seen: list[str] = []
    for _ in range(3):
        result = drill(base, share=0.4)
        assert len(result["proved"]) == 2 and len(result["left"]) == 3
        for entry in result["proved"]:
            seen.append(f"{entry['category']}/{entry['name']}")
            path = base / f"{entry['relpath']}.proof"
            proof = {**json.loads(path.read_text()), "when": f"2013-01-0{len(seen)}T00:00:00Z"}
            path.write_text(json.dumps(proof))
    assert sorted(seen[:5]) == keys and seen[5] == seen[0]


@pytest.mark.parametrize("share", [0, -0.5, 1.01])
def test_share_out_of_range_is_refused(base: Path, share: float) -> None:
    result = drill(base, share=share)
    assert result["failed"] and "is not a part of the items above 0 and up to 1" in result["msg"]


def test_nothing_to_prove_is_a_failure(base: Path, tmp_path: Path) -> None:
    assert "no verified tarball of svn/other" in drill(base, names=["svn/thing", "svn/other"])["msg"]
    (tmp_path / "empty" / ".altbackup").mkdir(parents=True)
    assert "no verified tarballs" in drill(tmp_path / "empty")["msg"]
    assert "no items are expected" in drill(base, names=[])["msg"]


def test_one_bad_tarball_does_not_keep_the_others_from_being_proved(base: Path) -> None:
    path = base / FOLDER
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    result = drill(base, fail=False)
    assert len(result["proved"]) == len(KINDS) - 1
    (reason,) = reasons(result)
    assert reason.startswith(f"{FOLDER}: it does not match its dna: sha256 is ")
    assert not (base / f"{FOLDER}.proof").exists()
    (entry,) = result["failures"]
    assert (entry["stage"], entry["category"], entry["name"], entry["relpath"]) == ("drill", "folders", "thing", FOLDER)


def test_recomputed_sidecar_does_not_hide_damage(base: Path) -> None:
    other = put(base, FOLDER, (base / SVN).read_bytes())
    Path(f"{other}.dna").write_text(modern_text(other.read_bytes()))
    (reason,) = reasons(drill(base, names=["folders/thing"], fail=False))
    assert "does not match what its dump recorded" in reason


@pytest.mark.sampled(3)
@pytest.mark.parametrize(("what", "relpath"), [("owners", FOLDER), ("content", FOLDER), ("owners", SVN)])
def test_an_archive_with_other_owners_or_attributes_than_its_dump_recorded_is_not_proved(
    base: Path, what: str, relpath: str
) -> None:
    category, name = relpath.split("/")[:2]
    path = base.parent / ".altbackup" / "records" / base.name / category / name / f"{FIRST}.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, what: "0" * 64}))
    (reason,) = reasons(drill(base, names=[f"{category}/{name}"], fail=False))
    assert f"the {what} of its archive are {record[what]}, but its dump recorded {'0' * 64}" in reason


def test_tarball_that_needs_more_than_the_limit_is_refused_with_the_numbers(base: Path) -> None:
    (reason,) = reasons(drill(base, names=["folders/thing"], limit=1000, fail=False))
    assert "more than 1.0 KiB are needed to unpack it, but" in reason
    assert "altbackup_drill_limit is 1.0 KiB: it was not drilled" in reason
    assert drill(base, names=["folders/thing"], limit=1 << 20)["failures"] == []


@pytest.mark.full
def test_another_folder_can_be_given(base: Path, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    assert len(drill(base, folder=str(tmp_path / "scratch"))["proved"]) == len(KINDS)
    assert list((tmp_path / "scratch").iterdir()) == []
    for folder in ("relative", str(tmp_path / "none")):
        assert (
            "is not the absolute path of a folder" in run_module("tarball_drill", base=str(base), folder=folder)["msg"]
        )


def test_leftovers_of_a_killed_drill_are_removed_and_told(base: Path, tmp_path: Path) -> None:
    left = base.parent / ".altbackup" / "scratch" / "dayabay" / "drill" / "tmpx"
    left.mkdir(parents=True)
    (left / "file").write_text("x")
    assert any("which a killed drill left" in note for note in drill(base, names=["folders/thing"])["notes"])
    elsewhere = tmp_path / "scratch" / ".altbackup-drill-dayabay"
    elsewhere.mkdir(mode=0o700, parents=True)
    result = drill(base, names=["folders/thing"], folder=str(elsewhere.parent))
    assert any("which a killed drill left" in note for note in result["notes"])
    assert not elsewhere.exists()


@pytest.mark.sampled(3)
@needs_root
@pytest.mark.parametrize("form", ["folder of another user", "link", "file"])
def test_what_others_put_where_drills_work_is_refused_and_left(base: Path, tmp_path: Path, form: str) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    scratch.chmod(0o1777)
    squatted = scratch / ".altbackup-drill-dayabay"
    if form == "link":
        squatted.symlink_to(tmp_path)
    elif form == "file":
        squatted.write_text("x")
    else:
        squatted.mkdir(mode=0o700)
        (squatted / "his").write_text("x")
    os.chown(squatted, NOBODY, NOBODY, follow_symlinks=False)
    message = drill(base, names=["folders/thing"], folder=str(scratch))["msg"]
    assert f"{squatted} is " in message
    assert f"of nobody (uid {NOBODY}), where a private folder of root (uid 0) belongs" in message
    assert os.path.lexists(squatted)
    assert form != "folder of another user" or (squatted / "his").exists()
    scratch.chmod(0o777)
    assert "for drills cannot be used" in drill(base, names=["folders/thing"], folder=str(scratch))["msg"]


@pytest.mark.full
def test_differential_is_proved_with_its_full(base: Path, tmp_path: Path) -> None:
    full, diff = add_differential(base, tmp_path)
    (proved,) = drill(base, names=["folders/pair"])["proved"]
    assert proved["relpath"] == diff and proved["facts"]["entries"] == 2 and proved["facts"]["bytes"] == 3
    content = (base / full).read_bytes()
    put(base, full, b"other bytes")
    assert "another one than it was made against" in drill(base, names=["folders/pair"])["msg"]
    put(base, full, content)
    (base / f"{full}.dna").unlink()
    assert "is missing or not verified: it cannot be restored" in drill(base, names=["folders/pair"])["msg"]


def test_a_category_of_no_kind_is_told(base: Path) -> None:
    put(base, f"odd/thing/{FIRST}/thing.tar.gz")
    assert "category odd is that of no kind" in drill(base, names=["odd/thing"])["msg"]


def test_trees_of_the_original_are_proved_without_records(base: Path) -> None:
    shutil.rmtree(base.parent / ".altbackup" / "records")
    (base / "svn").rename(base / "repos")
    result = drill(base)
    assert len(result["proved"]) == len(KINDS)
    assert len([note for note in result["notes"] if "its dump left no record" in note]) == len(KINDS)


@pytest.mark.parametrize(("user", "said"), [("root", "is root"), ("no such user", "does not exist")])
@needs_root
def test_a_user_who_cannot_confine_is_refused(base: Path, user: str, said: str) -> None:
    result = drill(base, user=user)
    assert said in result["msg"] and result["proved"] == []


def test_a_kernel_that_does_not_confine_is_told_and_nothing_is_proved(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sandbox.inspect.getsource
    broken = "def _enter_namespaces() -> None:\n    check(libc.mount(None, None, None, 0, None), 'namespaces')\n\n\ndef _unused"
    monkeypatch.setattr(
        sandbox.inspect, "getsource", lambda module: real(module).replace("def _enter_namespaces", broken)
    )
    result = drill(base, names=["svn/thing"])
    assert "the kernel does not allow namespaces" in result["msg"] and "none runs unconfined" in result["msg"]


@needs_root
def test_root_who_may_not_make_namespaces_is_told_so_once(base: Path) -> None:
    code = (
        "import json, sys; from helpers.original_trees import run_module; "
        "calls = [run_module('tarball_drill', check=check, base=sys.argv[1]) for check in (True, False)]; print(json.dumps(calls))"
    )
    command = [
        "setpriv",
        "--bounding-set",
        "-sys_admin",
        "--inh-caps",
        "-sys_admin",
        sys.executable,
        "-c",
        code,
        str(base),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=300, check=True)
    for result in json.loads(done.stdout):
        (failure,) = result["failures"]
        assert failure["reason"].startswith(
            "the kernel does not allow namespaces: Operation not permitted; no proof was run"
        )
        assert (failure["name"], failure["relpath"], result["proved"]) == ("", "", [])
        assert "exit code" not in failure["reason"]


@needs_root
def test_a_user_who_is_not_root_drills(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")  # one that every user can start
    with nobodys_folder() as home:
        shutil.copytree(base.parent, home / "copies", symlinks=True)
        for parent, folders, files in os.walk(home / "copies"):
            for name in [".", *folders, *files]:
                os.chown(os.path.join(parent, name), home.stat().st_uid, -1, follow_symlinks=False)
        with as_nobody():
            result = drill(home / "copies" / "dayabay", fail=False)
    assert reasons(result) == [] and len(result["proved"]) == len(KINDS)


HOSTILE = (
    "parent folder",
    "absolute hard link",
    "file below a link",
    "link in the place of the top folder",
    "character device",
    "second archive",
    "sparse bomb",
)
"""One of each sort; test_unpack has them all"""


def test_hostile_archives_do_nothing_in_a_drill(base: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").write_text("alive")
    before = describe_tree(outside)
    for name in HOSTILE:
        make, said = hostile.archives(outside)[name]
        path = compressed(base / FOLDER, make())
        Path(f"{path}.dna").write_text(modern_text(path.read_bytes()))
        record = base.parent / ".altbackup" / "records" / "dayabay" / "folders"
        shutil.rmtree(record, ignore_errors=True)
        result = run_module("tarball_drill", base=str(base), names=["folders/thing"], limit=32 << 20, fail=False)
        if name == "character device":
            assert reasons(result) == [] and "1 device or named pipe was not unpacked" in result["notes"][-1], name
        else:
            (reason,) = reasons(result)
            assert re.search(said, reason), (name, reason)
        assert describe_tree(outside) == before, name
        assert not list((base.parent / ".altbackup").glob("scratch/**/drill")), name


def test_what_is_stamped_later_than_the_run_is_not_drilled_and_ahead_of_the_clock_a_failure(base: Path) -> None:
    between, ahead = (FOLDER.replace(FIRST, stamp) for stamp in ("2013/05/12/000000", "2099/01/01/000000"))
    for path in (between, ahead):
        link(base, FOLDER, path)
    result = drill(base, names=["folders/thing"], stamp=SECOND, clock="2013/05/12/000000")
    assert [entry["stamp"] for entry in result["proved"]] == [FIRST]
    (reason,) = reasons(result)
    assert reason.startswith(f"{base}/{ahead} is stamped later than this run, {SECOND}")
    assert not (base / f"{ahead}.proof").exists()


def test_without_the_file_of_a_key_what_is_not_encrypted_is_proved(base: Path, tmp_path: Path) -> None:
    result = drill(base, identity_file=str(tmp_path / "not here"), names=["folders/thing"])
    assert [entry["relpath"] for entry in result["proved"]] == [FOLDER]
    told = run_module("tarball_drill", base=str(base), fail=False, keys=True, identity_file=str(tmp_path / "not here"))
    assert "is neither on the controller nor on this host a file that can be read" in reasons(told)[0]
