"""Drills by their playbook: backups are proved to restore, check demands it, and a failed drill is reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from integration.site import KINDS, Site, item_of, make_live, tarballs_of, tree_of

NIGHTS = ("2013/05/10/104701", "2013/05/11/104701")
COMMAND = "altbackup drill cms01 -i INVENTORY"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A source and a target after two nights, the second one unchanged."""
    folder = tmp_path_factory.mktemp("drill")
    make_live(folder / "live")
    made = Site(folder)
    made.add_source("dayabay", altbackup_targets=["cms01"])
    made.add_target("cms01")
    for stamp in NIGHTS:
        assert made.run("backup", stamp=stamp).rc == 0
    return made


def copies(site: Site) -> Path:
    """Return the source's tree on the target."""
    return site.folder / "cms01" / "copies" / "dayabay"


@pytest.mark.full
def test_check_demands_proofs_drill_makes_them_and_a_bad_tarball_fails_it(site: Site) -> None:
    base, stamp = copies(site), NIGHTS[1]
    run = site.run("check", "--limit", "cms01", stamp=stamp, proof_age="8d")
    assert run.rc != 0
    for key in ("svn/dybsvn", "tracs/dybsvn", "git/toolbox", "folders/svnsetup", "databases/monitor"):
        assert (
            f"{key} of dayabay on cms01 was never proved to restore; a proof not older than 8d is asked for: {COMMAND}"
            in run.message
        )

    before = tree_of(site.folder / "cms01")
    predicted = site.run("drill", "--limit cms01 --check", stamp=stamp)
    assert predicted.rc == 0 and predicted.stdout.count("would be drilled") == len(KINDS)
    assert tree_of(site.folder / "cms01") == before

    run = site.run("drill", "--limit", "cms01", stamp=stamp)
    assert run.rc == 0, run.message
    assert run.stdout.count("proved to restore") == len(KINDS)
    after = tree_of(site.folder / "cms01")
    new = {path for path in after if path not in before}
    assert {path for path in new if not path.endswith(".proof")} <= {
        "copies/.altbackup/scratch",
        "copies/.altbackup/scratch/dayabay",
    }
    assert len([path for path in new if path.endswith(".proof")]) == len(KINDS)
    assert {path: after[path][2] for path in before} == {path: value[2] for path, value in before.items()}

    assert site.run("check", "--limit", "cms01", stamp=stamp, proof_age="8d").rc == 0
    proof = Path(f"{item_of(base, 'svn', 'dybsvn')[-1]}.proof")
    proof.write_text(json.dumps({**json.loads(proof.read_text()), "when": "2013-05-12T04:00:00Z"}))
    run = site.run("check", "--limit", "cms01", stamp=stamp, proof_age="8d")
    assert run.rc != 0
    assert "svn/dybsvn of dayabay on cms01 was last proved to restore at 2013-05-12T04:00:00Z" in run.message
    assert "tracs" not in run.message

    tarball = item_of(base, "folder", "svnsetup")[-1]
    good = tarball.read_bytes()
    tarball.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    run = site.run("drill", "--limit", "cms01", stamp=stamp)
    assert run.rc != 0
    assert "drill of folders/svnsetup" in run.message and "does not match its dna" in run.message
    assert run.stdout.count("proved to restore") == len(KINDS) - 1
    tarball.write_bytes(good)


@pytest.mark.full
def test_a_part_is_drilled_and_purge_takes_proofs_along(site: Site) -> None:
    shutil.rmtree(copies(site).parent / ".altbackup" / "scratch", ignore_errors=True)
    run = site.run("drill", "--limit", "dayabay", stamp=NIGHTS[1], drill_share=0.2)
    assert run.rc == 0 and run.stdout.count("proved to restore") == 1
    base = site.folder / "dayabay" / "backup"
    (proof,) = base.glob("*/*/*/*/*/*/*.proof")
    assert NIGHTS[1] in str(proof)
    text = proof.read_text()
    for tarball in tarballs_of(base):
        Path(f"{tarball}.proof").write_text(text)
    run = site.run("purge", "--limit", "dayabay", stamp=NIGHTS[1], keep=1, purge_confirm=True)
    assert run.rc == 0, run.message
    assert len(tarballs_of(base)) == len(list(base.glob("*/*/*/*/*/*/*.proof"))) == len(KINDS)
    assert not list(base.glob(f"*/*/{NIGHTS[0]}"))
