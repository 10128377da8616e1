"""What is right and what is not with encryption: keys that are lost, or nowhere else, are found out while there is a remedy; and the recovery sheet. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ...module_utils.kinds.registry import CATEGORIES
from ...module_utils.system.paths import is_within
from ...module_utils.system.recipients import shown
from ..planning.stores import stores_with
from ..report.secrecy import quoted
from .finding import OK, UNKNOWN, WRONG, Commands, Finding, is_key

WHAT = "encryption"
_OWN = "/"


def recipients_by_item(entry: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return {what is encrypted: its recipients} of a source of the plan; the recipients of all other items stand under an empty text."""
    found = {"": list(entry["encrypt_to"])}
    found.update(
        {
            f"{item['kind']} {item['name']}": list(item["encrypt_to"])
            for item in entry["item_list"]
            if "encrypt_to" in item
        }
    )
    return {title: recipients for title, recipients in found.items() if recipients}


def signing_key_of(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """Return the public key of a source's signatures as the source told it, empty where it has none."""
    told = [
        str(base.get("signing_key") or "") for base in facts.get("bases") or () if base.get("base") == entry["base"]
    ]
    return next((" ".join(key.split()[:2]) for key in told if is_key(" ".join(key.split()[:2]))), "")


def findings(plan: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], commands: Commands) -> list[Finding]:
    """Return the findings on encryption; `known` has the facts of the nodes that told any, `commands` is what commands are written with."""
    found = []
    for source, entry in plan["sources"].items():
        groups = recipients_by_item(entry)
        if not groups:
            continue
        everyone = list(dict.fromkeys(one for recipients in groups.values() for one in recipients))
        found.append(Finding(source, WHAT, OK, f"to {shown(everyone)}"))
        if source in known:
            found.append(_signatures(source, entry, signing_key_of(entry, known[source]), commands))
        found += _own_keys(source, entry, known.get(source), str(plan.get("identity_file") or ""))
    return found


def _signatures(source: str, entry: Mapping[str, Any], told: str, commands: Commands) -> Finding:
    """Return whether copies can be told from forged ones."""
    configured = entry["signing_key"]
    if configured and told and configured != told:
        why = (
            f"it signs with {told}, but altbackup_signing_key is {configured}: it encrypts nothing until they agree. If its state was lost, enter the new one, "
            "here and on the recovery sheet; else find out who changed it"
        )
        return Finding(source, "signatures", WRONG, why, commands.setting(source, "altbackup_signing_key", told))
    if configured:
        return Finding(source, "signatures", OK, f"altbackup_signing_key is {configured}")
    if not told:
        return Finding(source, "signatures", UNKNOWN, "its first encrypted night makes the key of its signatures")
    why = "without altbackup_signing_key a restore cannot tell its copies from forged ones: age authenticates nobody"
    return Finding(source, "signatures", WRONG, why, commands.setting(source, "altbackup_signing_key", told))


def _own_keys(
    source: str, entry: Mapping[str, Any], facts: Mapping[str, Any] | None, identity_file: str
) -> list[Finding]:
    """Return a finding for each item that has a key which opens it: on the worst day that key is nowhere else.

    Without facts of the node only the path of the identity file is compared.
    """
    told = {str(item["key"]): item.get("keys") or () for item in (facts or {}).get("items") or ()}
    found = []
    for item in entry["item_list"]:
        recipients, path = item.get("encrypt_to", entry["encrypt_to"]), str(item.get("path") or "")
        if not recipients or not path:
            continue
        if facts is None:
            inside = [identity_file] if identity_file and path != _OWN and is_within(identity_file, path) else []
        else:
            keys = told.get(f"{CATEGORIES[item['kind']]}/{item['name']}", ())
            inside = [key["path"] for key in keys if key["public"] in recipients or key["path"] == identity_file]
        for key in inside:
            why = (
                f"{quoted(key)} lies in its item {item['kind']} {quoted(item['name'])}, which it opens: a key that lies only inside the backups that it "
                "opens opens none"
            )
            mend = (
                "# keep the key where no backup goes: on paper, in a safe, with two people; then exclude it from the item, or let the item be encrypted to "
                "others, too"
            )
            found.append(Finding(source, "keys", WRONG, why, mend))
    return found


def sheet(plan: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]], when: str) -> str:
    """Return the recovery sheet, with `when` as its date, empty where nothing is encrypted; `known` has the facts of the nodes that told any.

    It has no secret: who finds it learns where the copies are, to whom they are encrypted, and who signed them.
    """
    parts: list[str] = []
    for source, entry in plan["sources"].items():
        groups = recipients_by_item(entry)
        if not groups:
            continue
        key = entry["signing_key"] or signing_key_of(entry, known.get(source, {}))
        parts += [
            "",
            f"SOURCE {source}",
            "",
            "signed with (give this sheet to restore.sh as --signed-by, or the key as altbackup_signing_key):",
        ]
        parts.append(
            f"    {source} {key}"
            if key
            else "    not known yet: print this sheet after the first encrypted night, with altbackup doctor --sheet, which asks the source"
        )
        for title, recipients in groups.items():
            parts += ["", f"{title or 'all items'}, any one of these keys opens {'it' if title else 'them'}:"]
            parts += [
                f"    {one}\n        kept by / where: ______________________________________" for one in recipients
            ]
        parts += ["", "copies:", *_places(plan, source, entry)]
    if not parts:
        return ""
    head = [
        f"RECOVERY SHEET OF THE BACKUPS                                   {when}",
        "",
        "Print this, fill in by hand where each key is kept, and keep it where the fire does not reach, not with the keys. Who loses all keys has",
        "no backups. To restore: on the disk of a target, sh restore.sh restore --identity KEYFILE --signed-by THIS-SHEET ITEM DEST (RESTORE.txt",
        "there tells all), or with this collection and its inventory, altbackup_identity_file. To see whether keys still open: altbackup_key_drill.",
    ]
    return "\n".join([*head, *parts]) + "\n"


def _places(plan: Mapping[str, Any], source: str, entry: Mapping[str, Any]) -> Iterable[str]:
    for target in entry["targets"]:
        base = plan["targets"][target]["target_base"] or ""
        yield f"    {target}: {os.path.join(base, source)}"
    for store in stores_with(plan, source):
        yield f"    {store}, a store: {os.path.join(str(plan['stores'][store]['remote']), source)}"


def short_sheet(text: str) -> str:
    """Return the lines with keys of a recovery sheet, which are hard to type, for a QR code."""
    lines = (line.strip() for line in text.splitlines())
    return "\n".join(line for line in lines if line.startswith("age1") or (" ssh-" in f" {line}" and "AAAA" in line))
