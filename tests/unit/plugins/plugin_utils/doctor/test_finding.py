"""Findings, and the commands that mend what is wrong."""

from __future__ import annotations

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

from ansible_collections.altbackup.core.plugins.plugin_utils.doctor.finding import Commands, both


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
