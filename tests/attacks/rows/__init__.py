"""All rows, scene by scene; importing a module registers its rows."""

from __future__ import annotations

from attacks.rows import (
    archives,
    discovery,
    dump_links,
    dump_pipes,
    dump_tricks,
    encrypted,
    history,
    lies,
    races,
    rekeyed,
    restore,
    stamps,
    trees,
)

ALL = (
    dump_links,
    dump_pipes,
    dump_tricks,
    discovery,
    restore,
    archives,
    encrypted,
    rekeyed,
    stamps,
    trees,
    history,
    lies,
    races,
)
