"""Places at which an inventory is not valid YAML."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.inventory_files import places_of, syntax_errors

GOOD = "sources: {hosts: {a: {password: !vault x}}}\n"
BAD = "a: 1\n b: 2\n"


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Return a folder with a good inventory."""
    folder = tmp_path / "mine"
    (folder / "group_vars" / "all").mkdir(parents=True)
    (folder / "host_vars").mkdir()
    (folder / "hosts.yml").write_text(GOOD)
    (folder / "group_vars" / "all" / "keep.yml").write_text("altbackup_keep: 3\n")
    (folder / "group_vars" / "secret.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n: : :\n")
    (folder / "inventory.ini").write_text("[sources]\na b: c: d\n")
    return folder


@pytest.mark.parametrize("name", ["hosts.yml", "group_vars/all/keep.yml", "group_vars/sources", "host_vars/a.json"])
@pytest.mark.parametrize("named", ["mine", "mine/hosts.yml"])
def test_each_file_that_is_no_yaml_is_named_with_its_line(inventory: Path, named: str, name: str) -> None:
    assert syntax_errors([named, "a,b,"], inventory.parent) == []
    (inventory / name).write_text(BAD)
    (said,) = syntax_errors([named, "a,b,"], inventory.parent)
    assert said.startswith(f"{inventory / name}: line 2, column 3") and "mapping values are not allowed" in said


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"a: \xff", "byte 4: it is no UTF-8"), (b"a: \x07", "character 4: "), (b"[" * 9000, "nested")],
)
def test_what_is_no_text_is_told(inventory: Path, content: bytes, said: str) -> None:
    (inventory / "hosts.yml").write_bytes(content)
    (line,) = syntax_errors(["mine"], inventory.parent)
    assert said in line


def test_places_of_a_variable_are_named_with_their_lines(inventory: Path) -> None:
    keep = inventory / "group_vars" / "all" / "keep.yml"
    assert places_of(["mine", "mine", "a,b,"], inventory.parent, "altbackup_keep") == [f"{keep}:1"]
    (inventory / "host_vars" / "a.yml").write_text(
        "---\n# altbackup_keep: 4\naltbackup_keep_daily: 1\n'altbackup_keep': 5\n"
    )
    assert places_of(["mine"], inventory.parent, "altbackup_keep") == [f"{keep}:1", f"{inventory}/host_vars/a.yml:4"]
    assert places_of(["mine", "none"], inventory.parent, "altbackup_base") == []
