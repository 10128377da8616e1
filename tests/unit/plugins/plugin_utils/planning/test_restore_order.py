"""What the modules of a restore are given, and what is predicted of it."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.restores import (
    HOSTS,
    NEW,
    PEERS,
    choose_one,
    found,
    order_of,
    tarball,
)


def test_the_same_machine_carries_nothing() -> None:
    nodes = {node: found(tarball(NEW)) for node in ("dayabay", "cms01", "sdu")}
    chosen = choose_one(order_of(), nodes)["chosen"][0]
    assert (chosen["carry"], chosen["restore"]["base"]) == (None, "/backup")
    local = {host: {"node": host} for host in HOSTS}
    chosen = choose_one(order_of(to_host="fresh"), nodes, peers=local)["chosen"][0]
    assert (chosen["carry"], chosen["restore"]["base"]) == (None, "/copies/dayabay")
    chosen = choose_one(order_of(to_host="fresh"), nodes)["chosen"][0]
    assert chosen["restore"]["base"] == ""
    assert chosen["carry"]["origin"] == {"node": "cms01", "host": "cms01.example.org", "folder": "/copies/dayabay"}
    assert chosen["carry"]["destination"] == {"node": "fresh", "host": "fresh.example.org"}
    assert chosen["carry"]["size"] == 1000


def test_a_host_that_ssh_does_not_reach_gets_nothing_of_others() -> None:
    peers = {**PEERS, "fresh": {"node": "fresh", "problem": "is reached by community.docker.docker, not by ssh"}}
    choice = choose_one(order_of(to_host="fresh"), {"cms01": found(tarball(NEW))}, peers=peers)
    assert choice["chosen"] == []
    assert "fresh is reached by community.docker.docker" in choice["failures"][0]["reason"]


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ({}, "no speed was measured yet from cms01 to fresh"),
        (
            {"cms01 -> fresh": {"bytes": 10_000_000, "seconds": 2}},
            "about 0 s at the speed of the last restore from cms01 to fresh, 4.8 MiB/s",
        ),
        ({"cms01 -> fresh": {"bytes": 100, "seconds": 1}}, "about 10 s"),
        ({"cms01 -> fresh": {"bytes": 100, "seconds": 0}}, "no speed was measured yet"),
        ({"cms01 -> fresh": "fast"}, "no speed was measured yet"),
        ({"cms01 -> fresh": None}, "no speed was measured yet"),
        ({"cms01 -> fresh": [1]}, "no speed was measured yet"),
        ({"cms01 -> fresh": {"bytes": 0, "seconds": 5}}, "no speed was measured yet"),
        ({"cms01 -> fresh": {"bytes": -5, "seconds": 1}}, "no speed was measured yet"),
        ({"cms01 -> fresh": {"bytes": float("nan"), "seconds": 1}}, "no speed was measured yet"),
        ({"cms01 -> fresh": {"bytes": float("inf"), "seconds": 1}}, "no speed was measured yet"),
        ({"cms01 -> fresh": {"bytes": 10**400, "seconds": 1}}, "no speed was measured yet"),
        ({"cms01 -> fresh": {"bytes": 1, "seconds": "x"}}, "no speed was measured yet"),
    ],
)
def test_prediction_says_what_how_many_bytes_and_how_long(speeds: dict[str, Any], expected: str) -> None:
    chosen = choose_one(order_of(to_host="fresh"), {"cms01": found(tarball(NEW))}, speeds)["chosen"][0]
    assert chosen["prediction"].startswith(
        f"would restore svn/dybsvn/{NEW}/dybsvn-3.tar.zst of dayabay from cms01 to /home/scm/svn/dybsvn on fresh, "
        "by way of the controller: 1.0 KiB, "
    )
    assert expected in chosen["prediction"]
