"""Private keys in what is backed up are found where they usually are; of them only the public ones are told."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.stages import key_files

AGE = "age1g4g5qfujfqphvnxk2esljtk7hwvczk9hj7lnmng2h5qjhtadvgyskyeuaw"
SECRET = "AGE-SECRET-KEY-1" + "Q" * 58


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home of the one user of this host, with a key of ssh."""
    home = tmp_path / "home[s]" / "admin"
    (home / ".ssh").mkdir(parents=True)
    monkeypatch.setattr(pwd, "getpwall", lambda: [SimpleNamespace(pw_dir=str(home))])
    make = shutil.which("ssh-keygen")
    assert make
    subprocess.run([make, "-q", "-t", "ed25519", "-N", "", "-f", home / ".ssh" / "id_ed25519"], check=True)
    return home


def found(path: Path, *more: Path, exclude: tuple[str, ...] = ()) -> dict[str, str]:
    """Return {path: public key} of what lies in a folder item."""
    item = parse_item({"kind": "folder", "name": "x", "path": str(path), "exclude": list(exclude)})
    told = key_files.keys_in(item, [str(one) for one in more])
    assert SECRET not in repr(told) and "PRIVATE" not in repr(told)
    return {key["path"]: key["public"] for key in told}


def public_of(path: Path) -> str:
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


def test_keys_of_users_below_or_above_an_item_are_found(home: Path) -> None:
    key = home / ".ssh" / "id_ed25519"
    for item in (home.parent.parent, home.parent, home, home / ".ssh"):
        assert found(item) == {str(key): public_of(key)}, item
    (home / "notes").mkdir()
    assert found(home / "notes") == {}


@pytest.mark.parametrize("exclude", [".ssh/", "id_*", "admin"])
def test_what_the_dump_leaves_out_does_not_count(home: Path, exclude: str) -> None:
    item = home.parent if exclude == "admin" else home
    assert found(item, exclude=(exclude,)) == {}


def test_identities_of_age_are_found_and_the_one_that_is_named(home: Path) -> None:
    shutil.rmtree(home / ".ssh")
    for path in (home / ".config" / "age" / "keys.txt", home / ".config" / "sops" / "age" / "keys.txt"):
        path.parent.mkdir(parents=True)
        path.write_text(f"# created: 2013-05-10\n# public key: {AGE}\n{SECRET}\n")
    named = home / "vault" / "backup"
    named.parent.mkdir()
    named.write_text(f"{SECRET}\n")
    told = found(home, named)
    assert told == {
        str(home / ".config" / "age" / "keys.txt"): AGE,
        str(home / ".config" / "sops" / "age" / "keys.txt"): AGE,
        str(named): "",
    }
    assert str(named) not in found(home), "nobody looks everywhere"


def test_one_user_hides_no_key_of_others(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = home.parent / "abel"
    (other / ".ssh").mkdir(parents=True)
    monkeypatch.setattr(pwd, "getpwall", lambda: [SimpleNamespace(pw_dir=str(path)) for path in (home, other)])
    monkeypatch.setattr(key_files, "_MOST_FILES", 3)
    for number in range(4):
        (other / ".ssh" / f"{number}.pub").write_text("")
    assert [*found(home.parent)] == [str(home / ".ssh" / "id_ed25519")]


def test_what_a_user_leads_to_by_a_link_does_not_lie_there(home: Path) -> None:
    (home / ".ssh").rename(home.parent.parent / "elsewhere")
    (home / ".ssh").symlink_to(home.parent.parent / "elsewhere")
    assert found(home.parent) == {}


def test_what_is_no_private_key_or_cannot_be_opened_is_none(home: Path) -> None:
    folder = home / ".ssh"
    (folder / "id_ed25519").unlink()
    os.mkfifo(folder / "id_ed25519")
    (folder / "known.pub").write_text("ssh-ed25519 AAAA")
    (folder / "link.pub").write_text("ssh-ed25519 AAAA")
    (folder / "link").symlink_to("id_ed25519")
    (home / ".age").mkdir()
    (home / ".age" / "notes").write_text("nothing")
    assert found(home, home / "gone") == {}
