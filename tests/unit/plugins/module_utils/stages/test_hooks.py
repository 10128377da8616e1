"""Hooks around dumps: what runs when, as whom and with what, and what it means that one fails."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.age_keys import age_key
from helpers.trees import FIRST, NOBODY, SECOND, THIRD, Base, item, needs_root, nobodys_home
from helpers.waiting import wait_until

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.kinds.hooks import parse_hooks
from ansible_collections.altbackup.core.plugins.module_utils.stages import hooks as hooks_stage
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump import dump
from ansible_collections.altbackup.core.plugins.module_utils.stages.hook_ledger import Ledger
from ansible_collections.altbackup.core.plugins.module_utils.system import programs
from ansible_collections.altbackup.core.plugins.module_utils.system.proc import open_files, pids
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
from ansible_collections.altbackup.core.plugins.module_utils.tree.layout import open_tree

WRITE = """
import json, os, sys
with open({log!r}, "a") as stream:
    names = ("ALTBACKUP_ITEM", "ALTBACKUP_STAMP", "ALTBACKUP_STATE")
    stream.write(json.dumps([sys.argv[1], *(os.environ.get(name) for name in names)]) + "\\n")
    stream.flush()
    os.fsync(stream.fileno())
"""


LIVES = """
try:
    sys.argv[1] = str(open("/proc/PID/stat").read().rpartition(")")[2].split()[0] != "Z")
except OSError:
    sys.argv[1] = "False"
"""
AGAIN = WRITE.partition("import json, os, sys")[2]


class Site:
    """A base, a folder to dump, and programs that write down that they ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = Base(folder / "base")
        self.log = folder / "log"
        self.live = folder / "live"
        self.live.mkdir()
        (self.live / "file").write_text("content")

    def program(self, word: str, more: str = "") -> list[str]:
        """Return the words of a program that writes down a word, and then does something."""
        path = self.folder / f"{word}.py"
        path.write_text(WRITE.format(log=str(self.log)) + more)
        return [sys.executable, str(path), word]

    def item(self, name: str = "thing", **hooks: Any) -> dict[str, Any]:
        """Return the folder as an item with hooks."""
        return {**item("folder", self.live, name), **hooks}

    def ran(self) -> list[list[str]]:
        """Return (word, item, stamp, state) of each program that ran."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def words(self) -> list[str]:
        """Return what the programs wrote down."""
        return [entry[0] for entry in self.ran()]

    def owed(self) -> Ledger:
        """Return the ledger as it is on disk."""
        ledger = Ledger(open_tree(str(self.base.path)))
        ledger.open(10)
        ledger.drop()
        return ledger


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_hooks_come_around_the_dump_and_are_told_what_it_is(site: Site) -> None:
    see = f"assert not os.path.exists({str(site.base.path / 'folders' / 'thing' / 'last')!r})"
    seen = f"assert os.path.exists({str(site.base.path / 'folders' / 'thing' / 'last')!r})"
    site.base.dump_one(
        site.item(
            before=[site.program("one", see), site.program("two")],
            after=[site.program("three", seen)],
            on_failure=[site.program("never")],
        )
    )
    assert site.ran() == [
        ["one", "folders/thing", FIRST, "begun"],
        ["two", "folders/thing", FIRST, "begun"],
        ["three", "folders/thing", FIRST, "done"],
    ]
    assert not (site.base.path / ".altbackup" / "hooks" / "owed.json").exists()


def test_nothing_of_the_run_is_in_the_environment(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_RUN", "swordfish")
    monkeypatch.setenv("PATH", f"/opt/odd:{os.environ['PATH']}")
    see = f"open({str(site.folder / 'environment')!r}, 'w').write(json.dumps(dict(os.environ)))"
    site.base.dump_one(site.item(before=[site.program("one", see)]))
    seen = json.loads((site.folder / "environment").read_text())
    entry = pwd.getpwuid(os.geteuid())
    assert seen == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "ALTBACKUP_ITEM": "folders/thing",
        "ALTBACKUP_STAMP": FIRST,
        "ALTBACKUP_STATE": "begun",
    } | ({"LC_CTYPE": seen["LC_CTYPE"]} if "LC_CTYPE" in seen else {})


def test_a_before_that_fails_leaves_no_copy_and_after_and_on_failure_run(site: Site) -> None:
    hooks = {
        "before": [
            site.program("one", "sys.stderr.write('the wiki is stuck'); sys.exit(3)"),
            site.program("not reached"),
        ],
        "after": [site.program("two")],
        "on_failure": [site.program("three")],
    }
    result = site.base.dump(site.item(**hooks), item("folder", site.live, "other"))
    (failure,) = result["failures"]
    assert (failure["category"], failure["name"], failure["rc"]) == ("folders", "thing", 3)
    assert "before" in failure["reason"] and "the wiki is stuck" in failure["reason"]
    assert [tarball["name"] for tarball in result["tarballs"]] == ["other"]
    assert [(word, state) for word, _, _, state in site.ran()] == [
        ("one", "begun"),
        ("two", "failed"),
        ("three", "failed"),
    ]


def test_a_dump_that_fails_is_followed_by_after_and_on_failure(site: Site) -> None:
    result = site.base.dump(
        {**site.item(after=[site.program("after")], on_failure=[site.program("failed")]), "require": "not there"}
    )
    assert len(result["failures"]) == 1
    assert [(word, state) for word, _, _, state in site.ran()] == [("after", "failed"), ("failed", "failed")]


def test_an_after_that_fails_is_a_failure_and_the_copy_stays(site: Site) -> None:
    hooks = {
        "after": [site.program("one", "sys.exit(1)"), site.program("two")],
        "on_failure": [site.program("failed")],
    }
    result = site.base.dump(site.item(**hooks))
    assert len(result["failures"]) == 1 and "after" in result["failures"][0]["reason"]
    assert len(result["tarballs"]) == 1 and Path(result["tarballs"][0]["path"]).exists()
    assert site.words() == ["one", "two", "failed"]
    assert not site.owed().owed


def test_a_rerun_that_has_nothing_to_do_runs_no_hooks(site: Site) -> None:
    thing = site.item(before=[site.program("one")], after=[site.program("two")])
    all_of_it = parse_hooks({"before": [site.program("source")]})
    site.base.dump(thing, hooks=all_of_it)
    assert site.words() == ["source", "one", "two"]
    assert not site.base.dump(thing, hooks=all_of_it)["failures"]
    assert site.words() == ["source", "one", "two"]


def test_hooks_come_in_the_order_of_the_items(site: Site) -> None:
    things = [
        site.item(name, before=[site.program(f"{name} before")], after=[site.program(f"{name} after")])
        for name in ("z", "a", "m")
    ]
    site.base.dump(things[0], item("folder", site.live, "b"), *things[1:])
    assert site.words() == ["z before", "z after", "a before", "a after", "m before", "m after"]


def test_what_a_before_puts_in_place_is_what_is_stored(site: Site) -> None:
    path = site.folder / "snapshot"
    made = site.program("make", f"os.mkdir({str(path)!r}); open({str(path / 'x')!r}, 'w').write('1')")
    gone = site.program("remove", f"os.unlink({str(path / 'x')!r}); os.rmdir({str(path)!r})")
    thing = {**item("folder", path), "before": [made], "after": [gone]}
    foretold = site.base.dump(thing, check_mode=True)
    assert not foretold["failures"] and len(foretold["tarballs"]) == 1 and not site.ran()
    assert site.base.dump_one(thing)["record"]["entries"] == 2
    assert not path.exists()


def test_a_path_that_leads_to_the_base_only_since_its_hook_is_not_stored(site: Site) -> None:
    path = site.folder / "link"
    thing = {
        **item("folder", path),
        "before": [site.program("make", f"os.symlink({str(site.folder)!r}, {str(path)!r})")],
    }
    (failure,) = site.base.dump(thing)["failures"]
    assert "lies inside its path" in failure["reason"]


# Not now


@pytest.mark.parametrize(("max_age", "fails"), [(86400.0, False), (86399.0, True)])
def test_not_now_skips_the_item_until_its_copy_is_too_old(site: Site, max_age: float, fails: bool) -> None:
    site.base.dump_one(site.item())
    hooks = {
        "before": [site.program("one"), site.program("busy", "print('a merge is running'); sys.exit(75)")],
        "after": [site.program("after")],
        "on_failure": [site.program("failed")],
    }
    result = site.base.dump(site.item(**hooks), stamp=SECOND, max_age=max_age)
    assert result["tarballs"] == []
    assert result["not_now"] == ([] if fails else ["folders/thing"])
    said = [entry["reason"] for entry in result["failures"]] if fails else result["notes"]
    assert len(said) == 1 and "a merge is running" in said[0] and FIRST in said[0]
    assert [(word, state) for word, _, _, state in site.ran()] == [
        ("one", "begun"),
        ("busy", "begun"),
        ("after", "failed" if fails else "skipped"),
        *([("failed", "failed")] if fails else []),
    ]


def test_not_now_without_any_copy_is_a_failure(site: Site) -> None:
    result = site.base.dump(site.item(before=[site.program("busy", "sys.exit(75)")]))
    (failure,) = result["failures"]
    assert "has no copy yet" in failure["reason"] and not result["not_now"]


def test_not_now_of_an_after_is_a_failure_like_any_other(site: Site) -> None:
    assert len(site.base.dump(site.item(after=[site.program("busy", "sys.exit(75)")]))["failures"]) == 1


# The source


def test_hooks_of_the_source_come_around_all_items(site: Site) -> None:
    hooks = parse_hooks(
        {"before": [site.program("open")], "after": [site.program("close")], "on_failure": [site.program("failed")]}
    )
    things = [site.item("a", before=[site.program("before")]), item("folder", site.folder / "missing", "b")]
    result = site.base.dump(*things, hooks=hooks)
    assert len(result["failures"]) == 1 and len(result["tarballs"]) == 1
    assert [(word, key, state) for word, key, _, state in site.ran()] == [
        ("open", "", "begun"),
        ("before", "folders/a", "begun"),
        ("close", "", "failed"),
        ("failed", "", "failed"),
    ]


def test_a_before_of_the_source_that_fails_is_one_failure_and_nothing_is_dumped(site: Site) -> None:
    hooks = parse_hooks({"before": [site.program("open", "sys.exit(1)")], "after": [site.program("close")]})
    result = site.base.dump(site.item("a"), site.item("b"), hooks=hooks)
    (failure,) = result["failures"]
    assert (failure["category"], failure["name"], result["tarballs"]) == ("", "", [])
    assert site.words() == ["open", "close"]


def test_not_now_of_the_source_skips_all_items_each_by_its_own_age(site: Site) -> None:
    site.base.dump_one(site.item("a"), stamp=SECOND)
    site.base.dump_one(site.item("b"), stamp=FIRST)
    hooks = parse_hooks({"before": [site.program("busy", "sys.exit(75)")]})
    result = site.base.dump(site.item("a"), site.item("b"), stamp=THIRD, hooks=hooks, max_age=90000)
    assert result["not_now"] == ["folders/a"]
    assert [entry["name"] for entry in result["failures"]] == ["b"]


# Limits, users, bad input, check mode


def test_a_hook_that_takes_too_long_is_ended_and_the_next_item_goes_on(site: Site) -> None:
    slow = {"argv": site.program("slow", "import time; time.sleep(60)"), "time_limit": 1}
    start = time.monotonic()
    result = site.base.dump(site.item("a", before=[slow], after=[site.program("after")]), site.item("b"))
    assert time.monotonic() - start < 20
    (failure,) = result["failures"]
    assert "took longer than its limit of 1 s" in failure["reason"] and len(result["tarballs"]) == 1
    assert site.words() == ["slow", "after"]


def test_a_service_that_after_starts_stays(site: Site) -> None:
    pid = site.folder / "pid"
    start = f"import subprocess; open({str(pid)!r}, 'w').write(str(subprocess.Popen(['sleep', '300']).pid))"
    site.base.dump_one(site.item(after=[site.program("start", start)]))
    os.kill(int(pid.read_text()), 0)
    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_what_a_hook_says_is_bounded_and_visible(site: Site) -> None:
    loud = site.program("loud", "sys.stderr.write('x' * 10_000_000 + '\\x1b[31mthe end'); sys.exit(1)")
    (failure,) = site.base.dump(site.item(before=[loud]))["failures"]
    assert len(failure["reason"]) < 6000 and failure["reason"].endswith("\\x1b[31mthe end")


@needs_root
def test_a_hook_runs_as_its_user_with_none_of_roots_rights(site: Site) -> None:
    with nobodys_home() as home:
        program = home / "see.py"
        program.write_text(
            "import os\n"
            "rights = [line.split()[1] for line in open('/proc/self/status') if line.startswith('CapEff')]\n"
            f"print(os.getresuid(), os.getresgid(), *rights, file=open({str(home / 'who')!r}, 'w'))\n"
        )
        site.base.dump_one(site.item(before=[{"argv": ["/usr/bin/python3", str(program)], "user": "nobody"}]))
        said = (home / "who").read_text()
    assert said == f"{(NOBODY,) * 3} {(NOBODY,) * 3} 0000000000000000\n"


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ([["/nonexistent/program"]], "is not there"),
        ([{"argv": [sys.executable], "user": "no such user"}], "is not the name of a user"),
        ([{"argv": [sys.executable], "user": "nosuchuser"}], "does not exist on this node"),
        ([sys.executable, "-V"], "list of words, not of programs"),
        (sys.executable, "is not a list of programs"),
        ([f"{sys.executable} -V"], "list of words, not of programs"),
        ([["python3"]], "absolute path"),
        ([{"argv": [sys.executable], "limit": 3}], "unknown key 'limit'"),
        ([{"user": "root"}], "'argv' is missing"),
        ([{"argv": [sys.executable], "time_limit": "soon"}], "is not a duration"),
    ],
)
def test_bad_hooks_are_one_clear_failure_and_nothing_is_begun(site: Site, hook: Any, said: str) -> None:
    result = site.base.dump(site.item("a", before=[site.program("one")], after=hook), site.item("b"))
    (failure,) = result["failures"]
    assert said in failure["reason"] and "after" in failure["reason"]
    assert len(result["tarballs"]) == 1 and not site.ran()


def test_check_mode_tells_all_hooks_and_runs_none(site: Site) -> None:
    thing = site.item(
        before=[{"argv": ["/bin/true", "two words"], "time_limit": "1m"}],
        after=[["/bin/true"]],
        on_failure=[["/bin/false"]],
    )
    before = site.base.files()
    result = site.base.dump(thing, hooks=parse_hooks({"before": [["/bin/echo"]]}), check_mode=True)
    assert site.base.files() == before
    told = "\n".join(result["notes"])
    for text in (
        "the source: before would run /bin/echo, for 600 s",
        "folders/thing: before would run /bin/true 'two words', for 60 s",
        "folders/thing: after would run /bin/true",
        "folders/thing: on_failure would run /bin/false",
    ):
        assert text in told


def holders(site: Site, path: Path, kind: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return an item at a path, and hooks of the source: it, its set or the source has a `before` that puts something there."""
    before = {"before": [site.program("put", f"os.mkdir({str(path)!r})\nopen({str(path / 'file')!r}, 'w').write('x')")]}
    thing = item("folder", path)
    if kind == "set":
        return [{"kind": "set", "name": "all", "members": [thing], **before}], {}
    return ([thing], before) if kind == "source" else ([{**thing, **before}], {})


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", ["item", "set", "source"])
def test_check_mode_predicts_what_is_only_there_once_a_before_was_run(site: Site, tmp_path: Path, kind: str) -> None:
    form = ArchiveFormat(recipients=(age_key(tmp_path, "one").recipient,))
    items, hooks = holders(site, site.folder / "later", kind)
    results = [site.base.dump(*items, hooks=parse_hooks(hooks), form=form, check_mode=check) for check in (True, False)]
    assert [entry["reason"] for result in results for entry in result["failures"]] == []
    foretold, done = ([tarball["relpath"] for tarball in result["tarballs"]] for result in results)
    assert foretold == done and foretold[0].endswith(".age")


def test_check_mode_tells_that_what_was_encrypted_would_become_readable(site: Site, tmp_path: Path) -> None:
    form = ArchiveFormat(recipients=(age_key(tmp_path, "one").recipient,))
    items, _ = holders(site, site.folder / "later", "item")
    site.base.dump(*items, form=form)
    shutil.rmtree(site.folder / "later")
    for check_mode in (True, False):
        (failure,) = site.base.dump(*items, stamp=SECOND, check_mode=check_mode)["failures"]
        assert "no recipient is named any more" in failure["reason"]


@pytest.mark.parametrize("kind", ["item", "set", "source"])
def test_a_path_that_leads_to_the_base_only_since_any_hook_is_not_stored(site: Site, kind: str) -> None:
    link = site.folder / "link"
    items, hooks = holders(site, link, kind)
    (site.folder / "put.py").write_text(f"import os\nos.symlink({str(site.folder)!r}, {str(link)!r})")
    result = site.base.dump(*items, hooks=parse_hooks(hooks))
    assert "lies inside its path" in result["failures"][0]["reason"]
    assert not result["tarballs"]


# What earlier calls left


def owe(site: Site, key: str = "folders/thing", boot: str = "") -> None:
    """Leave the ledger as a node does that went down in the midst of a dump."""
    ledger = Ledger(open_tree(str(site.base.path)))
    ledger.open(10)
    ledger.owe(key, FIRST)
    ledger.drop()
    if boot:
        text = json.loads(Path(ledger.path).read_text())
        text["owed"][0]["boot"] = boot
        Path(ledger.path).write_text(json.dumps(text))


@pytest.mark.parametrize(("boot", "said"), [("", "its guard was killed"), ("another", "the node was restarted")])
def test_what_is_owed_since_before_is_run_first_as_the_plan_has_it_now(site: Site, boot: str, said: str) -> None:
    owe(site, boot=boot)
    result = site.base.dump(site.item(before=[site.program("before")], after=[site.program("after")]), stamp=SECOND)
    assert not result["failures"] and said in " ".join(result["notes"])
    assert [(word, stamp, state) for word, _, stamp, state in site.ran()] == [
        ("after", FIRST, "cut"),
        ("before", SECOND, "begun"),
        ("after", SECOND, "done"),
    ]
    again = site.base.dump(site.item(after=[site.program("after")]), stamp=THIRD)
    assert not again["failures"] and said not in " ".join(again["notes"])


def test_what_is_owed_and_no_longer_declared_is_told_once(site: Site) -> None:
    owe(site)
    result = site.base.dump(site.item(), stamp=SECOND)
    (failure,) = result["failures"]
    assert "no after is declared for it any more" in failure["reason"] and failure["name"] == "thing"
    assert not site.base.dump(site.item(), stamp=THIRD)["failures"]


def test_what_is_owed_is_run_though_nothing_can_be_dumped_now(
    site: Site, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    owe(site)
    for stamp, path in ((SECOND, site.live), (THIRD, site.folder)):
        owe(site)
        secret = {"encrypt_to": [age_key(tmp_path, stamp[8:10]).recipient]} if path == site.live else {}
        thing = {**site.item(after=[site.program("after")]), "path": str(path), **secret}
        real = programs.shutil.which
        monkeypatch.setattr(
            programs.shutil,
            "which",
            lambda name, path=None, real=real: None if name == "age" else real(name, path=path),
        )
        (failure,) = site.base.dump(thing, stamp=stamp)["failures"]
        assert "age is not installed" in failure["reason"] or "lies inside its path" in failure["reason"]
    assert site.words() == ["after", "after"]


@pytest.mark.parametrize("text", ["no json", "[]", '{"owed": [{"item": 3}], "told": []}', '{"owed": [], "told": [{}]}'])
def test_a_ledger_that_cannot_be_read_is_told_and_stops_nothing(site: Site, text: str) -> None:
    owe(site)
    (site.base.path / ".altbackup" / "hooks" / "owed.json").write_text(text)
    result = site.base.dump(site.item(before=[site.program("before")]), stamp=SECOND)
    (failure,) = result["failures"]
    assert "cannot be read" in failure["reason"] and len(result["tarballs"]) == 1


def test_programs_are_never_taken_from_the_ledger(site: Site) -> None:
    owe(site)
    path = site.base.path / ".altbackup" / "hooks" / "owed.json"
    text = json.loads(path.read_text())
    text["owed"][0]["after"] = text["after"] = [site.program("evil")]
    path.write_text(json.dumps(text))
    site.base.dump(site.item(after=[site.program("after")]), stamp=SECOND)
    assert site.words() == ["after", "after"]


def test_a_guard_that_is_at_work_is_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Ledger(open_tree(str(site.base.path)))
    other.open(10)
    monkeypatch.setattr(hooks_stage, "_WAIT", 1.0)
    try:
        result = site.base.dump(site.item("a", before=[site.program("before")]), site.item("b"))
    finally:
        other.drop()
    (failure,) = result["failures"]
    assert "still at work" in failure["reason"] and failure["name"] == "a"
    assert len(result["tarballs"]) == 1 and not site.ran()


# Kills

DUMP = """
import json, os, sys
from ansible_collections.altbackup.core.plugins.module_utils.archive.write import ArchiveFormat
from ansible_collections.altbackup.core.plugins.module_utils.stages.dump import dump
from ansible_collections.altbackup.core.plugins.module_utils.kinds.hooks import parse_hooks
from ansible_collections.altbackup.core.plugins.module_utils.system.process_groups import end_with_children
from ansible_collections.altbackup.core.plugins.module_utils.system.processes import Deadline
end_with_children()
base, items, hooks, seconds = json.loads(sys.argv[1])
options = {"deadline": Deadline(seconds, "dump"), "verify_every": 7}
print(json.dumps(dump(base, items, "2013/05/10/104701", ArchiveFormat(), options, hooks=parse_hooks(hooks))))
"""


def start(
    site: Site, *items: dict[str, Any], hooks: dict[str, Any] | None = None, seconds: float = 60, apart: bool = False
) -> Any:
    """Start a dump in a process of its own, and with mounts of its own if it is to be `apart`."""
    words = json.dumps([str(site.base.path), items, hooks or {}, seconds])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [*(["unshare", "--mount"] if apart else []), sys.executable, "-c", DUMP, words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def guard_of(pid: int, base: Path) -> int:
    """Return the guard of a dump: its child with the lock of the base's ledger open."""
    lock = str(base / ".altbackup" / "hooks" / "lock")
    for other in pids():
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if other != pid and lock in (path for _, path in open_files(other)):
                return other
    raise AssertionError("no guard is there")


HANG = "import time; time.sleep(300)"


@pytest.mark.sampled(2)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_after_runs_when_the_module_is_ended_in_a_before(site: Site, number: int) -> None:
    hooks = {
        "before": [site.program("before", HANG), site.program("not reached")],
        "after": [site.program("after")],
        "on_failure": [site.program("failed")],
    }
    dump = start(site, site.item(**hooks))
    assert wait_until(lambda: site.words() == ["before"])
    dump.send_signal(number)
    dump.communicate(timeout=40)
    assert wait_until(lambda: len(site.words()) == 3), site.ran()
    assert [entry[0] for entry in site.ran()] == ["before", "after", "failed"]
    assert {entry[3] for entry in site.ran()[1:]} <= {"cut", "failed"}
    assert wait_until(lambda: not site.owed().owed)
    result = site.base.dump(site.item(), stamp=SECOND)
    assert not result["failures"]
    if number == signal.SIGKILL:
        assert "had been cut" in " ".join(result["notes"])
        assert not site.base.dump(site.item(), stamp=THIRD)["notes"]


def test_after_runs_when_the_module_is_killed_in_the_dump_once_nobody_reads_the_item(site: Site) -> None:
    fifo = site.folder / "fifo"
    os.mkfifo(fifo)
    reading = f"import os, time; open({str(fifo)!r}, 'w').write(str(os.getpid())); time.sleep(300)"
    slow = {
        "kind": "command",
        "name": "slow",
        "argv": [sys.executable, "-c", reading],
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "before": [site.program("before")],
    }
    dump = start(
        site,
        {
            **slow,
            "after": [site.program("after", f"{LIVES}\n{AGAIN.format(log=str(site.log))}")],
        },
        hooks={"before": [site.program("open")], "after": [site.program("close")]},
    )
    pid = fifo.read_text()
    program = site.folder / "after.py"
    program.write_text(program.read_text().replace("PID", pid))
    dump.kill()
    dump.communicate(timeout=40)
    assert wait_until(lambda: len(site.words()) == 5, 30), site.ran()
    assert site.words() == ["open", "before", "after", "False", "close"]
    assert {entry[3] for entry in site.ran()[2:]} == {"cut"}


@pytest.mark.full
@needs_root
def test_what_a_before_mounted_can_be_unmounted_after_a_kill_as_nobody_reads_it(site: Site) -> None:
    mount = site.folder / "night"
    mount.mkdir()
    fill = (
        "import subprocess\n"
        f"subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', {str(mount)!r}], check=True)\n"
        f"os.mkdir({str(mount / 'data')!r})\n"
        f"with open({str(mount / 'data' / 'large')!r}, 'wb') as stream:\n"
        "    for _ in range(400): stream.write(os.urandom(1 << 20))\n"
    )
    thing = {
        **item("folder", mount / "data"),
        "before": [site.program("on", fill)],
        "after": [["/usr/bin/umount", str(mount)], site.program("off")],
    }
    dump = start(site, thing, apart=True)
    building = site.base.path / ".altbackup" / "tmp"
    assert wait_until(lambda: any(path.stat().st_size for path in building.glob("*-thing")), 60)
    dump.kill()
    dump.communicate(timeout=40)
    assert wait_until(lambda: "off" in site.words(), 30)
    result = site.base.dump(site.item(), stamp=SECOND)
    assert not result["failures"], result["failures"]
    assert "/usr/bin/umount was run, and ended well" in " ".join(result["notes"])


def test_an_after_that_runs_when_the_module_is_killed_runs_to_its_end_and_once(site: Site) -> None:
    end = site.folder / "end"
    go = f"import time\nwhile not os.path.exists({str(end)!r}): time.sleep(0.01)\nopen({str(end)!r}, 'a').write('x')"
    dump = start(
        site, site.item(before=[site.program("before")], after=[site.program("after", go), site.program("last")])
    )
    assert wait_until(lambda: site.words() == ["before", "after"])
    dump.kill()
    dump.communicate(timeout=40)
    end.touch()
    assert wait_until(lambda: site.words() == ["before", "after", "last"])
    assert wait_until(lambda: not site.owed().owed)
    assert end.read_text() == "x"
    notes = " ".join(site.base.dump(site.item(), stamp=SECOND)["notes"])
    assert "did not wait, ended well" in notes and "had been cut" in notes


@pytest.mark.full
def test_a_second_run_begins_nothing_while_the_guard_is_at_work(site: Site) -> None:
    end = site.folder / "end"
    go = f"import time\nwhile not os.path.exists({str(end)!r}): time.sleep(0.01)"
    thing = site.item(before=[site.program("before", HANG)], after=[site.program("after", go)])
    first = start(site, thing)
    assert wait_until(lambda: site.words() == ["before"])
    first.kill()
    first.communicate(timeout=40)
    assert wait_until(lambda: site.words() == ["before", "after"])
    second = start(site, site.item(before=[site.program("second")], after=[site.program("third")]))
    time.sleep(2)  # nothing tells that it waits
    assert site.words() == ["before", "after"]
    end.touch()
    result = json.loads(second.communicate(timeout=60)[0])
    assert site.words() == ["before", "after", "second", "third"]
    assert not result["failures"] and "had been cut" in " ".join(result["notes"])


@pytest.mark.full
def test_after_runs_though_the_limit_of_the_dump_is_over(site: Site) -> None:
    dump = start(site, site.item(before=[site.program("before", HANG)], after=[site.program("after")]), seconds=3)
    result = json.loads(dump.communicate(timeout=60)[0])
    assert len(result["failures"]) == 1
    assert site.words() == ["before", "after"]
    assert not site.owed().owed


def test_after_runs_though_the_guard_is_killed_and_its_ledger_cannot_be_had(site: Site) -> None:
    lock = site.base.path / ".altbackup" / "hooks" / "lock"
    kill = (
        "import signal, time\n"
        f"os.unlink({str(lock)!r})\n"
        f"os.symlink('nowhere', {str(lock)!r})\n"
        "os.kill(os.getppid(), signal.SIGKILL)\n"
        "time.sleep(60)"
    )
    result = site.base.dump(site.item(before=[site.program("before", kill)], after=[site.program("after")]))
    assert site.words() == ["before", "after"]
    killed, lost = [entry["reason"] for entry in result["failures"]]
    assert "was killed" in killed and "could not be had" in lost
    lock.unlink()
    assert [entry.item for entry in site.owed().owed] == ["folders/thing"]


class Ending(Deadline):
    """A deadline that passes as soon as it was seen that it has not."""

    def is_over(self) -> bool:
        return False


def test_a_limit_that_passes_meanwhile_leaves_a_program_that_is_owed_its_little_time(site: Site) -> None:
    options = {"deadline": Ending(1.5, "dump"), "verify_every": 7}
    slow = site.program("before", "import time; time.sleep(1)")
    thing = site.item(before=[slow], after=[site.program("after", "import time; time.sleep(1)"), site.program("last")])
    dump(str(site.base.path), [thing], FIRST, ArchiveFormat(), options)
    assert site.words() == ["before", "after", "last"]


def test_after_runs_when_the_guard_is_killed_and_what_it_ran_ends_with_it(site: Site) -> None:
    end = site.folder / "end"
    go = (
        f"import time\nopen({str(site.folder / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        f"while not os.path.exists({str(end)!r}): time.sleep(0.01)"
    )
    see = LIVES.replace("/proc/PID/stat", "/proc/%s/stat").replace(
        'stat")', f'stat" % open({str(site.folder / "pid")!r}).read())'
    )
    after = site.program("after", f"import time\ntime.sleep(1)\n{see}\n{AGAIN.format(log=str(site.log))}")
    dump = start(site, site.item(before=[site.program("before", go)], after=[after]), site.item("z"))
    assert wait_until(lambda: site.words() == ["before"])
    os.kill(guard_of(dump.pid, site.base.path), signal.SIGKILL)
    result = json.loads(dump.communicate(timeout=60)[0])
    end.touch()
    (failure,) = result["failures"]
    assert "was killed" in failure["reason"] and [tarball["name"] for tarball in result["tarballs"]] == ["z"]
    assert site.words() == ["before", "after", "False"]
    assert not site.owed().owed


def test_the_guard_lets_go_of_everything_but_its_own(site: Site) -> None:
    see = (
        "import glob\n"
        f"open({str(site.folder / 'open')!r}, 'w').write(json.dumps([os.readlink(f) for f in glob.glob('/proc/self/fd/*') if os.path.lexists(f)]))\n"
        f"open({str(site.folder / 'session')!r}, 'w').write(open('/proc/self/stat').read())"
    )
    site.base.dump_one(site.item(before=[site.program("before", see)]))
    found = [
        path for path in json.loads((site.folder / "open").read_text()) if not path.startswith(("/dev/null", "/proc/"))
    ]
    assert all("(deleted)" in path or (path.startswith(str(site.folder)) and "/base" not in path) for path in found), (
        found
    )
