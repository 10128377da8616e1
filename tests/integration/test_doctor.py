"""playbooks/doctor.yml on this machine alone: faults are named, and the printed commands mend them. Over the lab: test_lab_doctor.py."""

from __future__ import annotations

from pathlib import Path

from integration.doctor_site import commands_of, findings, mend_all, not_right
from integration.site import Site

BROKEN = {
    ("dayabay", "base of the source"): "anybody can write into it",
    ("dayabay", "inventory"): "a variable with a slip in it",
    ("cms01", "marker"): "the base is not marked",
}


def test_what_is_wrong_is_named_at_once_and_mended_by_what_is_printed(bare_site: Site, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    items = [{"kind": "folder", "name": "notes", "path": str(notes)}]
    allowed = {"altbackup_allow_root_filesystem": True}
    own = bare_site.add_source(
        "dayabay", altbackup_targets=["cms01"], altbackup_items=items, altbackup_kep=3, **allowed
    )
    copies = bare_site.add_target("cms01", **allowed)
    own.chmod(0o777)
    (copies / ".altbackup").rmdir()
    inventory = bare_site.write_inventory()
    found = findings(inventory, tmp_path, tmp_path)
    assert not_right(found) == set(BROKEN)
    mend_all(commands_of(found, BROKEN), tmp_path, [])
    assert not_right(findings(inventory, tmp_path, tmp_path)) == set()
