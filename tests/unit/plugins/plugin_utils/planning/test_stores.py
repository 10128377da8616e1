"""Stores in a plan: who fills which with what, and every error of that."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.plan import build_plan
from ansible_collections.altbackup.core.plugins.plugin_utils.planning.stores import (
    fetched_base,
    module_store,
    server_of,
    store_trees,
    stores_with,
)

NOW = 1368182821.0
ITEM = {"kind": "folder", "name": "docs", "path": "/srv/docs", "keep": 5}
PLACE = {"altbackup_store_remote": "offsite:bucket", "altbackup_store_config": "/root/rclone.conf"}
DISK = {"altbackup_store_remote": "/mnt/drawer", "altbackup_absent_for": "14d", "altbackup_keep": 2}


def plan_of(
    changes: dict[str, dict[str, Any]] | None = None, stores: tuple[str, ...] = ("vault", "drawer")
) -> dict[str, Any]:
    """Return the plan of two sources, a target that fills a bucket, and a source that fills a disk."""
    variables: dict[str, dict[str, Any]] = {
        "dayabay": {
            "altbackup_base": "/backup",
            "altbackup_items": [ITEM],
            "altbackup_targets": ["cms01"],
            "altbackup_stores": ["drawer"],
        },
        "juno": {"altbackup_base": "/backup", "altbackup_items": [ITEM], "altbackup_targets": ["cms01"]},
        "cms01": {"altbackup_target_base": "/copies", "altbackup_stores": ["vault"]},
        "vault": dict(PLACE),
        "drawer": dict(DISK),
    }
    for host, changed in (changes or {}).items():
        variables.setdefault(host, {}).update(changed)
    groups = {"all": list(variables), "sources": ["dayabay", "juno"], "targets": ["cms01"], "stores": list(stores)}
    return build_plan(variables, groups, {}, NOW)


def test_a_target_fills_a_store_with_all_its_sources_and_a_source_with_its_own() -> None:
    plan = plan_of()
    assert plan["errors"] == []
    assert [(tree["node"], tree["server"], tree["source"], tree["base"]) for tree in store_trees(plan)] == [
        ("vault", "cms01", "dayabay", "/copies/dayabay"),
        ("vault", "cms01", "juno", "/copies/juno"),
        ("drawer", "dayabay", "dayabay", "/backup"),
    ]
    vault, _, drawer = store_trees(plan)
    assert (vault["expect"], vault["item_keys"], vault["keeps"]) == ({"docs": 1}, ["folders/docs"], {"folders/docs": 5})
    assert (vault["rules"]["daily"], drawer["rules"]["daily"], drawer["keep"]) == (7, 0, 2)
    assert module_store(plan, "drawer")["absent_for"] == 14 * 86400.0
    assert stores_with(plan, "dayabay") == ["vault", "drawer"]
    assert (server_of(plan, "vault", "juno"), server_of(plan, "cms01", "juno")) == ("cms01", "cms01")
    assert fetched_base(plan, "vault", "juno") == "/copies/.altbackup/fetched/vault/juno"
    assert fetched_base(plan, "drawer", "dayabay") == "/backup/.altbackup/fetched/drawer/dayabay"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {"cms01": {"altbackup_stores": ["vualt"]}},
            "cms01: altbackup_stores names 'vualt', which is no host of the inventory",
        ),
        (
            {"cms01": {"altbackup_stores": ["juno", "vault"]}},
            "cms01: altbackup_stores names 'juno', which is a host of the inventory, but not in group",
        ),
        (
            {"cms01": {"altbackup_stores": []}},
            "vault: no node fills this store: add it to the altbackup_stores of a target or source",
        ),
        ({"juno": {"altbackup_stores": ["vault"]}}, "vault: cms01 and juno would both fill it with juno"),
        ({"vault": {"altbackup_store_remote": None}}, "vault: altbackup_store_remote is required and missing"),
        (
            {"vault": {"altbackup_store_remote": ":s3,secret_access_key=abc:x"}},
            "put them into rclone's configuration file",
        ),
        (
            {"vault": {"altbackup_store_config": "rclone.conf"}},
            "vault: altbackup_store_config 'rclone.conf' is not the absolute path of a file",
        ),
        (
            {"vault": {"altbackup_store_lock_mode": "hard"}},
            "vault: altbackup_store_lock_mode 'hard' is not one of governance, compliance",
        ),
        (
            {"drawer": {"altbackup_store_lock_days": 3}},
            "drawer: altbackup_store_lock_days is for a bucket of S3 with object lock",
        ),
        ({"drawer": {"altbackup_store_remote": "/backup/copies"}}, "that would be no second copy"),
        ({"vault": {"altbackup_store_colour": "red"}}, "altbackup_store_colour is an unknown variable"),
    ],
)
def test_what_is_wrong_is_one_clear_error(changes: dict[str, dict[str, Any]], error: str) -> None:
    errors = plan_of(changes)["errors"]
    assert sum(error in sentence for sentence in errors) == 1, errors
    assert not any("abc" in sentence for sentence in errors)


def test_two_stores_at_one_place_would_take_each_others_copies() -> None:
    errors = plan_of(
        {"other": dict(PLACE), "cms01": {"altbackup_stores": ["vault", "other"]}}, ("vault", "drawer", "other")
    )["errors"]
    assert len(errors) == 1 and "offsite:bucket is that of vault, too" in errors[0]


def test_a_store_is_no_node() -> None:
    errors = plan_of(stores=("vault", "drawer", "juno"))["errors"]
    assert any(
        "juno: a store is a place that no play connects to, but this one is in group sources or targets" in error
        for error in errors
    )
