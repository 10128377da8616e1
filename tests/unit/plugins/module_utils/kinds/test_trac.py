"""Kind `trac`: environments are dumped as one committed state while in use."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import environments
from helpers.environments import committed_state, copy_environment, execute, reader, tables, trac_admin, writer
from helpers.trees import (
    NIGHTS,
    Base,
    as_nobody,
    describe_tree,
    forbid_views,
    item,
    list_archive,
    needs_root,
    nobodys_folder,
    unpack,
)

from ansible_collections.altbackup.core.plugins.module_utils.archive.write import store_archive
from ansible_collections.altbackup.core.plugins.module_utils.kinds import trac
from ansible_collections.altbackup.core.plugins.module_utils.kinds.trac import attachment_paths
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_item
from ansible_collections.altbackup.core.plugins.module_utils.stages import dump_order as dump_module

ATTACHED = ("ticket", "2", "odd name é 日本.tar.gz")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("trac")
    return environments.make_environment(tmp_path_factory.mktemp("trac") / "env")


@pytest.fixture
def env(template: Path, tmp_path: Path) -> Path:
    return copy_environment(template, tmp_path / "env")


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path / "base")


def attached_file(env: Path) -> Path:
    return env / attachment_paths(*ATTACHED)[0]


def set_database(env: Path, value: str | None) -> None:
    path = env / "conf" / "trac.ini"
    lines = path.read_text().splitlines()
    index = next(number for number, line in enumerate(lines) if line.startswith("database ="))
    lines[index] = "" if value is None else f"database = {value}"
    path.write_text("\n".join(lines))


def during_archive(monkeypatch: pytest.MonkeyPatch, actions: list[Callable[[], Any]]) -> list[int]:
    """Run one action after each archive is written, before it is confirmed; return a list that grows with each archive."""
    calls: list[int] = []

    def write(*arguments: Any, **options: Any) -> Any:
        dna = store_archive(*arguments, **options)
        if len(calls) < len(actions):
            actions[len(calls)]()
        calls.append(1)
        return dna

    monkeypatch.setattr(dump_item, "store_archive", write)
    return calls


@pytest.mark.sampled(3)
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_each_dump_during_commits_is_one_committed_state(env: Path, base: Base, tmp_path: Path, journal: str) -> None:
    database = env / "db" / "trac.db"
    with writer(database, journal) as busy, reader(database) if journal == "wal" else reader(tmp_path / "idle.db"):
        if journal == "wal":
            assert Path(f"{database}-wal").exists()
        busy.go()
        low = int(busy.next_line())
        states = []
        for second in range(5):
            tarball = base.dump_one(item("trac", env), stamp=f"2013/05/10/10000{second}")
            top = unpack(tarball, tmp_path / f"out{second}")
            assert not [name for name in os.listdir(top / "db") if name != "trac.db"]
            states.append(committed_state(top / "db" / "trac.db"))
            rows = {name: len(content) for name, content in tables(top / "db" / "trac.db").items()}
            assert tarball["record"]["rows"] == rows
        assert low <= states[0]
        assert sorted(set(states)) == states, "the writer went on from dump to dump"


def test_plain_copy_of_the_database_loses_what_is_in_the_write_ahead_log(env: Path, base: Base, tmp_path: Path) -> None:
    database = env / "db" / "trac.db"
    with writer(database, "wal") as busy, reader(database):
        busy.go()
        done = [busy.next_line() for _ in range(50)][-1]
        plain = environments.plain_copy(database, tmp_path / "plain.db")
        top = unpack(base.dump_one(item("trac", env)), tmp_path / "out")
    assert committed_state(top / "db" / "trac.db") >= int(done)
    try:
        lost = committed_state(plain) < int(done)
    except (AssertionError, environments.sqlite3.Error):
        lost = True
    assert lost


@pytest.mark.full
def test_dump_equals_the_environment(env: Path, base: Base, tmp_path: Path) -> None:
    top = unpack(base.dump_one(item("trac", env, "my env")), tmp_path / "out")
    assert top.name == "my env"
    assert tables(top / "db" / "trac.db") == tables(env / "db" / "trac.db")
    assert "Page7" in trac_admin(top, "wiki", "list")
    live, copied = describe_tree(env), describe_tree(top)
    for tree in (live, copied):
        for name in (b"db", b"log", b"db/trac.db"):  # their times are moved by mere reading, and fixed
            tree[name] = (*tree[name][:3], None, *tree[name][4:-1], 0)
    assert copied == live
    for row in execute(env / "db" / "trac.db", "SELECT type, id, filename FROM attachment"):
        path = attachment_paths(*row)[0]
        assert (top / path).read_bytes() == row[2].encode() * 100


def test_attachment_path_is_the_one_of_trac(env: Path) -> None:
    stored = {f"./{path.relative_to(env)}" for path in (env / "files" / "attachments").rglob("*") if path.is_file()}
    rows = execute(env / "db" / "trac.db", "SELECT type, id, filename FROM attachment")
    assert len(rows) == 4
    assert stored == {attachment_paths(*row)[0] for row in rows}


@pytest.mark.full
def test_unchanged_environment_gives_the_same_bytes_although_it_was_read(env: Path, base: Base) -> None:
    database = env / "db" / "trac.db"
    execute(database, "PRAGMA journal_mode=wal")
    looks: list[Callable[[], Any]] = [
        lambda: trac_admin(env, "wiki", "list"),
        lambda: execute(database, "SELECT count(*) FROM ticket"),
        lambda: [os.utime(env / folder) for folder in ("db", "log")],
        lambda: None,
    ]
    tarballs = []
    for night, look in zip(NIGHTS, looks, strict=False):
        tarballs.append(base.dump_one(item("trac", env), stamp=night))
        look()
    assert len({tarball["dig"] for tarball in tarballs}) == 1
    assert len({os.stat(tarball["path"]).st_ino for tarball in tarballs}) == 1


def test_open_reader_and_checkpoint_do_not_change_the_bytes(env: Path, base: Base) -> None:
    database = env / "db" / "trac.db"
    execute(database, "PRAGMA journal_mode=wal")
    with reader(database):
        execute(database, "UPDATE ticket SET summary = 'in the log' WHERE id = 1")
        first = base.dump_one(item("trac", env), stamp=NIGHTS[0])
        assert Path(f"{database}-wal").stat().st_size > 0
    execute(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    assert base.dump_one(item("trac", env), stamp=NIGHTS[1])["dig"] == first["dig"]


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    "change",
    [
        lambda env: execute(env / "db" / "trac.db", "UPDATE ticket SET summary = 'new' WHERE id = 3"),
        lambda env: (env / "conf" / "trac.ini").chmod(0o640),
        lambda env: attached_file(env).write_bytes(b"!" * attached_file(env).stat().st_size),
        lambda env: (env / "db" / "trac.db").chmod(0o600),
        lambda env: (env / "db").chmod(0o770),
        lambda env: (env / "log" / "trac.log").write_text("said something"),
    ],
    ids=["ticket", "mode", "attachment", "mode of the database", "mode of its folder", "log"],
)
def test_changed_environment_gives_other_bytes(env: Path, base: Base, change: Callable[[Path], Any]) -> None:
    first = base.dump_one(item("trac", env), stamp=NIGHTS[0])
    change(env)
    assert base.dump_one(item("trac", env), stamp=NIGHTS[1])["dig"] != first["dig"]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("journal", ["wal", "delete"])
@pytest.mark.parametrize("used", [False, True], ids=["closed", "in use"])
def test_live_database_is_left_as_it_was(env: Path, base: Base, tmp_path: Path, journal: str, used: bool) -> None:
    database = env / "db" / "trac.db"
    execute(database, f"PRAGMA journal_mode={journal}")
    if os.geteuid() == 0:
        os.chown(database, 1234, 1234)
    with reader(database if used else tmp_path / "idle.db"):
        before = describe_tree(env)
        base.dump_one(item("trac", env))
        after = describe_tree(env)
    if journal == "wal" and not used:  # the engine makes and removes files beside it
        before[b"db"] = after[b"db"]
    assert after == before


def test_attachment_deleted_during_the_dump_is_tried_again(
    env: Path, base: Base, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def delete() -> None:
        execute(env / "db" / "trac.db", "DELETE FROM attachment WHERE id = '2'")
        attached_file(env).unlink()

    calls = during_archive(monkeypatch, [delete])
    top = unpack(base.dump_one(item("trac", env)), tmp_path / "out")
    assert len(calls) == 2
    assert not attached_file(top).exists()
    assert execute(top / "db" / "trac.db", "SELECT count(*) FROM attachment") == [(3,)]


@pytest.mark.parametrize("replacement", [None, b"other size"], ids=["deleted", "replaced"])
def test_attachment_that_goes_after_the_database_was_copied_is_tried_again(
    env: Path, base: Base, monkeypatch: pytest.MonkeyPatch, replacement: bytes | None, tmp_path: Path
) -> None:
    real, done = trac.copy_database, tmp_path / "done"
    forbid_views(monkeypatch)

    def copy_then_change(*arguments: Any) -> Any:
        result = real(*arguments)
        if not done.exists():
            done.touch()
            if replacement is None:
                attached_file(env).unlink()
                execute(env / "db" / "trac.db", "DELETE FROM attachment WHERE id = '2'")
            else:
                attached_file(env).write_bytes(replacement)
                execute(env / "db" / "trac.db", f"UPDATE attachment SET size = {len(replacement)} WHERE id = '2'")
        return result

    monkeypatch.setattr(trac, "copy_database", copy_then_change)
    result = base.dump(item("trac", env))
    assert (result["failures"], [note for note in result["notes"] if "view" not in note]) == ([], [])
    top = unpack(result["tarballs"][0], tmp_path / "out")
    rows = execute(top / "db" / "trac.db", "SELECT size FROM attachment WHERE id = '2'")
    assert rows == ([] if replacement is None else [(len(replacement),)])


def test_missing_attachment_is_noted_and_the_rest_dumped(env: Path, base: Base) -> None:
    attached_file(env).unlink()
    result = base.dump(item("trac", env))
    assert len(result["tarballs"]) == 1
    (note,) = result["notes"]
    assert "/".join(ATTACHED) in note
    assert "missing" in note


@pytest.mark.parametrize("stored", ["notes~1.txt", "notes%7E1.txt"])
def test_attachment_of_an_older_trac_with_a_tilde_is_not_missing(env: Path, base: Base, stored: str) -> None:
    folder = env / "attachments" / "ticket" / "2"
    folder.mkdir(parents=True)
    (folder / stored).write_text("content")
    row = "INSERT INTO attachment (type, id, filename, size) VALUES ('ticket', '2', 'notes~1.txt', 7)"
    execute(env / "db" / "trac.db", row)
    result = base.dump(item("trac", env))
    assert not any("missing" in note for note in result["notes"])
    assert result["tarballs"][0]["record"]["absent"] == 0


def test_log_that_grows_or_rotates_is_no_failure(
    env: Path, base: Base, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log = env / "log" / "trac.log"
    log.write_text("first\n")

    def grow() -> None:
        log.rename(env / "log" / "trac.log.1")
        log.write_text("second\n")
        os.utime(env / "log")

    calls = during_archive(monkeypatch, [grow])
    top = unpack(base.dump_one(item("trac", env)), tmp_path / "out")
    assert len(calls) == 1
    assert (top / "log" / "trac.log").read_text() == "first\n"


def test_everything_below_the_logs_is_kept(env: Path, base: Base, tmp_path: Path) -> None:
    (env / "log" / "apache").mkdir(mode=0o750)
    (env / "log" / "apache" / "access.log").write_text("deep")
    (env / "log" / "elsewhere.log").symlink_to("/var/log/trac.log")
    (env / "log" / "apache" / "loop").symlink_to("..")
    top = unpack(base.dump_one(item("trac", env)), tmp_path / "out")
    assert describe_tree(top / "log", times=False) == describe_tree(env / "log", times=False)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "value", ["sqlite:trac.db", "sqlite:data/deep/trac.db", "sqlite:{env}/data/trac.db", "sqlite:db/trac.db?timeout=10"]
)
def test_database_elsewhere_in_the_environment(env: Path, base: Base, tmp_path: Path, value: str) -> None:
    value = value.format(env=env)
    path = env / value.partition(":")[2].partition("?")[0]
    path.parent.mkdir(parents=True, exist_ok=True)
    if path != env / "db" / "trac.db":
        (env / "db" / "trac.db").rename(path)
    for folder in (path.parent, path.parent.parent):
        if folder not in (env, tmp_path):
            folder.chmod(0o751)
    set_database(env, value)
    tarballs = [base.dump_one(item("trac", env), stamp=night) for night in NIGHTS[:2]]
    assert tarballs[0]["dig"] == tarballs[1]["dig"]
    top = unpack(tarballs[0], tmp_path / "out")
    assert tables(top / path.relative_to(env)) == tables(path)
    assert {name: value[0] for name, value in describe_tree(top).items()} == {
        name: value[0] for name, value in describe_tree(env).items()
    }


def test_database_set_in_an_inherited_file(env: Path, base: Base) -> None:
    set_database(env, None)
    shared = env.parent / "shared.ini"
    shared.write_text("[trac]\ndatabase = oracle://somebody@localhost/trac\n")
    path = env / "conf" / "trac.ini"
    path.write_text(
        path.read_text()
        .replace("[inherit]", "[inherit]\nfile = missing.ini, ../../shared.ini", 1)
        .replace("\nfile =\n", "\n", 1)
    )
    assert "its database is oracle, not sqlite, postgres or mysql" in base.reason(item("trac", env))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("oracle://user:secret@localhost/trac", "its database is oracle, not sqlite, postgres or mysql"),
        ("secret", "its database is of no known form, not sqlite"),
        ("postgres://user:secret@localhost:1/trac", "psql failed with exit code"),
        ("sqlite:/srv/elsewhere/trac.db", "/srv/elsewhere/trac.db lies outside the environment"),
        ("sqlite:../trac.db", "lies outside the environment"),
        ("sqlite:db/other.db", "db/other.db does not exist"),
    ],
)
def test_database_that_cannot_be_copied(env: Path, base: Base, value: str, expected: str) -> None:
    set_database(env, value)
    reason = base.reason(item("trac", env))
    assert expected in reason
    assert "secret" not in reason


def test_environment_without_the_setting_has_the_usual_database(env: Path, base: Base) -> None:
    set_database(env, None)
    base.dump_one(item("trac", env))


def break_ini(env: Path) -> None:
    (env / "conf" / "trac.ini").write_bytes(b"no section\n\xff")


def other_database(env: Path) -> None:
    (env / "db" / "trac.db").unlink()
    execute(env / "db" / "trac.db", "CREATE TABLE something (a)")


def link_attachments(env: Path) -> None:
    (env / "files" / "attachments").rename(env.parent / "moved")
    (env / "files" / "attachments").symlink_to(env.parent / "moved")


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (shutil.rmtree, "does not exist"),
        (lambda env: (env / "VERSION").unlink(), "is not a Trac environment: it has no VERSION"),
        (lambda env: (env / "conf" / "trac.ini").unlink(), "it has no conf/trac.ini"),
        (break_ini, "trac.ini cannot be read"),
        (lambda env: (env / "db" / "trac.db").write_bytes(b""), "is empty"),
        (lambda env: (env / "db" / "trac.db").write_bytes(b"x" * 9000), "is not an SQLite database"),
        (other_database, "it has no table system"),
        (link_attachments, "is a symbolic link"),
    ],
)
def test_bad_environment(env: Path, base: Base, spoil: Callable[[Path], Any], expected: str) -> None:
    spoil(env)
    assert expected in base.reason(item("trac", env))


def test_path_that_is_a_link_gives_the_environment_behind_it(env: Path, base: Base, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(env)
    through = base.dump_one(item("trac", link), stamp=NIGHTS[0])
    assert base.dump_one(item("trac", env), stamp=NIGHTS[1])["dig"] == through["dig"]


def test_trac_is_dumped_before_the_repository_of_its_name(
    env: Path, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    real = dump_module.dump_item

    def noting(work: Any) -> None:
        order.append(work.item.key)
        real(work)

    monkeypatch.setattr(dump_module, "dump_item", noting)
    folder = env.parent / "more"
    folder.mkdir()
    base.dump(item("svn", "/nonexistent"), item("folder", folder), item("trac", env))
    assert order[0] == "tracs/thing"
    assert sorted(order[1:]) == ["folders/thing", "svn/thing"]


@needs_root
def test_dump_by_another_user_leaves_no_scratch_even_of_folders_without_write_permission(template: Path) -> None:
    with nobodys_folder() as folder:
        env = copy_environment(template, folder / "env")
        for path in (env / "db", env):
            path.chmod(0o555)
        subprocess.run(["chown", "-R", "65534:65534", env], check=True)
        with as_nobody():
            base = Base(folder / "base")
            tarballs = [base.dump_one(item("trac", env), stamp=night) for night in NIGHTS[:2]]
        assert tarballs[0]["dig"] == tarballs[1]["dig"]
        assert "thing/db/trac.db" in list_archive(tarballs[0]["path"])
        assert not os.path.lexists(folder / "base" / ".altbackup" / "scratch" / "tracs" / "thing")


EMPTIED = {
    "tickets": ("DELETE FROM ticket_change", "ticket_change"),
    "pages": ("DELETE FROM wiki", "wiki"),
}


@pytest.mark.sampled(2)
@pytest.mark.parametrize("what", EMPTIED)
def test_emptied_table_is_doubtful_until_its_rows_are_back(env: Path, base: Base, what: str) -> None:
    statement, table = EMPTIED[what]
    database = env / "db" / "trac.db"
    execute(database, "DELETE FROM ticket_change", *(
        f"INSERT INTO ticket_change (ticket, time, field) VALUES (1, {number}, 'comment')" for number in range(20)
    ))  # fmt: skip
    first = base.dump(item("trac", env), stamp=NIGHTS[0])["tarballs"][0]["record"]
    passing = ("auth_cookie", "cache", "session", "session_attribute", "revision", "node_change")
    rows = sum(count for name, count in first["rows"].items() if name not in (*passing, "sqlite_sequence"))
    assert first["measures"] == {"rows": rows, "attachments": first["attachments"]}
    kept = env.parent / "kept.db"
    shutil.copy(database, kept)
    execute(database, statement)
    for night in NIGHTS[1:3]:
        (doubt,) = base.dump(item("trac", env), stamp=night)["tarballs"][0]["record"]["doubts"]
        assert f"1 table {table} (" in doubt
    shutil.copy(kept, database)
    assert not base.dump(item("trac", env), stamp="2013/05/20/100000")["tarballs"][0]["record"].get("doubts")


def test_sessions_come_and_go(env: Path, base: Base) -> None:
    database = env / "db" / "trac.db"
    execute(database, *(f"INSERT INTO session (sid, authenticated, last_visit) VALUES ('s{number}', 0, 1)" for number in range(2000)))  # fmt: skip
    base.dump(item("trac", env), stamp=NIGHTS[0])
    execute(database, "DELETE FROM session")
    result = base.dump(item("trac", env), stamp=NIGHTS[1])
    assert not result["tarballs"][0]["record"].get("doubts")
    assert any("table session (200" in note for note in result["notes"])
    assert "suspect" not in result["tarballs"][0]["record"]


def test_attachments_that_lose_their_files_are_doubtful(env: Path, base: Base) -> None:
    first = base.dump(item("trac", env), stamp=NIGHTS[0])["tarballs"][0]["record"]
    attached_file(env).unlink()
    record = base.dump(item("trac", env), stamp=NIGHTS[1])["tarballs"][0]["record"]
    assert record["measures"]["attachments"] == first["measures"]["attachments"] - 1
    assert record["doubts"][0].startswith("the files of 1 attachment are missing, and were of 0 at the dump of ")
