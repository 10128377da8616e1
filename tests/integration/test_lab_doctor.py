"""Broken set-ups, all at once over the lab: the doctor names each, and the command that it prints mends it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.doctor_site import commands_of, findings, mend_all, not_right, states
from lab import Lab, write_inventory
from lab.lab_fixture import lab_fixture, needs_namespaces

SOURCES = ["dayabay", "lingao", "november"]
TARGETS = ["alfa", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "juliet", "lima", "november"]
hosts = lab_fixture(list(dict.fromkeys([*SOURCES, *TARGETS])), sources=SOURCES)


BROKEN: dict[tuple[str, str], str] = {
    ("dayabay", "marker"): "the source's base is not marked",
    ("alfa", "marker"): "a target's base is not marked",
    ("bravo", "base of the target"): "it does not exist",
    ("charlie", "base of the target"): "it belongs to another user",
    ("delta", "base of the target"): "anybody can write into it",
    ("echo", "base of the target"): "its disk is mounted read-only",
    ("dayabay -> alfa", "name"): "the source does not know the target's name",
    ("dayabay -> bravo", "port"): "nothing listens there",
    ("dayabay -> charlie", "host key"): "the source does not know it",
    ("dayabay -> delta", "host key"): "the source knows another one",
    ("dayabay -> echo", "key"): "the target does not accept it",
    ("dayabay -> foxtrot", "key"): "there is no such user",
    ("dayabay -> golf", "forced command"): "the key is bound by rrsync, which the inventory does not know",
    ("dayabay -> hotel", "forced command"): "the key is to be bound by rrsync, and is not",
    ("lingao -> november", "key"): "there is none",
    ("november -> foxtrot", "key"): "others can read it, so ssh does not use it",
    ("november", "one place"): "both its bases are one folder",
    ("november", "inventory"): "a variable with a slip in it",
    ("dayabay", "inventory"): "a target with a slip in its name",
    ("juliet", "python"): "there is none where the inventory says",
    ("lima", "host key"): "the controller does not know it",
}


def write_site(lab: Lab, folder: Path) -> Path:
    """Write a correct inventory of the lab, and make the bases; return the inventory."""
    variables: dict[str, dict[str, Any]] = {name: {"altbackup_allow_root_filesystem": True} for name in lab.names}
    for name in SOURCES:
        host = lab[name]
        (host.data / "notes").mkdir()
        (host.data / "own" / ".altbackup").mkdir(parents=True, mode=0o700)
        variables[name] |= {
            "altbackup_base": str(host.data / "own"),
            "altbackup_items": [{"kind": "folder", "name": "notes", "path": str(host.data / "notes")}],
            "altbackup_ssh_key": str(host.key),
            "altbackup_connect_timeout": "20s",
        }
    for name in TARGETS:
        (lab[name].data / "copies").mkdir(mode=0o700)
        (lab[name].data / "copies" / ".altbackup" / "incoming" / "dayabay").mkdir(parents=True, mode=0o700)
        variables[name]["altbackup_target_base"] = str(lab[name].data / "copies")
    variables["dayabay"]["altbackup_targets"] = [name for name in TARGETS if name != "november"]
    variables["lingao"]["altbackup_targets"] = ["november"]
    variables["november"]["altbackup_targets"] = ["foxtrot"]
    return write_inventory(lab, folder, groups={"sources": SOURCES, "targets": TARGETS}, host_vars=variables)


def change(inventory: Path, host: str, **more: Any) -> None:
    """Change variables of a host."""
    path = inventory / "host_vars" / f"{host}.yml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **more}, width=1000))


def break_all(lab: Lab, inventory: Path) -> None:
    """Cause everything in BROKEN."""
    copies = {name: lab[name].data / "copies" for name in TARGETS}
    (lab["dayabay"].data / "own" / ".altbackup").rmdir()
    for name in ("alfa", "bravo"):
        lab[name].run(["rm", "-r", str(copies[name] / ".altbackup")], check=True)
    copies["bravo"].rmdir()
    lab["charlie"].run(["chown", "1234", str(copies["charlie"])], check=True)
    copies["delta"].chmod(0o777)
    lab["echo"].run(["rm", "-r", str(copies["echo"] / ".altbackup")], check=True)
    lab["echo"].small_disk(1 << 23, at=copies["echo"])
    lab["echo"].run(["mkdir", "-m", "700", str(copies["echo"] / ".altbackup")], check=True)
    lab["echo"].run(["mount", "-o", "remount,ro", str(copies["echo"])], check=True)

    own = lab["dayabay"].home / ".ssh" / "known_hosts"
    lines = {line.partition(",")[0]: line for line in own.read_text().splitlines()}
    keys = {name: line.partition(" ")[2] for name, line in lines.items()}
    del lines["charlie"]
    lines["delta"] = lines["delta"].replace(keys["delta"], keys["golf"])
    own.write_text("\n".join([*lines.values(), f"vault {keys['alfa']}", ""]))
    change(inventory, "alfa", altbackup_rsync_host="vault")
    change(inventory, "bravo", altbackup_rsync_port=2222)
    accepted = lab["echo"].home / ".ssh" / "authorized_keys"
    public = Path(f"{lab['dayabay'].key}.pub").read_text().split()[1]
    accepted.write_text("".join(line for line in accepted.read_text().splitlines(True) if public not in line))
    change(inventory, "foxtrot", altbackup_rsync_user="no-such-user")
    let_in = lab["golf"].home / ".ssh" / "authorized_keys"
    bound = f'restrict,command="rrsync -wo {copies["golf"]}/.altbackup/incoming/dayabay" '
    lines_of = let_in.read_text().splitlines(True)
    let_in.write_text("".join(f"{bound}{line}" if public in line else line for line in lines_of))
    change(inventory, "hotel", altbackup_rrsync=True)
    change(inventory, "lingao", altbackup_ssh_key=str(lab["lingao"].home / ".ssh" / "altbackup"))
    key = lab["november"].key
    assert key is not None
    key.chmod(0o644)
    (lab["november"].data / "same").symlink_to(lab["november"].data / "own")
    change(inventory, "november", altbackup_target_base=str(lab["november"].data / "same"), altbackup_kep=3)
    targets = [f"{name}a" if name == "lima" else name for name in TARGETS if name != "november"]
    change(inventory, "dayabay", altbackup_targets=targets)
    change(inventory, "juliet", ansible_python_interpreter="/usr/bin/python3.99")
    known = lab.known_hosts
    known.write_text("".join(line for line in known.read_text().splitlines(True) if not line.startswith("lima,")))


@needs_namespaces
@pytest.mark.full
def test_each_broken_set_up_is_named_and_mended_by_the_command_that_is_printed(hosts: Lab, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    inventory = write_site(hosts, tmp_path / "inventory")
    break_all(hosts, inventory)
    found = findings(inventory, tmp_path, home)
    print(json.dumps([entry for entry in found if entry["state"] != "ok"], indent=1))
    missed = set(BROKEN) - not_right(found)
    assert not missed, f"{missed} is not named"
    beyond = {place for place in not_right(found) - set(BROKEN) if place != ("lima", "inventory")}
    assert not beyond, f"{beyond} is named, and was not broken"
    mend_all(commands_of(found, BROKEN), home, ["known_hosts", "november.yml"])
    again = findings(inventory, tmp_path, home)
    print(json.dumps([entry for entry in again if entry["state"] != "ok"], indent=1))
    assert not not_right(again)
    left = {place: states(again)[place] for place in BROKEN if states(again).get(place, "ok") != "ok"}
    assert not left
    assert states(again)["dayabay -> hotel", "forced command"] == "ok"
    assert all(states(again)[f"dayabay -> {name}", "way"] == "ok" for name in TARGETS if name != "november")
