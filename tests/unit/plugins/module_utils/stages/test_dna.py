"""Sidecars written for tarballs that have none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from helpers.original_trees import put, reasons

from ansible_collections.altbackup.core.plugins.module_utils.stages import dna

CONTENT = b"abc" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


def test_a_tarball_that_is_still_written_gets_no_sidecar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = put(tmp_path, "x-1.tar", CONTENT, None)
    digest_file = dna.digest_file

    def grows(name: str, algorithm: str) -> tuple[str, int]:
        result = digest_file(name, algorithm)
        with path.open("ab") as stream:
            stream.write(b"more")
        return result

    monkeypatch.setattr(dna, "digest_file", grows)
    result = dna.write_dnas([str(path)], "sha256", False)
    assert reasons(result) == [f"{path} changed while it was read: is it still being written?"]
    assert not Path(f"{path}.dna").exists()


def test_force_replaces_a_dna_but_not_what_a_differential_stands_on(tmp_path: Path) -> None:
    text = '{"dig": "%s", "size": 3000, "alg": "md5", "base": "2013/05/01/104701/x-1.tar", "base_dig": "%s"}' % (
        SHA[:32],
        SHA,
    )
    path = put(tmp_path, "x-2.diff.tar", CONTENT, text)
    assert dna.write_dnas([str(path)], "sha256", True)["changed"]
    expected = '{"dig": "%s", "size": 3000, "alg": "sha256", "base": "2013/05/01/104701/x-1.tar", "base_dig": "%s"}\n'
    assert Path(f"{path}.dna").read_text() == expected % (SHA, SHA)
