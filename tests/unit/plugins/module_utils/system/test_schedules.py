"""What starts programs by the clock: which lines are told, with which of their variables, and none of their secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.trees import make_tool

from ansible_collections.altbackup.core.plugins.module_utils.system import schedules as room
from ansible_collections.altbackup.core.plugins.module_utils.system.schedules import cron_is_seen, schedules

NIGHT = "30 3 * * * /opt/altbackup/bin/altbackup backup"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let files below a folder be all that this machine has of crontabs and timers; its user has no crontab."""
    for name in ("bin", "cron.d", "units"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(room, "_SYSTEM", (str(tmp_path / "crontab"), str(tmp_path / "cron.d" / "*")))
    monkeypatch.setattr(room, "_TIMERS", (str(tmp_path / "units" / "*.timer"),))
    return tmp_path


def told(machine: Path, text: str) -> list[dict[str, Any]]:
    """Return what is told of a crontab, but for where it lies."""
    (machine / "crontab").write_text(text)
    return [{key: value for key, value in entry.items() if key != "where"} for entry in schedules("altbackup")]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", [], id="empty"),
        pytest.param("30 3 * * * /usr/bin/other\n", [], id="something else"),
        pytest.param(f"# {NIGHT}\n  #{NIGHT}\n", [], id="a comment"),
        pytest.param("altbackup = 1\n", [], id="a variable is no line"),
        pytest.param(f"  {NIGHT}  ", [(NIGHT, {})], id="without an end of line"),
        pytest.param(f"MAILTO=a@example.org\n{NIGHT}\n", [(NIGHT, {"MAILTO": "a@example.org"})], id="a variable"),
        pytest.param(f"PATH = '/bin'\n{NIGHT}\n", [(NIGHT, {"PATH": "/bin"})], id="with spaces and quotes"),
        pytest.param(f"MAILTO=a\n{NIGHT}\nMAILTO=b\n", [(NIGHT, {"MAILTO": "a"})], id="what comes later counts later"),
        pytest.param(f"MAILTO=\n{NIGHT}\n", [(NIGHT, {"MAILTO": ""})], id="an empty one"),
        pytest.param(f"HOME=/root\n{NIGHT}\n", [(NIGHT, {})], id="one of nobody's business"),
        pytest.param(f"ALTBACKUP_MAIL_PASSWORD=hunter2\n{NIGHT}\n", [(NIGHT, {})], id="a password"),
        pytest.param(f"ALTBACKUP_PING_URL=https://hc-ping.com/x\n{NIGHT}\n", [(NIGHT, {})], id="a URL to ping"),
        pytest.param(f"ALTBACKUP_CHANNELS=ntfys://t@x\n{NIGHT}\n", [(NIGHT, {})], id="channels"),
        pytest.param(
            f"ALTBACKUP_CHANNELS_FILE=/etc/x\n{NIGHT}\n", [(NIGHT, {"ALTBACKUP_CHANNELS_FILE": "/etc/x"})], id="a file"
        ),
        pytest.param(f"{NIGHT} {'x' * 2000}", [(f"{NIGHT} {'x' * 2000}"[:1000], {})], id="a long line"),
        pytest.param(
            "MAILTO=a\n30 3 * * * /usr/bin/env -i PATH=/bin ALTBACKUP_MAIL_TO=b@example.org 'ALTBACKUP_MAIL_FROM=50\\% x' altbackup x MAILTO=c",
            [
                (
                    "30 3 * * * /usr/bin/env -i PATH=/bin ALTBACKUP_MAIL_TO=b@example.org 'ALTBACKUP_MAIL_FROM=50\\% x' altbackup x MAILTO=c",
                    {"PATH": "/bin", "ALTBACKUP_MAIL_TO": "b@example.org", "ALTBACKUP_MAIL_FROM": "50% x"},
                )
            ],
            id="what env sets, alone",
        ),
        pytest.param(
            "MAILTO=a\n30 3 * * * env ALTBACKUP_MAIL_TO=b altbackup",
            [("30 3 * * * env ALTBACKUP_MAIL_TO=b altbackup", {"MAILTO": "a", "ALTBACKUP_MAIL_TO": "b"})],
            id="what env adds",
        ),
        pytest.param("30 3 * * * altbackup 'x", [("30 3 * * * altbackup 'x", {})], id="a quote is missing"),
        pytest.param(f"{NIGHT}\n" * 60, [(NIGHT, {})] * 50, id="too many"),
    ],
)
def test_lines_are_told_with_the_variables_before_them(
    machine: Path, text: str, found: list[tuple[str, dict[str, str]]]
) -> None:
    assert told(machine, text) == [{"line": line, "environment": environment} for line, environment in found]


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("ALTBACKUP_MAIL_PASSWORD=hunter2 altbackup backup", "ALTBACKUP_MAIL_PASSWORD=*** altbackup backup"),
        ("ALTBACKUP_MAIL_PASSWORD='hunter2 and 3' altbackup", "ALTBACKUP_MAIL_PASSWORD=*** altbackup"),
        ('env X_TOKEN="hunter2" altbackup', "env X_TOKEN=*** altbackup"),
        ("ALTBACKUP_PUSH_URL=https://hunter2 altbackup", "ALTBACKUP_PUSH_URL=*** altbackup"),
        ("ALTBACKUP_CHANNELS=ntfy://hunter2 altbackup", "ALTBACKUP_CHANNELS=*** altbackup"),
        ("altbackup --smtp-password=hunter2", "altbackup --smtp-password=***"),
        ("altbackup -e smtp_secret=hunter2", "altbackup -e smtp_secret=***"),
        ("https_proxy=http://scm:hunter2@proxy altbackup", "https_proxy=http://scm:***@proxy altbackup"),
        ("altbackup --vault-password-file=/etc/pass", "altbackup --vault-password-file=/etc/pass"),
        ("PATH=/bin altbackup -i inventory=pass", "PATH=/bin altbackup -i inventory=pass"),
    ],
)
def test_no_secret_of_a_line_is_told(machine: Path, words: str, shown: str) -> None:
    (entry,) = told(machine, f"30 3 * * * root {words}\n")
    assert entry["line"] == f"30 3 * * * root {shown}".replace("***", room.MASK)


@pytest.mark.parametrize(
    ("service", "environment"),
    [
        pytest.param("", {}, id="none"),
        pytest.param("Environment=MAILTO=a@example.org", {"MAILTO": "a@example.org"}, id="one"),
        pytest.param('Environment="MAILTO=a b"', {"MAILTO": "a b"}, id="in quotes"),
        pytest.param("Environment=MAILTO=a PATH=/bin", {"MAILTO": "a", "PATH": "/bin"}, id="two in a line"),
        pytest.param("Environment=MAILTO=a\nEnvironment=MAILTO=b", {"MAILTO": "b"}, id="the last one counts"),
        pytest.param("Environment=MAILTO=a ALTBACKUP_MAIL_PASSWORD=hunter2", {"MAILTO": "a"}, id="a password beside"),
        pytest.param('Environment="MAILTO=a" "ALTBACKUP_TOKEN=hunter2"', {"MAILTO": "a"}, id="and in quotes"),
        pytest.param("Environment=HOME=/root\n#Environment=MAILTO=a", {}, id="one of nobody's business, and a comment"),
        pytest.param('Environment="MAILTO=a', {}, id="a quote is missing"),
        pytest.param("Environment=MAILTO", {}, id="nothing is set"),
    ],
)
def test_a_timer_is_told_with_the_variables_of_its_service(
    machine: Path, service: str, environment: dict[str, str]
) -> None:
    units = machine / "units"
    (units / "night.timer").touch()
    (units / "night.service").write_text(f"[Service]\n{service}\nExecStart=/opt/altbackup/bin/altbackup backup\n")
    assert schedules("altbackup") == []  # it is not enabled
    (units / "timers.target.wants").mkdir()
    (units / "timers.target.wants" / "night.timer").symlink_to(units / "night.timer")
    line = "ExecStart=/opt/altbackup/bin/altbackup backup"
    assert schedules("altbackup") == [{"where": str(units / "night.timer"), "line": line, "environment": environment}]


def test_a_timer_without_a_service_and_one_of_something_else_are_none(machine: Path) -> None:
    (machine / "units" / "timers.target.wants").mkdir()
    for name in ("lone", "other"):
        (machine / "units" / f"{name}.timer").touch()
        (machine / "units" / "timers.target.wants" / f"{name}.timer").touch()
    (machine / "units" / "other.service").write_text("ExecStart=/usr/bin/other\n# ExecStart=altbackup\n")
    assert schedules("altbackup") == []


def test_the_crontab_of_the_user_comes_first_and_bytes_that_are_no_text_harm_nothing(machine: Path) -> None:
    make_tool(machine / "bin", "crontab", rf"""printf 'MAILTO=\377\n{NIGHT}\n'""".replace("*", "\\052"))
    (machine / "cron.d" / "altbackup").write_bytes(b"30 3 * * * root altbackup \xff\n")
    mine, theirs = schedules("altbackup")
    assert (mine["where"].startswith("crontab of "), mine["line"], mine["environment"]) == (
        True,
        NIGHT,
        {"MAILTO": "\ufffd"},
    )
    assert (theirs["where"], theirs["line"][-1]) == (str(machine / "cron.d" / "altbackup"), "\ufffd")


def test_a_crontab_that_says_that_there_is_none_is_none(machine: Path) -> None:
    make_tool(machine / "bin", "crontab", "echo no crontab for altbackup >&2; exit 1")
    assert schedules("altbackup") == []


@pytest.mark.parametrize(("name", "seen"), [("cron", True), ("crond", True), ("sshd", False)])
def test_cron_is_seen_among_the_processes(tmp_path: Path, name: str, seen: bool) -> None:
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "comm").write_text(f"{name}\n")
    assert cron_is_seen(str(tmp_path)) == seen
