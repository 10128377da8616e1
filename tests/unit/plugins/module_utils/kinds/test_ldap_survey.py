"""Configurations of OpenLDAP, as texts."""

from __future__ import annotations

from ansible_collections.altbackup.core.plugins.module_utils.kinds.ldap import databases_of, databases_of_file
from ansible_collections.altbackup.core.plugins.module_utils.kinds.ldap_survey import elsewhere, elsewhere_in_file


def test_databases_are_those_that_store_entries() -> None:
    config = "\n\n".join(
        f"dn: olcDatabase={name},cn=config\nolcDatabase: {name}\nolcSuffix: dc={number}"
        for number, name in enumerate(("{-1}frontend", "{0}config", "{1}monitor", "{2}mdb", "{3}ldap", "{4}ldif"))
    )
    assert databases_of(config) == {"2": ("mdb", "dc=3"), "4": ("ldif", "dc=5")}
    text = (
        'database config\ndatabase monitor\ndatabase mdb\nsuffix "dc=a"\ndirectory /x\ndatabase\tmdb\nsuffix\n  dc=b\n'
    )
    assert databases_of_file(text) == {"2": ("mdb", "dc=a"), "3": ("mdb", "dc=b")}


def test_a_configuration_is_loaded_elsewhere() -> None:
    text = "dn: cn=config\nolcTLSCertificateFile: /etc/x\nolcDbDirectory: /var/lib/\n ldap\nolcSuffix: a\n"
    assert elsewhere(text, "/room") == (
        "dn: cn=config\nolcDbDirectory: /room/database0\nolcSuffix: a\n",
        ["/room/database0"],
    )
    assert elsewhere_in_file("pidfile /x\ndirectory /a\nsuffix b\n", "/room") == (
        "directory /room/database0\nsuffix b\n",
        ["/room/database0"],
    )
