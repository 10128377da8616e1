"""The plan as ansible-playbook sees it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.altbackup.core.plugins.filter.plan import FilterModule

ROOT = Path(__file__).resolve().parents[4]

HOSTS = """
all:
  hosts:
    dayabay: {{ansible_host: 192.0.2.7}}
    cms01:
    other:
  children:
    sources: {{hosts: {{dayabay: }}}}
    targets: {{hosts: {{cms01: }}}}
  vars:
    root: /home/scm
    altbackup_base: "{{{{ root }}}}/backup/{{{{ inventory_hostname }}}}/"
    altbackup_items:
      - {{kind: git, name: toolbox, path: "{{{{ root }}}}/git/{{{{ 'toolbox' }}}}.git"}}
      - {{kind: git, name: !unsafe "{{{{ lookup('pipe', 'touch executed') }}}}", path: /home/scm/git/odd}}
    altbackup_targets: "{{{{ groups.targets }}}}"
    altbackup_target_base: /data
{more}
"""
PLAY = """
- name: Read the inventory
  hosts: all,localhost
  gather_facts: false
  roles:
    - altbackup.core.altbackup
  tasks:
    - name: Write the plan down
      ansible.builtin.copy:
        content: "{{ __altbackup_plan | to_nice_json }}"
        dest: "{{ playbook_dir }}/plan.yml"
        mode: "0600"
      delegate_to: localhost
      run_once: true
    - name: Use the plan again, as a fact
      ansible.builtin.set_fact:
        __altbackup_plan: "{{ __altbackup_plan }}"
    - name: Show the settings of a source
      ansible.builtin.include_role:
        name: altbackup.core.altbackup
        tasks_from: source
      when: inventory_hostname in __altbackup_plan.sources
"""


def run(
    folder: Path, more: str = "", *arguments: str, play: str = PLAY, callback: str = "ansible.builtin.default"
) -> subprocess.CompletedProcess[str]:
    """Run the play in an empty folder, with further variables of all hosts and arguments."""
    (folder / "hosts.yml").write_text(HOSTS.format(more=more), encoding="utf-8")
    (folder / "play.yml").write_text(play, encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "hosts.yml", "play.yml", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "home"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "home" / "tmp"),
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": callback,
        "COLUMNS": "400",
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_the_role_makes_the_plan_and_nothing_found_on_a_node_is_executed(tmp_path: Path) -> None:
    result = run(tmp_path, "", "-e", "altbackup_stamp=2013/05/10/104701", "-e", "altbackup_day=-1")
    assert result.returncode == 0, result.stdout + result.stderr
    plan = yaml.safe_load((tmp_path / "plan.yml").read_text(encoding="utf-8"))
    assert plan["errors"] == []
    assert (plan["stamp"], plan["day"]) == ("2013/05/10/104701", "2013/05/09")
    source = plan["sources"]["dayabay"]
    assert source["base"] == "/home/scm/backup/dayabay"
    assert source["rsync_host"] == "192.0.2.7"
    assert source["item_list"] == [
        {"kind": "git", "name": "toolbox", "path": "/home/scm/git/toolbox.git"},
        {"kind": "git", "name": "{{ lookup('pipe', 'touch executed') }}", "path": "/home/scm/git/odd"},
    ]
    assert set(plan["nodes"]) == {"dayabay", "cms01"}
    assert "toolbox: 1" in result.stdout
    assert not (tmp_path / "executed").exists()


@pytest.mark.full
def test_a_scratch_host_that_is_not_understood_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "other.yml").write_text('ansible_host: "{{ nowhere }}.example.org"\n', encoding="utf-8")
    more = "    altbackup_drill_host: other\n    altbackup_drill_folder: /scratch"
    result = run(tmp_path, more, "--limit", "dayabay,cms01,localhost")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (
        yaml.safe_load((tmp_path / "plan.yml").read_text(encoding="utf-8"))["nodes"]["cms01"]["drill_host"] == "other"
    )


def test_errors_of_the_inventory_stop_the_run_together(tmp_path: Path) -> None:
    more = """
    altbackup_keep: "{{ undefined_here }}"
    altbackup_ext: "{{ lookup('file', '/nonexistent/hunter2') }}"
    altbackup_check_scope: "{{ broken "
    altbackup_transport: "{{ {'cms01': hunter3} }}"
    altbackup_day: 2013-05-10
    altbackup_mail_to: !vault |
      $ANSIBLE_VAULT;1.1;AES256
      62313365396662343061393464336163383764373764613633653634306231386433626436623361
      6134333665353966363534333632666535333761666131620a663537646436643839616531643561
      63396265333963386166373832626539326166353965363262633030333630313338646335303630
      3438626666666137650a353638643435666666633964366338633066623234616432373231333331
      6564
"""
    result = run(tmp_path, more, "-e", "altbackup_bsae=x", "--limit", "cms01")
    assert result.returncode == 2, result.stdout + result.stderr
    message = yaml.safe_load(result.stdout.split("=> \n", 1)[1].split("\n\n", 1)[0])["msg"]
    lines = message.splitlines()
    assert [line for line in lines if "hunter2" in line or "nonexistent" in line] == []
    expected = [
        "altbackup_day: day '2013-05-10' is neither empty",
        "all hosts: altbackup_bsae is an unknown variable, did you mean altbackup_base?",
        "dayabay, cms01: altbackup_keep is a template",
        "dayabay: altbackup_ext is a template",
        "dayabay, cms01: altbackup_check_scope is a template",
        "dayabay: altbackup_transport is a template",
        "dayabay, cms01: altbackup_mail_to is in a vault and could not be decrypted",
    ]
    for start in expected:
        assert [line for line in lines if line.startswith(start)], f"{start} is not in:\n{message}"
    assert not (tmp_path / "plan.yml").exists()


DELEGATE = """
- name: Delegate
  hosts: all,localhost
  gather_facts: false
  roles:
    - altbackup.core.altbackup
  tasks:
    - name: Ask the target
      ansible.builtin.command: "printf '%s\\n' {{ inventory_hostname }}"
      delegate_to: cms01
      when: inventory_hostname == 'dayabay'
      changed_when: false
"""


@pytest.mark.full
def test_target_that_is_reached_by_a_naming_scheme_is_not_taken_for_the_source(tmp_path: Path) -> None:
    more = """
    ansible_connection: local
    domain: example.org
    ansible_host: "{{ inventory_hostname }}.{{ domain }}"
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
"""
    result = run(tmp_path, more, play=DELEGATE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "[dayabay -> cms01(cms01.example.org)]" in result.stdout
    assert "censored" in result.stdout


@pytest.mark.sampled(2)
@pytest.mark.parametrize("callback", ["ansible.builtin.default", "altbackup.core.quiet"])
def test_way_to_a_target_that_cannot_be_evaluated_is_named(tmp_path: Path, callback: str) -> None:
    more = '    ansible_ssh_common_args: "-o ProxyJump={{ jump_of_the_site }}"'
    result = run(tmp_path, more, callback=callback)
    assert result.returncode == 2
    assert re.search(r"Origin: .*/hosts.yml:\d+:\d+", result.stdout + result.stderr), "it is told where it stands"
    assert "cms01: ansible_ssh_common_args is a template with 'jump_of_the_site', which is undefined" in " ".join(
        (result.stdout + result.stderr).split()
    )


@pytest.mark.parametrize("inventory", ["inventory/local"])
def test_the_embedded_inventory_is_good(inventory: str, tmp_path: Path) -> None:
    (tmp_path / "show.yml").write_text(
        "- {hosts: 'all,localhost', gather_facts: false, name: Plan, roles: [altbackup.core.altbackup]}\n",
        encoding="utf-8",
    )
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", inventory, str(tmp_path / "show.yml")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment |= {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert re.search(r"^stamp \d{4}/", result.stdout, re.MULTILINE)


@pytest.mark.full
def test_a_variable_with_nearly_the_prefix_stops_the_run(tmp_path: Path) -> None:
    more = '    altbakup_keep: "{{ undefined_here }}"\n    salt_backup_dir: /srv'
    result = run(tmp_path, more, "-e", "alt_backup_ext=.tar", "--limit", "cms01")
    assert result.returncode == 2, result.stdout + result.stderr
    for name, meant in (("altbakup_keep", "altbackup_keep"), ("alt_backup_ext", "altbackup_ext")):
        assert f"all hosts: {name} is an unknown variable, did you mean {meant}?" in result.stdout
    assert "salt_backup_dir is" not in result.stdout


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("plan", (None, None)),
        ("plan", ({}, {"all": ["dayabay"]})),
        ("effective", ({}, "dayabay")),
        ("effective", (None, "dayabay")),
        ("connection_facts", ({}, {}, ["dayabay"])),
        ("connection_facts", (None, None, None)),
    ],
)
def test_what_is_no_argument_is_an_error_that_names_the_filter(name: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        FilterModule().filters()[name](*arguments)
    assert str(error.value).startswith(f"altbackup.core.{name}: ")
