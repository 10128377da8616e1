"""All rows, scene by scene; importing a module registers its rows."""

from __future__ import annotations

from attacks.rows import (
    archives,
    discovery,
    dump_links,
    dump_pipes,
    dump_tricks,
    history,
    lies,
    races,
    restore,
    stamps,
    trees,
)

ALL = (dump_links, dump_pipes, dump_tricks, discovery, restore, archives, stamps, trees, history, lies, races)
