"""Kind `hg`: Mercurial copies its repositories completely: secret and hidden changesets, phases, bookmarks, markers."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.drills import drill_one
from helpers.trees import FIRST, NIGHTS, SECOND, THIRD, Base, item, needs_root, unpack
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.kinds import hg as kind
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import ProofFailed

pytestmark = pytest.mark.full


def hg(folder: Path, *words: str) -> str:
    """Run Mercurial on a repository without user settings."""
    settings = ("--config", "ui.username=A <a@example.org>", "--config", "experimental.evolution=all")
    environment = {"PATH": os.environ["PATH"], "HGRCPATH": "", "HGPLAIN": "1", "HGENCODING": "utf-8"}
    environment["HOME"] = environment["XDG_CACHE_HOME"] = str(folder.parent)
    done = subprocess.run(["hg", *settings, "-R", str(folder), *words], env=environment, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def commit(folder: Path, name: str, text: str = "x") -> str:
    """Commit a file, and return the changeset."""
    (folder / name).write_text(text)
    hg(folder, "commit", "--addremove", "--message", f"change {name}")
    return hg(folder, "log", "--rev", ".", "--template", "{node}")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """Return a repository with public, draft, secret and hidden changesets, a bookmark, and a hook that must not run."""
    folder = tmp_path / "live"
    folder.mkdir()
    hg(folder, "init", str(folder))
    for number in range(3):
        commit(folder, f"file {number}")
    hg(folder, "phase", "--public", "--rev", "1")
    hg(folder, "bookmark", "main line")
    commit(folder, "hidden")
    hg(folder, "debugobsolete", "--record-parents", hg(folder, "log", "--rev", ".", "--template", "{node}"))
    hg(folder, "update", "--clean", "2")
    secret = commit(folder, "secret")
    hg(folder, "phase", "--force", "--secret", "--rev", secret)
    (folder / ".hg" / "hgrc").write_text(f"[hooks]\npre-log = touch {tmp_path}/ran\noutgoing = touch {tmp_path}/ran\n")
    return folder


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


def everything(folder: Path) -> list[str]:
    """Return everything in a repository, by Mercurial's own debug output."""
    asked = (
        ("--hidden", "log", "--debug", "--template", "{node} {phase} {parents} {desc} {files}\n"),
        ("bookmarks", "--template", "{node} {bookmark}\n"),
        ("debugobsolete",),
    )
    (folder / ".hg" / "hgrc").unlink(missing_ok=True)
    return [line for words in asked for line in sorted(hg(folder, *words).splitlines())]


def test_a_copy_holds_all_of_a_repository_and_runs_none_of_its_hooks(live: Path, base: Base, tmp_path: Path) -> None:
    tarball = base.dump_one(item("hg", live))
    assert not (tmp_path / "ran").exists()
    assert tarball["relpath"] == f"hg/thing/{FIRST}/thing.tar.zst"
    back = unpack(tarball, tmp_path / "back")
    assert "pre-log" in (back / ".hg" / "hgrc").read_text()
    found, expected = everything(back), everything(live)
    assert found == expected
    phases = [line.split()[1] for line in expected if " change " in line]
    assert sorted(phases) == ["draft", "draft", "public", "public", "secret"]
    assert tarball["record"]["changesets"] == 5
    drill_one(base, tarball, tmp_path / "scratch")


def test_nights_bring_what_is_new_and_an_unchanged_one_costs_a_link(live: Path, base: Base, tmp_path: Path) -> None:
    tarballs = [base.dump_one(item("hg", live), stamp=FIRST)]
    (live / ".hg" / "hgrc").rename(tmp_path / "hgrc")
    for words in (("debugupdatecaches",), ("debugrebuildfncache",), ("verify",), ("update", "--clean", "null")):
        hg(live, *words)
    (tmp_path / "hgrc").rename(live / ".hg" / "hgrc")
    tarballs.append(base.dump_one(item("hg", live), stamp=SECOND))
    assert os.path.samefile(tarballs[0]["path"], tarballs[1]["path"])
    commit(live, "more")
    hg(live, "phase", "--force", "--draft", "--rev", "secret()")
    result = base.dump(item("hg", live), stamp=THIRD)
    assert not result["failures"] and not [note for note in result["notes"] if "built anew" in note]
    assert everything(unpack(result["tarballs"][0], tmp_path / "back")) == everything(live)


def test_a_push_during_the_copy_is_seen_and_the_copy_made_again(
    live: Path, base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = kind._Scratch._take_what_a_pull_omits

    def wait_for_a_push(self: Any, state: Any) -> None:
        """Let the test commit to the live repository, from the reader, which sees it read-only."""
        took(self, state)
        (Path(self._building) / "waits").touch()
        assert wait_until((Path(self._building) / "pushed").exists, 100)

    monkeypatch.setattr(kind._Scratch, "_take_what_a_pull_omits", wait_for_a_push)
    building, over, pushes = base.path / ".altbackup/building/hg/thing", threading.Event(), []
    (live / ".hg" / "hgrc").unlink()

    def push() -> None:
        while not over.wait(0.02):
            if (building / "waits").exists() and not (building / "pushed").exists():
                pushes.append("" if pushes else commit(live, "pushed meanwhile"))
                (building / "pushed").touch()

    pusher = threading.Thread(target=push)
    pusher.start()
    try:
        tarball = base.dump_one(item("hg", live))
    finally:
        over.set()
        pusher.join()
    assert len(pushes) == 2 and tarball["record"]["changesets"] == 6
    assert everything(unpack(tarball, tmp_path / "back")) == everything(live)


def test_copies_while_others_commit_are_each_one_state(live: Path, base: Base, tmp_path: Path) -> None:
    (live / ".hg" / "hgrc").unlink()
    script = (
        'i=0; while [ ! -e "$2/stop" ]; do i=$((i+1)); echo $i > "$1/busy"; hg -R "$1" commit -q -A -u a -m "$i"; done'
    )
    writer = subprocess.Popen(
        ["sh", "-c", script, "sh", str(live), str(tmp_path)], env={"PATH": os.environ["PATH"], "HGRCPATH": ""}
    )
    try:
        made = [base.dump(item("hg", live), stamp=stamp) for stamp in NIGHTS[:3]]
    finally:
        (tmp_path / "stop").touch()
        writer.wait()
    for number, result in enumerate(made):
        for tarball in result["tarballs"]:
            assert hg(unpack(tarball, tmp_path / f"back {number}"), "verify", "--quiet") == ""
        assert result["tarballs"] or "changed while it was read" in result["failures"][0]["reason"]


def test_a_damaged_scratch_copy_is_built_anew_and_told(live: Path, base: Base, tmp_path: Path) -> None:
    base.dump_one(item("hg", live))
    shutil.rmtree(base.path / ".altbackup" / "scratch" / "hg" / "thing" / ".hg" / "store" / "data")
    (base.path / ".altbackup" / "scratch" / "hg" / "thing" / ".hg" / "store" / "00changelog.i").write_bytes(b"x" * 100)
    result = base.dump(item("hg", live), stamp=SECOND)
    assert not result["failures"] and "built anew" in " ".join(result["notes"])
    assert everything(unpack(result["tarballs"][0], tmp_path / "back")) == everything(live)


def test_public_history_that_vanished_is_doubted(live: Path, base: Base) -> None:
    base.dump_one(item("hg", live))
    shutil.rmtree(live / ".hg")
    hg(live, "init", str(live))
    commit(live, "another")
    (failure,) = base.dump(item("hg", live), stamp=SECOND)["failures"]
    assert "is suspect" in failure["reason"] and "first changeset" in failure["reason"]


def share(live: Path) -> None:
    (live / ".hg" / "sharedpath").write_text("/elsewhere\n")


def no_repository(live: Path) -> None:
    shutil.rmtree(live / ".hg")


def pipe(live: Path) -> None:
    os.mkfifo(live / ".hg" / "store" / "pipe")


@pytest.mark.parametrize(
    ("change", "said"), [(share, "shares the history"), (no_repository, "not a Mercurial"), (pipe, "named pipe")]
)
def test_what_is_no_repository_of_its_own_is_refused(
    live: Path, base: Base, change: Callable[[Path], None], said: str
) -> None:
    change(live)
    assert said in base.reason(item("hg", live))


def drop_filelog(top: Path) -> None:
    next((top / ".hg" / "store" / "data").glob("*.i")).unlink()


def forget_secret(top: Path) -> None:
    (top / ".hg" / "store" / "phaseroots").unlink()


def drop_bookmark(top: Path) -> None:
    (top / ".hg" / "bookmarks").unlink()


@pytest.mark.parametrize(
    ("change", "said"), [(drop_filelog, "."), (forget_secret, "history is"), (drop_bookmark, "bookmarks is")]
)
def test_a_proof_finds_what_is_not_as_it_was(
    live: Path, base: Base, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    from helpers.drills import alter

    tarball = base.dump_one(item("hg", live))
    alter(Path(tarball["path"]), tmp_path / "unpacked", change)
    with pytest.raises(ProofFailed, match=said):
        drill_one(base, tarball, tmp_path / "scratch")


@needs_root
def test_another_user_s_repository_is_read_as_that_user(live: Path, base: Base, tmp_path: Path) -> None:
    subprocess.run(["chown", "-R", "nobody", live], check=True)
    tarball = base.dump_one(item("hg", live))
    assert unpack(tarball, tmp_path / "back").joinpath(".hg").stat().st_uid == 65534
    again = base.dump_one(item("hg", live), stamp=SECOND)
    assert again["dig"] == tarball["dig"]


def test_large_files_come_along(base: Base, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    large = ("--config", "extensions.largefiles=")
    hg(folder, *large, "init", str(folder))
    for number, stamp in enumerate(NIGHTS[:2]):
        (folder / "big").write_bytes(os.urandom(5000))
        hg(folder, *large, "add", *(["--large"] if not number else []), str(folder / "big"))
        hg(folder, *large, "commit", "--message", f"big {number}")
        back = unpack(base.dump_one(item("hg", folder), stamp=stamp), tmp_path / f"back {number}")
        assert len(list((back / ".hg" / "largefiles").iterdir())) == number + 1
