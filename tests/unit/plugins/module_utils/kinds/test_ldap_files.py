"""Facts about a directory's configuration that need no server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.trees import needs_root

from ansible_collections.altbackup.core.plugins.module_utils.kinds import ldap
from ansible_collections.altbackup.core.plugins.module_utils.kinds.items import parse_item
from ansible_collections.altbackup.core.plugins.module_utils.system.errors import InvalidInput


@pytest.mark.parametrize(
    ("included", "refused"),
    [("database mdb\nsuffix dc=x\n", True), ("include /etc/more\n", True), ("attributetype ( 1.2.3 )\n", False)],
)
def test_a_configuration_of_which_an_included_file_names_databases_is_refused(
    tmp_path: Path, included: str, refused: bool
) -> None:
    (tmp_path / "inner.conf").write_text(included)
    text = f"include {tmp_path}/inner.conf\ndatabase mdb\n"
    if refused:
        with pytest.raises(InvalidInput, match=r"inner\.conf.*slaptest"):
            ldap._require_whole("item", "slapd.conf", text)
    else:
        ldap._require_whole("item", "slapd.conf", text)


@needs_root
def test_slapcat_is_never_roots_by_itself(tmp_path: Path) -> None:
    """slapcat loads the modules that a configuration names, so a folder's owner could have root load any file."""
    path = tmp_path / "slapd.conf"
    path.write_text("database mdb\n")
    item = parse_item({"kind": "ldap", "name": "x", "path": str(path)})
    with pytest.raises(InvalidInput, match="give user"):
        ldap.arrange(item, None)  # type: ignore[arg-type]
    os.chown(path, 65534, 65534)
