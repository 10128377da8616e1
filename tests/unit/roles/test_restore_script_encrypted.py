"""restore.sh with what is encrypted: with the key, and what the source has signed, in every shell; nothing else."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers.age_keys import Key, age_key, ssh_key
from helpers.restore_disk import Disk
from helpers.trees import FIRST, SECOND, THIRD, describe_tree, file_digest

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat

SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"], "bash": ["bash", "--posix"]}
ITEM = "dayabay/folders/thing"


class Sealed:
    """A disk with encrypted tarballs of a folder, and the keys."""

    def __init__(self, folder: Path, shell: list[str]) -> None:
        self.disk = Disk(folder / "the disk", shell)
        self.keys = [age_key(folder, "one"), ssh_key(folder)]
        self.live = folder / "live" / "thing"
        self.live.mkdir(parents=True)
        (self.live / "file").write_text("secret")
        (self.live / "large").write_bytes(os.urandom(200_000))
        self.form = ArchiveFormat(recipients=tuple(sorted(key.recipient for key in self.keys)))
        self.place = folder / "place"
        self.place.mkdir()
        self.folder = folder

    def night(self, stamp: str = FIRST, full_every: int = 1, form: ArchiveFormat | None = None) -> Path:
        """Dump it and return the tarball."""
        item = {"kind": "folder", "name": "thing", "path": str(self.live)}
        (path,) = self.disk.dump(item, stamp=stamp, form=form or self.form, full_every=full_every)
        return path

    @property
    def sheet(self) -> Path:
        """A recovery sheet with the public key of the source."""
        key = (self.disk.path / ".altbackup/encryption/dayabay/signing_key.pub").read_text()
        path = self.folder / "sheet"
        path.write_text(f"RECOVERY SHEET\n\nKeep this.\n   dayabay {key}\n")
        return path

    def words(self, key: Key | None = None, *more: str, signed: bool = True) -> list[str]:
        """Return the words of a restore."""
        options = ["--signed-by", str(self.sheet)] if signed else []
        return [
            "restore",
            "--identity",
            str((key or self.keys[0]).path),
            *options,
            ITEM,
            str(self.place / "out"),
            *more,
        ]


@pytest.fixture(params=SHELLS)
def sealed(request: pytest.FixtureRequest, tmp_path: Path) -> Sealed:
    """A disk, read by each of the shells."""
    return Sealed(tmp_path, SHELLS[request.param])


@pytest.mark.sampled(3)
def test_each_key_brings_it_back(sealed: Sealed) -> None:
    path = sealed.night()
    assert f"verified    {path.name}" in sealed.disk.well("list")
    assert sealed.disk.well("verify").startswith("OK ")
    for key in sealed.keys:
        said = sealed.disk.well(*sealed.words(key))
        assert "nothing tells who made" not in said
        assert describe_tree(sealed.place / "out") == describe_tree(sealed.live)
        shutil.rmtree(sealed.place / "out")
    assert "nothing tells who made thing.tar.zst.age" in sealed.disk.well(*sealed.words(signed=False))
    assert os.listdir(sealed.place) == ["out"]


def test_no_program_has_the_key_in_its_environment(sealed: Sealed) -> None:
    sealed.night()
    programs = sealed.folder / "bin"
    programs.mkdir()
    for name in ("age", "zstd"):
        real = shutil.which(name)
        (programs / name).write_text(f'#!/bin/sh\nenv >>"{sealed.folder}/seen"\nexec {real} "$@"\n')
        (programs / name).chmod(0o755)
    path = f"{programs}:{sealed.disk.environment['PATH']}"
    sealed.disk.environment.update(PATH=path, secret="what the user has exported")
    sealed.disk.well(*sealed.words())
    assert (sealed.place / "out/file").read_text() == "secret"
    assert "PATH=" in (seen := (sealed.folder / "seen").read_text())
    assert "AGE-SECRET-KEY-" not in seen


@pytest.mark.sampled(3)
def test_a_differential_is_unpacked_over_its_full_one(sealed: Sealed) -> None:
    sealed.night(full_every=9)
    (sealed.live / "file").unlink()
    (sealed.live / "new").write_text("new")
    assert sealed.night(SECOND, full_every=9).name == "thing.diff.tar.zst.age"
    sealed.disk.well(*sealed.words())
    assert describe_tree(sealed.place / "out") == describe_tree(sealed.live)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("extension", [".tar", ".tar.gz"])
def test_other_forms_and_links_come_back(sealed: Sealed, extension: str) -> None:
    form = ArchiveFormat(extension, recipients=sealed.form.recipients)
    sealed.night(form=form)
    sealed.night(SECOND, form=form)
    sealed.disk.well(*sealed.words())
    assert (sealed.place / "out/file").read_text() == "secret"


def test_without_the_right_key_it_is_told_to_whom_it_is_encrypted(sealed: Sealed) -> None:
    sealed.night()
    said = sealed.disk.badly("restore", ITEM, sealed.place / "out")
    assert "is encrypted to" in said
    assert all(key.recipient in said for key in sealed.keys)
    assert "--identity FILE" in said
    said = sealed.disk.badly(*sealed.words(age_key(sealed.folder, "other")))
    assert "does not open it" in said
    assert sealed.keys[0].recipient in said
    assert "is no file that can be read" in sealed.disk.badly(
        "restore", "--identity", "/nonexistent", ITEM, sealed.place / "out"
    )
    assert os.listdir(sealed.place) == []


@pytest.mark.sampled(3)
def test_a_key_with_a_passphrase_is_asked_for_on_a_terminal(sealed: Sealed) -> None:
    sealed.night()
    locked = sealed.folder / "locked"
    with sealed.keys[0].path.open() as stream:
        plain = stream.read()
    _with_terminal(["age", "-p", "-o", str(locked)], [b"open it\r", b"open it\r"], plain)
    assert locked.read_text(errors="replace").startswith("age-encryption.org/v1")
    said = sealed.disk.badly("restore", "--identity", locked, ITEM, sealed.place / "out")
    assert "cannot be opened" in said
    words = ["restore", "--identity", str(locked), ITEM, str(sealed.place / "out")]
    _with_terminal([*sealed.disk.shell, str(sealed.disk.path / "restore.sh"), *words], [b"open it\r"])
    assert (sealed.place / "out/file").read_text() == "secret"


def _with_terminal(argv: list[str], typed: list[bytes], given: str = "") -> None:
    """Run a program with a terminal of its own, typing what it asks for."""
    pid, terminal = pty.fork()
    if pid == 0:
        if given:
            reader, writer = os.pipe()
            os.write(writer, given.encode())
            os.close(writer)
            os.dup2(reader, 0)
        os.execvp(argv[0], argv)
    said = b""
    try:
        while True:
            said += os.read(terminal, 4096)
            if typed and said.rstrip().endswith(b":"):
                os.write(terminal, typed.pop(0))
                said = b""
    except OSError:
        pass
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, said


def _dna(path: Path) -> None:
    Path(f"{path}.dna").write_text(
        json.dumps({"dig": file_digest(path), "size": path.stat().st_size, "alg": "sha256"}) + "\n"
    )


def _record(sealed: Sealed, stamp: str) -> Path:
    return sealed.disk.path / ".altbackup/records/dayabay/folders/thing" / f"{stamp}.json"


def _swap(sealed: Sealed, newest: Path) -> None:
    """Exchange two nights."""
    older = Path(str(newest).replace(SECOND, FIRST))
    content = older.read_bytes()
    older.write_bytes(newest.read_bytes())
    newest.write_bytes(content)
    _dna(older)
    _dna(newest)


def _replay(sealed: Sealed, newest: Path) -> None:
    """Give out an old night for the newest, with its record."""
    older = Path(str(newest).replace(SECOND, FIRST))
    shutil.copy(older, newest)
    _dna(newest)
    _record(sealed, SECOND).write_text(_record(sealed, FIRST).read_text())


def _forge(sealed: Sealed, newest: Path) -> None:
    evil = sealed.folder / "evil" / "thing"
    evil.mkdir(parents=True)
    (evil / "file").write_text("evil")
    plain = subprocess.run(["tar", "-C", evil.parent, "-c", "thing"], capture_output=True, check=True).stdout
    packed = subprocess.run(["zstd", "-q"], input=plain, capture_output=True, check=True).stdout
    argv = ["age", *(word for key in sealed.keys for word in ("-r", key.recipient))]
    newest.write_bytes(subprocess.run(argv, input=packed, capture_output=True, check=True).stdout)
    _dna(newest)


def _unsign(sealed: Sealed, newest: Path) -> None:
    _record(sealed, SECOND).unlink()


def _lead_away(sealed: Sealed, newest: Path) -> None:
    """A record behind a link."""
    path = _record(sealed, SECOND)
    path.rename(sealed.folder / "record")
    path.symlink_to(sealed.folder / "record")


def _cut(sealed: Sealed, newest: Path) -> None:
    newest.write_bytes(newest.read_bytes()[:-50])
    _dna(newest)


@pytest.mark.sampled(18)
@pytest.mark.parametrize("attack", [_swap, _replay, _forge, _unsign, _lead_away, _cut])
def test_what_the_source_did_not_sign_is_refused(sealed: Sealed, attack: Any) -> None:
    sealed.night()
    (sealed.live / "file").write_text("later")
    attack(sealed, sealed.night(SECOND))
    said = sealed.disk.badly(*sealed.words())
    assert "signature" in said or "is not what dayabay signed" in said
    assert os.listdir(sealed.place) == []


@pytest.mark.sampled(3)
def test_a_readable_one_is_refused_where_signatures_count(sealed: Sealed) -> None:
    sealed.night(form=ArchiveFormat())
    sealed.night(SECOND)
    sealed.live.joinpath("file").write_text("x")
    path = sealed.disk.path / ITEM / THIRD / "thing.tar.zst"
    path.parent.mkdir(parents=True)
    shutil.copy(sealed.disk.path / ITEM / FIRST / "thing.tar.zst", path)
    _dna(path)
    last = sealed.disk.path / ITEM / "last"
    last.unlink()
    last.symlink_to(THIRD)
    assert "is not encrypted, so nobody has signed it" in sealed.disk.badly(*sealed.words())
    assert os.listdir(sealed.place) == []
    sealed.disk.well(*sealed.words(None, FIRST))
    assert (sealed.place / "out/file").read_text() == "secret"


def test_a_sheet_without_keys_is_told(sealed: Sealed) -> None:
    sealed.night()
    (sealed.folder / "empty").write_text("nothing\n")
    words = ["restore", "--identity", str(sealed.keys[0].path), "--signed-by", str(sealed.folder / "empty"), ITEM]
    assert "has no line like SOURCE" in sealed.disk.badly(*words, sealed.place / "out")
    words[4] = "/nonexistent"
    assert "give the recovery sheet" in sealed.disk.badly(*words, sealed.place / "out")
    assert "takes a FILE" in sealed.disk.badly("restore", "--identity", status=2)
