"""The options of calls that look at nodes, by the plan."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.told_runs import EVERY, Told

from ansible_collections.altbackup.core.plugins.plugin_utils.calls import options


def test_a_source_is_locked_with_its_targets_in_a_chain_alone() -> None:
    chain, single = Told(), Told(EVERY)
    assert chain.call("preflight", "preflight", {})["locks"] == ["/backup"]
    for entry in chain.over("targets"):
        options = chain.call("preflight", "preflight", {}, entry)
        assert (options["locks"], options["bases"], options["fetch"]) == (["/copies/dayabay"], ["/copies"], True)
    assert chain.nodes("unlock") == ["dayabay", "cms01", "sdu"]
    options = single.call("preflight", "preflight", {})
    assert (options["locks"], [tree["base"] for tree in options["trees"]]) == ([], ["/backup"])
    assert single.nodes("unlock") == []


def test_the_targets_of_a_source_that_is_down_are_looked_at_and_not_taken() -> None:
    told = Told()
    told.call("preflight", "preflight", {"unreachable": True, "msg": "no route"})
    assert told.over("usable") == []
    assert told.call("preflight", "preflight", {}, told.over("targets")[0])["locks"] == []


@pytest.mark.parametrize("lacking", ["dayabay", "cms01"])
def test_a_plan_with_errors_is_examined_as_far_as_it_goes(lacking: str) -> None:
    told = Told(EVERY)
    part, name = ("sources", "base") if lacking == "dayabay" else ("targets", "target_base")
    told.run.plan[part][lacking][name] = None
    asked = options.options_of("node_examine", told.run, {}, {})
    assert asked is not None
    assert [peer["node"] for peer in asked["peers"]] == ([] if lacking == "dayabay" else ["sdu"])
    assert [owner["base"] for owner in asked["owners"]] == ([] if lacking == "dayabay" else ["/backup"])


def test_a_node_is_examined_at_the_port_at_which_its_peers_find_it() -> None:
    told = Told(EVERY)
    ports = []
    for port in (None, 2222):
        told.run.plan["sources"]["dayabay"]["rsync_port"] = port
        asked = options.options_of("node_examine", told.run, {}, {})
        assert asked is not None
        ports.append(asked["port"])
    assert ports == [0, 2222]


def test_preflight_asks_for_what_encrypts_and_for_what_fills_stores() -> None:
    asked = {"tools": ["tar", "rsync"]}
    assert Told().call("preflight", "preflight", {}, **asked)["programs"] == []
    told = Told(
        altbackup_encrypt_to=["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"],
        altbackup_single_recipient=True,
    )
    assert told.call("preflight", "preflight", {}, **asked)["programs"] == ["age", "ssh-keygen"]
    assert told.call("preflight", "preflight", {}, tools=[])["programs"] == [], "nothing is packed"
    tree = {"role": "store", "node": "vault", "server": "cms01", "source": "dayabay", "base": "/copies/dayabay"}
    plan = {**told.run.plan, "stores": {"vault": {"trees": [tree]}}}
    told.run = replace(told.run, plan=plan)
    cms01, sdu = told.over("targets")
    assert told.call("preflight", "preflight", {}, cms01, **asked)["programs"] == ["rclone"]
    assert told.call("preflight", "preflight", {}, sdu, **asked)["programs"] == []
    assert told.call("preflight", "preflight", {}, **asked)["programs"] == ["age", "ssh-keygen"]
    alone = Told(EVERY, "cms01")
    alone.run = replace(alone.run, plan={**alone.run.plan, "stores": plan["stores"]})
    assert alone.call("preflight", "preflight", {}, tools=[])["programs"] == ["rclone"]
