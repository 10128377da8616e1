"""What a terminal shows of names that would steer it: every playbook and the entry point, on a real terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pexpect
import pytest
from helpers.entry_point import PROGRAM, REPOSITORY
from integration.site import Site, git

ODD = [
    "title\x1b]0;pwned\x07\x1b[31m",
    "c1\x9b31mred\x85",
    "del\x7f\x08",
    "bidi\u202egnp\u200f\u2066",
    "line\u2028two\u2029",
    "return\rx\x0by\x0c",
    "bom\ufeff\u200b",
    "tab\tx",
]
STEERING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]|\r(?!\r*\n)"
)
"""Characters that steer a terminal, but for line ends and tabs"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A source that discovers good and bad repositories with odd names, other folders, and a target."""
    site = Site(tmp_path_factory.mktemp("terminal"))
    repositories = site.live / "repositories"
    repositories.mkdir(parents=True)
    git(site.live, "init", "--quiet", "--bare", "good")
    for name in ODD:
        shutil.copytree(site.live / "good", repositories / name)
        shutil.copytree(site.live / "good", repositories / f"bad {name}")
        (repositories / f"bad {name}" / "HEAD").write_text("no")
        (repositories / f"none {name}").mkdir()
    shutil.copytree(os.fsencode(site.live / "good"), os.path.join(os.fsencode(repositories), b"no text \xff\x9b"))
    os.mkdir(os.path.join(os.fsencode(repositories), b"nothing \xff\x1b[31m"))
    discover = {"git": str(repositories)}
    site.add_source("dayabay", altbackup_targets=["cms01"], altbackup_items=[], altbackup_discover=discover)
    site.add_target("cms01")
    (site.folder / "home").mkdir()
    return site


def seen_on_a_terminal(site: Site, *argv: object) -> str:
    """Run a program on a terminal of its own; return all its output."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(site.folder / "home"),
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "ALTBACKUP_MAIL_TO": "none",
        "ALTBACKUP_HISTORY": str(site.folder / "history"),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
    }
    words = [str(word) for word in argv]
    child = pexpect.spawn(words[0], words[1:], env=environment, timeout=300, dimensions=(50, 200))
    child.expect(pexpect.EOF)
    child.close()
    return bytes(child.before or b"").decode("utf-8", "surrogateescape")


def assert_tame(said: str) -> None:
    """Assert that nothing steers the terminal, and that odd names are shown at all."""
    assert [ascii(line) for line in said.split("\n") if STEERING.search(line.rstrip("\r"))] == []
    assert "\\x1b]0;pwned\\x07" in said and "\\u202egnp" in said


@pytest.mark.full
@pytest.mark.parametrize("playbook", ["backup", "list", "drill"])
def test_names_steer_no_terminal(site: Site, playbook: str) -> None:
    if playbook != "backup":
        site.run("backup")
    program = Path(sys.executable).with_name("ansible-playbook")
    assert_tame(
        seen_on_a_terminal(site, program, "-i", site.write_inventory(), REPOSITORY / "playbooks" / f"{playbook}.yml")
    )


@pytest.mark.full
def test_names_steer_no_terminal_of_the_entry_point(site: Site) -> None:
    playbook = REPOSITORY / "playbooks" / "backup.yml"
    assert_tame(seen_on_a_terminal(site, PROGRAM, "run", playbook, "-vv", "-i", site.write_inventory()))
    said = seen_on_a_terminal(site, PROGRAM, "last")
    assert STEERING.findall(said.replace("\r\n", "\n")) == []
    (log,) = (site.folder / "home").rglob("stdout")
    assert STEERING.findall(log.read_text()) == []
