"""Findings, and the commands that mend what is wrong."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from helpers.findings import (
    COMMANDS,
    DENIED,
    UNKNOWN,
    authorized_with,
    base_with,
    healthy,
    judged,
    key_with,
    tried_with,
    wrong,
)

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.finding import Commands, Finding, both, is_key


@pytest.mark.parametrize("evil", ["{{ secret }}", "{% raw %}", "{# x #}"])
def test_what_a_node_says_is_never_a_template_of_a_command(evil: str) -> None:
    assert COMMANDS.on("cms01", "file", path=f"/home/{evil}").startswith("# ")
    assert COMMANDS.run_on("cms01", ["mount", evil]).startswith("# ")
    facts = healthy()
    facts["cms01"]["authorized"]["backup"].update(path=f"/home/{evil}", lines=[])
    facts["cms01"]["host_keys"] = [evil]
    facts["cms01"]["user"] = evil
    tried_with(said=DENIED)(facts)
    base_with("cms01", uid=7)(facts)
    for change in (
        None,
        key_with(there=False),
        tried_with(said=UNKNOWN),
        authorized_with(DENIED, problem="there is no user x"),
    ):
        if change:
            change(facts)
        for _, _, command in wrong(judged(facts)):
            assert evil not in command or command.startswith("# "), command
    assert Commands(["/i"]).setting("cms01", "x", evil).startswith("# ")


def test_a_sentence_goes_before_commands() -> None:
    assert both("a", "b") == "a && b"
    assert both("a", "# by hand") == "# by hand"


def test_a_setting_whose_value_goes_over_lines_is_set_by_hand() -> None:
    commands = replace(COMMANDS, files={"/inventory/host_vars/web.yml": ["altbackup_targets:", "  - a"]})
    assert commands.setting("web", "altbackup_targets", ["a", "b"]).startswith("# ")
    commands = replace(COMMANDS, files={"/inventory/host_vars/web.yml": ["altbackup_targets: [a]  # one"]})
    assert "lineinfile" in commands.setting("web", "altbackup_targets", ["a", "b"])


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (f"ssh-ed25519 {'A' * 68}", True),
        (f"sk-ssh-ed25519@openssh.com {'A' * 68}", True),
        (f"ssh-ed25519  {'A' * 68}", False),
        (f"ssh-ed25519 {'A' * 68} a comment", False),
        (f'command="sh" ssh-ed25519 {"A" * 68}', False),
        ("ssh-ed25519 short", False),
        ("", False),
        (f"ssh-ed25519 {'A' * 68}\n", False),
        (f"ssh-ed25519 {'A' * 5000}", False),
        (f"ssh-ed25519 {'A' * 60}$(id)", False),
        (f"é {'A' * 68}", False),
    ],
)
def test_a_key_is_its_type_and_its_body_and_nothing_more(text: str, is_one: bool) -> None:
    assert is_key(text) is is_one


@pytest.mark.parametrize(
    ("commands", "one"),
    [((), ""), (("a",), "a"), (("a", "b", "c"), "a && b && c"), (("# x", "a", "# y"), "# x"), (("a", "# y"), "# y")],
)
def test_commands_are_run_one_after_the_other_unless_one_is_a_sentence(commands: tuple[str, ...], one: str) -> None:
    assert both(*commands) == one


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"path": "/x", "mode": "0700"}, ["-a", "path=/x mode=0700"]),
        ({"path": "/a b"}, ["-a", '{"path": "/a b"}']),
        ({"path": "/x", "create": True}, ["-a", '{"path": "/x", "create": true}']),
        ({"path": "/x; reboot"}, ["-a", '{"path": "/x; reboot"}']),
        ({"path": "$(id)"}, ["-a", '{"path": "$(id)"}']),
        ({"path": "a=b"}, ["-a", '{"path": "a=b"}']),
        ({"path": ""}, ["-a", '{"path": ""}']),
    ],
)
def test_a_command_is_one_for_a_shell_whatever_is_in_it(arguments: dict[str, str], words: list[str]) -> None:
    command = Commands(["/i n"]).on("cms01", "file", become=True, **arguments)
    assert shlex.split(command) == ["ansible", "cms01", "-i", "/i n", "--become", "-m", "ansible.builtin.file", *words]


LINES = ["altbackup_keep: 3", "other: 1"]


@pytest.mark.parametrize(
    ("inventory", "files", "mend"),
    [
        ((), {}, "# set altbackup_keep: 5 for web in the inventory"),
        (("/i/hosts.yml",), {}, "# set altbackup_keep: 5 for web in the inventory"),
        (("web,",), {}, "# set altbackup_keep: 5 for web in the inventory"),
        (("/i/hosts",), {"/i/hosts": ["web"]}, "# set altbackup_keep: 5 for web in the inventory"),
        (("/i",), {}, '"path": "/i/host_vars/web.yml"'),
        (("/i",), {"/i/host_vars/web/x.yml": ["other: 1"]}, '"path": "/i/host_vars/web/x.yml"'),
        (("/i",), {"/i/host_vars/web/a.yml": [], "/i/host_vars/web/b.yml": LINES}, '"path": "/i/host_vars/web/b.yml"'),
        (("/i",), {"/i/host_vars/web2.yml": LINES}, '"path": "/i/host_vars/web.yml"'),
        (("/i",), {"/i/host_vars/web.yml": ["altbackup_keep: 3 # three"]}, '"path": "/i/host_vars/web.yml"'),
        (
            ("/i",),
            {"/i/host_vars/web.yml": ["altbackup_keep:", "  daily: 3"]},
            "# set altbackup_keep: 5 in /i/host_vars/web.yml",
        ),
        (("/i",), {"/i/host_vars/web.yml": ["altbackup_keep: |"]}, "# set altbackup_keep: 5 in /i/host_vars/web.yml"),
        (
            ("/i",),
            {"/i/host_vars/web.yml": ["altbackup_keep: &x 3"]},
            "# set altbackup_keep: 5 in /i/host_vars/web.yml",
        ),
        (
            ("/i",),
            {"/i/host_vars/web.yml": ["altbackup_keep: {daily: 3}"]},
            "# set altbackup_keep: 5 in /i/host_vars/web.yml",
        ),
    ],
)
def test_a_setting_is_written_where_the_host_has_it(
    inventory: tuple[str, ...], files: dict[str, list[str]], mend: str
) -> None:
    command = Commands(inventory, files=files).setting("web", "altbackup_keep", 5)
    assert mend in command
    assert command.startswith("# ") or shlex.split(command)[:3] == ["ansible", "localhost", "-m"]


@pytest.mark.parametrize(
    ("word", "meant", "lines", "is_command"),
    [
        ("cms1", "cms01", ["- cms1"], True),
        ("cms1", "cms01", ["- cms10", "- xcms1", "- cms1.example.org"], False),
        ("cms1", "cms01", [], False),
        ("cms1", "cms 01", ["- cms1"], False),
        ("cms1", "a#b", ["- cms1"], False),
        ("a;b", "c", ["- a;b"], False),
    ],
)
def test_a_word_is_replaced_where_it_stands_by_itself(
    word: str, meant: str, lines: list[str], is_command: bool
) -> None:
    command = Commands(files={"/i/hosts.yml": lines}).replaced(word, meant)
    assert command == f"# write {meant} in the place of {word}" or is_command
    assert not is_command or shlex.split(command)[:3] == ["sed", "-i", "-E"]


def test_what_others_read_is_on_one_line_and_without_secrets() -> None:
    told = Finding("cms01", "key", "wrong", "a\nb password=hunter2", "x\x1b[31m").plain()
    assert told["why"].startswith("a\\nb ") and "hunter2" not in told["why"]
    assert "\x1b" not in told["mend"] and set(told) == {"node", "pair", "what", "state", "why", "mend", "set_up"}
