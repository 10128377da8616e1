"""The demo: its output is true, it starts afresh only over its own files, and it leaves nothing running."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
# seconds of the nights, on a machine that is busy with other things
LONGEST = 1800
PLAY = ".venv/bin/ansible-playbook -i var/demo/inventory"
HAS_SERVER = all(shutil.which(name, path="/usr/sbin:/usr/bin") for name in ("mariadbd", "mariadb", "mariadb-dump"))
ITEMS = (
    *(["databases/tickets"] if HAS_SERVER else []),
    "databases/monitor",
    "folders/svnsetup",
    "git/toolbox",
    "svn/dybsvn",
    "tracs/dybsvn",
)


def copied_checkout(folder: Path) -> Path:
    """Copy what git would commit here into a folder, with this environment as its .venv."""
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    ).stdout
    for name in filter(None, os.fsdecode(listed).split("\0")):
        source, copy = CHECKOUT / name, folder / name
        if os.path.lexists(source):
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def run_demo(checkout: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run the demo as cron or an old terminal would: no terminal, no locale, no settings."""
    home.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C"}
    return run([sys.executable, "tools/demo.py"], checkout, environment)


def run(argv: list[str], checkout: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in the checkout; return its exit code, and stdout and stderr together."""
    return subprocess.run(
        argv,
        cwd=checkout,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=LONGEST,
    )


def command_lines() -> Iterator[str]:
    """Yield the command line of each visible process of this machine."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue


def tarballs(base: Path) -> list[Path]:
    """Return the tarballs of a tree, each once, without the private folder."""
    found = (path for item in ITEMS for path in (base / item).glob("[0-9]*/*/*/*/*.tar.zst"))
    return sorted(found)


def assert_verified(path: Path) -> None:
    """Assert that a tarball matches its sidecar, without the project's code."""
    dna = json.loads(Path(f"{path}.dna").read_text(encoding="ascii"))
    content = path.read_bytes()
    assert (dna["dig"], dna["size"]) == (hashlib.sha256(content).hexdigest(), len(content)), path


@pytest.mark.full
@pytest.mark.slow
def test_demo_shows_three_nights_and_a_damaged_copy_that_is_found_and_mended(tmp_path: Path) -> None:
    checkout = copied_checkout(tmp_path / "a check out")
    ran = run_demo(checkout, tmp_path / "home")
    said, demo = ran.stdout, checkout / "var/demo"
    assert ran.returncode == 0, said
    assert list((tmp_path / "home").iterdir()) == [], "it writes only below var/demo"

    wrapped = " ".join(said.split())
    assert f"together 0 new files with 0 bytes and {2 * len(ITEMS)} hard links" in wrapped
    assert f"together {2 * len(ITEMS) - 2} new files with" in wrapped
    assert ("No database of a server is shown" in wrapped) != HAS_SERVER
    victim = os.path.relpath(*sorted((demo / "target/localhost/svn/dybsvn").glob("2*/*/*/*/dybsvn-4.tar.zst")), demo)
    assert f"{victim.removeprefix('target/localhost/')} does not match its dna: sha256 is" in wrapped
    assert "healed from localhost" in wrapped
    assert re.findall(r"exit code (\d)", said) == ["0", "0", "0", "0", "2", "2", "0"]

    for base in (demo / "source", demo / "target/localhost"):
        found = tarballs(base)
        assert len(found) == 3 * len(ITEMS)
        assert len({path.stat().st_ino for path in found}) == 2 * len(ITEMS) - 1, "the folder did not change"
        for path in found:
            assert_verified(path)
        for item in ITEMS:
            newest = [path for path in found if path.is_relative_to(base / item)][-1]
            assert (base / item / "last" / newest.name).samefile(newest)
    assert (demo / "restored/dybsvn-4/format").is_file()
    assert len(list((demo / "live/svnsetup").iterdir())) >= 10
    assert not [line for line in command_lines() if str(checkout) in line]

    # the suggested next commands work as printed, where nobody has to be asked
    write_inventory, _, backup = re.findall(r"^  \$ (bin/altbackup (?:init|run) .*mine)$", said, flags=re.MULTILINE)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "LANG": "C", "ALTBACKUP_MAIL_TO": "none"}
    base = tmp_path / "own"
    tried = run(
        ["sh", "-c", f"{write_inventory} --mail none --base {base} --folder {tmp_path} --no-doctor"],
        checkout,
        environment,
    )
    assert tried.returncode == 0, tried.stdout
    tried = run(["sh", "-c", f"{backup} --check"], checkout, environment)
    assert tried.returncode == 2, "set-up was left out"
    assert f"base {base} has no marker" in " ".join(tried.stdout.split()), tried.stdout
    told = run(["sh", "-c", f"{PLAY} playbooks/backup.yml --check"], checkout, environment)
    assert told.returncode == 0, told.stdout
    assert f"backup.yml of {checkout}/var/demo/inventory (check mode" in " ".join(told.stdout.split())

    # without -i the entry point does nothing
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    refused = run(["bin/altbackup", "run", "backup.yml"], checkout, environment)
    assert refused.returncode == 4, refused.stdout
    assert "no inventory is named" in refused.stdout
    assert before == {path: path.stat().st_mtime_ns for path in demo.rglob("*")}


def test_demo_leaves_alone_what_it_did_not_make(tmp_path: Path) -> None:
    checkout = copied_checkout(tmp_path / "checkout")
    precious = checkout / "var/demo/precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine", encoding="ascii")
    ran = run_demo(checkout, tmp_path / "home")
    assert ran.returncode == 1
    assert "was not made by make demo" in ran.stdout
    assert precious.read_text(encoding="ascii") == "mine"
    assert os.listdir(precious.parent) == ["precious"]


@pytest.mark.full
def test_demo_starts_afresh_where_it_stood_before(tmp_path: Path) -> None:
    checkout = copied_checkout(tmp_path / "checkout")
    demo = checkout / "var/demo"
    (demo / "source").mkdir(parents=True)
    (demo / ".made-by-make-demo").touch()
    (demo / "source/old").write_text("of an earlier demo", encoding="ascii")
    (checkout / "playbooks/backup.yml").unlink()
    ran = run_demo(checkout, tmp_path / "home")
    assert ran.returncode == 1
    assert "make demo: failed: playbooks/backup.yml ended with exit code" in ran.stdout
    assert not (demo / "source/old").exists()
    assert (demo / ".made-by-make-demo").is_file()
