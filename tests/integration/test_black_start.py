"""One disk rebuilds everything: restore.sh as synchronize left it, and the controller's own item."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from integration.site import REPOSITORY, Site, call, tree_of

STAMP = "2013/05/10/104701"
FILES = REPOSITORY / "roles" / "synchronize" / "files"
ITEM = "dayabay/folders/altbackup-controller"
PASSWORD = "not on the disk"


def ansible(program: str, *words: object, cwd: Path, password: Path) -> str:
    """Run a program of Ansible's in a checkout, with nothing else."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "ALTBACKUP_"))}
    environment |= {"ANSIBLE_VAULT_PASSWORD_FILE": str(password), "ALTBACKUP_MAIL_TO": "none"}
    argv = [str(Path(sys.executable).with_name(program)), *map(str, words)]
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def vaulted(site: Site, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Put a vaulted file and a vaulted value into the site's inventory; return the files as they are on disk."""
    password = site.folder / "password"
    password.write_text(PASSWORD)
    plain = site.folder / "plain.yml"
    plain.write_text("scm_token: swordfish\n")
    vault = [Path(sys.executable).with_name("ansible-vault"), "--vault-password-file", password]
    call(vault[0], "encrypt", *vault[1:], "--output", site.folder / "vault.yml", plain)
    value = call(vault[0], "encrypt_string", *vault[1:], "swordfish", "--name", "scm_other")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(password))
    files = {"vault.yml": (site.folder / "vault.yml").read_bytes(), "value.yml": value.encode()}
    write = site.write_inventory

    def write_inventory() -> Path:
        inventory = write()
        (inventory / "group_vars" / "all").mkdir(parents=True)
        for name, content in files.items():
            (inventory / "group_vars" / "all" / name).write_bytes(content)
        return inventory

    monkeypatch.setattr(site, "write_inventory", write_inventory)
    return files


@pytest.mark.full
def test_one_disk_rebuilds_everything(site: Site, vaulted: dict[str, bytes], tmp_path: Path) -> None:
    site.hosts["dayabay"]["altbackup_include_controller"] = True
    predicted = site.run("dump", "--check", stamp=STAMP)
    assert predicted.rc == 0, predicted.stdout
    run = site.run("backup", stamp=STAMP)
    assert run.rc == 0, run.stdout
    assert "swordfish" not in json.dumps(run.calls) and PASSWORD not in json.dumps(run.calls)
    assert max(len(json.dumps(result)) for _, _, result in run.calls) < 200_000
    target = site.folder / "cms01" / "copies"
    for path in FILES.iterdir():
        assert (target / path.name).read_bytes() == path.read_bytes()
    before = tree_of(site.folder / "cms01")
    again = site.run("backup", stamp=STAMP)
    assert (again.rc, again.changed) == (0, 0), again.stdout
    assert tree_of(site.folder / "cms01").keys() == before.keys()
    script = target / "restore.sh"
    assert f"* {ITEM}" in call("sh", script, "list")
    call("sh", script, "verify")
    restored = tmp_path / "restored"
    call("sh", script, "restore", ITEM, restored)
    kept = restored / "inventory" / "inventory"
    for name, content in vaulted.items():
        assert (kept / "group_vars" / "all" / name).read_bytes() == content
    checkout, password = restored / "collection", site.folder / "password"
    listed = json.loads(ansible("ansible-inventory", "-i", kept, "--list", cwd=checkout, password=password))
    assert listed["_meta"]["hostvars"]["dayabay"]["scm_token"] == "swordfish"
    assert listed["sources"]["hosts"] == ["dayabay"]
    commands = [
        line.split() for line in (restored / "README.txt").read_text().splitlines() if line.startswith("    .venv/bin/")
    ]
    assert len(commands) == 2
    for program, *words in commands:
        out = ansible(Path(program).name, *words, cwd=checkout, password=password)
        assert "dayabay" in out
    assert str(checkout.resolve()) in ansible(
        "ansible-doc", "-t", "module", "altbackup.core.dna", cwd=checkout, password=password
    )
