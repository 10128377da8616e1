"""The id of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.module_utils.system.machine import machine_id


def test_the_id_is_the_machines_own_and_not_its_machine_id(tmp_path: Path) -> None:
    found = []
    for text in ("a" * 32, "b" * 32):
        (tmp_path / "id").write_text(f"{text}\n")
        found.append(machine_id(str(tmp_path / "id")))
        assert len(found[-1]) == 32 and found[-1] != text
        assert machine_id(str(tmp_path / "id")) == found[-1]
    assert found[0] != found[1]


@pytest.mark.parametrize("text", [None, "", "uninitialized\n", "A" * 32, "a" * 31, "a" * 33, "\0" * 32])
def test_without_a_machine_id_there_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "id").write_text(text)
    assert machine_id(str(tmp_path / "id")) == ""
