"""The versions that make a run, told as far as files tell them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.history.versions import collection_version, versions

INSTALLED = json.dumps({"collection_info": {"version": "1.2.3"}})


@pytest.mark.parametrize(
    ("manifest", "galaxy", "version"),
    [
        (None, None, ""),
        (INSTALLED, None, "1.2.3"),
        (INSTALLED, "version: 9\n", "1.2.3"),
        (None, "name: core\nversion: 0.2.0-beta.1+x\n", "0.2.0-beta.1+x"),
        (None, 'version: "0.2.0" # soon\n', "0.2.0"),
        (None, "version: '0.2.0'\n", "0.2.0"),
        (None, "version:\nname: core\n", ""),
        (None, "requires_version: 1\n", ""),
        ("{", "version: 0.2.0\n", "0.2.0"),
        ("[]", None, ""),
        ('{"collection_info": null}', None, ""),
        ('{"collection_info": {}}', "version: 0.2.0\n", "0.2.0"),
        ("[" * 200_000, None, ""),
        (None, "\udcff", ""),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode() if value is not None else "none",
)
def test_a_version_is_that_of_the_installed_or_of_the_checkout(
    manifest: str | None, galaxy: str | None, version: str, tmp_path: Path
) -> None:
    for name, text in (("MANIFEST.json", manifest), ("galaxy.yml", galaxy)):
        if text is not None:
            (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert collection_version(tmp_path) == version


def test_a_folder_in_the_place_of_a_file_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").mkdir()
    (tmp_path / "galaxy.yml").mkdir()
    assert collection_version(tmp_path) == ""


def test_this_checkout_tells_all_three() -> None:
    assert set(versions()) == {"altbackup", "ansible", "python"}
    assert all(versions().values())
