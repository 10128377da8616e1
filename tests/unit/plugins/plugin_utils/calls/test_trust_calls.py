"""Calls for the keys of a source's pairs: each pair goes its own way, and what one fails at hides nothing of another."""

from __future__ import annotations

from typing import Any

from helpers.told_runs import EVERY, Told

from ansible_collections.altbackup.core.plugins.module_utils.system.ssh import unseal
from ansible_collections.altbackup.core.plugins.plugin_utils.planning import setup, trusting

MODULE = dict.fromkeys(("look", "admit", "open", "bind", "dismiss"), "pair_access")
RESULTS: dict[str, dict[str, Any]] = {
    "make": {"public_keys": ["ssh-ed25519 AAAAAAAAAAAAAAAAAAAA"], "failures": []},
    "admit": {"host_keys": ["ssh-ed25519 BBBBBBBBBBBBBBBBBBBB"], "sources": "192.0.2.7", "failures": []},
    "try": {"answer": {"does": "add", "address": "192.0.2.7"}, "failures": []},
    "bind": {"changed": False, "failures": []},
}


def play(told: Told, step: str, **others: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Make the calls of a step, with these results of other pairs; return (label, options) of each."""
    made = []
    for entry in told.over(f"pairs_to_{step}"):
        result = others.get(entry["label"].split()[-1], RESULTS.get(step, {"failures": []}))
        made.append((entry["label"], told.call(MODULE.get(step, "pair_key"), "trust", result, entry)))
    return made


def report(told: Told) -> dict[str, list[str]]:
    found = [
        trusting.report(pair, told.run.state["pairings"].get(pair["label"], {}))
        for pair in setup.pairs(told.run.plan, "dayabay")
    ]
    return {"lines": [one["line"] for one in found], "failures": [text for one in found for text in one["failures"]]}


def test_pairs_are_set_up_side_by_side_and_the_failure_of_one_hides_no_other() -> None:
    told = Told(EVERY)
    lost = {"unreachable": True, "msg": "no route"}
    labels = [[label for label, _ in play(told, step, cms01=lost if step == "admit" else RESULTS.get(step, {}))] for step in trusting.STEPS[:8]]  # fmt: skip
    both, one = ["dayabay -> cms01", "dayabay -> sdu"], ["dayabay -> sdu"]
    assert labels == [both, both, both, one, [], [], one, []]
    said = report(told)
    assert said["failures"] == ["dayabay -> cms01: unreachable: no route"]
    assert (
        said["lines"][0].endswith("cms01: not tried")
        and "sdu: the key may add to its folder on sdu, coming from 192.0.2.7" in said["lines"][1]
    )
    assert told.run.state["failures"] == [], "they are told at the end of the role, once"


def test_two_names_of_one_base_are_refused_before_a_key_is_touched() -> None:
    told = Told(EVERY)
    identity = {"base": "/data/backup", "role": "target", "id": "", "boot": "1", "device": 2, "inode": 3}
    looked = [{"identities": [{**identity, "name": name}], "failures": []} for name in ("cms01", "sdu")]
    asked = play(told, "look", cms01=looked[0], sdu=looked[1])
    assert [options["owner"]["name"] for _, options in asked] == ["cms01", "sdu"]
    assert play(told, "make") == []
    assert all("cms01 and sdu lead to one machine" in text for text in report(told)["failures"])


def test_a_crash_of_a_module_is_a_failure_of_its_pair() -> None:
    told = Told(EVERY)
    play(told, "look")
    play(told, "make", cms01={"failed": True, "msg": "MODULE FAILURE", "module_stdout": "", "rc": 1})
    assert [label for label, _ in play(told, "admit")] == ["dayabay -> sdu"]
    assert "the module ended without a result" in report(told)["failures"][0]


def test_the_side_that_dials_has_its_options_of_ssh_sealed() -> None:
    told = Told(EVERY)
    told.run.hostvars["dayabay"]["altbackup_ssh_args"] = "-o SetEnv=TOKEN=hunter2"  # type: ignore[index]
    play(told, "look")
    options = dict(play(told, "make"))["dayabay -> cms01"]
    assert "hunter2" not in str(options) and unseal(options["ssh_args"]) == ("-o", "SetEnv=TOKEN=hunter2")
    assert "ssh_args" not in dict(play(told, "admit"))["dayabay -> cms01"]


def test_keys_are_taken_away_on_both_sides_whatever_failed() -> None:
    told = Told(EVERY)
    play(told, "dismiss", cms01={"unreachable": True, "msg": "no route"})
    assert [options["state"] for _, options in play(told, "forget")] == ["absent", "absent"]
    assert report(told)["failures"] == ["dayabay -> cms01: unreachable: no route"]


def test_a_target_has_no_pairs_of_its_own() -> None:
    assert Told(EVERY, "cms01").over("pairs_to_make") == []
