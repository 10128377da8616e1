"""Drills of what is encrypted: without a key the bytes alone, with one all of it, and each key by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.age_keys import Key, age_key, ssh_key
from helpers.trees import FIRST, SECOND, Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.restore.contents import look_into, parse_query
from ansible_collections.altbackup.core.plugins.module_utils.restore.drill import drill
from ansible_collections.altbackup.core.plugins.module_utils.restore.key_drill import drill_keys
from ansible_collections.altbackup.core.plugins.module_utils.system.age import Identities
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.system.sandbox import Sandbox
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")


class Site:
    """A base with an encrypted item, and one that is not."""

    def __init__(self, folder: Path) -> None:
        self.keys = [age_key(folder, "one"), ssh_key(folder)]
        self.base = Base(folder / "base")
        self.live = folder / "live"
        self.live.mkdir()
        (self.live / "file").write_text("content")
        self.form = ArchiveFormat(recipients=tuple(sorted(key.recipient for key in self.keys)))
        self.notes = item("folder", self.live, "notes")
        self.path = Path(self.base.dump_one(self.notes, form=self.form)["path"])
        self.base.dump_one({**item("folder", self.live, "open"), "encrypt_to": []}, form=self.form)

    def drill(self, *keys: Key) -> dict[str, list[dict[str, str]]]:
        """Drill with some keys."""
        identities = Identities("\n".join(key.text for key in keys))
        deadline = Deadline(60, "drill")
        return drill(str(self.base.path), moment=NOW, sandbox=Sandbox(), deadline=deadline, identities=identities)

    def keys_with(self, *keys: Key) -> dict[str, list[dict[str, str]]]:
        """Drill the keys."""
        identities = Identities("\n".join(key.text for key in keys))
        return drill_keys(str(self.base.path), None, identities=identities, moment=NOW, deadline=Deadline(60, "drill"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Return such a base."""
    return Site(tmp_path)


def test_without_a_key_the_ciphertext_alone_is_proved(site: Site) -> None:
    result = site.drill()
    assert result["failures"] == []
    assert [entry["name"] for entry in result["proved"]] == ["open"]
    assert any("the ciphertext alone was proved" in str(note) for note in result["notes"])
    assert not Path(f"{site.path}.proof").exists()
    with site.path.open("r+b") as stream:
        stream.seek(400)
        stream.write(b"rot")
    (failure,) = site.drill()["failures"]
    assert "does not match its dna" in failure["reason"]


def test_with_a_key_it_is_proved_and_what_was_found_is_not_left_beside_it(site: Site) -> None:
    result = site.drill(site.keys[1])
    assert result["failures"] == []
    assert sorted(entry["name"] for entry in result["proved"]) == ["notes", "open"]
    proof = json.loads(Path(f"{site.path}.proof").read_text())
    assert (proof["facts"], proof["notes"]) == ({}, [])
    (told,) = [entry for entry in result["proved"] if entry["name"] == "notes"]
    assert told["facts"]


def test_another_key_is_a_failure(site: Site, tmp_path: Path) -> None:
    (failure,) = site.drill(age_key(tmp_path, "other"))["failures"]
    assert "encrypted to other recipients" in failure["reason"]


def test_each_key_is_tried_to_the_end(site: Site) -> None:
    result = site.keys_with(*site.keys)
    assert result["failures"] == []
    assert len(result["notes"]) == 2
    assert all("opens it" in str(note) for note in result["notes"])
    with site.path.open("r+b") as stream:
        stream.truncate(site.path.stat().st_size - 1)
    Path(f"{site.path}.dna").write_text(
        Path(f"{site.path}.dna").read_text().replace(str(site.path.stat().st_size + 1), str(site.path.stat().st_size))
    )
    failures = site.keys_with(*site.keys)["failures"]
    assert len(failures) == 2
    assert all("does not open it" in failure["reason"] for failure in failures)


def test_a_key_that_is_not_there_is_a_failure(site: Site, tmp_path: Path) -> None:
    (failure,) = site.keys_with(site.keys[0], age_key(tmp_path, "other"))["failures"]
    assert "the identity of ssh-ed25519 ..." in failure["reason"]
    assert "was not among the keys" in failure["reason"]
    with pytest.raises(InvalidInput, match="needs the keys"):
        site.keys_with()


def test_a_key_of_before_is_not_asked_for(site: Site, tmp_path: Path) -> None:
    new = age_key(tmp_path, "new")
    form = replace(site.form, recipients=tuple(sorted([site.keys[0].recipient, new.recipient])))
    site.base.dump_one(site.notes, stamp=SECOND, form=form)
    assert site.keys_with(site.keys[0], new)["failures"] == []


def test_contents_are_seen_with_a_key_alone(site: Site) -> None:
    relpath = f"folders/notes/{FIRST}/notes.tar.zst.age"
    options = {"step": "list", "tarballs": [{"relpath": relpath}], "path": "", "name": "", "recursive": True, "most": 9}
    tree, wanted = open_tree(str(site.base.path)), parse_query(options)
    (failure,) = look_into(tree, wanted, Deadline(60))["failures"]
    assert "is encrypted, and there is no identity to open it" in failure["reason"]
    found = look_into(tree, wanted, Deadline(60), identities=Identities(site.keys[0].text))
    assert ([entry["path"] for entry in found["contents"]], found["failures"]) == (["file"], [])
