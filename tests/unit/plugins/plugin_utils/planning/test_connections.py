"""Connections to targets."""

from __future__ import annotations

from helpers.plans import PLAN

from ansible_collections.altbackup.core.plugins.plugin_utils.planning.connections import peers


def test_keys_bound_by_rrsync_name_their_folder_themselves_and_start_nothing_but_rsync() -> None:
    targets = {name: {**entry, "rrsync": True} for name, entry in PLAN["targets"].items()}
    (peer,) = peers({**PLAN, "targets": targets}, "dayabay")
    assert peer["folder"] == "."
    assert not {"nice", "ionice"} & set(peer)
