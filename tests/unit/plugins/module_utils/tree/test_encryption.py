"""What a source keeps for encryption, and what of its records others get."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from helpers.trees import FIRST, marked

from ansible_collections.altbackup.core.plugins.module_utils.system.errors import AltbackupError
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import (
    keyed,
    keyed_content,
    known_public_key,
    public_key_of,
    secret_of,
    shared,
    shared_proof,
)
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree

RELPATH = f"folders/notes/{FIRST}/notes.tar.zst.age"


def test_secret_and_key_are_made_once_and_are_the_owners_alone(tmp_path: Path) -> None:
    tree = open_tree(str(marked(tmp_path / "base")))
    assert known_public_key(tree) == ""
    assert secret_of(tree) == secret_of(tree)
    public = public_key_of(tree, Deadline(60))
    assert public == public_key_of(tree, Deadline(60))
    assert known_public_key(tree).startswith(public)
    folder = tmp_path / "base/.altbackup/encryption"
    assert sorted(os.listdir(folder)) == ["secret", "signing_key", "signing_key.pub"]
    assert all((folder / name).stat().st_mode & 0o077 == 0 for name in ("secret", "signing_key"))


def test_what_is_no_secret_is_told(tmp_path: Path) -> None:
    tree = open_tree(str(marked(tmp_path / "base")))
    secret_of(tree)
    path = tmp_path / "base/.altbackup/encryption/secret"
    for text in ("", "zz", "a" * 9000):
        path.write_text(text)
        with pytest.raises(AltbackupError, match="is no secret of a dump"):
            secret_of(tree)


def test_keyed_digests_tell_nothing_without_the_secret() -> None:
    one, other = keyed(b"1" * 32), keyed(b"2" * 32)
    one.update(b"content")
    other.update(b"content")
    assert one.hexdigest() != other.hexdigest()
    assert keyed_content(b"1" * 32, "content") not in (one.hexdigest(), keyed_content(b"2" * 32, "content"))


@pytest.mark.parametrize(
    "record", [{"relpath": RELPATH}, {"relpath": "", "to": ["age1"]}, {"relpath": "", "sealed": "x"}]
)
def test_of_what_is_encrypted_others_get_what_they_need(record: dict[str, Any]) -> None:
    hidden = {
        "rows": {"patients": 5},
        "path": "/srv",
        "suspect": ["patients fell"],
        "incomplete": ["patients"],
        "noted": {},
    }
    told = shared({**record, "kind": "folder", **hidden})
    assert told["kind"] == "folder"
    assert told["suspect"]
    assert told["incomplete"]
    assert "patients" not in json.dumps(told)
    assert not {"rows", "path", "noted"} & set(told)


def test_of_what_is_not_all_is_told() -> None:
    record = {"relpath": RELPATH.removesuffix(".age"), "rows": 5}
    assert shared(record) == record
    proof = {"facts": {"rows": 5}, "notes": ["x"], "when": "now"}
    assert shared_proof(proof, record["relpath"]) == proof
    assert shared_proof(proof, RELPATH) == {"facts": {}, "notes": [], "when": "now"}
