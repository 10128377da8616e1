"""What the doctor says of encryption, and the recovery sheet."""

from __future__ import annotations

from typing import Any

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.encryption import findings, sheet, short_sheet
from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.finding import Commands
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan

AGE = "age1g4g5qfujfqphvnxk2esljtk7hwvczk9hj7lnmng2h5qjhtadvgyskyeuaw"
SSH = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHnajoQqp8NzRC590NI4cRIptpdGEI5aVIYC/y89sV5s"
SIGNER = SSH.replace("nA", "nB", 1).replace("AAAAIHna", "AAAAIHnb")
COMMANDS = Commands(["/inventory"])


def plan_of(**source: Any) -> dict[str, Any]:
    """Return the plan of a source with one target."""
    items = [
        {"kind": "folder", "name": "notes", "path": "/srv/notes"},
        {"kind": "folder", "name": "open", "path": "/o", "encrypt_to": []},
    ]
    common = {name: source.pop(name) for name in list(source) if name == "altbackup_identity_file"}
    variables = {
        "dayabay": {
            "altbackup_base": "/backup",
            "altbackup_items": items,
            "altbackup_targets": ["cms01"],
            **source,
            **common,
        },
        "cms01": {"altbackup_target_base": "/copies", **common},
    }
    plan = build_plan(variables, {"sources": ["dayabay"], "targets": ["cms01"]}, {}, 1.8e9)
    assert plan["errors"] == []
    return plan


def facts(key: str = "") -> dict[str, Any]:
    """Return what the source told."""
    return {"dayabay": {"bases": [{"base": "/backup", "signing_key": f"{key} altbackup" if key else ""}]}}


def told(plan: dict[str, Any], key: str = "") -> list[tuple[str, str]]:
    """Return what and state of the findings."""
    return [(finding.what, finding.state) for finding in findings(plan, facts(key), COMMANDS)]


def test_nothing_is_said_where_nothing_is_encrypted() -> None:
    plan = plan_of()
    assert findings(plan, facts(), COMMANDS) == []
    assert sheet(plan, facts(), "2013/05/10") == ""


def test_signatures_that_nobody_could_compare_are_wrong_with_what_mends_it() -> None:
    plan = plan_of(altbackup_encrypt_to=[AGE, SSH])
    assert told(plan) == [("encryption", "ok"), ("signatures", "unknown")]
    assert told(plan, SIGNER) == [("encryption", "ok"), ("signatures", "wrong")]
    (_, wrong) = findings(plan, facts(SIGNER), COMMANDS)
    assert "altbackup_signing_key" in wrong.mend
    assert SIGNER in wrong.mend
    known = plan_of(altbackup_encrypt_to=[AGE, SSH], altbackup_signing_key=SIGNER)
    assert told(known, SIGNER) == [("encryption", "ok"), ("signatures", "ok")]
    assert told(known, SSH) == [("encryption", "ok"), ("signatures", "wrong")]
    assert told(known) == [("encryption", "ok"), ("signatures", "ok")]


def keys_told(plan: dict[str, Any], path: str, *keys: tuple[str, str]) -> list[str]:
    """Return what is said of private keys, (path, public key), that lie in an item at a path."""
    key = {"/srv/notes": "folders/notes", "/o": "folders/open"}[path]
    told = {"path": path, "key": key, "keys": [{"path": key, "public": public} for key, public in keys]}
    another = {"path": path, "key": "folders/other", "keys": []}  # which excludes them
    known = {"dayabay": {**facts()["dayabay"], "items": [told, another]}}
    return [finding.why for finding in findings(plan, known, COMMANDS) if finding.what == "keys"]


def test_a_key_inside_what_it_opens_is_wrong() -> None:
    plan = plan_of(
        altbackup_encrypt_to=[AGE, SSH], altbackup_signing_key=SSH, altbackup_identity_file="/srv/notes/keys/backup"
    )
    for public in (AGE, SSH):
        (why,) = keys_told(plan, "/srv/notes", ("/srv/notes/.ssh/id", public))
        assert why.startswith("'/srv/notes/.ssh/id' lies in its item folder 'notes', which it opens")
    assert len(keys_told(plan, "/srv/notes", ("/srv/notes/keys/backup", ""))) == 1, "it is named as the one that opens"
    assert keys_told(plan, "/srv/notes", ("/srv/notes/other", SIGNER), ("/srv/notes/unknown", "")) == []
    assert keys_told(plan, "/o", ("/o/key", AGE)) == [], "that item is readable"


def test_of_a_node_that_told_nothing_the_path_of_the_key_is_judged() -> None:
    for path, wrong in (("/srv/notes/keys/backup", True), ("/o/backup", False), ("/srv/notes2", False)):
        plan = plan_of(altbackup_encrypt_to=[AGE, SSH], altbackup_signing_key=SSH, altbackup_identity_file=path)
        assert any(one.what == "keys" and one.state == "wrong" for one in findings(plan, {}, COMMANDS)) is wrong


def test_what_is_no_key_is_not_taken_from_a_node() -> None:
    plan = plan_of(altbackup_encrypt_to=[AGE, SSH])
    assert told(plan, "ssh-ed25519 $(reboot)") == [("encryption", "ok"), ("signatures", "unknown")]


def test_the_sheet_has_stores() -> None:
    items = [{"kind": "folder", "name": "notes", "path": "/srv/notes", "encrypt_to": [AGE, SSH]}]
    variables = {
        "dayabay": {"altbackup_base": "/backup", "altbackup_targets": ["cms01"], "altbackup_items": items},
        "cms01": {"altbackup_target_base": "/copies", "altbackup_stores": ["vault"]},
        "vault": {"altbackup_store_remote": "offsite:bucket", "altbackup_store_config": "/root/rclone.conf"},
    }
    plan = build_plan(variables, {"sources": ["dayabay"], "targets": ["cms01"], "stores": ["vault"]}, {}, 1.8e9)
    assert plan["errors"] == []
    text = sheet(plan, facts(), "2013/05/10")
    assert "copies:\n    cms01: /copies/dayabay\n    vault, a store: offsite:bucket/dayabay\n" in text
    assert "rclone.conf" not in text


def test_the_sheet_has_keys_and_places_and_is_understood_by_restore_sh() -> None:
    text = sheet(plan_of(altbackup_encrypt_to=[AGE, SSH], altbackup_signing_key=SIGNER), facts(), "2013/05/10")
    assert f"    dayabay {SIGNER}\n" in text
    for part in (AGE, SSH, "cms01: /copies/dayabay", "2013/05/10", "altbackup_key_drill"):
        assert part in text
    assert "SECRET" not in text
    assert short_sheet(text).splitlines() == [f"dayabay {SIGNER}", AGE, SSH]
    late = sheet(plan_of(altbackup_encrypt_to=[AGE, SSH]), facts(), "2013/05/10")
    assert "not known yet" in late
    assert f"dayabay {SIGNER}" in sheet(plan_of(altbackup_encrypt_to=[AGE, SSH]), facts(SIGNER), "2013/05/10")
