"""A source whose older tarballs are encrypted to recipients of before."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from helpers.age_keys import Key, age_key, ssh_key
from helpers.trees import FIRST, SECOND, THIRD, Base, item

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.restore import rekey as rekeying
from ansible_collections.altbackup.core.plugins.module_utils.restore.rekey import Wanted
from ansible_collections.altbackup.core.plugins.module_utils.restore.signed import verified_statement
from ansible_collections.altbackup.core.plugins.module_utils.system.age import Identities
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.encryption import known_public_key, opened
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import Tarball, open_tree
from ansible_collections.altbackup.core.plugins.module_utils.tree.publish import read_record, verify
from ansible_collections.altbackup.core.plugins.module_utils.tree.scan import scan
from ansible_collections.altbackup.core.plugins.module_utils.tree.stamps import Moment

NOW = Moment("2013/05/31/235959", "2013/05/31/235959")
KEY = "folders/notes"


class Site:
    """A source with older tarballs, and recipients of today."""

    def __init__(self, folder: Path) -> None:
        self.old, self.kept, self.new = age_key(folder, "old"), ssh_key(folder), age_key(folder, "new")
        self.base = Base(folder / "base")
        self.live = folder / "live"
        self.live.mkdir()
        (self.live / "file").write_text("content\n" * 999)
        self.before = tuple(sorted([self.old.recipient, self.kept.recipient]))
        self.after = tuple(sorted([self.new.recipient, self.kept.recipient]))
        self.notes = item("folder", self.live, "notes")

    @property
    def tree(self) -> Any:
        """Its tree."""
        return open_tree(str(self.base.path))

    def dump(self, stamp: str, **options: Any) -> dict[str, Any]:
        """Dump under a stamp to the recipients of before."""
        return self.base.dump_one(self.notes, stamp=stamp, form=ArchiveFormat(recipients=self.before), **options)

    def rekey(self, *keys: Key, **options: Any) -> dict[str, Any]:
        """Encrypt anew for those of today, with some identities, by default an old one."""
        identities = Identities("\n".join(key.text for key in keys or [self.old]))
        wanted = options.pop("wanted", Wanted(self.after))
        return rekeying.rekey(
            str(self.base.path), wanted, identities=identities, deadline=Deadline(120, "rekey"), **options
        )

    def tarballs(self) -> list[Tarball]:
        """Return what is there, the oldest first."""
        return sorted(scan(self.tree).tarballs, key=lambda one: one.stamp)

    def record(self, stamp: str) -> dict[str, Any]:
        """Return what is recorded of a stamp."""
        return read_record(self.tree, KEY, stamp)

    def path(self, stamp: str) -> Path:
        """Return the tarball of a stamp."""
        (found,) = [one for one in self.tarballs() if one.stamp == stamp]
        return self.base.path / found.relpath

    def require_good(self, *keys: Key) -> None:
        """Fail unless each tarball is as its dna and its record say, is signed by this source, and opens with all keys, and no old one."""
        assert self.tarballs() and all(one.verified for one in self.tarballs()), self.tarballs()
        for one in self.tarballs():
            path, record = self.base.path / one.relpath, self.record(one.stamp)
            assert one.dna is not None
            verify(str(path), one.dna)
            assert (record["dig"], record["size"], record["relpath"]) == (one.dna.dig, one.dna.size, one.relpath)
            public = " ".join(known_public_key(self.tree).split()[:2])
            said = verified_statement(record, public, Deadline(60), one.relpath)
            assert (said["dig"], said["stamp"], said.get("base_dig")) == (one.dna.dig, one.stamp, one.dna.base_dig)
            for key in keys:
                assert key.is_for(path)
                assert opened(record, Identities(key.text), Deadline(60))["path"] == str(self.live)
            assert not self.old.is_for(path)
        leftovers = [name for name in self.base.files() if "tmp-" in name or name.endswith(".rekeyed")]
        assert leftovers == []


def with_differentials(site: Site) -> None:
    """Make a full tarball and two differentials."""
    (site.live / "large").write_bytes(random.Random(4711).randbytes(1 << 17))
    for number, stamp in enumerate((FIRST, SECOND, THIRD)):
        (site.live / "file").write_text(f"night {number}\n")
        site.dump(stamp, full_every=7)
    assert [".diff." in one.filename for one in site.tarballs()] == [False, True, True]
