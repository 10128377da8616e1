"""The example inventory can be copied as it is: its plan has no errors and it shows every setting."""

from __future__ import annotations

import ipaddress
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from ansible_collections.altbackup.core.plugins.filter.plan import plan
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.settings import names, validate

EXAMPLE = Path(__file__).resolve().parents[2] / "inventory" / "example"
DOCUMENTATION = [ipaddress.ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")]


def texts() -> dict[str, str]:
    """Return {path: text} of all files of the example."""
    return {str(path.relative_to(EXAMPLE)): path.read_text(encoding="utf-8") for path in sorted(EXAMPLE.rglob("*.yml"))}


@cache
def planned() -> dict[str, Any]:
    """Return the plan of the example."""
    loader = DataLoader()
    inventory = InventoryManager(loader=loader, sources=[str(EXAMPLE)])
    variables = VariableManager(loader=loader, inventory=inventory)
    hosts = {host.name: variables.get_vars(host=host) for host in inventory.get_hosts()}
    return plan(hosts, inventory.get_groups_dict())


def test_example_gives_a_plan_without_errors() -> None:
    found = planned()
    assert found["errors"] == []
    assert {name: entry["targets"] for name, entry in found["sources"].items()} == {
        "dayabay": ["cms01", "sdu"],
        "lingao": ["sdu", "ntu"],
    }
    assert [entry["item_errors"] for entry in found["sources"].values()] == [[], []]
    assert sorted(found["targets"]) == ["cms01", "ntu", "sdu"]


def test_settings_of_the_example_mean_what_its_comments_say() -> None:
    found = planned()
    cms01, sdu, ntu = (found["targets"][name] for name in ("cms01", "sdu", "ntu"))
    assert (cms01["rsync_host"], cms01["rsync_port"], cms01["rsync_user"]) == ("203.0.113.10", 2222, "backup")
    assert (ntu["rsync_host"], ntu["rsync_port"], ntu["rsync_user"]) == ("203.0.113.20", None, "scm")
    assert (sdu["bwlimit"], sdu["io_timeout"], ntu["bwlimit"], ntu["io_timeout"]) == (4 << 20, 180, 0, 60)
    assert [entry["target_base"] for entry in (cms01, sdu, ntu)] == ["/data/backup", "/srv/backup", "/data/backup"]
    assert {entry["keep"] for entry in found["sources"].values()} == {3}
    assert {entry["keep"] for entry in found["targets"].values()} == {3}
    rules = {"daily": 7, "weekly": 4, "monthly": 6, "yearly": 2, "within": 86400}
    assert [entry["rules"] for entry in found["targets"].values()] == [rules] * 3
    assert [entry["rules"] for entry in found["sources"].values()] == [dict.fromkeys(rules, 0)] * 2
    assert {tree["keeps"]["git/toolbox"] for tree in found["nodes"]["cms01"]["trees"]} == {14}
    assert found["nodes"]["ntu"]["mail_to"] == "scm-taipei@example.org"


@pytest.mark.parametrize("name", names())
def test_every_setting_is_shown_below_a_comment(name: str) -> None:
    pattern = rf"^((?:(?:#|altbackup_).*\n)+)(?:# )?{name}:"
    shown = [match[1] for text in texts().values() for match in re.finditer(pattern, text, re.MULTILINE)]
    assert any(len(line) > 25 for above in shown for line in above.splitlines() if line.startswith("# ")), shown


def test_what_is_commented_out_as_a_default_is_the_default() -> None:
    checked = 0
    for path, text in texts().items():
        for name, value in re.findall(r"^# (altbackup_\w+): (.+)$", text, re.MULTILINE):
            entry = next(entry for entry in ("main", "source", "target", "store") if name in names(entry))
            if name == "altbackup_ssh_args" and value != "''":
                continue  # shown as an example, with the default below it
            assert validate(entry, {name: yaml.safe_load(value)})[0][name] == validate(entry, {})[0][name], (
                f"{path}: {name}"
            )
            checked += 1
    assert checked > 15


def test_every_variable_that_the_example_sets_is_one_of_users() -> None:
    used = {name for text in texts().values() for name in re.findall(r"altbackup_\w+", text)}
    assert used <= set(names())


def test_addresses_are_those_of_documentation() -> None:
    everything = "\n".join(texts().values())
    addresses = re.findall(r"\b\d+\.\d+\.\d+\.\d+\b", everything)
    assert addresses
    assert all(any(ipaddress.ip_address(text) in network for network in DOCUMENTATION) for text in addresses)
    domains = re.findall(r"[\w-]+\.(?:org|com|net|cn|tw)\b", everything)
    assert set(domains) == {"example.org"}


def test_folders_of_variables_belong_to_groups_and_hosts() -> None:
    groups = yaml.safe_load(texts()["hosts.yml"])
    assert len(groups) == 6
    assert {path.name for path in (EXAMPLE / "group_vars").iterdir()} <= {"all", *groups}
    hosts = {host for entry in groups.values() for host in entry["hosts"]}
    assert {path.stem for path in (EXAMPLE / "host_vars").iterdir()} == hosts
