"""All rows, scene by scene; importing a module registers its rows."""

from __future__ import annotations

from attacks.rows import archives, dump_links, dump_pipes, dump_tricks, lies, restore, stamps

ALL = (dump_links, dump_pipes, dump_tricks, restore, archives, stamps, lies)
